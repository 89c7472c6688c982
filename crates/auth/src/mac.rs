//! HMAC-SHA256 (RFC 2104) over a label and parts whose borders cannot be moved.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Bytes of a key and of a code.
pub(crate) const LENGTH: usize = 32;

/// Bytes of a block of SHA-256, to which HMAC pads its key with zeros.
const BLOCK: usize = 64;

/// The code, under `key`, of `parts` said for the purpose `label`. Each stands behind its length (64 bits, big-endian):
/// no code ever counts for another purpose, or for the same bytes with other borders.
pub(crate) fn compute(key: &[u8; LENGTH], label: &'static str, parts: &[&[u8]]) -> [u8; LENGTH] {
    feed(key, label, parts).finalize().into_bytes().into()
}

/// Whether `code` is what [`compute`] gives; takes the same time wherever they differ.
pub(crate) fn is_valid(
    key: &[u8; LENGTH],
    label: &'static str,
    parts: &[&[u8]],
    code: &[u8],
) -> bool {
    feed(key, label, parts).verify_slice(code).is_ok()
}

fn feed(key: &[u8; LENGTH], label: &'static str, parts: &[&[u8]]) -> Hmac<Sha256> {
    let mut padded = [0; BLOCK];
    for (to, from) in padded.iter_mut().zip(key) {
        *to = *from;
    }
    let mut mac = Hmac::<Sha256>::new(&padded.into());
    for part in std::iter::once(&label.as_bytes()).chain(parts) {
        mac.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        mac.update(part);
    }
    mac
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; LENGTH] = [7; LENGTH];

    #[test]
    fn it_is_the_hmac_of_the_lengths_and_parts() {
        let mut expected = Hmac::<Sha256>::new_from_slice(&KEY).unwrap();
        expected.update(b"\0\0\0\0\0\0\0\x05label\0\0\0\0\0\0\0\x02ab");
        assert_eq!(
            compute(&KEY, "label", &[b"ab"]).as_slice(),
            expected.finalize().into_bytes().as_slice()
        );
    }

    #[test]
    fn borders_and_labels_count() {
        let reference = compute(&KEY, "a", &[b"bc", b"d"]);
        for other in [
            compute(&KEY, "a", &[b"b", b"cd"]),
            compute(&KEY, "a", &[b"bcd"]),
            compute(&KEY, "a", &[b"bcd", b""]),
            compute(&KEY, "ab", &[b"c", b"d"]),
        ] {
            assert_ne!(reference, other);
        }
    }

    #[test]
    fn a_shortened_code_is_refused() {
        let code = compute(&KEY, "label", &[]);
        assert!(is_valid(&KEY, "label", &[], &code));
        assert!(!is_valid(&KEY, "label", &[], &code[..31]));
        assert!(!is_valid(&KEY, "label", &[], &[]));
    }
}
