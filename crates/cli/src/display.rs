//! What came from elsewhere, made safe to show: no byte of it moves a cursor, hides a word or begins a line.

use std::fmt::{self, Write};

/// A name of any bytes, shown so that no two names look the same: as [`text`], and a backslash is doubled.
#[must_use]
pub fn name(bytes: &(impl AsRef<[u8]> + ?Sized)) -> Escaped<'_> {
    Escaped {
        bytes: bytes.as_ref(),
        backslash: true,
    }
}

/// A text from elsewhere: control characters, the controls of writing direction, other line ends, and what is not
/// UTF-8 are written as Rust and most shells write them (`\n`, `\x1b`, `\u{202e}`, `\xff`).
#[must_use]
pub fn text(bytes: &(impl AsRef<[u8]> + ?Sized)) -> Escaped<'_> {
    Escaped {
        bytes: bytes.as_ref(),
        backslash: false,
    }
}

/// Shows itself escaped; see [`name`] and [`text`].
#[derive(Clone, Copy, Debug)]
pub struct Escaped<'a> {
    bytes: &'a [u8],
    backslash: bool,
}

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.bytes.utf8_chunks() {
            for character in chunk.valid().chars() {
                match character {
                    '\n' => formatter.write_str("\\n")?,
                    '\r' => formatter.write_str("\\r")?,
                    '\t' => formatter.write_str("\\t")?,
                    '\\' if self.backslash => formatter.write_str("\\\\")?,
                    '\0'..='\u{7f}' if character.is_control() => {
                        write!(formatter, "\\x{:02x}", u32::from(character))?;
                    }
                    _ if disturbs(character) => {
                        write!(formatter, "\\u{{{:x}}}", u32::from(character))?;
                    }
                    _ => formatter.write_char(character)?,
                }
            }
            for byte in chunk.invalid() {
                write!(formatter, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

/// Whether a character does something to a terminal beyond showing itself.
pub(crate) fn disturbs(character: char) -> bool {
    character.is_control() || deceives(character)
}

/// Whether a character changes how its neighbours are read: direction (Unicode UAX 9, section 2), lines (UAX 14, BK).
const fn deceives(character: char) -> bool {
    matches!(
        character,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_readable_stays_so() {
        for readable in ["", "a.bin", "l'été.txt", "日本語", "a b", "\"'`$"] {
            assert_eq!(name(readable).to_string(), readable);
        }
    }

    #[test]
    fn what_is_not_is_spelled_out() {
        for (bytes, shown) in [
            (b"a\nb\r\t".as_slice(), r"a\nb\r\t"),
            (b"\x1b[31m", r"\x1b[31m"),
            (b"\x00\x7f", r"\x00\x7f"),
            ("\u{9b}31m".as_bytes(), r"\u{9b}31m"),
            ("\u{202e}gpj.exe".as_bytes(), r"\u{202e}gpj.exe"),
            (b"\xff\xc3", r"\xff\xc3"),
            (br"a\n", r"a\\n"),
        ] {
            assert_eq!(name(bytes).to_string(), shown);
        }
        assert_eq!(text(br"a\n").to_string(), r"a\n");
    }

    proptest! {
        #[test]
        fn nothing_shown_controls_a_terminal(bytes: Vec<u8>) {
            for shown in [name(&bytes).to_string(), text(&bytes).to_string()] {
                prop_assert!(!shown.contains(disturbs), "{shown:?}");
            }
        }

        #[test]
        fn nor_does_any_text(text: String) {
            let shown = name(&text).to_string();
            prop_assert!(!shown.contains(disturbs), "{shown:?}");
        }

        #[test]
        fn no_two_names_look_the_same(one: Vec<u8>, other: Vec<u8>) {
            prop_assert_eq!(one == other, name(&one).to_string() == name(&other).to_string());
        }
    }
}
