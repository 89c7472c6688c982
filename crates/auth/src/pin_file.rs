//! The file of what is [remembered](Pins) of servers: private to its owner, replaced as a whole, changed by one program at
//! a time.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use thiserror::Error;

use crate::pins::{AddError, Pin, Pins, Remembered, is_a_name};
use crate::state_directory::make_durable;
use crate::state_file::{FileError, is_ours, lock, read, replace};
use crate::toml_file::Malformed;

/// Longest file, bytes: room for some 10,000 servers.
const LONGEST: u64 = 1024 * 1024;

/// Where it is kept what is remembered of servers.
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
        problem: String,
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
            Ok(folder) => {
                let pins = self.read(&folder)?;
                pins.find(name)
                    .map_err(|malformed| self.malformed(malformed))
            }
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
            return Err(self.cannot_add(name, AddError::Name));
        }
        make_durable(self.folder(), None).map_err(self.failed("make a folder for"))?;
        let folder = self.open_folder()?;
        let file = self.file_name()?;
        let _locked = lock(folder.as_fd(), &format!("{file}.lock")).map_err(self.failed("lock"))?;
        let mut pins = self.read(&folder)?;
        let before = pins.as_bytes().len();
        let remembered = pins
            .add(name, pin)
            .map_err(|error| self.cannot_add(name, error))?;
        if pins.as_bytes().len() > before {
            replace(folder.as_fd(), file, pins.as_bytes()).map_err(self.failed("write"))?;
        }
        Ok(remembered)
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

    fn read(&self, folder: &OwnedFd) -> Result<Pins, PinError> {
        let path = || self.path.clone();
        let content =
            read(folder.as_fd(), self.file_name()?, LONGEST).map_err(|error| match error {
                FileError::Io(source) => self.failed("read")(source),
                FileError::NotPrivate => PinError::Open { path: path() },
                FileError::Foreign => PinError::Foreign { path: path() },
                FileError::NotSmallFile => PinError::NotAFile { path: path() },
            })?;
        Ok(Pins::new(content.unwrap_or_default()))
    }

    fn malformed(&self, Malformed { line, problem }: Malformed) -> PinError {
        PinError::Malformed {
            path: self.path.clone(),
            line,
            problem,
        }
    }

    fn cannot_add(&self, name: &str, error: AddError) -> PinError {
        match error {
            AddError::Name => PinError::Name {
                path: self.path.clone(),
                name: name.to_owned(),
            },
            AddError::Malformed(malformed) => self.malformed(malformed),
        }
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

#[cfg(test)]
mod tests;
