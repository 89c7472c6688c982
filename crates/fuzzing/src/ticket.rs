//! What a slave does with tickets. A forged one shows nothing beyond its code, so most are made with the slave's own key.

use auth::{ClientClaim, Grant, SlaveKey, TicketError, check};
use hmac::{Hmac, KeyInit, Mac};
use protocol::{Secret, SlaveId};
use sha2::Sha256;

use crate::Target;

/// What a slave does with tickets.
pub static TICKET: Target = Target {
    name: "ticket",
    fixed: 8 * 1024,
    for_each_byte: crate::USUAL,
    prepare: crate::nothing,
    work: |input| {
        let Some((form, rest)) = input.split_first() else {
            return;
        };
        match form {
            0 => assert_eq!(verdict(rest, 0), Err(TicketError::Forged)),
            1 => signed(rest),
            form => made_up(*form, rest),
        }
    },
};

const KEY: [u8; 32] = [1; 32];
/// RFC 5869 makes this of the key above, for `mini-ftp key id`.
const KEY_ID: [u8; 4] = [0xb7, 0xf5, 0x70, 0x98];
const SLAVE: SlaveId = SlaveId([3; 16]);
const SECRET: Secret = Secret([5; 32]);

/// Any bytes, with the right code.
fn signed(body: &[u8]) {
    if let Ok(grant) = verdict(&sign(body), 0) {
        assert_eq!(grant.slave, SLAVE);
    }
}

/// A ticket of which the bits of `form` say what is wrong with it, and the input what it grants: when it was issued and ends,
/// quota, rights, length of the name, name and home.
fn made_up(form: u8, input: &[u8]) {
    let Some((numbers, rest)) = input.split_first_chunk::<24>() else {
        return;
    };
    let Some((&[rights, length], texts)) = rest.split_first_chunk() else {
        return;
    };
    let wrong = |bit: u8| form & 1 << bit != 0;
    let spoilt = |bytes: &[u8], bit| match bytes.split_first() {
        Some((first, rest)) => [&[first ^ u8::from(wrong(bit))], rest].concat(),
        None => Vec::new(),
    };
    let mut body = vec![if wrong(2) { 3 } else { 4 }];
    body.extend(spoilt(&KEY_ID, 3));
    body.extend(spoilt(&SLAVE.0, 4));
    body.extend([form; 16]);
    body.extend(numbers);
    body.extend(spoilt(blake3::hash(&SECRET.0).as_bytes(), 5));
    body.extend([rights, length]);
    body.extend(texts);
    let now = if wrong(6) { u64::MAX } else { 0 };
    let Ok(grant) = verdict(&sign(&body), now) else {
        return;
    };
    assert!(form & 0b0011_1100 == 0, "something was wrong: {form:08b}");
    assert!(now <= grant.expires.saturating_add(5));
    // It grants what it says, and nothing was passed over.
    let Grant {
        user,
        rights: granted,
        home,
        slave: _,
        issued,
        expires,
        quota,
    } = grant;
    let read = [issued, expires, quota.unwrap_or(u64::MAX)].map(u64::to_be_bytes);
    assert_eq!(read.as_flattened(), numbers);
    assert_eq!((granted.bits(), user.len()), (rights, length.into()));
    assert_eq!([user.as_bytes(), home.as_bytes()].concat(), texts);
}

fn verdict(ticket: &[u8], now: u64) -> Result<Grant, TicketError> {
    let claim = ClientClaim {
        ticket,
        secret: &SECRET,
    };
    check(&SlaveKey::from_bytes(KEY), &SLAVE, claim, now)
}

/// The body with its code, as `docs/PROTOCOL.md` has it.
fn sign(body: &[u8]) -> Vec<u8> {
    let mut block = [0; 64];
    for (to, from) in block.iter_mut().zip(KEY) {
        *to = from;
    }
    let mut mac = Hmac::<Sha256>::new(&block.into());
    for part in [b"mini-ftp ticket".as_slice(), body] {
        mac.update(&u64::try_from(part.len()).unwrap_or(0).to_be_bytes());
        mac.update(part);
    }
    [body, mac.finalize().into_bytes().as_slice()].concat()
}
