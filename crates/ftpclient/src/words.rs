//! A typed text as commands and words: quoting as in a POSIX shell, on bytes, because a name need not be UTF-8.
//!
//! The rules are those of the `shell-words` crate (a test holds the two together), with two things that it cannot say:
//! an unquoted `;` or line end closes a command, and a word remembers which of its bytes quotes protect from globbing.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use thiserror::Error;

/// One word of a command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Word {
    literal: Vec<u8>,
    pattern: Vec<u8>,
}

/// A quote that nothing closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a quote is not closed")]
pub struct UnclosedQuote;

impl Word {
    /// A word as it came from the shell, which has taken the quotes off already.
    #[must_use]
    pub fn typed(word: &OsStr) -> Self {
        Self {
            literal: word.as_bytes().to_vec(),
            pattern: word.as_bytes().to_vec(),
        }
    }

    /// A word in which nothing is a wildcard.
    #[must_use]
    pub fn quoted(bytes: &[u8]) -> Self {
        let mut word = Self::default();
        bytes.iter().for_each(|&byte| word.push_quoted(byte));
        word
    }

    /// What was typed, without its quotes.
    #[must_use]
    pub fn literal(&self) -> &[u8] {
        &self.literal
    }

    /// The same as a glob pattern: what was quoted has a backslash.
    #[must_use]
    pub fn pattern(&self) -> &[u8] {
        &self.pattern
    }

    /// A word that begins with two dashes: what stands behind them, and, behind the first equals sign, the value.
    #[must_use]
    pub fn split_option(&self) -> (&[u8], Option<Self>) {
        let option = self.literal.get(2..).unwrap_or_default();
        let end = option.iter().position(|&byte| byte == b'=');
        let name = option.get(..end.unwrap_or(option.len()));
        // Quoting puts backslashes before wildcards only: the first equals sign is the same one in both.
        let behind = |text: &[u8]| {
            let mut parts = text.splitn(2, |&byte| byte == b'=');
            parts.nth(1).unwrap_or_default().to_vec()
        };
        let value = end.map(|_| Self {
            literal: behind(&self.literal),
            pattern: behind(&self.pattern),
        });
        (name.unwrap_or_default(), value)
    }

    fn push(&mut self, byte: u8) {
        self.literal.push(byte);
        self.pattern.push(byte);
    }

    fn push_quoted(&mut self, byte: u8) {
        if b"*?[]!^-\\".contains(&byte) {
            self.pattern.push(b'\\');
        }
        self.push(byte);
    }
}

/// The commands of `text`, each with at least one word. `#` at the beginning of a word starts a comment, up to the end
/// of the line.
///
/// # Errors
/// A quote is not closed.
pub fn split(text: &[u8]) -> Result<Vec<Vec<Word>>, UnclosedQuote> {
    let mut splitter = Splitter::default();
    let mut bytes = text.iter().copied();
    while let Some(byte) = bytes.next() {
        match byte {
            b' ' | b'\t' => splitter.end_word(),
            b';' | b'\n' => splitter.end_command(),
            b'#' if splitter.word.is_none() => {
                if bytes.any(|byte| byte == b'\n') {
                    splitter.end_command();
                }
            }
            b'\'' => splitter.single_quoted(&mut bytes)?,
            b'"' => splitter.double_quoted(&mut bytes)?,
            b'\\' => match bytes.next() {
                Some(b'\n') => {}
                escaped => splitter.word().push_quoted(escaped.unwrap_or(b'\\')),
            },
            plain => splitter.word().push(plain),
        }
    }
    splitter.end_command();
    Ok(splitter.commands)
}

#[derive(Default)]
struct Splitter {
    commands: Vec<Vec<Word>>,
    words: Vec<Word>,
    word: Option<Word>,
}

impl Splitter {
    fn word(&mut self) -> &mut Word {
        self.word.get_or_insert_default()
    }

    fn end_word(&mut self) {
        self.words.extend(self.word.take());
    }

    fn end_command(&mut self) {
        self.end_word();
        if !self.words.is_empty() {
            self.commands.push(std::mem::take(&mut self.words));
        }
    }

    fn single_quoted(&mut self, bytes: &mut impl Iterator<Item = u8>) -> Result<(), UnclosedQuote> {
        let word = self.word();
        loop {
            match bytes.next().ok_or(UnclosedQuote)? {
                b'\'' => return Ok(()),
                byte => word.push_quoted(byte),
            }
        }
    }

    fn double_quoted(&mut self, bytes: &mut impl Iterator<Item = u8>) -> Result<(), UnclosedQuote> {
        let word = self.word();
        loop {
            match bytes.next().ok_or(UnclosedQuote)? {
                b'"' => return Ok(()),
                b'\\' => match bytes.next().ok_or(UnclosedQuote)? {
                    b'\n' => {}
                    escaped @ (b'$' | b'`' | b'"' | b'\\') => word.push_quoted(escaped),
                    other => {
                        word.push_quoted(b'\\');
                        word.push_quoted(other);
                    }
                },
                byte => word.push_quoted(byte),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn literals(text: &[u8]) -> Vec<Vec<Vec<u8>>> {
        let literal = |word: Word| word.literal;
        split(text)
            .unwrap()
            .into_iter()
            .map(|words| words.into_iter().map(literal).collect())
            .collect()
    }

    #[test]
    fn semicolons_and_line_ends_separate_unless_quoted() {
        assert_eq!(
            literals(b"cd pub; get 'a;b' ;; # rest; of line\nls\\;x"),
            [
                vec![b"cd".to_vec(), b"pub".to_vec()],
                vec![b"get".to_vec(), b"a;b".to_vec()],
                vec![b"ls;x".to_vec()],
            ]
        );
        assert!(literals(b" \t # nothing").is_empty());
    }

    #[test]
    fn any_byte_is_part_of_a_word() {
        assert_eq!(literals(b"\xff'\xfe '"), [[b"\xff\xfe ".to_vec()]]);
        assert_eq!(literals(b"''"), [[b"".to_vec()]]);
    }

    #[test]
    fn an_unclosed_quote_is_told_apart() {
        for text in ["'a", "\"a", "a \"b\\\"", "a'"] {
            assert_eq!(split(text.as_bytes()), Err(UnclosedQuote), "{text}");
        }
    }

    #[test]
    fn quotes_protect_wildcards() {
        for (typed, pattern) in [
            ("a*", "a*"),
            ("'a*'", r"a\*"),
            (r"a\*", r"a\*"),
            (r#""[a]"*"#, r"\[a\]*"),
        ] {
            let commands = split(typed.as_bytes()).unwrap();
            assert_eq!(commands[0][0].pattern, pattern.as_bytes(), "{typed}");
        }
        assert_eq!(Word::typed(OsStr::new(r"a\*")).pattern, br"a\*");
    }

    proptest! {
        #[test]
        fn words_are_those_of_shell_words(text in "[ab\\\\'\"# \t$*é]{0,20}") {
            let ours = split(text.as_bytes()).map(|mut commands| {
                commands.pop().unwrap_or_default().into_iter()
                    .map(|word| String::from_utf8(word.literal).unwrap()).collect::<Vec<_>>()
            });
            prop_assert_eq!(ours.ok(), shell_words::split(&text).ok());
        }
    }
}
