//! JSON for people and programs alike: one line an object, and nothing in it that disturbs a terminal.

use serde::Serialize;

use crate::display::disturbs;

/// One object, without a line end. Whatever would disturb a terminal is written as `\uXXXX`, which is possible because such
/// characters stand within strings only.
///
/// # Errors
/// `object` does not serialise: a map with keys that are no strings, or its own `Serialize` fails.
pub fn json_line(object: &impl Serialize) -> Result<String, serde_json::Error> {
    let plain = serde_json::to_string(object)?;
    if !plain.contains(disturbs) {
        return Ok(plain);
    }
    let mut line = String::with_capacity(plain.len() + 16);
    for character in plain.chars() {
        if disturbs(character) {
            let mut units = [0; 2];
            for unit in character.encode_utf16(&mut units) {
                line.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            line.push(character);
        }
    }
    Ok(line)
}

/// JSON knows text only: the exact bytes of a name that is none.
#[must_use]
pub fn base64_unless_text(name: &[u8]) -> Option<String> {
    std::str::from_utf8(name).is_err().then(|| base64(name))
}

/// RFC 4648, section 4. Twenty lines are not worth a dependency.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let bits = (0..3).fold(0_usize, |bits, index| {
            bits << 8 | usize::from(chunk.get(index).copied().unwrap_or(0))
        });
        for index in 0..4 {
            let digit = ALPHABET.get(bits >> (18 - 6 * index) & 63);
            text.push(match digit {
                Some(&digit) if index <= chunk.len() => char::from(digit),
                _ => '=',
            });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// RFC 4648, section 10.
    #[test]
    fn base64_is_the_rfc_s() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
        assert_eq!(base64(b"\xff\xfe\xfd"), "//79");
    }

    proptest! {
        #[test]
        fn a_line_is_one_line_and_says_what_was_meant(text: String) {
            let hostile = format!("{text}\n\u{202e}\u{9b}\u{7f}");
            let line = json_line(&[&hostile]).unwrap();
            prop_assert!(!line.contains(disturbs), "{line:?}");
            let read: Vec<String> = serde_json::from_str(&line).unwrap();
            prop_assert_eq!(read, [hostile]);
        }
    }
}
