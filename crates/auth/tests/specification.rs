//! The keys, proofs and tickets in the examples of `docs/PROTOCOL.md` are what this code makes of them.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a document that cannot be read is a failed test"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use auth::{ClientClaim, Grant, Identification, Introduction, MasterKey, StateDirectory};
use hmac::{Hmac, KeyInit, Mac};
use protocol::{Address, Fingerprint, Nonce, Proof, Rights, Secret, SlaveId, StorageId};
use sha2::Sha256;

const SLAVE: SlaveId = SlaveId([0x11; 16]);
const STORAGE: StorageId = StorageId([0x22; 16]);
const OF_SLAVE: Nonce = Nonce([0x33; 32]);
const OF_MASTER: Nonce = Nonce([0x44; 32]);
const FINGERPRINT: Fingerprint = Fingerprint([0x99; 32]);
/// What makes the connection unlike any other.
const CHANNEL: [u8; 32] = [0xaa; 32];
const SECRET: Secret = Secret([0x55; 32]);

/// The bytes of the example of that name.
fn example(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/PROTOCOL.md");
    let text = fs::read_to_string(path).unwrap();
    let heading = format!("```hex {name}\n");
    let (_, block) = text.split_once(&heading).unwrap();
    let lines = block.lines().take_while(|line| *line != "```");
    let digits = lines.flat_map(|line| line.split('|').next().unwrap().split_whitespace());
    digits
        .map(|pair| u8::from_str_radix(pair, 16).unwrap())
        .collect()
}

/// The proof that ends so many bytes before the end of an example.
fn proof(name: &str, behind: usize) -> Proof {
    let bytes = example(name);
    Proof(*bytes[..bytes.len() - behind].last_chunk().unwrap())
}

fn master_key() -> MasterKey {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o700)).unwrap();
    let file = directory.path().join("master.key");
    fs::write(&file, example("master-key")).unwrap();
    fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
    StateDirectory::open(Some(directory.path()))
        .unwrap()
        .master_key()
        .unwrap()
}

#[test]
fn the_slaves_keys_are_as_shown() {
    let key = master_key().slave_key(&SLAVE, 1).to_bytes();
    assert_eq!(key.as_slice(), example("ticket-key"));
    let key = master_key().registration_key(&SLAVE, 1).to_bytes();
    assert_eq!(key.as_slice(), example("registration-key"));
}

#[test]
fn the_proofs_of_registration_are_as_shown() {
    let introduction = Introduction {
        slave_nonce: &OF_SLAVE,
        master_nonce: &OF_MASTER,
        slave: &SLAVE,
        storage: &STORAGE,
        channel: &CHANNEL,
        fingerprint: Some(&FINGERPRINT),
        addresses: &[Address::SameHost { port: 2122 }],
    };
    let key = master_key().registration_key(&SLAVE, 1);
    assert_eq!(introduction.master_proof(&key), proof("challenge", 0));
    assert_eq!(introduction.slave_proof(&key), proof("prove", 0));
}

#[test]
fn the_masters_proof_is_the_hmac_of_the_input_shown() {
    let mut mac = Hmac::<Sha256>::new_from_slice(&example("registration-key")).unwrap();
    mac.update(&example("proof-input"));
    let shown = proof("challenge", 0);
    assert_eq!(mac.finalize().into_bytes().as_slice(), shown.0);
}

#[test]
fn the_proof_of_identity_is_as_shown() {
    let identification = Identification {
        master_nonce: &OF_MASTER,
        slave_nonce: &OF_SLAVE,
        slave: &SLAVE,
        storage: &STORAGE,
        channel: &CHANNEL,
    };
    let shown = proof("identity", 4 + 4 + 1);
    assert_eq!(
        identification.proof(&master_key().slave_key(&SLAVE, 1)),
        shown
    );
}

#[test]
fn the_ticket_is_good_until_its_end() {
    let ticket = example("ticket");
    let claim = ClientClaim {
        ticket: &ticket,
        secret: &SECRET,
    };
    let expires = 1_800_000_600;
    let grant = Grant {
        user: "ada".to_owned(),
        rights: Rights::ALL,
        home: protocol::RemotePath::root(),
        slave: SLAVE,
        issued: 1_800_000_000_000,
        expires,
        quota: None,
    };
    let key = master_key().slave_key(&SLAVE, 1);
    assert_eq!(auth::check(&key, &SLAVE, claim, expires), Ok(grant));
    assert!(auth::check(&key, &SLAVE, claim, expires + 6).is_err());
}
