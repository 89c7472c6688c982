//! The streams of one file together: opens them, takes those that end, tells who was lost, looks for more slaves when too
//! few are left. It ends when the plan is complete, or when no stream is left.

use std::io;
use std::ops::Range;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread::{Builder, Scope};
use std::time::{Duration, Instant};

use protocol::{Digest, ErrorCode, Reply, Request};

use crate::ClientErrorKind;
use crate::aside::spawn;
use crate::error::unless_broken;
use crate::fault::{Attempt, Fault};
use crate::master::Offer;
use crate::notice::Notice;
use crate::renewal::Scout;
use crate::session::{Session, unexpected};
use crate::stripe::desk::Desk;
use crate::stripe::ended::Ended;
use crate::stripe::line::{Line, question};
use crate::stripe::plan::{Origin, Stream};
use crate::stripe::roster::{Distance, Quota, Roster, Way};

/// How often it looks around when nothing happens; how often progress is told.
const GLANCE: Duration = Duration::from_millis(100);

/// How often a master is asked for more slaves.
const ASKING: Duration = Duration::from_secs(2);

/// Streams that have nothing more to do get this long to notice it before they are cut off.
const GRACE: Duration = Duration::from_millis(10);

/// A stream needs little: the blocks it holds are not on its stack.
const STACK: usize = 256 * 1024;

/// What happens to a crew.
#[derive(Debug)]
pub(crate) enum Event {
    /// A stream has ended.
    Ended {
        stream: Stream,
        origin: Origin,
        session: Box<Session>,
        result: Attempt<()>,
    },
    /// A session for another stream is open, or not to be had.
    Opened(Recruit, Attempt<Box<Session>>),
    /// A master's answer to the question for more slaves.
    Offers(Vec<Offer>),
    /// What a slave says of the whole.
    Digest(Attempt<Digest>),
    /// The last block is there.
    Complete,
}

/// A stream that is about to begin.
#[derive(Debug)]
pub(crate) struct Recruit {
    stream: Stream,
    origin: Origin,
    /// Blocks that are reserved for it.
    first: Option<Range<u64>>,
}

/// The crew.
pub(crate) struct Crew<'scope, 'env> {
    desk: &'env Desk<'env>,
    threads: &'scope Scope<'scope, 'env>,
    roster: &'env mut Roster,
    scout: &'env Scout,
    /// Streams that somebody asked for, and how far the slaves are.
    wanted: (Option<u32>, Distance),
    /// Most streams that there should have been so far.
    most: u32,
    /// To the slave that was there first.
    round_trip: Duration,
    running: Vec<(Stream, Origin)>,
    next_stream: u32,
    /// Streams whose sessions are being opened.
    recruits: Vec<Stream>,
    /// When a master was asked for more slaves, and whether it has not answered yet.
    asked_at: Option<Instant>,
    is_asking: bool,
    has_lost: bool,
    waits_for_digest: bool,
    told: Instant,
    furthest: u64,
    ended: Ended,
}

impl<'scope, 'env> Crew<'scope, 'env> {
    pub(crate) fn new(
        desk: &'env Desk<'env>,
        threads: &'scope Scope<'scope, 'env>,
        (roster, scout): (&'env mut Roster, &'env Scout),
        distance: Distance,
    ) -> Self {
        Self {
            desk,
            threads,
            roster,
            scout,
            wanted: (desk.context.options.streams, distance),
            most: 1,
            round_trip: Duration::ZERO,
            running: Vec::new(),
            next_stream: 0,
            recruits: Vec::new(),
            asked_at: None,
            is_asking: false,
            has_lost: false,
            waits_for_digest: false,
            told: Instant::now(),
            furthest: 0,
            ended: Ended::default(),
        }
    }

    /// Asks a slave for the digest of the whole, on a session of its own: it may have to read the whole file for that.
    pub(crate) fn ask_for_digest(&mut self, way: Way) -> io::Result<()> {
        let context = self.desk.context.clone();
        let trailer = self.desk.trailer.clone();
        let events = self.desk.events().clone();
        let ask = move || -> Attempt<Digest> {
            let sum = Request::Checksum {
                path: trailer.remote,
                fresh: false,
            };
            match way.open(Some(&sum), &context)?.ask(&sum)? {
                Reply::Sum {
                    digest, version, ..
                } if version == trailer.version => Ok(digest),
                Reply::Sum { .. } => Err(Fault::nonsense("the digest of another version")),
                other => Err(unexpected(&other)),
            }
        };
        spawn("digest", move || drop(events.send(Event::Digest(ask()))))?;
        self.waits_for_digest = true;
        Ok(())
    }

    /// Puts the session that is there first to work.
    pub(crate) fn begin(&mut self, origin: Origin, session: Session) -> io::Result<()> {
        self.round_trip = session.round_trip();
        let recruit = self.enlist(origin);
        self.hire(recruit, session)
    }

    fn enlist(&mut self, origin: Origin) -> Recruit {
        self.next_stream += 1;
        let stream = Stream(self.next_stream);
        Recruit {
            stream,
            origin,
            first: self.desk.enlist(stream, origin, self.round_trip),
        }
    }

    /// Puts a session to work.
    fn hire(&mut self, recruit: Recruit, mut session: Session) -> io::Result<()> {
        let Recruit {
            stream,
            origin,
            first,
        } = recruit;
        let facts = (session.round_trip(), session.socket().ok());
        self.desk.begin(stream, first.is_some(), facts);
        self.roster.joined(origin);
        self.ended.told.remove(&session.address());
        self.running.push((stream, origin));
        let desk = self.desk;
        let work = move || {
            let result = unless_broken(|| Line::new(desk, &mut session, stream).run(first));
            desk.leave(stream);
            desk.tell(Event::Ended {
                stream,
                origin,
                session: Box::new(session),
                result,
            });
        };
        let name = format!("stream {}", stream.0);
        let builder = Builder::new().name(name).stack_size(STACK);
        let begun = builder.spawn_scoped(self.threads, work).map(drop);
        if begun.is_err() {
            desk.leave(stream);
            self.running.pop();
            self.roster.left(origin);
        }
        begun
    }

    /// Sees the work through.
    pub(crate) fn manage(mut self, events: &Receiver<Event>) -> Ended {
        while !self.is_over() {
            if let Err(error) = self.desk.context.check() {
                self.ended.fault = Some(error.into());
                break;
            }
            self.recruit();
            match events.recv_timeout(GLANCE) {
                Ok(event) => self.take(event),
                Err(RecvTimeoutError::Timeout) => self.desk.forgive(),
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.tell_losses();
            self.tell_progress(false);
        }
        let grace = Instant::now() + GRACE;
        while !self.running.is_empty() {
            let left = grace.saturating_duration_since(Instant::now());
            if left.is_zero() && !self.desk.is_over() {
                self.desk.close();
            }
            match events.recv_timeout(left.max(GRACE)) {
                Ok(event) => self.take(event),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.desk.close();
        // Whoever opens them is not waited for.
        for stream in self.recruits.drain(..) {
            self.desk.leave(stream);
        }
        if self.desk.is_complete() {
            self.ended.fault = None;
            self.tell_progress(true);
        }
        self.ended
    }

    fn tell_progress(&mut self, is_last: bool) {
        if is_last || self.told.elapsed() >= GLANCE {
            self.told = Instant::now();
            let trailer = self.desk.trailer;
            // A block changes from one count to the other: for a moment it may be in none.
            self.furthest = self.furthest.max(self.desk.progress());
            let done = self.furthest;
            let name = trailer.remote.as_bytes();
            self.desk.context.progress(done, trailer.size, name);
        }
    }

    fn is_over(&self) -> bool {
        let is_fatal = self.ended.fault.as_ref().is_some_and(is_fatal);
        let is_complete = self.desk.is_complete() && !self.waits_for_digest;
        let is_abandoned = self.running.is_empty() && self.recruits.is_empty() && !self.is_asking;
        is_fatal || is_complete || (is_abandoned && !self.desk.is_complete())
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Ended {
                stream,
                origin,
                session,
                result,
            } => {
                self.running.retain(|(running, _)| *running != stream);
                self.roster.left(origin);
                self.dismiss(origin, *session, result);
            }
            Event::Opened(recruit, Ok(session)) => {
                self.recruits.retain(|stream| *stream != recruit.stream);
                let origin = recruit.origin;
                self.roster.opened(origin);
                if self.desk.is_over() || self.desk.is_complete() {
                    self.desk.leave(recruit.stream);
                    return;
                }
                self.roster.note_address(origin, session.address());
                if let Err(error) = self.hire(recruit, *session) {
                    tracing::debug!(%error, "no thread for another stream");
                    self.roster.lost(origin, false, Instant::now());
                }
            }
            Event::Opened(recruit, Err(fault)) => {
                self.recruits.retain(|stream| *stream != recruit.stream);
                self.desk.leave(recruit.stream);
                let (origin, now) = (recruit.origin, Instant::now());
                match fault {
                    Fault::Refused(ErrorCode::Busy) => self.roster.turned_away(origin, now),
                    _ => self.roster.not_opened(origin, now),
                }
                tracing::debug!(cause = fault.cause(), "no further stream");
                if is_fatal(&fault) {
                    self.ended.fault = Some(fault);
                }
            }
            Event::Offers(offers) => {
                self.is_asking = false;
                self.roster.learn(offers);
            }
            Event::Digest(digest) => {
                self.waits_for_digest = false;
                self.ended.digest = digest
                    .inspect_err(|fault| tracing::debug!(cause = fault.cause(), "no digest"))
                    .ok();
            }
            Event::Complete => {}
        }
    }

    /// What becomes of a session whose stream has ended.
    fn dismiss(&mut self, origin: Origin, mut session: Session, result: Attempt<()>) {
        match result {
            Ok(()) => {}
            Err(fault) if is_fatal(&fault) => self.ended.fault = Some(fault),
            Err(_) if self.desk.is_over() => {}
            Err(Fault::Failed(error)) => {
                tracing::debug!(slave = %session.address(), %error, "not served");
                self.roster.drop_out(origin);
                self.ended.fault = Some(Fault::Failed(error));
            }
            Err(fault) => {
                let (address, cause) = (session.address(), fault.cause());
                tracing::debug!(slave = %address, cause, "stream lost");
                let has_moved = session.take_progress();
                if has_moved {
                    session.mark_progress();
                }
                self.roster.lost(origin, has_moved, Instant::now());
                self.has_lost = true;
                if self.ended.told.insert(address) {
                    self.ended.untold.push((address, cause));
                }
                self.ended.fault = Some(fault);
                self.ended.spent = Some(session);
                return;
            }
        }
        if session.is_at_rest() {
            self.ended.at_rest.push(session);
        } else {
            self.ended.spent.get_or_insert(session);
        }
    }

    /// One line for each slave that was lost, once it is known who goes on.
    fn tell_losses(&mut self) {
        let Some((_, origin)) = self.running.first() else {
            return;
        };
        let next = self.roster.address(*origin);
        for (slave, cause) in self.ended.untold.drain(..) {
            self.desk
                .context
                .notice(&Notice::SlaveLost { slave, cause, next });
        }
    }

    /// Opens more streams where they would help, and asks for more slaves where there are too few.
    fn recruit(&mut self) {
        if self.desk.is_complete() {
            return;
        }
        let now = Instant::now();
        let (asked, distance) = self.wanted;
        let mut quota = Quota::new(asked, distance, self.roster.good());
        self.most = self.most.max(quota.all);
        quota.all = self.most;
        while let Some((origin, way)) = self.roster.next(quota, now) {
            let recruit = self.enlist(origin);
            let stream = recruit.stream;
            let blocks = recruit.first.as_ref();
            let ahead = blocks.map(|blocks| question(self.desk.trailer, blocks));
            let context = self.desk.context.clone();
            let events = self.desk.events().clone();
            let open = move || {
                let opened = way.open(ahead.as_ref(), &context).map(Box::new);
                drop(events.send(Event::Opened(recruit, opened)));
            };
            if spawn("opening", open).is_err() {
                self.desk.leave(stream);
                self.roster.not_opened(origin, now);
                return;
            }
            self.recruits.push(stream);
        }
        let is_due = self.asked_at.is_none_or(|asked| now - asked >= ASKING);
        if self.has_lost && is_due && !self.is_asking && self.roster.is_short(quota) {
            let (scout, events) = (self.scout.clone(), self.desk.events().clone());
            let ask = move || drop(events.send(Event::Offers(scout.ask())));
            self.asked_at = Some(now);
            self.is_asking = spawn("scout", ask).is_ok();
        }
    }
}

/// No other slave would do better, or somebody is in between.
fn is_fatal(fault: &Fault) -> bool {
    let Fault::Failed(error) = fault else {
        return false;
    };
    matches!(
        error.kind(),
        ClientErrorKind::Local(_) | ClientErrorKind::Interrupted | ClientErrorKind::Identity
    )
}
