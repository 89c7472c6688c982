//! Fixed-size identities and digests, with their hexadecimal form.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::limits::MAX_VERSION_TOKEN;

/// A text that is not the hexadecimal form of the expected number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not {bytes} bytes in hexadecimal")]
pub struct HexError {
    /// How many bytes were expected.
    pub bytes: usize,
}

macro_rules! fixed_bytes {
    ($(#[$doc:meta])* $name:ident, $length:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub [u8; $length]);

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
            }
        }

        impl FromStr for $name {
            type Err = HexError;

            fn from_str(text: &str) -> Result<Self, HexError> {
                let mut bytes = [0; $length];
                parse_hex(text, &mut bytes)?;
                Ok(Self(bytes))
            }
        }
    };
}

fixed_bytes! {
    /// The BLAKE3 digest of a content: 32 bytes, no key, over the bytes alone. For a block of a larger file it is the
    /// block's chaining value at its offset (BLAKE3 specification, section 2.1), so that blocks merge into the whole.
    Digest, 32
}
fixed_bytes! {
    /// Who a slave is: made once for its root and port, kept in its state directory.
    SlaveId, 16
}
fixed_bytes! {
    /// Which storage a slave serves: made once, kept in the storage itself.
    StorageId, 16
}
fixed_bytes! {
    /// Which upload a staging file belongs to; chosen by the client, the same when it resumes.
    UploadId, 32
}
macro_rules! shown_in_logs {
    ($($name:ident),*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, "{}({self})", stringify!($name))
            }
        }
    )*};
}

shown_in_logs! { Digest, SlaveId, StorageId, UploadId, Nonce, Proof }

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(***)")
    }
}

fixed_bytes! {
    /// What a client shows beside its ticket to prove that the ticket was made for it; goes to that one slave only.
    Secret, 32
}
fixed_bytes! {
    /// A random number used once in a challenge.
    Nonce, 32
}
fixed_bytes! {
    /// An HMAC-SHA256 (RFC 2104) that proves knowledge of a registration key.
    Proof, 32
}

fn parse_hex(text: &str, bytes: &mut [u8]) -> Result<(), HexError> {
    let error = HexError { bytes: bytes.len() };
    let digits = text.as_bytes();
    if digits.len() != bytes.len() * 2 {
        return Err(error);
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let &[high, low] = pair else {
            return Err(error);
        };
        *byte = hex_digit(high).ok_or(error)? << 4 | hex_digit(low).ok_or(error)?;
    }
    Ok(())
}

fn hex_digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

/// Names one state of one file: opaque, at most [`MAX_VERSION_TOKEN`] bytes, compared
/// for equality only. Resuming and failing over send it back, and a slave whose file is another version refuses.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Version {
    /// The token, zeros behind it: one is made for each file that is listed or opened, which allocates nothing.
    bytes: [u8; MAX_VERSION_TOKEN],
    length: usize,
}

impl Version {
    /// A token of these bytes; `None` when there are none or more than the limit.
    #[must_use]
    pub fn new(token: &[u8]) -> Option<Self> {
        let mut bytes = [0; MAX_VERSION_TOKEN];
        bytes.get_mut(..token.len())?.copy_from_slice(token);
        (!token.is_empty()).then_some(Self {
            bytes,
            length: token.len(),
        })
    }

    /// The token's bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Version(")?;
        self.as_bytes()
            .iter()
            .try_for_each(|byte| write!(formatter, "{byte:02x}"))?;
        formatter.write_str(")")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_form_round_trips() {
        let id = SlaveId(*b"\x00\x01\xfe\xff0123456789ab");
        assert_eq!(id.to_string().parse(), Ok(id));
    }

    #[test]
    fn wrong_hexadecimal_is_refused() {
        for text in [
            "",
            "00",
            "zz000000000000000000000000000000",
            "0000000000000000000000000000000",
            "é0000000000000000000000000000000",
        ] {
            assert_eq!(
                text.parse::<SlaveId>(),
                Err(HexError { bytes: 16 }),
                "{text}"
            );
        }
    }

    #[test]
    fn version_tokens_are_bounded() {
        assert!(Version::new(&[]).is_none());
        assert!(Version::new(&[0; 64]).is_some());
        assert!(Version::new(&[0; 65]).is_none());
        assert_ne!(Version::new(&[0]), Version::new(&[0, 0]));
    }
}
