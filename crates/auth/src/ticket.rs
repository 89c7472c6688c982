//! Tickets: what the master gives a client so that one slave serves it for ten minutes.
//!
//! A ticket opens any number of sessions at its slave, but only together with the secret it was made for, which the
//! client sends there and nowhere else. Layout, integers big-endian; the code covers everything before it:
//!
//! ```text
//! version u8 · key id [4] · slave id [16] · nonce [16] · issued u64 · expires u64 · quota u64 · BLAKE3(secret) [32] · rights u8 · length u8 · user … · home … · code [32]
//! ```

use std::io;

use protocol::limits::MAX_TICKET;
use protocol::{RemotePath, Rights, Secret, SlaveId};
use thiserror::Error;

use crate::keys::SlaveKey;
use crate::mac;
use crate::random::random_bytes;

/// The layout above.
const VERSION: u8 = 4;

/// A quota that is none.
const UNLIMITED: u64 = u64::MAX;

/// Bytes of a ticket beside user and home.
const FRAME: usize = 1 + 4 + 16 + 16 + 8 + 8 + 8 + 32 + 1 + 1 + mac::LENGTH;

/// What a ticket's code is said for.
const LABEL: &str = "mini-ftp ticket";

/// Seconds by which the slave's idea of the master's time may be wrong.
const SLACK_S: u64 = 5;

/// What a ticket allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Whose sessions it opens; empty for everybody, where the master has no accounts.
    pub user: String,
    /// What those sessions may do.
    pub rights: Rights,
    /// What those sessions see as `/`.
    pub home: RemotePath,
    /// The one slave it counts at.
    pub slave: SlaveId,
    /// When it was made by the master's clock, milliseconds since 1970: a revocation names a moment up to which tickets
    /// are no longer good.
    pub issued: u64,
    /// Its end by the master's clock, seconds since 1970.
    pub expires: u64,
    /// The most bytes that the files below the home may hold; `None` for any number.
    pub quota: Option<u64>,
}

/// What a client shows to be let in.
#[derive(Clone, Copy, Debug)]
pub struct ClientClaim<'a> {
    /// The ticket, as it came.
    pub ticket: &'a [u8],
    /// The secret beside it.
    pub secret: &'a Secret,
}

/// Why a ticket cannot be made.
#[derive(Debug, Error)]
pub enum IssueError {
    /// Name and home do not fit into a ticket.
    #[error("the user's name and home do not fit into a ticket")]
    TooLong,
    /// The kernel has no randomness to give.
    #[error("cannot draw a random number")]
    Random(#[source] io::Error),
}

/// Why a ticket is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TicketError {
    /// Not made with this slave's key, or changed since.
    #[error("the ticket is not from this slave's master, or was changed")]
    Forged,
    /// Made by this slave's master, in a way that this version does not know.
    #[error("the ticket is of another version")]
    Unknown,
    /// Made for another slave.
    #[error("the ticket is for another slave")]
    OtherSlave,
    /// Its life is over.
    #[error("the ticket has expired")]
    Expired,
    /// Made for another client's secret.
    #[error("the ticket is another client's")]
    OtherClient,
}

/// Makes the ticket for `grant` that counts only beside `secret`.
///
/// # Errors
/// The user's name is too long, or there is no randomness.
pub fn issue(key: &SlaveKey, grant: &Grant, secret: &Secret) -> Result<Vec<u8>, IssueError> {
    let (user, home) = (grant.user.as_bytes(), grant.home.as_bytes());
    let length = u8::try_from(user.len()).map_err(|_| IssueError::TooLong)?;
    if user.len() + home.len() > MAX_TICKET - FRAME {
        return Err(IssueError::TooLong);
    }
    let nonce: [u8; 16] = random_bytes().map_err(IssueError::Random)?;
    let mut ticket = Vec::with_capacity(FRAME + user.len() + home.len());
    ticket.push(VERSION);
    ticket.extend(key.id());
    ticket.extend(grant.slave.0);
    ticket.extend(nonce);
    ticket.extend(grant.issued.to_be_bytes());
    ticket.extend(grant.expires.to_be_bytes());
    ticket.extend(grant.quota.unwrap_or(UNLIMITED).to_be_bytes());
    ticket.extend(blake3::hash(&secret.0).as_bytes());
    ticket.push(grant.rights.bits());
    ticket.push(length);
    ticket.extend(user);
    ticket.extend(home);
    ticket.extend(mac::compute(key.secret(), LABEL, &[&ticket]));
    Ok(ticket)
}

/// What the ticket allows at the slave `own`, whose key is `key`, at the master's time `now` (seconds since 1970).
/// Nothing of the ticket is looked at before its code has proved it unchanged.
///
/// # Errors
/// See [`TicketError`].
pub fn check(
    key: &SlaveKey,
    own: &SlaveId,
    claim: ClientClaim<'_>,
    now: u64,
) -> Result<Grant, TicketError> {
    let (body, code) = claim
        .ticket
        .split_last_chunk::<{ mac::LENGTH }>()
        .ok_or(TicketError::Forged)?;
    if claim.ticket.len() > MAX_TICKET || !mac::is_valid(key.secret(), LABEL, &[body], code) {
        return Err(TicketError::Forged);
    }
    let body = Body::parse(body).ok_or(TicketError::Unknown)?;
    if body.key != key.id() {
        return Err(TicketError::Unknown);
    }
    if body.grant.slave != *own {
        return Err(TicketError::OtherSlave);
    }
    if now > body.grant.expires.saturating_add(SLACK_S) {
        return Err(TicketError::Expired);
    }
    // Two `blake3::Hash` are compared in constant time.
    if blake3::Hash::from_bytes(body.confirmation) != blake3::hash(&claim.secret.0) {
        return Err(TicketError::OtherClient);
    }
    Ok(body.grant)
}

/// A ticket that has been found unchanged.
struct Body {
    key: [u8; 4],
    grant: Grant,
    confirmation: [u8; 32],
}

impl Body {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let (&version, rest) = bytes.split_first()?;
        let (&key, rest) = rest.split_first_chunk()?;
        let (&slave, rest) = rest.split_first_chunk()?;
        let (_nonce, rest) = rest.split_first_chunk::<16>()?;
        let (&issued, rest) = rest.split_first_chunk()?;
        let (&expires, rest) = rest.split_first_chunk()?;
        let (&quota, rest) = rest.split_first_chunk()?;
        let quota = u64::from_be_bytes(quota);
        let (&confirmation, rest) = rest.split_first_chunk()?;
        let (&rights, rest) = rest.split_first()?;
        let (&length, rest) = rest.split_first()?;
        let (user, home) = rest.split_at_checked(length.into())?;
        (version == VERSION).then_some(())?;
        Some(Self {
            key,
            grant: Grant {
                user: String::from_utf8(user.to_vec()).ok()?,
                rights: Rights::from_bits(rights)?,
                home: RemotePath::parse(home).ok()?,
                slave: SlaveId(slave),
                issued: u64::from_be_bytes(issued),
                expires: u64::from_be_bytes(expires),
                quota: (quota != UNLIMITED).then_some(quota),
            },
            confirmation,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::MasterKey;

    const SLAVE: SlaveId = SlaveId([3; 16]);
    const SECRET: Secret = Secret([5; 32]);
    const NOW: u64 = 1_800_000_000;

    fn key() -> SlaveKey {
        MasterKey::from_bytes([1; 32]).slave_key(&SLAVE, 0)
    }

    fn grant() -> Grant {
        Grant {
            user: "ada".to_owned(),
            rights: Rights::READ_ONLY,
            home: "/pub/ada".try_into().unwrap(),
            slave: SLAVE,
            issued: NOW * 1000 + 7,
            expires: NOW + 600,
            quota: Some(1024),
        }
    }

    fn ticket() -> Vec<u8> {
        issue(&key(), &grant(), &SECRET).unwrap()
    }

    fn verdict(ticket: &[u8]) -> Result<Grant, TicketError> {
        let claim = ClientClaim {
            ticket,
            secret: &SECRET,
        };
        check(&key(), &SLAVE, claim, NOW)
    }

    #[test]
    fn every_flipped_bit_is_refused() {
        let ticket = ticket();
        for bit in 0..ticket.len() * 8 {
            let mut changed = ticket.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(verdict(&changed), Err(TicketError::Forged), "bit {bit}");
        }
    }

    #[test]
    fn every_truncation_and_extension_is_refused() {
        let ticket = ticket();
        for length in 0..ticket.len() {
            assert_eq!(verdict(&ticket[..length]), Err(TicketError::Forged));
        }
        assert_eq!(
            verdict(&[ticket, vec![0]].concat()),
            Err(TicketError::Forged)
        );
    }

    #[test]
    fn it_ends_when_it_said() {
        let ticket = ticket();
        let at = |now| {
            let claim = ClientClaim {
                ticket: &ticket,
                secret: &SECRET,
            };
            check(&key(), &SLAVE, claim, now)
        };
        assert_eq!(at(NOW + 600 + SLACK_S), Ok(grant()));
        assert_eq!(at(NOW + 601 + SLACK_S), Err(TicketError::Expired));
        assert_eq!(at(u64::MAX), Err(TicketError::Expired));
    }

    #[test]
    fn the_secret_of_another_client_is_refused() {
        let claim = ClientClaim {
            ticket: &ticket(),
            secret: &Secret([6; 32]),
        };
        assert_eq!(
            check(&key(), &SLAVE, claim, NOW),
            Err(TicketError::OtherClient)
        );
    }

    #[test]
    fn another_slave_refuses_it() {
        let other = SlaveId([4; 16]);
        let claim = ClientClaim {
            ticket: &ticket(),
            secret: &SECRET,
        };
        let others_key = MasterKey::from_bytes([1; 32]).slave_key(&other, 0);
        assert_eq!(
            check(&others_key, &other, claim, NOW),
            Err(TicketError::Forged)
        );
        assert_eq!(
            check(&key(), &other, claim, NOW),
            Err(TicketError::OtherSlave)
        );
    }

    #[test]
    fn a_layout_of_another_version_is_unknown_rather_than_guessed() {
        for body in [
            b"".as_slice(),
            &[VERSION],
            &[VERSION; 95],
            &[2; 95],
            &[0xff; 200],
        ] {
            let mut ticket = body.to_vec();
            ticket.extend(mac::compute(key().secret(), LABEL, &[body]));
            assert_eq!(verdict(&ticket), Err(TicketError::Unknown));
        }
    }

    #[test]
    fn two_tickets_for_the_same_grant_differ() {
        assert_ne!(ticket(), ticket());
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let grant = |name: usize, home: usize| Grant {
            user: "x".repeat(name),
            home: RemotePath::parse(&[b"/", "x/".repeat(home).as_bytes(), b"x"].concat()).unwrap(),
            ..grant()
        };
        // The longest that an account may have.
        let home = (crate::accounts::MAX_HOME - 2) / 2;
        let longest = issue(&key(), &grant(64, home), &SECRET).unwrap();
        assert_eq!(verdict(&longest), Ok(grant(64, home)));
        for (name, home) in [(256, 0), (200, 110)] {
            let refusal = issue(&key(), &grant(name, home), &SECRET);
            assert!(matches!(refusal, Err(IssueError::TooLong)), "{name} {home}");
        }
    }

    proptest! {
        #[test]
        fn what_was_granted_is_what_is_read(
            user in "\\PC{0,40}",
            home in "/[^/\0.]{0,40}",
            bits in 0u8..8,
            slave: [u8; 16],
            issued: u64,
            expires in NOW..,
            quota in proptest::option::of(0..u64::MAX),
            secret: [u8; 32],
        ) {
            let rights = Rights::from_bits(bits).unwrap();
            let home = RemotePath::parse(home.as_bytes()).unwrap();
            let grant = Grant { user, rights, home, slave: SlaveId(slave), issued, expires, quota };
            let key = MasterKey::from_bytes([1; 32]).slave_key(&grant.slave, 0);
            let ticket = issue(&key, &grant, &Secret(secret)).unwrap();
            let claim = ClientClaim { ticket: &ticket, secret: &Secret(secret) };
            prop_assert_eq!(check(&key, &grant.slave, claim, NOW), Ok(grant));
        }

        #[test]
        fn noise_is_refused(noise in proptest::collection::vec(any::<u8>(), 0..600)) {
            prop_assert_eq!(verdict(&noise), Err(TicketError::Forged));
        }
    }
}
