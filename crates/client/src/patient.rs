//! A socket that waits as long as there is hope, and no longer.
//!
//! It blocks in short turns. Between two turns it looks at the interrupt flag; when nothing has moved for a while it asks,
//! on a second connection, whether the worker at the other end still lives. So a dead or stopped slave is noticed within
//! five seconds, while one that is merely busy is waited for up to the limit. That holds for whoever sends so slowly that
//! nothing ever blocks, and within TLS, too, from the handshake on.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use auth::tls::Tls;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use transfer::Wire;

use crate::Interrupt;
use crate::channel::{Channel, TURN, is_turn_over};
use crate::fault::Halt;
use crate::probe::{Asked, Probed, probe};

/// Silence after which the worker is asked about.
const QUIET: Duration = Duration::from_millis(1_500);

/// Time that a probe may take: with [`QUIET`], a turn, and what a rate limit leaves in the kernel's buffers for two seconds,
/// less than the five seconds that are promised.
const PROBE_LIMIT: Duration = Duration::from_secs(1);

/// Beyond that, as many round trips as it takes to connect, within TLS too, and to ask.
const ROUND_TRIPS: u32 = 4;

/// But no more than this, whatever the kernel has measured.
const MOST_DELAY: Duration = Duration::from_secs(8);

/// A sender that hears nothing asks about the worker this often even while more and more is acknowledged: the kernel of one
/// that was stopped goes on to take what comes slowly, and for long.
const UNHEARD: Duration = Duration::from_secs(2);

/// Where more than this has arrived meanwhile, bytes, somebody takes it: the kernel's buffers hold less.
const MOST_BUFFERED: u64 = 64 * 1024 * 1024;

/// So many of these questions in a row without an answer, and it is lost: nothing else is amiss.
const UNANSWERED: u32 = 2;

/// A worker that has shown no life for longer hangs: it should four times a second.
const HANGING: Duration = Duration::from_secs(3);

/// A live worker shows life more often than this; one that has not is asked about again at once.
const DOUBTFUL: Duration = Duration::from_millis(1_500);

/// A connection whose reads and writes end with a [`Halt`] when waiting makes no sense any more.
#[derive(Debug)]
pub(crate) struct Patient {
    channel: Channel,
    peer: SocketAddr,
    waiting: Waiting,
    round_trip: Duration,
    /// Bytes sent in the clear; those within TLS are the channel's to count.
    sent: u64,
    /// The wait for what was sent to be acknowledged, from one write to the next.
    sending: Option<Wait>,
    /// Something was sent, and nothing of the worker has been heard since.
    unheard: Option<Unheard>,
}

/// Whether to go on waiting.
#[derive(Debug)]
struct Waiting {
    interrupt: Interrupt,
    limit: Duration,
    watched: Option<Asked>,
}

/// One wait: since when nothing has moved.
#[derive(Debug)]
struct Wait {
    moved: Instant,
    next_probe: Instant,
    looked: Instant,
    /// Bytes that had arrived, here or there, at the last look; `None` before the first.
    arrived: Option<u64>,
}

/// What is known of a worker that says nothing to what is sent.
#[derive(Debug)]
struct Unheard {
    /// When to ask about it.
    ask_at: Instant,
    /// Questions without an answer since the last that had one.
    unanswered: u32,
    /// Bytes that had arrived when it last seemed to be there.
    arrived: u64,
}

/// How far a connection is, as this side's kernel knows.
#[derive(Clone, Copy, Debug)]
struct Standing {
    /// Bytes that have arrived, here or there, since some moment.
    arrived: u64,
    /// Bytes sent that the peer's kernel has not acknowledged.
    unacknowledged: u64,
}

impl Patient {
    /// A stream to whom was dialled as `peer`, on which no silence may last longer than `limit`.
    pub(crate) fn new(
        (stream, peer): (TcpStream, SocketAddr),
        interrupt: Interrupt,
        limit: Duration,
    ) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TURN))?;
        stream.set_write_timeout(Some(TURN))?;
        Ok(Self {
            peer,
            channel: Channel::new(stream),
            waiting: Waiting {
                interrupt,
                limit,
                watched: None,
            },
            round_trip: Duration::ZERO,
            sent: 0,
            sending: None,
            unheard: None,
        })
    }

    /// Speaks TLS from now on, behind the server's greeting, which it gives. Whose key the other side has shown is for
    /// the caller to judge before anything is said.
    ///
    /// # Errors
    /// The greeting too, where there was one.
    pub(crate) fn encrypt(&mut self, mut tls: Tls) -> (Vec<u8>, io::Result<()>) {
        let mut greeting = Vec::new();
        let done = self.in_turns(|channel| channel.shake_hands(&mut tls, &mut greeting));
        let done = done.map(|()| self.channel.encrypt(tls));
        (greeting, done)
    }

    /// Sets how long a silence may last.
    pub(crate) fn set_limit(&mut self, limit: Duration) {
        self.waiting.limit = limit;
    }

    /// From now on a silence makes it ask whether that worker lives.
    pub(crate) fn watch(&mut self, worker: u32) {
        self.waiting.watched = Some(Asked {
            address: self.peer,
            worker,
            key: self.tls().and_then(Tls::peer),
        });
    }

    /// Notes how long the connection took to come about.
    pub(crate) fn set_round_trip(&mut self, round_trip: Duration) {
        self.round_trip = round_trip;
    }

    /// How long a round trip took when the connection came about.
    pub(crate) fn round_trip(&self) -> Duration {
        self.round_trip
    }

    pub(crate) fn socket(&self) -> &TcpStream {
        self.channel.socket()
    }

    /// Who was dialled.
    pub(crate) fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// The session that protects what passes; `None` in clear.
    pub(crate) fn tls(&self) -> Option<&Tls> {
        self.channel.tls()
    }

    /// Whether a read would find something, be it the end.
    pub(crate) fn has_input(&self) -> io::Result<bool> {
        if self.channel.is_ready() {
            return Ok(true);
        }
        let mut descriptors = [PollFd::new(self.socket(), PollFlags::IN)];
        Ok(poll(&mut descriptors, Some(&Timespec::default()))? > 0)
    }

    /// Calls what blocks for one turn at most, until it has moved something or there is no hope.
    fn in_turns<T>(
        &mut self,
        mut call: impl FnMut(&mut Channel) -> io::Result<T>,
    ) -> io::Result<T> {
        self.waiting.check()?;
        let mut wait = Wait::new(Instant::now());
        loop {
            match call(&mut self.channel) {
                Err(error) if is_turn_over(&error) => self.look(&mut wait, self.standing())?,
                result => return result,
            }
        }
    }

    /// The same for what sends, whose wait goes on from one call to the next: whoever sends slowly is never blocked, and
    /// would fill the kernel's buffer for a slave that is long gone.
    fn send_in_turns(
        &mut self,
        mut call: impl FnMut(&mut Channel) -> io::Result<usize>,
    ) -> io::Result<usize> {
        self.waiting.check()?;
        let mut wait = self.sending.take();
        if wait
            .as_ref()
            .is_some_and(|wait| wait.looked.elapsed() >= TURN)
        {
            let standing = self.standing();
            match &mut wait {
                Some(wait) if standing.unacknowledged > 0 => self.look(wait, standing)?,
                _ => wait = None,
            }
            self.ask_if_unheard(standing)?;
        }
        let mut wait = wait.unwrap_or_else(|| Wait::new(Instant::now()));
        loop {
            match call(&mut self.channel) {
                Err(error) if is_turn_over(&error) => {
                    let standing = self.standing();
                    self.look(&mut wait, standing)?;
                    self.ask_if_unheard(standing)?;
                }
                result => {
                    if let Ok(sent) = result
                        && self.tls().is_none()
                    {
                        self.sent = self.sent.wrapping_add(u64::try_from(sent).unwrap_or(0));
                    }
                    // Behind an error too: what TLS does not do is done in another way.
                    self.sending = Some(wait);
                    if self.unheard.is_none() {
                        self.unheard = Some(Unheard::new(self.standing()));
                    }
                    return result;
                }
            }
        }
    }

    /// A turn has passed without anything to give, or a while with something on the way. Decides whether to go on.
    fn look(&mut self, wait: &mut Wait, standing: Standing) -> io::Result<()> {
        self.waiting.look(wait, standing)?;
        match &self.waiting.watched {
            Some(watched) if Instant::now() >= wait.next_probe => {
                let again = judge(probe(watched, self.probe_limit()))?;
                wait.next_probe = Instant::now() + again;
                if let Some(unheard) = &mut self.unheard {
                    unheard.put_off(again);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// What was sent arrives, as far as the peer's kernel says; the worker itself has long said nothing.
    fn ask_if_unheard(&mut self, standing: Standing) -> io::Result<()> {
        let limit = self.probe_limit();
        let (Some(watched), Some(unheard)) = (&self.waiting.watched, &mut self.unheard) else {
            return Ok(());
        };
        if standing.arrived.wrapping_sub(unheard.arrived) > MOST_BUFFERED {
            *unheard = Unheard::new(standing);
        }
        if Instant::now() < unheard.ask_at {
            return Ok(());
        }
        let again = match probe(watched, limit) {
            Probed::Dead if unheard.unanswered + 1 < UNANSWERED => {
                unheard.unanswered += 1;
                return Ok(());
            }
            // One that is shut down lets its transfers finish; one that was killed has ended this connection, too.
            Probed::Refused => QUIET,
            probed => judge(probed)?,
        };
        unheard.put_off(again);
        Ok(())
    }

    /// How long the answer to a question may take: what waits on the way delays that, too.
    fn probe_limit(&self) -> Duration {
        let round_trip = sys::socket::round_trip(self.socket()).unwrap_or_default();
        PROBE_LIMIT + MOST_DELAY.min(round_trip * ROUND_TRIPS)
    }

    /// The worker has said something.
    fn hear<T>(&mut self, heard: io::Result<T>) -> io::Result<T> {
        if heard.is_ok() {
            self.unheard = None;
        }
        heard
    }

    fn standing(&self) -> Standing {
        let unacknowledged = sys::socket::unacknowledged(self.socket()).unwrap_or(0);
        let moved = self.sent.wrapping_add(self.channel.moved());
        Standing {
            arrived: moved.wrapping_sub(unacknowledged),
            unacknowledged,
        }
    }
}

impl Unheard {
    /// It seems to be there, and that much has arrived.
    fn new(standing: Standing) -> Self {
        Self {
            ask_at: Instant::now() + UNHEARD,
            unanswered: 0,
            arrived: standing.arrived,
        }
    }

    /// A question has had an answer: the next one comes after so long.
    fn put_off(&mut self, again: Duration) {
        self.unanswered = 0;
        self.ask_at = Instant::now() + again;
    }
}

impl Wait {
    fn new(now: Instant) -> Self {
        Self {
            moved: now,
            next_probe: now + QUIET,
            looked: now,
            arrived: None,
        }
    }
}

impl Waiting {
    fn check(&self) -> io::Result<()> {
        match self.interrupt.is_set() {
            true => Err(Halt::Interrupted.into()),
            false => Ok(()),
        }
    }

    /// Notes what has moved since the last look, and fails where nothing has for too long.
    fn look(&self, wait: &mut Wait, standing: Standing) -> io::Result<()> {
        self.check()?;
        let now = Instant::now();
        let before = wait.arrived.replace(standing.arrived);
        if before.is_some_and(|before| before != standing.arrived) {
            wait.moved = now;
            wait.next_probe = now + QUIET;
        }
        wait.looked = now;
        if now.duration_since(wait.moved) >= self.limit {
            return Err(Halt::Lost(format!("no answer for {} s", self.limit.as_secs())).into());
        }
        Ok(())
    }
}

/// What follows from a question about the worker; after how long to ask again.
fn judge(probed: Probed) -> io::Result<Duration> {
    match probed {
        Probed::Dead | Probed::Refused => Err(Halt::Lost("it does not answer".to_owned()).into()),
        Probed::Alive { silent } if silent > HANGING => {
            Err(Halt::Lost("its worker hangs".to_owned()).into())
        }
        Probed::Alive { silent } if silent > DOUBTFUL => Ok(TURN),
        Probed::Alive { .. } => Ok(QUIET),
    }
}

impl Read for Patient {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = self.in_turns(|channel| channel.read(bytes));
        self.hear(read)
    }
}

impl Write for Patient {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.send_in_turns(|channel| channel.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.in_turns(Channel::finish_writing)
    }
}

impl Wire for Patient {
    fn splice_into(&mut self, pipe: BorrowedFd<'_>, most: usize) -> io::Result<usize> {
        let read = self.in_turns(|channel| channel.splice_into(pipe, most));
        self.hear(read)
    }

    fn send_file(&mut self, file: &File, offset: u64, most: usize) -> io::Result<usize> {
        self.send_in_turns(|channel| channel.send_file(file, offset, most))
    }

    fn write_more(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.send_in_turns(|channel| channel.write_more(bytes))
    }
}

#[cfg(test)]
mod tests;
