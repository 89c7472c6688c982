//! The slaves that may serve a file: how to reach them, how many streams each gets, which of them is of no use.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use protocol::limits::MAX_SLAVES;
use protocol::{Request, SlaveId};

use crate::context::Context;
use crate::fault::Attempt;
use crate::master::Offer;
use crate::session::{Key, Session};
use crate::stripe::plan::Origin;

/// Streams at most, where nobody says how many.
const MOST_STREAMS: u32 = 16;

/// Streams that fill a line with latency, where one is limited by what the kernels hold of it under way. With more at once a
/// slave begins to turn connections away that have not said who they are.
const FAR_STREAMS: u32 = 10;

/// A connection that takes this long to come about has latency.
const FAR: Duration = Duration::from_millis(5);

/// After a loss a slave is left alone for this long, then twice as long.
const REST: Duration = Duration::from_millis(500);

/// So many failures in a row, and a slave is given up for this file.
const MAX_FAILURES: u32 = 3;

/// All slaves that are known.
#[derive(Debug, Default)]
pub(crate) struct Roster {
    slaves: Vec<Slave>,
}

#[derive(Debug)]
struct Slave {
    id: Option<SlaveId>,
    way: Way,
    address: Option<SocketAddr>,
    has_room: bool,
    streams: u32,
    opening: u32,
    failures: u32,
    rests_until: Option<Instant>,
    /// It does not have this file in this version, or will not serve it.
    is_out: bool,
}

/// How to open another session with a slave.
#[derive(Clone, Debug)]
pub(crate) enum Way {
    Offered(Offer),
    /// As an earlier session was opened.
    Again(SocketAddr, Key),
}

impl Way {
    /// Opens it; `ahead` as in [`Session::open`].
    pub(crate) fn open(&self, ahead: Option<&Request>, context: &Context) -> Attempt<Session> {
        match self {
            Self::Offered(offer) => offer.open(ahead, context),
            Self::Again(address, key) => Session::open(*address, key, ahead, context),
        }
    }
}

/// How far away the slaves are, by the one that was reached first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Distance {
    SameMachine,
    Near,
    Far,
}

impl Distance {
    pub(crate) fn of(session: &Session) -> Self {
        if session.is_same_machine() {
            Self::SameMachine
        } else if session.round_trip() > FAR {
            Self::Far
        } else {
            Self::Near
        }
    }
}

/// How many streams there should be: in all, and with each slave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Quota {
    pub(crate) all: u32,
    pub(crate) each: u32,
}

impl Quota {
    /// With so many `slaves`, where so many streams are `asked` for; otherwise as many as help.
    pub(crate) fn new(asked: Option<u32>, distance: Distance, slaves: u32) -> Self {
        let slaves = slaves.max(1);
        let each = |all: u32| all.div_ceil(slaves);
        match (asked, distance) {
            (Some(all), _) => Self {
                all,
                each: each(all),
            },
            // More streams than one only share the processors, which are all in one machine.
            (None, Distance::SameMachine) => Self { all: 1, each: 1 },
            (None, Distance::Near) => Self {
                all: slaves.min(MOST_STREAMS),
                each: 1,
            },
            (None, Distance::Far) => Self {
                all: (slaves * each(FAR_STREAMS)).min(MOST_STREAMS),
                each: each(FAR_STREAMS),
            },
        }
    }
}

impl Roster {
    /// Takes in what a master offers: new slaves, fresh tickets for known ones.
    pub(crate) fn learn(&mut self, offers: Vec<Offer>) {
        for offer in offers {
            let id = Some(offer.pass.id);
            let has_room = offer.has_room;
            let way = Way::Offered(offer);
            if let Some(slave) = self.slaves.iter_mut().find(|slave| slave.id == id) {
                slave.way = way;
                slave.has_room = has_room;
            } else if self.slaves.len() < MAX_SLAVES {
                self.slaves.push(Slave::new(id, way, has_room));
            }
        }
    }

    /// The place of a slave with which a session is open, whether it was known or not.
    pub(crate) fn place_of(&mut self, session: &Session) -> Origin {
        let is_it = |slave: &Slave| slave.is_with(session);
        let place = self.slaves.iter().position(is_it).unwrap_or_else(|| {
            let way = Way::Again(session.address(), session.key().clone());
            self.slaves.push(Slave::new(session.id(), way, true));
            self.slaves.len() - 1
        });
        let origin = Origin(u16::try_from(place).unwrap_or(u16::MAX));
        self.note_address(origin, session.address());
        origin
    }

    /// Whether a session is with that slave.
    pub(crate) fn is_with(&self, origin: Origin, session: &Session) -> bool {
        let slave = self.slaves.get(usize::from(origin.0));
        slave.is_some_and(|slave| slave.is_with(session))
    }

    /// Where the slave was reached.
    pub(crate) fn note_address(&mut self, origin: Origin, address: SocketAddr) {
        self.change(origin, |slave| slave.address = Some(address));
    }

    /// How many slaves could serve now.
    pub(crate) fn good(&self) -> u32 {
        let is_good = |slave: &&Slave| slave.streams > 0 || slave.is_usable();
        let good = self.slaves.iter().filter(is_good).count();
        u32::try_from(good).unwrap_or(u32::MAX)
    }

    /// With whom to open another stream now.
    pub(crate) fn next(&mut self, quota: Quota, now: Instant) -> Option<(Origin, Way)> {
        let busy = |slave: &Slave| slave.streams + slave.opening;
        let all: u32 = self.slaves.iter().map(busy).sum();
        let slave = (0..)
            .zip(&mut self.slaves)
            .filter(|(_, slave)| slave.is_usable() && busy(slave) < quota.each)
            .filter(|(_, slave)| slave.rests_until.is_none_or(|until| until <= now))
            .min_by_key(|(_, slave)| busy(slave))
            .filter(|_| all < quota.all);
        slave.map(|(place, slave)| {
            slave.opening += 1;
            (Origin(place), slave.way.clone())
        })
    }

    /// Whether streams are missing that nobody who is known could serve.
    pub(crate) fn is_short(&self, quota: Quota) -> bool {
        let all: u32 = self.slaves.iter().map(|slave| slave.streams).sum();
        let opening = self.slaves.iter().any(|slave| slave.opening > 0);
        all < quota.all && !opening
    }

    pub(crate) fn opened(&mut self, origin: Origin) {
        self.change(origin, |slave| {
            slave.opening = slave.opening.saturating_sub(1);
        });
    }

    /// No stream could be opened.
    pub(crate) fn not_opened(&mut self, origin: Origin, now: Instant) {
        self.change(origin, |slave| {
            slave.opening = slave.opening.saturating_sub(1);
            slave.fail(now);
        });
    }

    /// No further stream was let in: no failure of a slave that may have a place in a while.
    pub(crate) fn turned_away(&mut self, origin: Origin, now: Instant) {
        self.change(origin, |slave| {
            slave.opening = slave.opening.saturating_sub(1);
            slave.rests_until = Some(now + REST);
        });
    }

    pub(crate) fn joined(&mut self, origin: Origin) {
        self.change(origin, |slave| slave.streams += 1);
    }

    pub(crate) fn left(&mut self, origin: Origin) {
        self.change(origin, |slave| {
            slave.streams = slave.streams.saturating_sub(1);
        });
    }

    /// A stream was lost; `has_moved`: after it had brought something.
    pub(crate) fn lost(&mut self, origin: Origin, has_moved: bool, now: Instant) {
        self.change(origin, |slave| {
            if has_moved {
                slave.failures = 0;
            }
            slave.fail(now);
        });
    }

    /// The slave is not asked for this file again.
    pub(crate) fn drop_out(&mut self, origin: Origin) {
        self.change(origin, |slave| slave.is_out = true);
    }

    /// Another try, or another version of the file: everybody may serve it again.
    pub(crate) fn readmit(&mut self) {
        for slave in &mut self.slaves {
            slave.is_out = false;
            slave.failures = 0;
            slave.rests_until = None;
        }
    }

    pub(crate) fn way(&self, origin: Origin) -> Option<Way> {
        let slave = self.slaves.get(usize::from(origin.0))?;
        Some(slave.way.clone())
    }

    pub(crate) fn address(&self, origin: Origin) -> Option<SocketAddr> {
        self.slaves.get(usize::from(origin.0))?.address
    }

    /// Slaves that have served this file, or may.
    pub(crate) fn in_use(&self) -> Vec<(Origin, Way)> {
        let is_known = |slave: &Slave| slave.address.is_some() && !slave.is_out;
        (0..)
            .map(Origin)
            .zip(&self.slaves)
            .filter(|(_, slave)| is_known(slave))
            .map(|(origin, slave)| (origin, slave.way.clone()))
            .collect()
    }

    /// Slaves that failed last time they were asked.
    pub(crate) fn failed(&self) -> impl Iterator<Item = SlaveId> + '_ {
        let has_failed = |slave: &&Slave| slave.failures > 0 && slave.streams == 0;
        self.slaves
            .iter()
            .filter(has_failed)
            .filter_map(|slave| slave.id)
    }

    fn change(&mut self, origin: Origin, change: impl FnOnce(&mut Slave)) {
        if let Some(slave) = self.slaves.get_mut(usize::from(origin.0)) {
            change(slave);
        }
    }
}

impl Slave {
    const fn new(id: Option<SlaveId>, way: Way, has_room: bool) -> Self {
        Self {
            id,
            way,
            address: None,
            has_room,
            streams: 0,
            opening: 0,
            failures: 0,
            rests_until: None,
            is_out: false,
        }
    }

    fn is_with(&self, session: &Session) -> bool {
        match session.id() {
            Some(id) => self.id == Some(id),
            None => self.address == Some(session.address()),
        }
    }

    fn is_usable(&self) -> bool {
        self.has_room && !self.is_out && self.failures < MAX_FAILURES
    }

    fn fail(&mut self, now: Instant) {
        self.rests_until = Some(now + REST * 2_u32.pow(self.failures.min(8)));
        self.failures += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_streams_as_help() {
        let quota = |asked, distance, slaves| {
            let quota = Quota::new(asked, distance, slaves);
            (quota.all, quota.each)
        };
        assert_eq!(quota(None, Distance::SameMachine, 3), (1, 1));
        assert_eq!(quota(None, Distance::Near, 3), (3, 1));
        assert_eq!(quota(None, Distance::Near, 60), (16, 1));
        assert_eq!(quota(None, Distance::Far, 1), (10, 10));
        assert_eq!(quota(None, Distance::Far, 3), (12, 4));
        assert_eq!(quota(None, Distance::Far, 8), (16, 2));
        assert_eq!(quota(Some(4), Distance::SameMachine, 3), (4, 2));
        assert_eq!(quota(Some(2), Distance::Near, 0), (2, 2));
    }
}
