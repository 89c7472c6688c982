//! The keys, all derived from one by HKDF-SHA256 (RFC 5869), each under a label of its own.

use std::fmt;

use hkdf::Hkdf;
use protocol::SlaveId;
use sha2::Sha256;

use crate::mac;

/// Bytes of every key.
pub(crate) const KEY_LENGTH: usize = mac::LENGTH;

macro_rules! key {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone)]
        pub struct $name([u8; KEY_LENGTH]);

        /// A key shows itself to nobody.
        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(concat!(stringify!($name), "(***)"))
            }
        }
    };
}

key! {
    /// The secret of one master, or of several that share a state directory: every other key comes from it.
    MasterKey
}
key! {
    /// The secret between the masters and one slave, under which that slave's tickets are made.
    SlaveKey
}
key! {
    /// The secret between the masters and one slave, which both prove to hold when the slave registers.
    RegistrationKey
}

impl MasterKey {
    pub(crate) const fn from_bytes(bytes: [u8; KEY_LENGTH]) -> Self {
        Self(bytes)
    }

    /// The key for the tickets of the slave `id`. Its keys are others in each generation, which begins when the slave joins
    /// with an invitation ([`Fleet`](crate::Fleet)); a slave that derives them itself is of generation 0.
    #[must_use]
    pub fn slave_key(&self, id: &SlaveId, generation: u32) -> SlaveKey {
        let generation = generation.to_be_bytes();
        SlaveKey(derive(
            &self.0,
            &[b"mini-ftp slave ticket", &id.0, &generation],
        ))
    }

    /// The key with which the slave `id` of that generation registers.
    #[must_use]
    pub fn registration_key(&self, id: &SlaveId, generation: u32) -> RegistrationKey {
        let generation = generation.to_be_bytes();
        RegistrationKey(derive(
            &self.0,
            &[b"mini-ftp registration", &id.0, &generation],
        ))
    }
}

impl SlaveKey {
    /// Which key a ticket was made with: says nothing about the key.
    pub(crate) fn id(&self) -> [u8; 4] {
        derive(&self.0, &[b"mini-ftp key id"])
    }

    pub(crate) const fn secret(&self) -> &[u8; KEY_LENGTH] {
        &self.0
    }
}

macro_rules! handed_over {
    ($($name:ident),*) => {$(
        impl $name {
            /// The key that [`to_bytes`](Self::to_bytes) gave.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; KEY_LENGTH]) -> Self {
                Self(bytes)
            }

            /// The key itself, for a supervisor to hand to its children or a master to give to the slave; for its own disk, and never for a log.
            #[must_use]
            pub const fn to_bytes(&self) -> [u8; KEY_LENGTH] {
                self.0
            }
        }
    )*};
}

handed_over! { SlaveKey, RegistrationKey }

impl RegistrationKey {
    pub(crate) const fn secret(&self) -> &[u8; KEY_LENGTH] {
        &self.0
    }
}

/// HKDF without salt: the input is uniformly random already (RFC 5869, section 3.1).
fn derive<const N: usize>(key: &[u8; KEY_LENGTH], info: &[&[u8]]) -> [u8; N] {
    const { assert!(N <= KEY_LENGTH, "a single block always expands") };
    let mut derived = [0; N];
    match Hkdf::<Sha256>::new(None, key).expand_multi_info(info, &mut derived) {
        Ok(()) => derived,
        Err(_) => unreachable!("HKDF expands up to 255 blocks"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MASTER: MasterKey = MasterKey::from_bytes([1; 32]);

    #[test]
    fn every_purpose_and_every_slave_has_a_key_of_its_own() {
        let mut all = vec![MASTER.0];
        for id in [SlaveId([1; 16]), SlaveId([2; 16])] {
            for generation in [0, 1, 256] {
                all.push(MASTER.slave_key(&id, generation).to_bytes());
                all.push(MASTER.registration_key(&id, generation).to_bytes());
            }
        }
        for (index, key) in all.iter().enumerate() {
            assert!(!all[..index].contains(key), "key {index} stands twice");
        }
        assert_eq!(
            MASTER.slave_key(&SlaveId([1; 16]), 0).to_bytes(),
            MASTER.slave_key(&SlaveId([1; 16]), 0).to_bytes()
        );
    }

    #[test]
    fn a_slave_key_survives_being_handed_over() {
        let key = MASTER.slave_key(&SlaveId([1; 16]), 0);
        assert_eq!(SlaveKey::from_bytes(key.to_bytes()).id(), key.id());
    }

    #[test]
    fn nothing_prints_a_key() {
        let slave = MASTER.slave_key(&SlaveId([1; 16]), 0);
        assert_eq!(format!("{MASTER:?}"), "MasterKey(***)");
        assert_eq!(format!("{slave:?}"), "SlaveKey(***)");
        assert_eq!(
            format!("{:?}", MASTER.registration_key(&SlaveId([1; 16]), 0)),
            "RegistrationKey(***)"
        );
    }
}
