//! The files of a state directory that a person may read: TOML, and where it is wrong.

use serde::de::DeserializeOwned;

/// What is wrong with a file's content, and in which line, from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Malformed {
    pub(crate) line: usize,
    /// Never the line itself, which may hold a hash.
    pub(crate) problem: String,
}

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
        Malformed::behind(before(offset), error.message())
    })
}
