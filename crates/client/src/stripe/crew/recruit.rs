//! Who joins a crew: sessions that are open already, then new ones, as many as help.

use std::io;
use std::ops::Range;
use std::thread::Builder;
use std::time::{Duration, Instant};

use super::{Crew, Event};
use crate::aside::spawn;
use crate::error::unless_broken;
use crate::session::Session;
use crate::stripe::line::{Line, question};
use crate::stripe::plan::{Origin, Stream};
use crate::stripe::roster::{Quota, Way};

/// How often a master is asked for more slaves.
const ASKING: Duration = Duration::from_secs(2);

/// A stream needs little: the blocks it holds are not on its stack.
const STACK: usize = 256 * 1024;

/// A stream that is about to begin.
#[derive(Debug)]
pub(crate) struct Recruit {
    pub(super) stream: Stream,
    pub(super) origin: Origin,
    /// Blocks that are reserved for it.
    first: Option<Range<u64>>,
}

impl Crew<'_, '_> {
    /// Puts the session that is there first to work, and those of the reserve that are of use.
    pub(crate) fn begin(&mut self, origin: Origin, session: Session) -> io::Result<()> {
        self.round_trip = session.round_trip();
        let recruit = self.enlist(origin);
        self.hire(recruit, session)?;
        self.recruit();
        self.reserve.empty();
        Ok(())
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
        self.ended.regain(session.address());
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

    /// A session for a further stream is open.
    pub(super) fn welcome(&mut self, recruit: Recruit, session: Session) {
        let origin = recruit.origin;
        self.roster.opened(origin);
        if self.desk.is_over() || self.desk.is_complete() {
            self.desk.leave(recruit.stream);
            return;
        }
        self.roster.note_address(origin, session.address());
        if let Err(error) = self.hire(recruit, session) {
            tracing::debug!(%error, "no thread for another stream");
            self.roster.lost(origin, false, Instant::now());
        }
    }

    /// Opens more streams where they would help, and asks for more slaves where there are too few.
    pub(super) fn recruit(&mut self) {
        if self.desk.is_complete() {
            return;
        }
        let now = Instant::now();
        let (asked, distance) = self.wanted;
        let mut quota = Quota::new(asked, distance, self.roster.good());
        self.most = self.most.max(quota.all);
        quota.all = self.most;
        while !self.desk.is_complete()
            && let Some((origin, way)) = self.roster.next(quota, now)
        {
            let recruit = self.enlist(origin);
            if let Some(session) = self.reserve.take(self.roster, origin) {
                self.welcome(recruit, session);
            } else if !self.open(recruit, way) {
                self.roster.not_opened(origin, now);
                return;
            }
        }
        let is_due = self.asked_at.is_none_or(|asked| now - asked >= ASKING);
        if self.has_lost && is_due && !self.is_asking && self.roster.is_short(quota) {
            let (scout, events) = (self.scout.clone(), self.desk.events().clone());
            let ask = move || drop(events.send(Event::Offers(scout.ask())));
            self.asked_at = Some(now);
            self.is_asking = spawn("scout", ask).is_ok();
        }
    }

    /// Opens a session for a further stream, on a thread of its own; whether there is one.
    fn open(&mut self, recruit: Recruit, way: Way) -> bool {
        let (stream, origin) = (recruit.stream, recruit.origin);
        let blocks = recruit.first.as_ref();
        let ahead = blocks.map(|blocks| question(self.desk.trailer, blocks));
        let context = self.desk.context.clone();
        let events = self.desk.events().clone();
        let open = move || {
            let opened = way.open(ahead.as_ref(), &context).map(Box::new);
            drop(events.send(Event::Opened(recruit, opened)));
        };
        let is_begun = spawn("opening", open).is_ok();
        if is_begun {
            self.recruits.push((stream, origin));
        } else {
            self.desk.leave(stream);
        }
        is_begun
    }
}
