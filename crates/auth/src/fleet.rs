//! The slaves of a master as its operator wants them: who was invited, who joined, who is shut out.
//!
//! ```toml
//! [invitations.5d0c…]     # digest of the token
//! expires = 1800003600
//!
//! [slaves.11111111111111111111111111111111]
//! generation = 1          # of its keys; 0 for a slave that has the master key
//! evicted = true
//! ```

use std::collections::BTreeMap;
use std::str::FromStr;

use protocol::SlaveId;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

use crate::invitation::{Invitation, digest_of};
use crate::toml_file::{self, Malformed};

/// Most invitations that are open at once.
pub const MAX_INVITATIONS: usize = 64;

/// Most slaves that are remembered.
pub const MAX_MEMBERS: usize = 4096;

/// Slaves and invitations of one master. A slave of which nothing is said here is one that has the master key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fleet {
    #[serde(default)]
    invitations: BTreeMap<String, Open>,
    #[serde(default)]
    slaves: BTreeMap<Name, Member>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Open {
    /// Seconds since 1970.
    expires: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Member {
    #[serde(default)]
    generation: u32,
    #[serde(default)]
    evicted: bool,
}

/// Why somebody is not invited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{MAX_INVITATIONS} invitations are open already: wait until they are used or end")]
pub struct TooManyInvitations;

/// Why an invitation is not honoured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum JoinError {
    /// It is none, was used, or is too old: whoever shows it does not learn which.
    #[error("the invitation was used, has ended, or is another master's")]
    NotInvited,
    /// The keys that this slave has already still count.
    #[error(
        "this slave has joined already; to give it new keys: ftpmaster evict {0}, and invite it again"
    )]
    Member(SlaveId),
    /// There are too many slaves.
    #[error("{MAX_MEMBERS} slaves have joined already")]
    TooMany,
}

impl Fleet {
    /// What the content of a file says.
    ///
    /// # Errors
    /// The first thing in it that is not understood.
    pub fn parse(content: &[u8]) -> Result<Self, Malformed> {
        toml_file::parse(content)
    }

    /// As a file holds it.
    ///
    /// # Errors
    /// TOML cannot say it: an invitation that ends in a time of more than 63 bits.
    pub fn to_text(&self) -> Result<String, toml::ser::Error> {
        toml::to_string(self)
    }

    /// Opens an invitation until `expires`, and forgets those that ended before `now` (seconds since 1970).
    ///
    /// # Errors
    /// Too many are open.
    pub fn invite(
        &mut self,
        invitation: &Invitation,
        expires: u64,
        now: u64,
    ) -> Result<(), TooManyInvitations> {
        self.invitations.retain(|_, open| now < open.expires);
        if self.invitations.len() >= MAX_INVITATIONS {
            return Err(TooManyInvitations);
        }
        self.invitations
            .insert(invitation.digest(), Open { expires });
        Ok(())
    }

    /// Uses an invitation up: the slave belongs to the fleet from now on. The generation of its keys, which are others than
    /// those it had before. One that `serves` and of which nothing is said here does so with the master key: it is a member,
    /// which others would shut out by joining in its stead.
    ///
    /// # Errors
    /// See [`JoinError`]; the invitation is then as it was.
    pub fn join(
        &mut self,
        token: &[u8],
        (slave, serves): (SlaveId, bool),
        now: u64,
    ) -> Result<u32, JoinError> {
        let digest = digest_of(token);
        let open = self.invitations.get(&digest);
        if open.is_none_or(|open| now >= open.expires) {
            return Err(JoinError::NotInvited);
        }
        let with_master_key = serves.then(Member::default);
        let known = self.slaves.get(&Name(slave)).copied().or(with_master_key);
        if known.is_some_and(|member| !member.evicted) {
            return Err(JoinError::Member(slave));
        }
        if known.is_none() && self.slaves.len() >= MAX_MEMBERS {
            return Err(JoinError::TooMany);
        }
        let before = known.unwrap_or_default().generation;
        let generation = before.checked_add(1).ok_or(JoinError::TooMany)?;
        self.invitations.remove(&digest);
        let member = Member {
            generation,
            evicted: false,
        };
        self.slaves.insert(Name(slave), member);
        Ok(generation)
    }

    /// Shuts a slave out, whichever keys it has; whether that is news.
    pub fn evict(&mut self, slave: SlaveId) -> bool {
        let member = self.slaves.entry(Name(slave)).or_default();
        !std::mem::replace(&mut member.evicted, true)
    }

    /// The generation of the slave's keys; `None` where it is shut out.
    #[must_use]
    pub fn generation(&self, slave: &SlaveId) -> Option<u32> {
        match self.slaves.get(&Name(*slave)) {
            Some(member) => (!member.evicted).then_some(member.generation),
            None => Some(0),
        }
    }
}

/// A slave's identity as the name of its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Name(SlaveId);

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        SlaveId::from_str(&text)
            .map(Self)
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLAVE: SlaveId = SlaveId([1; 16]);
    const OTHER: SlaveId = SlaveId([2; 16]);

    fn invited() -> (Fleet, Invitation) {
        let mut fleet = Fleet::default();
        let invitation = Invitation::fresh(None).unwrap();
        fleet.invite(&invitation, 100, 0).unwrap();
        (fleet, invitation)
    }

    fn join(
        fleet: &mut Fleet,
        invitation: &Invitation,
        id: SlaveId,
        now: u64,
    ) -> Result<u32, JoinError> {
        fleet.join(invitation.token().reveal(), (id, false), now)
    }

    #[test]
    fn an_invitation_is_good_for_one_slave_until_it_ends() {
        let (mut fleet, invitation) = invited();
        let stranger = Invitation::fresh(None).unwrap();
        assert_eq!(
            join(&mut fleet, &stranger, SLAVE, 0),
            Err(JoinError::NotInvited)
        );
        assert_eq!(
            join(&mut fleet, &invitation, SLAVE, 100),
            Err(JoinError::NotInvited)
        );
        assert_eq!(fleet.generation(&SLAVE), Some(0));
        assert_eq!(join(&mut fleet, &invitation, SLAVE, 99), Ok(1));
        assert_eq!(fleet.generation(&SLAVE), Some(1));
        for id in [SLAVE, OTHER] {
            assert_eq!(
                join(&mut fleet, &invitation, id, 99),
                Err(JoinError::NotInvited)
            );
        }
        assert_eq!(fleet.generation(&OTHER), Some(0));
    }

    #[test]
    fn nobody_takes_the_place_of_a_slave_that_has_joined() {
        let (mut fleet, first) = invited();
        join(&mut fleet, &first, SLAVE, 0).unwrap();
        let second = Invitation::fresh(None).unwrap();
        fleet.invite(&second, 100, 0).unwrap();
        assert_eq!(
            join(&mut fleet, &second, SLAVE, 0),
            Err(JoinError::Member(SLAVE))
        );
        // It was not used up.
        assert_eq!(join(&mut fleet, &second, OTHER, 0), Ok(1));
    }

    #[test]
    fn nobody_takes_the_place_of_a_slave_that_serves_with_the_master_key() {
        let (mut fleet, invitation) = invited();
        let mut join = |serves| fleet.join(invitation.token().reveal(), (SLAVE, serves), 0);
        assert_eq!(join(true), Err(JoinError::Member(SLAVE)));
        // It was not used up.
        assert_eq!(join(false), Ok(1));
        // One that was evicted may serve for a moment still.
        assert!(fleet.evict(SLAVE));
        let second = Invitation::fresh(None).unwrap();
        fleet.invite(&second, 100, 0).unwrap();
        let again = fleet.join(second.token().reveal(), (SLAVE, true), 0);
        assert_eq!(again, Ok(2));
    }

    #[test]
    fn who_is_evicted_comes_back_by_an_invitation_alone_and_with_other_keys() {
        let (mut fleet, first) = invited();
        join(&mut fleet, &first, SLAVE, 0).unwrap();
        for id in [SLAVE, OTHER] {
            assert!(fleet.evict(id));
            assert!(!fleet.evict(id));
            assert_eq!(fleet.generation(&id), None);
        }
        let second = Invitation::fresh(None).unwrap();
        fleet.invite(&second, 100, 0).unwrap();
        assert_eq!(join(&mut fleet, &second, SLAVE, 0), Ok(2));
        assert_eq!(fleet.generation(&SLAVE), Some(2));
    }

    #[test]
    fn open_invitations_are_bounded_and_old_ones_are_forgotten() {
        let mut fleet = Fleet::default();
        for _ in 0..MAX_INVITATIONS {
            fleet
                .invite(&Invitation::fresh(None).unwrap(), 100, 0)
                .unwrap();
        }
        let next = Invitation::fresh(None).unwrap();
        assert_eq!(fleet.invite(&next, 200, 99), Err(TooManyInvitations));
        fleet.invite(&next, 200, 100).unwrap();
        assert_eq!(fleet.invitations.len(), 1);
    }
}
