//! The files of a state directory that a person may read: TOML, and where it is wrong.

use serde::de::DeserializeOwned;

/// What is wrong with a file's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// In which line, from 1.
    pub line: usize,
    /// Never the line itself, nor a value that stands there: it may be a hash, or a password where a hash was wanted.
    pub problem: String,
}

/// The longest word of the file that is repeated: longer ones are no slip in a name.
const LONGEST_WORD: usize = 32;

impl Malformed {
    fn behind(before: &[u8], problem: &str) -> Self {
        Self {
            line: 1 + before.iter().filter(|byte| **byte == b'\n').count(),
            problem: problem.to_owned(),
        }
    }
}

/// What the content of a file says.
pub(crate) fn parse<T: DeserializeOwned>(content: &[u8]) -> Result<T, Malformed> {
    let before = |end| content.get(..end).unwrap_or_default();
    let text = std::str::from_utf8(content)
        .map_err(|error| Malformed::behind(before(error.valid_up_to()), "not UTF-8"))?;
    toml::from_str(text).map_err(|error| {
        let offset = error.span().map_or(0, |span| span.start);
        Malformed::behind(before(offset), &without_values(error.message()))
    })
}

/// What serde says of a value without the value: ``invalid type: string "secret", expected …``.
fn without_values(message: &str) -> String {
    let is_of_value = ["invalid type: ", "invalid value: "]
        .iter()
        .any(|begin| message.starts_with(begin));
    let begin = message.find(['"', '`']);
    let split = begin
        .zip(message.rfind(", expected"))
        .filter(|(begin, end)| begin < end && (is_of_value || end - begin > LONGEST_WORD))
        .and_then(|(begin, end)| message.get(..begin).zip(message.get(end..)));
    match split {
        Some((kind, expected)) => format!("{}{expected}", kind.trim_end()),
        None => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_not_repeated_and_a_mistyped_word_is() {
        for (said, told) in [
            (
                "invalid type: string \"a\\\", expected b\", expected struct Account",
                "invalid type: string, expected struct Account",
            ),
            (
                "invalid value: integer `-1`, expected u64",
                "invalid value: integer, expected u64",
            ),
            (
                "unknown variant `reed`, expected one of `read`, `write`, `delete`",
                "unknown variant `reed`, expected one of `read`, `write`, `delete`",
            ),
            (
                "unknown variant `$argon2id$v=19$m=19456,t=2,p=1$MDEy`, expected one of `read`, `write`",
                "unknown variant, expected one of `read`, `write`",
            ),
            (
                "invalid type: map, expected a string",
                "invalid type: map, expected a string",
            ),
            ("missing field `password`", "missing field `password`"),
            ("a name is `a-z`", "a name is `a-z`"),
        ] {
            assert_eq!(without_values(said), told);
        }
    }
}
