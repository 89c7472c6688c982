//! Which slaves there are, and which of them serve. Soft state: after a restart it comes back with the next heartbeats.
//!
//! Pure: the time is passed in, and nothing here waits, so the lock around it is never held for long.

use std::time::Instant;

use protocol::limits::MAX_SLAVES;
use protocol::{Address, ErrorCode, Fingerprint, SlaveId, SlaveState, StorageId};
use thiserror::Error;

use crate::limits::{MAX_REGISTERED, MAX_REMEMBERED, SILENCE};
use crate::rotation::{Contender, Policy, Rotation};

mod places;
mod slave;
#[cfg(test)]
mod tests;

pub(crate) use places::Found;
pub(crate) use slave::Load;
use slave::{Contact, Identity, Registered, Slave};

/// A slave that wants to be registered and has proved who it is.
#[derive(Clone, Debug)]
pub(crate) struct Newcomer {
    pub(crate) id: SlaveId,
    pub(crate) storage: StorageId,
    /// Of the keys by which it proved it.
    pub(crate) generation: u32,
    /// By which clients shall know it.
    pub(crate) fingerprint: Option<Fingerprint>,
    pub(crate) addresses: Vec<Address>,
    /// The connection on which it lives; no two have the same number.
    pub(crate) connection: u64,
}

/// Why a slave is not handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum Refusal {
    #[error(
        "this master's slaves serve the storage {ours}, this one serves {theirs}: give every slave the same --root, or \
         restart the master to have it serve another"
    )]
    WrongStorage { ours: StorageId, theirs: StorageId },
    #[error(
        "a slave with this identity is alive at another address; machines that share a state directory need different \
         host names"
    )]
    Duplicate,
    #[error("the master knows {MAX_REGISTERED} slaves already")]
    TooMany,
}

impl Refusal {
    pub(crate) const fn code(self) -> ErrorCode {
        match self {
            Self::WrongStorage { .. } => ErrorCode::WrongStorage,
            Self::Duplicate => ErrorCode::DuplicateSlave,
            Self::TooMany => ErrorCode::Busy,
        }
    }
}

/// A slave to offer to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) id: SlaveId,
    pub(crate) keyed: bool,
    pub(crate) generation: u32,
    pub(crate) fingerprint: Option<Fingerprint>,
    pub(crate) addresses: Vec<Address>,
    pub(crate) load: Load,
}

/// What a client wants.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Query<'a> {
    pub(crate) policy: Policy,
    /// Slaves that it has just found dead or busy.
    pub(crate) tried: &'a [SlaveId],
    /// Whether this counts as its turn.
    pub(crate) takes_turn: bool,
}

/// All slaves.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    /// Bound by the first slave, for the master's life.
    storage: Option<StorageId>,
    /// By order.
    slaves: Vec<Slave>,
    next_order: u64,
    rotation: Rotation,
}

impl Registry {
    /// Registers a slave; a registration of the same slave at the same addresses is superseded.
    pub(crate) fn register(&mut self, newcomer: Newcomer, now: Instant) -> Result<(), Refusal> {
        self.check_storage(newcomer.storage)?;
        let identity = Identity {
            id: newcomer.id,
            keyed: true,
        };
        let registered = Registered {
            connection: newcomer.connection,
            contact: Contact {
                heard: now,
                load: Load::default(),
            },
        };
        if let Some(slave) = self.find(identity) {
            let lives_elsewhere = slave.addresses != newcomer.addresses
                && slave
                    .registered
                    .as_ref()
                    .is_some_and(|registered| registered.contact.is_within(SILENCE, now));
            if lives_elsewhere {
                return Err(Refusal::Duplicate);
            }
            slave.addresses = newcomer.addresses;
            slave.generation = newcomer.generation;
            slave.fingerprint = newcomer.fingerprint;
            slave.registered = Some(registered);
            slave.joined = true;
        } else {
            let count = self
                .slaves
                .iter()
                .filter(|slave| slave.registered.is_some())
                .count();
            if count >= MAX_REGISTERED {
                return Err(Refusal::TooMany);
            }
            self.forget_oldest();
            let slave = Slave::new(self.next_order(), Some(identity));
            self.slaves.push(Slave {
                registered: Some(registered),
                joined: true,
                addresses: newcomer.addresses,
                generation: newcomer.generation,
                fingerprint: newcomer.fingerprint,
                ..slave
            });
        }
        self.storage = Some(newcomer.storage);
        Ok(())
    }

    /// Notes a heartbeat. False when another connection speaks for this slave now.
    pub(crate) fn heartbeat(
        &mut self,
        id: SlaveId,
        connection: u64,
        load: Load,
        now: Instant,
    ) -> bool {
        let Some(slave) = self.registered_on(id, connection) else {
            return false;
        };
        let contact = Contact { heard: now, load };
        slave.registered = Some(Registered {
            connection,
            contact,
        });
        slave.sent = 0;
        true
    }

    /// The connection of a registered slave has ended: the slave is down at once, whatever a probe saw before.
    pub(crate) fn lost(&mut self, id: SlaveId, connection: u64) {
        if let Some(slave) = self.registered_on(id, connection) {
            slave.registered = None;
            for fixed in &mut slave.fixed {
                fixed.contact = None;
            }
        }
    }

    /// The slaves that may serve a client, in the order in which it should try them.
    pub(crate) fn locate(&mut self, query: Query<'_>, now: Instant) -> Vec<Candidate> {
        let mut candidates = Vec::new();
        let mut contenders = Vec::new();
        for slave in &self.slaves {
            let (Some(identity), Some(load)) = (slave.identity, slave.serving(now)) else {
                continue;
            };
            contenders.push(Contender {
                order: slave.order,
                sessions: load.sessions.saturating_add(slave.sent),
                places: load.places,
                full: load.is_full(),
                tried: query.tried.contains(&identity.id),
            });
            candidates.push(Candidate {
                id: identity.id,
                keyed: identity.keyed,
                generation: slave.generation,
                fingerprint: slave.fingerprint,
                addresses: slave.addresses.clone(),
                load,
            });
        }
        let turns = self.rotation.arrange(query.policy, &contenders);
        let first = turns.first().and_then(|&index| contenders.get(index));
        if let Some(first) = first.filter(|_| query.takes_turn) {
            self.rotation.served(first.order);
            for slave in self
                .slaves
                .iter_mut()
                .filter(|slave| slave.order == first.order)
            {
                slave.sent = slave.sent.saturating_add(1);
            }
        }
        turns
            .into_iter()
            .filter_map(|index| candidates.get(index).cloned())
            .take(MAX_SLAVES)
            .collect()
    }

    /// What is known of every slave, in the order in which they became known.
    pub(crate) fn states(&self, now: Instant) -> Vec<SlaveState> {
        self.slaves.iter().map(|slave| slave.state(now)).collect()
    }

    /// Whether a slave that has proved to be this one is alive.
    pub(crate) fn serves(&self, id: SlaveId, now: Instant) -> bool {
        let identity = Some(Identity { id, keyed: true });
        let mut slaves = self.slaves.iter();
        slaves.any(|slave| slave.identity == identity && slave.contact(now).is_some())
    }

    /// What the slaves serve, once there was one.
    pub(crate) const fn storage(&self) -> Option<StorageId> {
        self.storage
    }

    /// Where each slave is reached that is registered, or has answered at a place from the command line.
    pub(crate) fn addresses(&self) -> Vec<Vec<Address>> {
        let is_ours = |slave: &&Slave| slave.identity.is_some() && !slave.is_gone();
        let ours = self.slaves.iter().filter(is_ours);
        ours.map(|slave| slave.addresses.clone()).collect()
    }

    fn check_storage(&self, theirs: StorageId) -> Result<(), Refusal> {
        match self.storage {
            Some(ours) if ours != theirs => Err(Refusal::WrongStorage { ours, theirs }),
            _ => Ok(()),
        }
    }

    const fn next_order(&mut self) -> u64 {
        self.next_order += 1;
        self.next_order
    }

    /// Makes room: of the slaves that nobody asked for and that are gone, the one known longest goes.
    fn forget_oldest(&mut self) {
        if self.slaves.len() >= MAX_REMEMBERED
            && let Some(index) = self.slaves.iter().position(Slave::is_gone)
        {
            self.slaves.remove(index);
        }
    }

    fn find(&mut self, identity: Identity) -> Option<&mut Slave> {
        self.slaves
            .iter_mut()
            .find(|slave| slave.identity == Some(identity))
    }

    fn registered_on(&mut self, id: SlaveId, connection: u64) -> Option<&mut Slave> {
        self.find(Identity { id, keyed: true }).filter(|slave| {
            slave
                .registered
                .as_ref()
                .is_some_and(|registered| registered.connection == connection)
        })
    }
}
