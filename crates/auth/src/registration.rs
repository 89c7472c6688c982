//! Registering: master and slave prove to each other that they hold the registration key, without showing it.
//!
//! Each proof covers a label for the role, both sides' random numbers, the TLS connection and everything that the slave
//! said of itself, so none can be sent back to its maker, used again, relayed over another connection, or carried over to
//! another identity, storage, certificate or address.

use std::net::IpAddr;

use protocol::{Address, Fingerprint, Nonce, Proof, SlaveId, StorageId};
use thiserror::Error;

use crate::keys::{RegistrationKey, SlaveKey};
use crate::mac;

/// What both sides prove to have seen.
#[derive(Clone, Copy, Debug)]
pub struct Introduction<'a> {
    /// The slave's random number.
    pub slave_nonce: &'a Nonce,
    /// The master's random number.
    pub master_nonce: &'a Nonce,
    /// Who the slave says it is.
    pub slave: &'a SlaveId,
    /// Which storage it says it serves.
    pub storage: &'a StorageId,
    /// What makes this connection unlike any other ([`Tls::channel_binding`](crate::tls::Tls::channel_binding)); empty in
    /// the clear.
    pub channel: &'a [u8],
    /// By which clients shall know it.
    pub fingerprint: Option<&'a Fingerprint>,
    /// The addresses that it announces, in the order in which it sent them.
    pub addresses: &'a [Address],
}

/// The peer does not hold the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "the proof is wrong: the slave has neither the master's key nor one from an invitation that still counts \
     ('ftpmaster invite' makes one)"
)]
pub struct ProofError;

impl Introduction<'_> {
    /// What the master sends, to be believed by the slave.
    #[must_use]
    pub fn master_proof(&self, key: &RegistrationKey) -> Proof {
        self.with_parts(|parts| Proof(mac::compute(key.secret(), MASTER, parts)))
    }

    /// What the slave sends, to be believed by the master.
    #[must_use]
    pub fn slave_proof(&self, key: &RegistrationKey) -> Proof {
        self.with_parts(|parts| Proof(mac::compute(key.secret(), SLAVE, parts)))
    }

    /// Whether the master proved itself; for the slave.
    ///
    /// # Errors
    /// It did not.
    pub fn check_master(&self, key: &RegistrationKey, proof: &Proof) -> Result<(), ProofError> {
        self.with_parts(|parts| check(key.secret(), MASTER, parts, proof))
    }

    /// Whether the slave proved itself; for the master.
    ///
    /// # Errors
    /// It did not.
    pub fn check_slave(&self, key: &RegistrationKey, proof: &Proof) -> Result<(), ProofError> {
        self.with_parts(|parts| check(key.secret(), SLAVE, parts, proof))
    }

    fn with_parts<T>(&self, use_them: impl FnOnce(&[&[u8]]) -> T) -> T {
        let addresses: Vec<Vec<u8>> = self.addresses.iter().map(unambiguous).collect();
        let mut parts: Vec<&[u8]> = vec![
            &self.slave_nonce.0,
            &self.master_nonce.0,
            &self.slave.0,
            &self.storage.0,
            self.channel,
            self.fingerprint.map_or(&[], |fingerprint| &fingerprint.0),
        ];
        parts.extend(addresses.iter().map(Vec::as_slice));
        use_them(&parts)
    }
}

fn check(
    key: &[u8; mac::LENGTH],
    label: &'static str,
    parts: &[&[u8]],
    proof: &Proof,
) -> Result<(), ProofError> {
    if mac::is_valid(key, label, parts, &proof.0) {
        Ok(())
    } else {
        Err(ProofError)
    }
}

/// An address as bytes that no other address has.
fn unambiguous(address: &Address) -> Vec<u8> {
    let (kind, host, port) = match address {
        Address::SameHost { port } => (0, Vec::new(), port),
        Address::Ip {
            ip: IpAddr::V4(ip),
            port,
        } => (4, ip.octets().to_vec(), port),
        Address::Ip {
            ip: IpAddr::V6(ip),
            port,
        } => (6, ip.octets().to_vec(), port),
        Address::Name { host, port } => (1, host.as_str().as_bytes().to_vec(), port),
    };
    [&[kind], port.to_be_bytes().as_slice(), &host].concat()
}

const MASTER: &str = "mini-ftp master";
const SLAVE: &str = "mini-ftp slave";
const IDENTITY: &str = "mini-ftp identity";

/// What a slave proves that is probed, rather than one that registers: only who it is, for its workers hold its own key
/// alone.
#[derive(Clone, Copy, Debug)]
pub struct Identification<'a> {
    /// The master's random number.
    pub master_nonce: &'a Nonce,
    /// The slave's random number.
    pub slave_nonce: &'a Nonce,
    /// Who the slave says it is.
    pub slave: &'a SlaveId,
    /// Which storage it says it serves.
    pub storage: &'a StorageId,
    /// As in [`Introduction`].
    pub channel: &'a [u8],
}

impl Identification<'_> {
    /// What the slave answers.
    #[must_use]
    pub fn proof(&self, key: &SlaveKey) -> Proof {
        Proof(mac::compute(key.secret(), IDENTITY, &self.parts()))
    }

    /// Whether the slave with this key answered.
    ///
    /// # Errors
    /// It did not.
    pub fn check(&self, key: &SlaveKey, proof: &Proof) -> Result<(), ProofError> {
        check(key.secret(), IDENTITY, &self.parts(), proof)
    }

    const fn parts(&self) -> [&[u8]; 5] {
        [
            &self.master_nonce.0,
            &self.slave_nonce.0,
            &self.slave.0,
            &self.storage.0,
            self.channel,
        ]
    }
}

#[cfg(test)]
mod tests {
    use protocol::Text;

    use super::*;
    use crate::MasterKey;

    const OURS: MasterKey = MasterKey::from_bytes([1; 32]);
    const THEIRS: MasterKey = MasterKey::from_bytes([2; 32]);

    const INTRODUCTION: Introduction<'static> = Introduction {
        slave_nonce: &Nonce([1; 32]),
        master_nonce: &Nonce([2; 32]),
        slave: &SlaveId([3; 16]),
        storage: &StorageId([4; 16]),
        channel: &[5; 32],
        fingerprint: Some(&Fingerprint([6; 32])),
        addresses: &[Address::SameHost { port: 2122 }],
    };

    #[test]
    fn who_shares_the_key_is_believed() {
        let key = OURS.registration_key(INTRODUCTION.slave, 0);
        let (master, slave) = (
            INTRODUCTION.master_proof(&key),
            INTRODUCTION.slave_proof(&key),
        );
        assert_eq!(INTRODUCTION.check_master(&key, &master), Ok(()));
        assert_eq!(INTRODUCTION.check_slave(&key, &slave), Ok(()));
    }

    #[test]
    fn who_does_not_is_refused() {
        let (ours, theirs) = (
            OURS.registration_key(INTRODUCTION.slave, 0),
            THEIRS.registration_key(INTRODUCTION.slave, 0),
        );
        let (master, slave) = (
            INTRODUCTION.master_proof(&theirs),
            INTRODUCTION.slave_proof(&theirs),
        );
        assert_eq!(INTRODUCTION.check_master(&ours, &master), Err(ProofError));
        assert_eq!(INTRODUCTION.check_slave(&ours, &slave), Err(ProofError));
    }

    #[test]
    fn a_proof_cannot_be_reflected() {
        let key = OURS.registration_key(INTRODUCTION.slave, 0);
        let master = INTRODUCTION.master_proof(&key);
        assert_eq!(INTRODUCTION.check_slave(&key, &master), Err(ProofError));
    }

    #[test]
    fn a_proof_counts_for_one_introduction_only() {
        let key = OURS.registration_key(INTRODUCTION.slave, 0);
        let proof = INTRODUCTION.slave_proof(&key);
        let text = Text::new("h");
        for other in [
            Introduction {
                slave_nonce: &Nonce([9; 32]),
                ..INTRODUCTION
            },
            Introduction {
                master_nonce: &Nonce([9; 32]),
                ..INTRODUCTION
            },
            Introduction {
                slave: &SlaveId([9; 16]),
                ..INTRODUCTION
            },
            Introduction {
                storage: &StorageId([9; 16]),
                ..INTRODUCTION
            },
            // Relayed: another connection, or one in the clear.
            Introduction {
                channel: &[9; 32],
                ..INTRODUCTION
            },
            Introduction {
                channel: &[],
                ..INTRODUCTION
            },
            Introduction {
                fingerprint: Some(&Fingerprint([9; 32])),
                ..INTRODUCTION
            },
            Introduction {
                fingerprint: None,
                ..INTRODUCTION
            },
            Introduction {
                addresses: &[],
                ..INTRODUCTION
            },
            Introduction {
                addresses: &[Address::SameHost { port: 2123 }],
                ..INTRODUCTION
            },
            Introduction {
                addresses: &[Address::Name {
                    host: text,
                    port: 2122,
                }],
                ..INTRODUCTION
            },
        ] {
            assert_eq!(
                other.check_slave(&key, &proof),
                Err(ProofError),
                "{other:?}"
            );
        }
    }

    #[test]
    fn addresses_do_not_run_into_each_other() {
        let all = [
            Address::SameHost { port: 1 },
            Address::SameHost { port: 256 },
            Address::Ip {
                ip: [49, 50, 51, 52].into(),
                port: 1,
            },
            Address::Name {
                host: Text::new("1234"),
                port: 1,
            },
            Address::Name {
                host: Text::new(""),
                port: 1,
            },
        ];
        for (index, one) in all.iter().enumerate() {
            for other in &all[index + 1..] {
                assert_ne!(unambiguous(one), unambiguous(other));
            }
        }
    }

    #[test]
    fn an_identity_is_proved_by_the_slave_s_own_key_alone() {
        let claim = Identification {
            master_nonce: &Nonce([1; 32]),
            slave_nonce: &Nonce([2; 32]),
            slave: &SlaveId([3; 16]),
            storage: &StorageId([4; 16]),
            channel: &[5; 32],
        };
        let key = OURS.slave_key(claim.slave, 0);
        let proof = claim.proof(&key);
        assert_eq!(claim.check(&key, &proof), Ok(()));
        let foreign = OURS.slave_key(&SlaveId([9; 16]), 0);
        assert_eq!(claim.check(&foreign, &proof), Err(ProofError));
        for other in [
            Identification {
                master_nonce: &Nonce([9; 32]),
                ..claim
            },
            Identification {
                slave_nonce: &Nonce([9; 32]),
                ..claim
            },
            Identification {
                slave: &SlaveId([9; 16]),
                ..claim
            },
            Identification {
                storage: &StorageId([9; 16]),
                ..claim
            },
            Identification {
                channel: &[],
                ..claim
            },
        ] {
            assert_eq!(other.check(&key, &proof), Err(ProofError), "{other:?}");
        }
    }
}
