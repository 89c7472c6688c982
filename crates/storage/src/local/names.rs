//! The names in one folder, read a few hundred at a time, and what the system says about each.

use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::thread::{Builder, scope};

use rustix::fs::{FileType, Mode, OFlags, RawDir};
use rustix::io::{self, Errno};

use super::facts::Facts;

/// Room for the names that one system call returns.
const NAMES_AT_ONCE: usize = 32 * 1024;

/// From so many names on, the looks at them are worth a second thread: half a millisecond of system calls.
const WORTH_A_THREAD: usize = 256;

/// The second thread's, which does nothing but system calls.
const STACK: usize = 64 * 1024;

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
    pub(crate) folder: OwnedFd,
    bytes: Vec<u8>,
    /// Where in `bytes` each name not handed out yet ends, and its type; the last is handed out first.
    pending: Vec<(usize, FileType)>,
    /// Of each of `pending`, or none at all.
    facts: Vec<io::Result<Facts>>,
}

impl Names {
    pub(crate) fn new(folder: OwnedFd) -> Self {
        Self {
            folder,
            bytes: Vec::new(),
            pending: Vec::new(),
            facts: Vec::new(),
        }
    }

    /// The names in a folder that is held open, through a descriptor of their own: the other has one position for all.
    pub(crate) fn of(folder: &OwnedFd) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::openat(folder, c".", flags, Mode::empty()).map(Self::new)
    }

    /// The next name; never `.` or `..`.
    pub(crate) fn next(&mut self) -> io::Result<Option<Name>> {
        self.read_if_empty()?;
        Ok(self.pop())
    }

    /// The next name for one who wants its facts: where there are many, two threads look ahead.
    pub(crate) fn next_with_facts(&mut self) -> io::Result<Option<Name>> {
        if self.read_if_empty()? && self.pending.len() >= WORTH_A_THREAD {
            self.facts = self.look_at_all();
        }
        Ok(self.pop())
    }

    fn pop(&mut self) -> Option<Name> {
        let (end, file_type) = self.pending.pop()?;
        let start = self.pending.last().map_or(0, |&(end, _)| end);
        Some(Name {
            bytes: self.bytes.get(start..end).unwrap_or_default().to_vec(),
            file_type,
            facts: self.facts.pop(),
        })
    }

    fn look_at_all(&self) -> Vec<io::Result<Facts>> {
        let (middle, end) = (self.pending.len() / 2, self.pending.len());
        scope(|threads| {
            let builder = Builder::new().stack_size(STACK);
            let second = builder.spawn_scoped(threads, || self.look_at(middle..end));
            let mut facts = self.look_at(0..middle);
            facts.extend(match second.map(|thread| thread.join()) {
                Ok(Ok(rest)) => rest,
                _ => self.look_at(middle..end),
            });
            facts
        })
    }

    fn look_at(&self, range: Range<usize>) -> Vec<io::Result<Facts>> {
        let mut start = match range.start.checked_sub(1) {
            Some(before) => self.pending.get(before).map_or(0, |&(end, _)| end),
            None => 0,
        };
        let pending = self.pending.get(range).unwrap_or_default();
        let look = |&(end, _): &(usize, FileType)| {
            let name = self.bytes.get(start..end).unwrap_or_default();
            start = end;
            Facts::at(&self.folder, name)
        };
        pending.iter().map(look).collect()
    }

    /// Begins again with the first name.
    pub(crate) fn rewind(&mut self) -> io::Result<()> {
        self.pending.clear();
        self.facts.clear();
        rustix::fs::seek(&self.folder, rustix::fs::SeekFrom::Start(0)).map(drop)
    }

    /// Reads on where no name is left; whether it did and there are some.
    fn read_if_empty(&mut self) -> io::Result<bool> {
        if !self.pending.is_empty() {
            return Ok(false);
        }
        while self.pending.is_empty() {
            if !self.read()? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether there was anything left to read.
    fn read(&mut self) -> io::Result<bool> {
        self.bytes.clear();
        // On the heap: a session's stack is small, and what it once touched stays resident.
        let mut buffer = Vec::<u8>::with_capacity(NAMES_AT_ONCE);
        let mut names = RawDir::new(self.folder.as_fd(), buffer.spare_capacity_mut());
        let mut any = false;
        while let Some(name) = names.next() {
            let name = match name {
                Ok(name) => name,
                // A folder that was removed meanwhile has no names left.
                Err(Errno::NOENT) => return Ok(false),
                Err(error) => return Err(error),
            };
            any = true;
            let bytes = name.file_name().to_bytes();
            if !matches!(bytes, b"." | b"..") {
                self.bytes.extend_from_slice(bytes);
                self.pending.push((self.bytes.len(), name.file_type()));
            }
            if names.is_buffer_empty() {
                break;
            }
        }
        Ok(any)
    }
}
