//! The slaves at the places from the command line: what probes find there, and which slave that is.

use std::time::Instant;

use protocol::{Address, Fingerprint, SlaveId, StorageId};

use super::slave::{Contact, Fixed, Identity, Load, Slave};
use super::{Refusal, Registry};
use crate::place::Place;

/// What a probe found at a place from the command line.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) id: SlaveId,
    pub(crate) storage: StorageId,
    /// Whether it proved that it holds the key for our tickets; one that stands alone has none.
    pub(crate) keyed: bool,
    /// Of its keys, where it has any.
    pub(crate) generation: u32,
    /// Of the certificate that it showed.
    pub(crate) fingerprint: Option<Fingerprint>,
    pub(crate) addresses: Vec<Address>,
    pub(crate) load: Load,
}

impl Registry {
    /// Takes over the places from the command line: new ones are added, others forgotten.
    pub(crate) fn set_places(&mut self, places: &[Place]) {
        for slave in &mut self.slaves {
            slave.fixed.retain(|fixed| places.contains(&fixed.place));
        }
        self.slaves.retain(|slave| !slave.is_nothing());
        for place in places {
            if self.holder(place).is_none() {
                let fixed = Fixed {
                    place: place.clone(),
                    contact: None,
                };
                let slave = Slave::new(self.next_order(), None);
                self.slaves.push(Slave {
                    fixed: vec![fixed],
                    addresses: vec![place.address()],
                    ..slave
                });
            }
        }
    }

    /// Notes what answered at a place from the command line.
    pub(crate) fn found(
        &mut self,
        place: &Place,
        found: Found,
        now: Instant,
    ) -> Result<(), Refusal> {
        let identity = Identity {
            id: found.id,
            keyed: found.keyed,
        };
        let proved = Identity {
            keyed: true,
            ..identity
        };
        let is_pretender = !found.keyed
            && self
                .find(proved)
                .is_some_and(|slave| slave.contact(now).is_some());
        let verdict = match self.check_storage(found.storage) {
            Ok(()) if is_pretender => Err(Refusal::Duplicate),
            verdict => verdict,
        };
        if verdict.is_err() {
            self.unreachable(place);
            return verdict;
        }
        let Some(slave) = self.move_place(place, identity) else {
            return Ok(()); // no longer on the command line
        };
        let contact = Contact {
            heard: now,
            load: found.load,
        };
        for fixed in slave.fixed.iter_mut().filter(|fixed| fixed.place == *place) {
            fixed.contact = Some(contact);
        }
        slave.sent = 0;
        // A registered slave knows better how it can be reached than those who look for it.
        if slave.registered.is_none() {
            slave.addresses = found.addresses;
            slave.generation = found.generation;
            slave.fingerprint = found.fingerprint;
        }
        self.storage = Some(found.storage);
        Ok(())
    }

    /// A slave answers at the place, but has no time for us: whoever it was is still alive, and full.
    pub(crate) fn busy(&mut self, place: &Place, now: Instant) {
        let Some(slave) = self.holder(place) else {
            return;
        };
        for fixed in slave.fixed.iter_mut().filter(|fixed| fixed.place == *place) {
            if let Some(contact) = &mut fixed.contact {
                contact.heard = now;
                contact.load.sessions = contact.load.places;
            }
        }
    }

    /// Nothing of use answers at the place.
    pub(crate) fn unreachable(&mut self, place: &Place) {
        if let Some(slave) = self.holder(place) {
            for fixed in slave.fixed.iter_mut().filter(|fixed| fixed.place == *place) {
                fixed.contact = None;
            }
        }
    }

    fn holder(&mut self, place: &Place) -> Option<&mut Slave> {
        self.slaves
            .iter_mut()
            .find(|slave| slave.fixed.iter().any(|fixed| fixed.place == *place))
    }

    /// The slave with this identity, which from now on is the one at `place`: one slave, one entry, one turn. None where
    /// nobody looks at that place.
    fn move_place(&mut self, place: &Place, identity: Identity) -> Option<&mut Slave> {
        let known = self
            .slaves
            .iter()
            .position(|slave| slave.identity == Some(identity));
        let holder = self.holder(place)?;
        let alone = holder.registered.is_none() && holder.fixed.len() == 1;
        if known.is_none() && (holder.identity.is_none() || alone) {
            holder.identity = Some(identity);
        } else if holder.identity != Some(identity) {
            let index = holder
                .fixed
                .iter()
                .position(|fixed| fixed.place == *place)?;
            let fixed = holder.fixed.remove(index);
            let vacated = holder.is_nothing().then_some(holder.order);
            if known.is_none() {
                let slave = Slave::new(self.next_order(), Some(identity));
                self.slaves.push(slave);
            }
            let slave = self.find(identity)?;
            slave.fixed.push(fixed);
            slave.order = vacated.map_or(slave.order, |order| order.min(slave.order));
            self.slaves.retain(|slave| !slave.is_nothing());
            self.slaves.sort_by_key(|slave| slave.order);
        }
        self.find(identity)
    }
}
