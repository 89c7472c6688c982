//! The names in one folder, read a few hundred at a time, and what the system says about each.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{FileType, Mode, OFlags, RawDir};
use rustix::io::{self, Errno};

use super::facts::Facts;
use super::look_ahead::LookAhead;

/// Room for the names that one system call returns.
const NAMES_AT_ONCE: usize = 32 * 1024;

/// From so many names at once on, it is likely that more follow, and the looks at them are worth a second thread: half a
/// millisecond of system calls.
const WORTH_A_THREAD: usize = 256;

/// One name in a folder.
#[derive(Debug)]
pub(crate) struct Name {
    pub(crate) bytes: Vec<u8>,
    /// As far as the folder tells it.
    pub(crate) file_type: FileType,
    /// What a look at the name has said, where there was one.
    pub(crate) facts: Option<io::Result<Facts>>,
}

/// A folder that is being read: holds what one system call returned, so that reading can pause to descend.
#[derive(Debug)]
pub(crate) struct Names {
    pub(crate) folder: Arc<OwnedFd>,
    /// Not handed out yet; the last is handed out first.
    pending: Batch,
    /// Of each of `pending`, or none at all.
    facts: Vec<io::Result<Facts>>,
    ahead: Option<LookAhead>,
}

/// What one system call returned.
#[derive(Debug, Default)]
pub(super) struct Batch {
    bytes: Vec<u8>,
    /// Where in `bytes` each name ends, and its type.
    names: Vec<(usize, FileType)>,
}

impl Names {
    pub(crate) fn new(folder: OwnedFd) -> Self {
        Self {
            folder: Arc::new(folder),
            pending: Batch::default(),
            facts: Vec::new(),
            ahead: None,
        }
    }

    /// The names in a folder that is held open, through a descriptor of their own: the other has one position for all.
    pub(crate) fn of(folder: &OwnedFd) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::openat(folder, c".", flags, Mode::empty()).map(Self::new)
    }

    /// The next name; never `.` or `..`.
    pub(crate) fn next(&mut self) -> io::Result<Option<Name>> {
        if self.pending.len() == 0 {
            self.read()?;
        }
        Ok(self.pop())
    }

    /// The next name for one who wants its facts: where there are many, a second thread looks at those that come next.
    pub(crate) fn next_with_facts(&mut self) -> io::Result<Option<Name>> {
        if self.pending.len() == 0 {
            self.read()?;
            if self.pending.len() >= WORTH_A_THREAD {
                self.ahead = LookAhead::begin(&self.folder);
            }
        }
        Ok(self.pop())
    }

    /// Begins again with the first name.
    pub(crate) fn rewind(&mut self) -> io::Result<()> {
        if let Some(ahead) = self.ahead.take() {
            ahead.finish(&self.folder)?;
        }
        (self.pending, self.facts) = Default::default();
        rustix::fs::seek(&self.folder, rustix::fs::SeekFrom::Start(0)).map(drop)
    }

    /// Reads on, where no name is pending.
    fn read(&mut self) -> io::Result<()> {
        (self.pending, self.facts) = match self.ahead.take() {
            Some(ahead) => ahead.finish(&self.folder)?,
            None => (Batch::read(&self.folder)?, Vec::new()),
        };
        Ok(())
    }

    fn pop(&mut self) -> Option<Name> {
        let last = self.pending.len().checked_sub(1)?;
        let bytes = self.pending.name(last).to_vec();
        let (_, file_type) = self.pending.names.pop()?;
        Some(Name {
            bytes,
            file_type,
            facts: self.facts.pop(),
        })
    }
}

impl Batch {
    /// The next names of a folder; none where there are no more.
    pub(super) fn read(folder: &OwnedFd) -> io::Result<Self> {
        let mut batch = Self::default();
        // On the heap: a session's stack is small, and what it once touched stays resident.
        let mut buffer = Vec::<u8>::with_capacity(NAMES_AT_ONCE);
        let mut names = RawDir::new(folder.as_fd(), buffer.spare_capacity_mut());
        while let Some(name) = names.next() {
            let name = match name {
                Ok(name) => name,
                // A folder that was removed meanwhile has no names left.
                Err(Errno::NOENT) => break,
                Err(error) => return Err(error),
            };
            let bytes = name.file_name().to_bytes();
            if !matches!(bytes, b"." | b"..") {
                batch.bytes.extend_from_slice(bytes);
                batch.names.push((batch.bytes.len(), name.file_type()));
            }
            if names.is_buffer_empty() && batch.len() > 0 {
                break;
            }
        }
        Ok(batch)
    }

    pub(super) fn len(&self) -> usize {
        self.names.len()
    }

    /// The name at that place; empty where there is none.
    pub(super) fn name(&self, at: usize) -> &[u8] {
        let end = |at: usize| self.names.get(at).map_or(0, |&(end, _)| end);
        let start = at.checked_sub(1).map_or(0, end);
        self.bytes.get(start..end(at)).unwrap_or_default()
    }
}
