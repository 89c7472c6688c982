//! One slave, however often it is known.

use std::time::{Duration, Instant};

use protocol::{Address, Fingerprint, SlaveId, SlaveState, SlaveStatus};

use crate::limits::{PROBE_SILENCE, SILENCE};
use crate::place::Place;

/// What a slave says of itself each second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Load {
    pub(crate) sessions: u32,
    /// 0 when it has not said so yet.
    pub(crate) places: u32,
    pub(crate) draining: bool,
}

impl Load {
    pub(super) const fn is_full(self) -> bool {
        self.places > 0 && self.sessions >= self.places
    }
}

/// One slave, however often it is known.
#[derive(Debug)]
pub(super) struct Slave {
    /// Its rank: the order in which slaves became known.
    pub(super) order: u64,
    /// None until a place from the command line has answered.
    pub(super) identity: Option<Identity>,
    pub(super) registered: Option<Registered>,
    /// Whether it ever was: then it is remembered when it is gone.
    pub(super) joined: bool,
    pub(super) fixed: Vec<Fixed>,
    /// Of its keys.
    pub(super) generation: u32,
    /// By which clients know it.
    pub(super) fingerprint: Option<Fingerprint>,
    /// As last heard.
    pub(super) addresses: Vec<Address>,
    /// Clients sent there since it last told its load.
    pub(super) sent: u32,
}

/// An identity that was not proved is only a claim, and never taken for the one that was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) id: SlaveId,
    pub(super) keyed: bool,
}

#[derive(Debug)]
pub(super) struct Registered {
    pub(super) connection: u64,
    pub(super) contact: Contact,
}

/// A place from the command line.
#[derive(Debug)]
pub(super) struct Fixed {
    pub(super) place: Place,
    pub(super) contact: Option<Contact>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Contact {
    pub(super) heard: Instant,
    pub(super) load: Load,
}

impl Slave {
    pub(super) const fn new(order: u64, identity: Option<Identity>) -> Self {
        Self {
            order,
            identity,
            registered: None,
            joined: false,
            fixed: Vec::new(),
            generation: 0,
            fingerprint: None,
            addresses: Vec::new(),
            sent: 0,
        }
    }

    /// Neither looked for nor ever registered.
    pub(super) const fn is_nothing(&self) -> bool {
        !self.joined && self.fixed.is_empty()
    }

    /// Neither looked for nor registered now.
    pub(super) const fn is_gone(&self) -> bool {
        self.registered.is_none() && self.fixed.is_empty()
    }

    /// The latest sign of life, if it is recent.
    pub(super) fn contact(&self, now: Instant) -> Option<Contact> {
        let registered = self.registered.iter().map(|registered| registered.contact);
        let fixed = self.fixed.iter().filter_map(|fixed| fixed.contact);
        let registered = registered.filter(|contact| contact.is_within(SILENCE, now));
        registered
            .chain(fixed.filter(|contact| contact.is_within(PROBE_SILENCE, now)))
            .max_by_key(|contact| contact.heard)
    }

    /// What the master knows of it.
    pub(super) fn state(&self, now: Instant) -> SlaveState {
        let contact = self.contact(now);
        SlaveState {
            id: self
                .identity
                .map_or(SlaveId([0; 16]), |identity| identity.id),
            addresses: self.addresses.clone(),
            status: match contact.map(|contact| contact.load.draining) {
                Some(false) => SlaveStatus::Up,
                Some(true) => SlaveStatus::Draining,
                None => SlaveStatus::Down,
            },
            sessions: contact.map_or(0, |contact| contact.load.sessions),
            places: contact.map_or(0, |contact| contact.load.places),
        }
    }

    /// Its load, if it takes new sessions.
    pub(super) fn serving(&self, now: Instant) -> Option<Load> {
        let load = self.contact(now)?.load;
        (!load.draining).then_some(load)
    }
}

impl Contact {
    /// Whether it is no older than that.
    pub(super) fn is_within(&self, silence: Duration, now: Instant) -> bool {
        now.saturating_duration_since(self.heard) <= silence
    }
}
