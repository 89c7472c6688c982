//! An invitation: what an operator carries from the master to a slave on another machine, good for one slave.
//!
//! It is a secret, and the fingerprint by which the slave knows the master before it shows the secret:
//!
//! ```text
//! 32 hexadecimal digits [ @SHA256:… ]
//! ```

use std::fmt;
use std::io;
use std::str::FromStr;

use protocol::{Fingerprint, Secretive};
use thiserror::Error;

use crate::random::random_bytes;

/// Bytes of the secret.
const LENGTH: usize = 16;

/// What an operator hands to a new slave. Its text holds the secret, so it is shown only where that is the purpose.
#[derive(Clone, PartialEq, Eq)]
pub struct Invitation {
    secret: [u8; LENGTH],
    master: Option<Fingerprint>,
}

/// A text that is no invitation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "that is no invitation: 'ftpmaster invite' prints one, 32 digits and the master's fingerprint"
)]
pub struct InvitationError;

impl Invitation {
    /// A new one, to the master with this certificate; without one it can be used on the master's own machine alone.
    ///
    /// # Errors
    /// The kernel has no randomness to give.
    pub fn fresh(master: Option<Fingerprint>) -> io::Result<Self> {
        Ok(Self {
            secret: random_bytes()?,
            master,
        })
    }

    /// By which the master is known.
    #[must_use]
    pub const fn master(&self) -> Option<Fingerprint> {
        self.master
    }

    /// What is said to the master.
    #[must_use]
    pub fn token(&self) -> Secretive {
        match Secretive::new(&self.secret) {
            Some(token) => token,
            None => unreachable!("16 bytes are within the limit"),
        }
    }

    /// What may be kept of it: tells it from others, and does not open anything.
    #[must_use]
    pub fn digest(&self) -> String {
        digest_of(&self.secret)
    }

    /// The text to hand over.
    #[must_use]
    pub fn reveal(&self) -> String {
        let secret = u128::from_be_bytes(self.secret);
        match &self.master {
            Some(master) => format!("{secret:032x}@{master}"),
            None => format!("{secret:032x}"),
        }
    }
}

/// The digest of a token as it came.
pub(crate) fn digest_of(token: &[u8]) -> String {
    blake3::hash(token).to_hex().to_string()
}

impl FromStr for Invitation {
    type Err = InvitationError;

    fn from_str(text: &str) -> Result<Self, InvitationError> {
        let text = text.trim();
        let (secret, master) = match text.split_once('@') {
            Some((secret, master)) => {
                let master = master.parse().map_err(|_| InvitationError)?;
                (secret, Some(master))
            }
            None => (text, None),
        };
        let is_hexadecimal = secret.bytes().all(|digit| digit.is_ascii_hexdigit());
        if secret.len() != 2 * LENGTH || !is_hexadecimal {
            return Err(InvitationError);
        }
        let secret = u128::from_str_radix(secret, 16).map_err(|_| InvitationError)?;
        Ok(Self {
            secret: secret.to_be_bytes(),
            master,
        })
    }
}

impl fmt::Debug for Invitation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Invitation(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_text_is_read_back_and_shown_by_nothing_else() {
        for master in [None, Some(Fingerprint([7; 32]))] {
            let invitation = Invitation::fresh(master).unwrap();
            let text = invitation.reveal();
            assert_eq!(text.parse(), Ok(invitation.clone()));
            assert_eq!(format!("\t{text}\n").parse(), Ok(invitation.clone()));
            assert_eq!(format!("{invitation:?}"), "Invitation(***)");
            assert_eq!(format!("{:?}", invitation.token()), "***");
            assert!(!text.contains(&invitation.digest()));
            assert_eq!(invitation.digest(), digest_of(invitation.token().reveal()));
        }
    }

    #[test]
    fn two_are_never_the_same() {
        assert_ne!(
            Invitation::fresh(None).unwrap(),
            Invitation::fresh(None).unwrap()
        );
    }

    #[test]
    fn anything_else_is_refused() {
        let secret = "0123456789abcdef0123456789abcdef";
        for text in [
            "",
            "-",
            &secret[1..],
            &format!("{secret}0"),
            &format!("+{}", &secret[1..]),
            &format!("{secret}@"),
            &format!("{secret}@SHA256:short"),
            &format!("@{secret}"),
            "0123456789abcdef0123456789abcdeg",
        ] {
            assert_eq!(text.parse::<Invitation>(), Err(InvitationError), "{text}");
        }
    }
}
