//! What is remembered of servers: by what each is known, under the name by which a person calls it. Pure: bytes in, bytes
//! out; [`PinFile`](crate::PinFile) keeps them.
//!
//! A line is `NAME SHA256:…` or `NAME certified`; others, and comments behind `#`, are kept as they are. A line
//! about a name that makes no sense is an error for whoever asks for that name: were it passed over, the server would be
//! met as if for the first time.

use std::fmt;
use std::str::FromStr;

use protocol::Fingerprint;
use thiserror::Error;

use crate::toml_file::Malformed;

/// The word for [`Pin::Certified`].
const CERTIFIED: &str = "certified";

/// By what a server is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pin {
    /// Its key.
    Key(Fingerprint),
    /// A certificate for its name from an authority, whatever the key: one without is an impostor's.
    Certified,
}

/// What the file says of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remembered {
    /// By what the server is known.
    pub pin: Pin,
    /// Where that is written, from 1.
    pub line: usize,
}

/// What such a file holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pins(Vec<u8>);

/// Why nothing can be remembered of a name.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AddError {
    /// It would be read as something else.
    #[error("that is no name of a server")]
    Name,
    /// What is remembered of it already is not understood.
    #[error("line {}: {}", .0.line, .0.problem)]
    Malformed(Malformed),
}

impl Pins {
    /// What a file with this content holds.
    #[must_use]
    pub const fn new(content: Vec<u8>) -> Self {
        Self(content)
    }

    /// What is remembered of `name`.
    ///
    /// # Errors
    /// What is said of this name is not understood.
    pub fn find(&self, name: &str) -> Result<Option<Remembered>, Malformed> {
        let mut found: Option<Remembered> = None;
        for (line, text) in (1..).zip(lines(&self.0)) {
            let malformed = |problem: &str| Malformed {
                line,
                problem: problem.to_owned(),
            };
            let Some(pin) = pin_of(text, name).map_err(malformed)? else {
                continue;
            };
            if found.is_some_and(|found| found.pin != pin) {
                return Err(malformed("it contradicts a line above"));
            }
            found = found.or(Some(Remembered { pin, line }));
        }
        Ok(found)
    }

    /// Remembers `pin` of a `name` of which nothing is remembered, in a line behind the others. What is remembered now, which
    /// is something else than `pin` where there was something already.
    ///
    /// # Errors
    /// See [`AddError`]; nothing is changed then.
    pub fn add(&mut self, name: &str, pin: Pin) -> Result<Remembered, AddError> {
        if !is_a_name(name) {
            return Err(AddError::Name);
        }
        if let Some(remembered) = self.find(name).map_err(AddError::Malformed)? {
            return Ok(remembered);
        }
        if self.0.last().is_some_and(|last| *last != b'\n') {
            self.0.push(b'\n');
        }
        let line = 1 + lines(&self.0).count();
        self.0
            .extend_from_slice(format!("{name} {pin}\n").as_bytes());
        Ok(Remembered { pin, line })
    }

    /// The content of the file.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

fn lines(content: &[u8]) -> impl Iterator<Item = &[u8]> {
    let whole = content.strip_suffix(b"\n").unwrap_or(content);
    let is_empty = content.is_empty();
    whole
        .split(|byte| *byte == b'\n')
        .filter(move |_| !is_empty)
}

/// Whether a line that begins with this word is about `name` and nothing else.
pub(crate) fn is_a_name(name: &str) -> bool {
    let is_plain = |character: char| !character.is_whitespace() && !character.is_control();
    !name.is_empty() && !name.starts_with('#') && name.chars().all(is_plain)
}

/// What a line says of `name`; `None` where it is about something else.
fn pin_of(line: &[u8], name: &str) -> Result<Option<Pin>, &'static str> {
    let mut words = line
        .split(u8::is_ascii_whitespace)
        .filter(|word| !word.is_empty());
    let first = words.next().unwrap_or_default();
    if !is_about(first, name.as_bytes()) {
        return Ok(None);
    }
    if !first.eq_ignore_ascii_case(name.as_bytes()) {
        return Err("not of the form HOST:PORT SHA256:…");
    }
    match (words.next().map(std::str::from_utf8), words.next()) {
        (Some(Ok(pin)), None) => pin.parse().map(Some),
        _ => Err("not of the form HOST:PORT SHA256:…"),
    }
}

/// Whether whoever wrote that word first meant `name`, be it with a slip: without its port, or with the fingerprint close
/// behind it. The case of host names does not matter.
fn is_about(word: &[u8], name: &[u8]) -> bool {
    let host = name
        .iter()
        .rposition(|byte| *byte == b':')
        .and_then(|colon| name.get(..colon));
    let is_its_host = host.is_some_and(|host| {
        let word = word.strip_suffix(b":").unwrap_or(word);
        word.eq_ignore_ascii_case(host)
    });
    let begins_so = word
        .split_at_checked(name.len())
        .is_some_and(|(begin, rest)| {
            begin.eq_ignore_ascii_case(name) && !rest.first().is_some_and(u8::is_ascii_digit)
        });
    is_its_host || begins_so
}

impl fmt::Display for Pin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(fingerprint) => fingerprint.fmt(formatter),
            Self::Certified => formatter.write_str(CERTIFIED),
        }
    }
}

impl FromStr for Pin {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == CERTIFIED {
            return Ok(Self::Certified);
        }
        let fingerprint = text.parse().map(Self::Key);
        fingerprint.map_err(|_| "not a fingerprint: SHA256: and 43 characters behind it")
    }
}
