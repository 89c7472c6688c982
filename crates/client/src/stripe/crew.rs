//! The streams of one file together: opens them, takes those that end, tells who was lost, looks for more slaves when too
//! few are left. It ends when the plan is complete, or when no stream is left.

mod recruit;

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread::Scope;
use std::time::{Duration, Instant};

use protocol::{Digest, ErrorCode, Reply, Version};

use crate::aside::spawn;
use crate::commands::checksum;
use crate::fault::{Attempt, Fault};
use crate::master::Offer;
use crate::renewal::Scout;
use crate::session::{Session, unexpected};
use crate::stripe::desk::Desk;
use crate::stripe::ended::Ended;
use crate::stripe::plan::{Origin, Stream};
use crate::stripe::reserve::Reserve;
use crate::stripe::roster::{Distance, Roster};
use recruit::Recruit;

/// How often it looks around when nothing happens; how often progress is told.
const GLANCE: Duration = Duration::from_millis(100);

/// Streams that have nothing more to do get this long to notice it before they are cut off.
const GRACE: Duration = Duration::from_millis(10);

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
    /// What that slave says of the whole, and the session on which it was asked.
    Digest(Origin, Attempt<Digest>, Option<Box<Session>>),
    /// The last block is there.
    Complete,
}

/// The crew.
pub(crate) struct Crew<'scope, 'env> {
    desk: &'env Desk<'env>,
    threads: &'scope Scope<'scope, 'env>,
    roster: &'env mut Roster,
    /// Sessions that are open already.
    reserve: &'env mut Reserve,
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
    recruits: Vec<(Stream, Origin)>,
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
        (roster, reserve, scout): (&'env mut Roster, &'env mut Reserve, &'env Scout),
        distance: Distance,
    ) -> Self {
        Self {
            desk,
            threads,
            roster,
            reserve,
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
    pub(crate) fn ask_for_digest(&mut self, origin: Origin) -> io::Result<()> {
        let Some(way) = self.roster.way(origin) else {
            return Ok(());
        };
        let kept = self.reserve.take(self.roster, origin);
        let context = self.desk.context.clone();
        let trailer = self.desk.trailer.clone();
        let events = self.desk.events().clone();
        let ask = move || {
            let sum = checksum(&trailer.remote);
            let opened = match kept {
                Some(session) => Ok(session),
                None => way.open(Some(&sum), &context),
            };
            let (digest, session) = match opened {
                Ok(mut session) => {
                    let reply = session.ask(&sum);
                    let digest = reply.and_then(|reply| digest_in(&reply, &trailer.version));
                    (digest, Some(Box::new(session)))
                }
                Err(fault) => (Err(fault), None),
            };
            drop(events.send(Event::Digest(origin, digest, session)));
        };
        spawn("digest", ask)?;
        self.waits_for_digest = true;
        Ok(())
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
        for (stream, origin) in self.recruits.drain(..) {
            self.desk.leave(stream);
            self.roster.opened(origin);
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
        let is_fatal = self.ended.fault.as_ref().is_some_and(Fault::ends_all);
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
                self.recruits
                    .retain(|(stream, _)| *stream != recruit.stream);
                self.welcome(recruit, *session);
            }
            Event::Opened(recruit, Err(fault)) => {
                self.recruits
                    .retain(|(stream, _)| *stream != recruit.stream);
                self.desk.leave(recruit.stream);
                let (origin, now) = (recruit.origin, Instant::now());
                match fault {
                    Fault::Refused(ErrorCode::Busy) => self.roster.turned_away(origin, now),
                    _ => self.roster.not_opened(origin, now),
                }
                tracing::debug!(cause = fault.cause(), "no further stream");
                if fault.ends_all() {
                    self.ended.fault = Some(fault);
                }
            }
            Event::Offers(offers) => {
                self.is_asking = false;
                self.roster.learn(offers);
            }
            Event::Digest(_, Ok(digest), session) => {
                self.waits_for_digest = false;
                // It becomes a stream, of this file or of the next.
                self.reserve.add(session.map(|session| *session));
                self.ended.digest = Some(digest);
            }
            Event::Digest(origin, Err(fault), _) => {
                self.waits_for_digest = false;
                tracing::debug!(cause = fault.cause(), "no digest");
                self.ended.mute = self.roster.address(origin);
            }
            Event::Complete => {}
        }
    }

    /// What becomes of a session whose stream has ended.
    fn dismiss(&mut self, origin: Origin, mut session: Session, result: Attempt<()>) {
        match result {
            Ok(()) => {}
            Err(fault) if fault.ends_all() => self.ended.fault = Some(fault),
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
                self.reserve.give_up(self.roster, origin);
                self.has_lost = true;
                self.ended.fault = Some(fault);
                self.ended.lose(session, cause);
                return;
            }
        }
        if session.is_at_rest() {
            self.ended.at_rest.push(session);
        } else {
            self.ended.spent.get_or_insert(session);
        }
    }

    /// One line for each slave that was lost, once it is known who goes on: nobody whose other streams may only not have noticed
    /// yet.
    fn tell_losses(&mut self) {
        let running = self.running.iter();
        let mut addresses = running.filter_map(|(_, origin)| self.roster.address(*origin));
        let next = addresses.find(|address| !self.ended.lost.contains(address));
        if next.is_some() {
            self.ended.tell(self.desk.context, next);
        }
    }
}

/// What a slave has said of the whole, if it is about this version.
fn digest_in(reply: &Reply, expected: &Version) -> Attempt<Digest> {
    match reply {
        Reply::Sum {
            digest, version, ..
        } if version == expected => Ok(*digest),
        Reply::Sum { .. } => Err(Fault::nonsense("the digest of another version")),
        other => Err(unexpected(other)),
    }
}
