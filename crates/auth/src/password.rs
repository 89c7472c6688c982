//! Passwords as they are kept: argon2id with 19 MiB, 2 passes and 1 lane, in the PHC string format.
//!
//! Only hashes of exactly these parameters are read, so each costs the same to check, whoever wrote the file.

use std::fmt;
use std::io;

use argon2::password_hash::phc::{Output, PasswordHash as Phc, Salt};
use argon2::password_hash::{Error, PasswordHasher};
use argon2::{Argon2, Params};
use protocol::limits::MAX_TEXT;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::random::random_bytes;

/// Bytes of a salt.
const SALT: usize = 16;

/// What every hash begins with.
const PREFIX: &str = "$argon2id$v=19$m=19456,t=2,p=1$";

/// A password's hash. It shows itself to nobody, yet goes into the accounts file as it is.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PasswordHash(Phc);

/// Why a password cannot be taken or checked.
#[derive(Debug, Error)]
pub enum PasswordError {
    /// It has no characters.
    #[error("a password cannot be empty")]
    Empty,
    /// It does not fit into a login.
    #[error("a password has at most {MAX_TEXT} bytes")]
    TooLong,
    /// The kernel has no randomness to give.
    #[error("cannot draw a random number")]
    Random(#[source] io::Error),
    /// There is no memory for it.
    #[error("cannot hash a password: {0}")]
    Hash(String),
}

impl PasswordHash {
    /// The hash of a password, under a salt of its own.
    ///
    /// # Errors
    /// See [`PasswordError`].
    pub fn of(password: &[u8]) -> Result<Self, PasswordError> {
        if password.is_empty() {
            return Err(PasswordError::Empty);
        }
        if password.len() > MAX_TEXT {
            return Err(PasswordError::TooLong);
        }
        let salt: [u8; SALT] = random_bytes().map_err(PasswordError::Random)?;
        let hash = Argon2::default().hash_password_with_salt(password, &salt);
        hash.map(Self).map_err(failed)
    }

    /// A hash that no password has, and that costs as much to check as any other.
    pub(crate) fn decoy() -> io::Result<Self> {
        let (salt, output): ([u8; SALT], [u8; Params::DEFAULT_OUTPUT_LEN]) =
            (random_bytes()?, random_bytes()?);
        let made = || {
            let salt = Salt::new(&salt).ok()?.to_salt_string();
            let output = Output::new(&output).ok()?;
            Self::parse(&format!("{PREFIX}{salt}${output}"))
        };
        made().ok_or_else(|| io::Error::other("no decoy can be made"))
    }

    /// Whether this is the password's hash: takes as long for a wrong one as for the right one.
    pub(crate) fn matches(&self, password: &[u8]) -> Result<bool, PasswordError> {
        let (Some(salt), Some(kept)) = (&self.0.salt, &self.0.hash) else {
            return Ok(false); // one that was not read by `parse`
        };
        let mut output = [0; Params::DEFAULT_OUTPUT_LEN];
        Argon2::default()
            .hash_password_into(password, salt, &mut output)
            .map_err(|error| PasswordError::Hash(error.to_string()))?;
        // Compares in constant time.
        Ok(Output::new(&output).is_ok_and(|output| output == *kept))
    }

    fn parse(text: &str) -> Option<Self> {
        let hash = Phc::new(text).ok().filter(|_| text.starts_with(PREFIX))?;
        let (salt, output) = (hash.salt?, hash.hash?);
        let is_ours = salt.len() == SALT && output.len() == Params::DEFAULT_OUTPUT_LEN;
        is_ours.then_some(Self(hash))
    }
}

fn failed(error: Error) -> PasswordError {
    PasswordError::Hash(error.to_string())
}

impl TryFrom<String> for PasswordHash {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or(
            "not an argon2id hash with m=19456, t=2, p=1: set it with 'ftpmaster user passwd'",
        )
    }
}

impl From<PasswordHash> for String {
    fn from(hash: PasswordHash) -> Self {
        hash.0.to_string()
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("PasswordHash(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_kept_with_its_cost_and_is_read_again() {
        let hash = PasswordHash::of(b"right").unwrap();
        let text = String::from(hash.clone());
        assert!(text.starts_with(PREFIX), "{text}");
        assert_eq!(PasswordHash::try_from(text), Ok(hash.clone()));
        assert!(hash.matches(b"right").unwrap());
        assert!(!hash.matches(b"wrong").unwrap());
        assert_eq!(format!("{hash:?}"), "PasswordHash(***)");
    }

    #[test]
    fn the_decoy_is_like_any_other_and_no_two_are_the_same() {
        let (one, two) = (
            PasswordHash::decoy().unwrap(),
            PasswordHash::decoy().unwrap(),
        );
        assert_ne!(one, two);
        assert!(!one.matches(b"").unwrap());
        let (text, other) = (
            String::from(one),
            String::from(PasswordHash::of(b"x").unwrap()),
        );
        assert_eq!(text.len(), other.len());
    }

    #[test]
    fn what_would_cost_less_or_more_is_no_hash() {
        let good = String::from(PasswordHash::decoy().unwrap());
        for bad in [
            String::new(),
            "secret".to_owned(),
            good.replace("argon2id", "argon2i"),
            good.replace("v=19", "v=16"),
            good.replace("m=19456", "m=8"),
            good.replace("m=19456", "m=4194304"),
            good.replace("t=2", "t=511"),
            good.replace("p=1", "p=16"),
            good[..good.len() - 4].to_owned(),
            format!("{good}AAAA"),
            good.rsplit_once('$').unwrap().0.to_owned(),
        ] {
            assert!(PasswordHash::try_from(bad.clone()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_password_is_neither_empty_nor_endless() {
        assert!(matches!(PasswordHash::of(b""), Err(PasswordError::Empty)));
        let long = PasswordHash::of(&[b'x'; MAX_TEXT + 1]);
        assert!(matches!(long, Err(PasswordError::TooLong)));
    }
}
