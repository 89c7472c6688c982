//! By what a server is known: the digest of its public key, and the form in which people read it.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// SHA-256 of a certificate's `SubjectPublicKeyInfo` in DER (RFC 7469, section 2.4): by this a server is known, whatever
/// else its certificate says. Shown as ssh shows keys: `SHA256:` and base64 without padding.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint(pub [u8; 32]);

/// A text that is no fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not a fingerprint: it begins with SHA256: and 43 letters and digits follow")]
pub struct FingerprintError;

/// What stands before the digest.
const PREFIX: &str = "SHA256:";

/// The alphabet of base64 (RFC 4648, section 4).
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Bits of a letter.
const BITS: u32 = 6;

/// Letters of a digest.
const LETTERS: usize = 43;

impl fmt::Display for Fingerprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(PREFIX)?;
        for group in self.0.chunks(3) {
            let mut bits = [0; 4];
            for (place, byte) in bits.iter_mut().skip(1).zip(group) {
                *place = *byte;
            }
            let bits = u32::from_be_bytes(bits);
            // Three bytes are four letters, the last two of a digest three.
            for place in 0..=group.len() {
                let shift = BITS * (3 - u32::try_from(place).unwrap_or(3));
                let value = usize::try_from(bits >> shift & 0x3f).unwrap_or(0);
                let letter = ALPHABET.get(value).copied().unwrap_or(b'A');
                fmt::Write::write_char(formatter, char::from(letter))?;
            }
        }
        Ok(())
    }
}

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    fn from_str(text: &str) -> Result<Self, FingerprintError> {
        let letters = text.strip_prefix(PREFIX).ok_or(FingerprintError)?;
        if letters.len() != LETTERS {
            return Err(FingerprintError);
        }
        let mut digest = [0; 32];
        let mut place = digest.iter_mut();
        let (mut bits, mut count) = (0_u32, 0);
        for letter in letters.bytes() {
            let value = ALPHABET.iter().position(|&known| known == letter);
            let value = value.and_then(|value| u32::try_from(value).ok());
            bits = bits << BITS | value.ok_or(FingerprintError)?;
            count += BITS;
            if count >= 8 {
                count -= 8;
                let [.., byte] = (bits >> count).to_be_bytes();
                *place.next().ok_or(FingerprintError)? = byte;
                bits &= (1 << count) - 1;
            }
        }
        // One key, one text: what is left over of the last letter must say nothing.
        if bits == 0 {
            Ok(Self(digest))
        } else {
            Err(FingerprintError)
        }
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Fingerprint({self})")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn it_looks_as_ssh_shows_keys() {
        // printf '' | openssl dgst -sha256 -binary | base64, without the padding
        let empty: [u8; 32] = [
            0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f,
            0xb9, 0x24, 0x27, 0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b,
            0x78, 0x52, 0xb8, 0x55,
        ];
        assert_eq!(
            Fingerprint(empty).to_string(),
            "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU"
        );
    }

    #[test]
    fn other_texts_are_refused() {
        let right = Fingerprint([0xff; 32]).to_string();
        let without_prefix = right.trim_start_matches(PREFIX);
        let not_zero_bits = format!("{}9", right.strip_suffix('8').unwrap());
        for text in [
            "",
            "SHA256:",
            without_prefix,
            &format!("{right}="),
            &format!("{right}A"),
            right.get(..right.len() - 1).unwrap(),
            &right.replace('/', "_"),
            &not_zero_bits,
            &right.to_lowercase(),
        ] {
            assert_eq!(text.parse::<Fingerprint>(), Err(FingerprintError), "{text}");
        }
        assert_eq!(right.parse(), Ok(Fingerprint([0xff; 32])));
    }

    proptest! {
        #[test]
        fn every_one_round_trips(digest in any::<[u8; 32]>()) {
            let fingerprint = Fingerprint(digest);
            prop_assert_eq!(fingerprint.to_string().parse(), Ok(fingerprint));
        }
    }
}
