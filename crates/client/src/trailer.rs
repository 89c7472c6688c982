//! What stands behind the content in a partial download, so that it can be gone on with: which file, which version.
//!
//! It begins at the content's full size, so it works on any file system, and ends with its own checksum and length:
//!
//! | bytes | what |
//! | --- | --- |
//! | 8 | magic |
//! | 8 | size of the whole content, big-endian |
//! | 2, then as many | length of the remote path, path |
//! | 2, then as many | length of the version token, token |
//! | 32 | BLAKE3 of everything above |
//! | 4 | length of everything above |

use protocol::{RemotePath, Version};

const MAGIC: [u8; 8] = *b"MFTPART\x01";
const CHECKSUM: usize = 32;

/// Longest trailer, bytes: more are never read.
pub(crate) const MAX_TRAILER: usize = 8 * 1024;

/// Which file, in which state, a partial download belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trailer {
    /// The file.
    pub remote: RemotePath,
    /// Its state.
    pub version: Version,
    /// Bytes of the whole content: where the trailer begins.
    pub size: u64,
}

impl Trailer {
    /// The bytes to put there.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&self.size.to_be_bytes());
        for field in [self.remote.as_bytes(), self.version.as_bytes()] {
            let length = u16::try_from(field.len()).unwrap_or(u16::MAX);
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.extend_from_slice(field);
        }
        let checksum = blake3::hash(&bytes);
        bytes.extend_from_slice(checksum.as_bytes());
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes
    }

    /// Reads the trailer that a file of `length` bytes ends with, of which `tail` holds the last ones. `None` for
    /// whatever is not whole.
    #[must_use]
    pub fn decode(tail: &[u8], length: u64) -> Option<Self> {
        let (rest, count) = tail.split_last_chunk::<4>()?;
        let count = usize::try_from(u32::from_be_bytes(*count)).ok()?;
        let sealed = rest.get(rest.len().checked_sub(count)?..)?;
        let (content, checksum) = sealed.split_last_chunk::<CHECKSUM>()?;
        if blake3::hash(content) != blake3::Hash::from_bytes(*checksum) {
            return None;
        }
        let (size, fields) = content.strip_prefix(&MAGIC)?.split_first_chunk()?;
        let (remote, fields) = field(fields)?;
        let (version, fields) = field(fields)?;
        let size = u64::from_be_bytes(*size);
        let begins_at = length.checked_sub(u64::try_from(count + 4).ok()?)?;
        (fields.is_empty() && begins_at == size).then_some(())?;
        Some(Self {
            remote: RemotePath::parse(remote).ok()?,
            version: Version::new(version)?,
            size,
        })
    }
}

fn field(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn trailer(size: u64) -> Trailer {
        Trailer {
            remote: RemotePath::try_from("/pub/a").unwrap(),
            version: Version::new(b"12345").unwrap(),
            size,
        }
    }

    #[test]
    fn it_comes_back_as_it_was() {
        for size in [0, 1, 1 << 40] {
            let bytes = trailer(size).encode();
            let length = size + bytes.len() as u64;
            assert_eq!(Trailer::decode(&bytes, length), Some(trailer(size)));
        }
    }

    #[test]
    fn the_longest_path_fits() {
        let path = [b"/".as_slice(), &[b'a'; 200]].concat().repeat(20);
        let long = Trailer {
            remote: RemotePath::parse(&path).unwrap(),
            version: Version::new(&[1; 64]).unwrap(),
            size: 0,
        };
        let bytes = long.encode();
        assert!(bytes.len() < MAX_TRAILER);
        assert_eq!(Trailer::decode(&bytes, bytes.len() as u64), Some(long));
    }

    #[test]
    fn one_in_another_place_is_none() {
        let bytes = trailer(100).encode();
        assert_eq!(Trailer::decode(&bytes, 99 + bytes.len() as u64), None);
    }

    proptest! {
        #[test]
        fn damage_is_noticed(place in 0..200_usize, bit in 0..8_u8) {
            let mut bytes = trailer(7).encode();
            let length = 7 + bytes.len() as u64;
            let place = place % bytes.len();
            bytes[place] ^= 1 << bit;
            prop_assert_eq!(Trailer::decode(&bytes, length), None);
        }

        #[test]
        fn any_bytes_are_safe(bytes in proptest::collection::vec(any::<u8>(), 0..300), length in any::<u64>()) {
            prop_assert_eq!(Trailer::decode(&bytes, length), None);
        }
    }
}
