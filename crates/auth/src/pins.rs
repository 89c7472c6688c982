//! What is remembered of servers: by what each is known, under the name by which a person calls it.
//!
//! A line of the file is `NAME SHA256:…` or `NAME certified`; others, and comments behind `#`, are kept as they are. A line
//! about a name that makes no sense is an error for whoever asks for that name: were it passed over, the server would be
//! met as if for the first time.

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use protocol::Fingerprint;
use rustix::fs::{Mode, OFlags};
use thiserror::Error;

use crate::state_directory::make_durable;
use crate::state_file::{FileError, is_ours, lock, read, replace};

/// Longest file, bytes: room for some 10,000 servers.
const LONGEST: u64 = 1024 * 1024;

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

/// The file: private to its owner, replaced as a whole, changed by one program at a time.
#[derive(Clone, Debug)]
pub struct PinFile {
    path: PathBuf,
}

/// Why what is remembered cannot be used; each says which file, and how to mend it where a person can.
#[derive(Debug, Error)]
pub enum PinError {
    /// A system call failed.
    #[error("cannot {operation} '{}': {source}", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Others could put their own keys there.
    #[error("'{0}' is open to others, who could change it; mend it with: chmod go= '{0}'", path.display())]
    Open {
        /// The file, or the folder that holds it.
        path: PathBuf,
    },
    /// Somebody else decides what it says.
    #[error("'{}' belongs to another user", path.display())]
    Foreign {
        /// The file, or the folder that holds it.
        path: PathBuf,
    },
    /// A device, a link, or too long.
    #[error("'{}' is no regular file of at most 1 MiB", path.display())]
    NotAFile {
        /// The file.
        path: PathBuf,
    },
    /// What it says of the name is not understood.
    #[error("'{}', line {line}: {problem}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where it is wrong, from 1.
        line: usize,
        /// What is wrong there.
        problem: &'static str,
    },
    /// A name that would be read as something else.
    #[error("'{name}' cannot stand in '{}'", path.display())]
    Name {
        /// The file.
        path: PathBuf,
        /// The name.
        name: String,
    },
}

impl PinFile {
    /// The file at `path`, which need not be there yet.
    #[must_use]
    pub fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is remembered of `name`.
    ///
    /// # Errors
    /// The file cannot be read, others could have changed it, or what it says of this name is not understood.
    pub fn find(&self, name: &str) -> Result<Option<Remembered>, PinError> {
        match self.open_folder() {
            Ok(folder) => self.look_up(&self.read(&folder)?, name),
            Err(PinError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Remembers `pin` of a `name` of which nothing is remembered, making file and folder where they are missing. What is
    /// remembered on return is durable; it is something else than `pin` where another program was quicker.
    ///
    /// # Errors
    /// Those of [`find`](Self::find), and when the file cannot be written.
    pub fn add(&self, name: &str, pin: Pin) -> Result<Remembered, PinError> {
        if !is_a_name(name) {
            return Err(PinError::Name {
                path: self.path.clone(),
                name: name.to_owned(),
            });
        }
        make_durable(self.folder(), None).map_err(self.failed("make a folder for"))?;
        let folder = self.open_folder()?;
        let file = self.file_name()?;
        let _locked = lock(folder.as_fd(), &format!("{file}.lock")).map_err(self.failed("lock"))?;
        let mut content = self.read(&folder)?;
        if let Some(remembered) = self.look_up(&content, name)? {
            return Ok(remembered);
        }
        if content.last().is_some_and(|last| *last != b'\n') {
            content.push(b'\n');
        }
        let line = 1 + lines(&content).count();
        content.extend_from_slice(format!("{name} {pin}\n").as_bytes());
        replace(folder.as_fd(), file, &content).map_err(self.failed("write"))?;
        Ok(Remembered { pin, line })
    }

    fn folder(&self) -> &Path {
        let parent = self.path.parent();
        parent
            .filter(|parent| !parent.as_os_str().is_empty())
            .unwrap_or(Path::new("."))
    }

    fn file_name(&self) -> Result<&str, PinError> {
        let name = self.path.file_name().and_then(OsStr::to_str);
        name.ok_or_else(|| self.failed("use")(io::ErrorKind::InvalidFilename.into()))
    }

    /// The folder, which nobody else may change.
    fn open_folder(&self) -> Result<OwnedFd, PinError> {
        let failed = |error: rustix::io::Errno| self.failed("open")(error.into());
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::open(self.folder(), flags, Mode::empty()).map_err(failed)?;
        let facts = rustix::fs::fstat(&folder).map_err(failed)?;
        let path = self.folder().to_owned();
        if !is_ours(facts.st_uid) {
            return Err(PinError::Foreign { path });
        }
        if facts.st_mode & 0o022 != 0 {
            return Err(PinError::Open { path });
        }
        Ok(folder)
    }

    fn read(&self, folder: &OwnedFd) -> Result<Vec<u8>, PinError> {
        let path = || self.path.clone();
        let content =
            read(folder.as_fd(), self.file_name()?, LONGEST).map_err(|error| match error {
                FileError::Io(source) => self.failed("read")(source),
                FileError::NotPrivate => PinError::Open { path: path() },
                FileError::Foreign => PinError::Foreign { path: path() },
                FileError::NotSmallFile => PinError::NotAFile { path: path() },
            })?;
        Ok(content.unwrap_or_default())
    }

    fn look_up(&self, content: &[u8], name: &str) -> Result<Option<Remembered>, PinError> {
        let mut found: Option<Remembered> = None;
        for (line, text) in (1..).zip(lines(content)) {
            let malformed = |problem| PinError::Malformed {
                path: self.path.clone(),
                line,
                problem,
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

    fn failed(&self, operation: &'static str) -> impl Fn(io::Error) -> PinError {
        let path = self.path.clone();
        move |source| PinError::Io {
            operation,
            path: path.clone(),
            source,
        }
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
fn is_a_name(name: &str) -> bool {
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

#[cfg(test)]
mod tests;
