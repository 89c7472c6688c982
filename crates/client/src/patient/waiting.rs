//! Whether to go on waiting for a slave: what is noted between two turns, and what is asked about its worker meanwhile.

use std::io;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

use crate::Interrupt;
use crate::channel::TURN;
use crate::fault::Halt;
use crate::probe::{Asked, Probed, ask_aside};

/// Silence after which the worker is asked about.
pub(super) const QUIET: Duration = Duration::from_secs(1);

/// How long the answer may take: with [`QUIET`], two turns, and what a rate limit leaves in the kernel's buffers for two seconds,
/// less than the five seconds that are promised.
pub(super) const PROBE_LIMIT: Duration = Duration::from_secs(1);

/// A sender that hears nothing asks about the worker after so long, even while more and more is acknowledged: the kernel of one
/// that was stopped goes on to take what comes slowly, and for long.
pub(super) const UNHEARD: Duration = Duration::from_secs(2);

/// How long the answer may take then, where nothing else is amiss: a lost segment of the question is sent again meanwhile.
pub(super) const UNHEARD_LIMIT: Duration = Duration::from_millis(1_500);

/// Round trips that an answer may take beyond that, since what is sent waits on the way, and so does a question: connecting and
/// asking are three within TLS, and one is to spare.
const ROUND_TRIPS: u32 = 4;

/// But no more than this, whatever the kernel has measured.
const MOST_DELAY: Duration = Duration::from_secs(8);

/// Where more than this has arrived meanwhile, bytes, somebody takes it: kernels buffer less, unless somebody has raised that.
pub(super) const MOST_BUFFERED: u64 = 64 * 1024 * 1024;

/// A worker that has shown no life for longer hangs: it should four times a second.
pub(super) const HANGING: Duration = Duration::from_secs(3);

/// A live worker shows life more often than this; one that has not is asked about again at once.
const DOUBTFUL: Duration = Duration::from_millis(1_500);

/// Whom is waited for, and until when.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) interrupt: Interrupt,
    pub(super) limit: Duration,
    pub(super) watched: Option<Asked>,
    /// Something was sent, and nothing of the worker has been heard since.
    unheard: Option<Unheard>,
    question: Option<Question>,
}

/// One wait: since when nothing has moved.
#[derive(Debug)]
pub(super) struct Wait {
    moved: Instant,
    ask_at: Instant,
    looked: Instant,
    /// Bytes that had arrived, here or there, at the last look; `None` before the first.
    arrived: Option<u64>,
}

/// A worker that says nothing to what is sent.
#[derive(Debug)]
struct Unheard {
    ask_at: Instant,
    /// Bytes that had arrived when it last seemed to be there.
    arrived: u64,
}

/// Being asked, while whoever waits goes on.
#[derive(Debug)]
struct Question {
    answer: Receiver<Probed>,
    doubt: Doubt,
}

/// Why a worker is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doubt {
    /// Nothing moves.
    Silence,
    /// What is sent arrives, but nothing is heard.
    Unheard,
}

/// How far a connection is, as this side's kernel knows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing {
    /// Bytes that have arrived, here or there, since some moment.
    pub(super) arrived: u64,
    /// Bytes sent that the peer's kernel has not acknowledged.
    pub(super) unacknowledged: u64,
    pub(super) round_trip: Duration,
}

impl Wait {
    fn new(now: Instant) -> Self {
        Self {
            moved: now,
            ask_at: now + QUIET,
            looked: now,
            arrived: None,
        }
    }

    /// Whether a turn has passed since the last look.
    pub(super) fn is_due(&self) -> bool {
        self.looked.elapsed() >= TURN
    }
}

impl Waiting {
    pub(super) const fn new(interrupt: Interrupt, limit: Duration) -> Self {
        Self {
            interrupt,
            limit,
            watched: None,
            unheard: None,
            question: None,
        }
    }

    pub(super) fn check(&self) -> io::Result<()> {
        match self.interrupt.is_set() {
            true => Err(Halt::Interrupted.into()),
            false => Ok(()),
        }
    }

    /// A wait begins, now that whatever was waited for has moved.
    pub(super) fn begin(&mut self) -> Wait {
        self.settle(Doubt::Silence);
        Wait::new(Instant::now())
    }

    /// Something was sent; `sent`: bytes so far, wherever they are.
    pub(super) fn note_sent(&mut self, sent: u64) {
        self.unheard.get_or_insert_with(|| Unheard {
            ask_at: Instant::now() + UNHEARD,
            arrived: sent,
        });
    }

    /// The worker has said something.
    pub(super) fn note_heard(&mut self) {
        self.unheard = None;
        self.question = None;
    }

    /// A turn has passed without anything to give, or a while with something on the way. Decides whether to go on.
    pub(super) fn look(&mut self, wait: &mut Wait, standing: Standing) -> io::Result<()> {
        self.check()?;
        let now = Instant::now();
        let before = wait.arrived.replace(standing.arrived);
        if before.is_some_and(|before| before != standing.arrived) {
            wait.moved = now;
            wait.ask_at = now + QUIET;
            self.settle(Doubt::Silence);
        }
        wait.looked = now;
        if now.duration_since(wait.moved) >= self.limit {
            return Err(Halt::Lost(format!("no answer for {} s", self.limit.as_secs())).into());
        }
        self.inquire(wait, standing, now)
    }

    /// There is no such doubt any more.
    fn settle(&mut self, doubt: Doubt) {
        self.question.take_if(|question| question.doubt == doubt);
    }

    /// Asks about the worker when it is time to, and hears what is answered.
    fn inquire(&mut self, wait: &mut Wait, standing: Standing, now: Instant) -> io::Result<()> {
        let Some(watched) = self.watched else {
            return Ok(());
        };
        if let Some(unheard) = &mut self.unheard
            && standing.arrived.saturating_sub(unheard.arrived) > MOST_BUFFERED
        {
            unheard.put_off(now + UNHEARD, standing);
            self.settle(Doubt::Unheard);
        }
        if let Some(question) = &self.question {
            let probed = match question.answer.try_recv() {
                Err(TryRecvError::Empty) if !question.is_late(wait, now) => return Ok(()),
                answer => answer.unwrap_or(Probed::Dead),
            };
            let again = now + judge(probed, question.doubt)?;
            self.question = None;
            wait.ask_at = again;
            if let Some(unheard) = &mut self.unheard {
                unheard.put_off(again, standing);
            }
        }
        self.question = self.doubt(wait, now).and_then(|doubt| {
            // Without a thread for it the next turn tries again.
            let answer = ask_aside(watched, doubt.limit(standing.round_trip)).ok()?;
            Some(Question { answer, doubt })
        });
        Ok(())
    }

    /// Why it is time to ask, if it is.
    fn doubt(&self, wait: &Wait, now: Instant) -> Option<Doubt> {
        let is_due = |unheard: &Unheard| now >= unheard.ask_at;
        if now >= wait.ask_at {
            Some(Doubt::Silence)
        } else if self.unheard.as_ref().is_some_and(is_due) {
            Some(Doubt::Unheard)
        } else {
            None
        }
    }
}

impl Unheard {
    /// It seems to be there; when to ask about it next.
    fn put_off(&mut self, ask_at: Instant, standing: Standing) {
        self.ask_at = ask_at;
        self.arrived = standing.arrived;
    }
}

impl Question {
    /// Whether nothing has moved for so long meanwhile that a question about that would have been answered by now.
    fn is_late(&self, wait: &Wait, now: Instant) -> bool {
        self.doubt == Doubt::Unheard && now >= wait.ask_at + PROBE_LIMIT
    }
}

impl Doubt {
    /// How long the answer may take. Where nothing moves at all, a far slave has had its time before it was asked about.
    fn limit(self, round_trip: Duration) -> Duration {
        match self {
            Self::Silence => PROBE_LIMIT,
            Self::Unheard => UNHEARD_LIMIT + MOST_DELAY.min(round_trip * ROUND_TRIPS),
        }
    }
}

/// What follows from an answer; after how long to ask again.
fn judge(probed: Probed, doubt: Doubt) -> io::Result<Duration> {
    match probed {
        // One that is shut down lets its transfers finish; one that was killed has ended this connection, too.
        Probed::Refused if doubt == Doubt::Unheard => Ok(QUIET),
        Probed::Dead | Probed::Refused => Err(Halt::Lost("it does not answer".to_owned()).into()),
        Probed::Alive { silent } if silent > HANGING => {
            Err(Halt::Lost("its worker hangs".to_owned()).into())
        }
        Probed::Alive { silent } if silent > DOUBTFUL => Ok(TURN),
        Probed::Alive { .. } => Ok(QUIET),
    }
}

#[cfg(test)]
mod tests;
