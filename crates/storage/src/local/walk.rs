//! Listings: streamed in constant memory, recursion without recursion.

use std::ops::ControlFlow;
use std::os::fd::{AsFd, OwnedFd};

use protocol::limits::{MAX_DEPTH, MAX_PATH};
use protocol::{Entry, EntryKind, ErrorCode, RemotePath};
use rustix::fs::{FileType, RawDir};
use rustix::io::{self, Errno};

use super::confined::{Root, is_reserved, open_subfolder};
use super::facts::{Facts, kind_of};
use crate::error::{Context, Result, StorageError};
use crate::{Found, ListOptions};

/// Room for the names that one system call returns.
const NAMES_AT_ONCE: usize = 32 * 1024;

/// A folder that is being read: holds what one system call returned, so that reading can pause to descend.
#[derive(Debug)]
pub(crate) struct Names {
    pub(crate) folder: OwnedFd,
    bytes: Vec<u8>,
    /// Where in `bytes` each name not handed out yet ends, and its type; the last is handed out first.
    pending: Vec<(usize, FileType)>,
}

impl Names {
    pub(crate) fn new(folder: OwnedFd) -> Self {
        Self {
            folder,
            bytes: Vec::new(),
            pending: Vec::new(),
        }
    }

    /// The next name and its type as far as the folder tells it; never `.` or `..`.
    pub(crate) fn next(&mut self) -> io::Result<Option<(Vec<u8>, FileType)>> {
        while self.pending.is_empty() {
            if !self.read()? {
                return Ok(None);
            }
        }
        let Some((end, file_type)) = self.pending.pop() else {
            return Ok(None);
        };
        let start = self.pending.last().map_or(0, |&(end, _)| end);
        let name = self.bytes.get(start..end).unwrap_or_default().to_vec();
        Ok(Some((name, file_type)))
    }

    /// Begins again with the first name.
    pub(crate) fn rewind(&mut self) -> io::Result<()> {
        self.pending.clear();
        rustix::fs::seek(&self.folder, rustix::fs::SeekFrom::Start(0)).map(drop)
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

/// One folder on the way down from the listed one.
struct Level {
    names: Names,
    /// Length of this folder's path below the listed one, its closing `/` included.
    prefix: usize,
}

/// Visits the names in a folder.
pub(crate) fn list(
    root: &Root,
    path: &RemotePath,
    options: ListOptions,
    visit: &mut dyn FnMut(Found) -> ControlFlow<()>,
) -> Result<()> {
    let context = Context::new("list", path);
    let folder = root.open_folder(context)?;
    let mut walk = Walk {
        context,
        options,
        levels: vec![Level {
            names: Names::new(folder),
            prefix: 0,
        }],
        prefix: Vec::new(),
    };
    walk.run(visit)
}

struct Walk<'a> {
    context: Context<'a>,
    options: ListOptions,
    levels: Vec<Level>,
    prefix: Vec<u8>,
}

impl Walk<'_> {
    fn run(&mut self, visit: &mut dyn FnMut(Found) -> ControlFlow<()>) -> Result<()> {
        while let Some(level) = self.levels.last_mut() {
            self.prefix.truncate(level.prefix);
            let (name, file_type) = match level.names.next() {
                Ok(Some(name)) => name,
                Ok(None) => {
                    self.levels.pop();
                    continue;
                }
                Err(errno) => {
                    let error = self.context.system()(errno);
                    self.levels.pop();
                    if self.levels.is_empty() {
                        return Err(error);
                    }
                    let name = self.prefix.strip_suffix(b"/").unwrap_or_default().to_vec();
                    if visit(Found::Unreadable { name, error }).is_break() {
                        return Ok(());
                    }
                    continue;
                }
            };
            if is_reserved(&name) {
                continue;
            }
            let Some(entry) = self.entry(name, file_type) else {
                continue;
            };
            let descend = self.options.recursive && entry.kind == EntryKind::Directory;
            let below = descend.then(|| entry.name.clone());
            if visit(Found::Entry(entry)).is_break() {
                return Ok(());
            }
            if let Some(below) = below
                && let Some(unreadable) = self.descend(below)
                && visit(unreadable).is_break()
            {
                return Ok(());
            }
        }
        Ok(())
    }

    /// What is told of a name; `None` when it was removed meanwhile.
    fn entry(&self, name: Vec<u8>, file_type: FileType) -> Option<Entry> {
        let level = self.levels.last()?;
        let facts = if self.options.facts || file_type == FileType::Unknown {
            match Facts::at(&level.names.folder, &name) {
                Err(Errno::NOENT) => return None,
                // As in a folder that may be read but not searched: the name is known, the facts are not.
                other => other.ok(),
            }
        } else {
            None
        };
        let mut path = name;
        path.splice(..0, self.prefix.iter().copied());
        if let Some(facts) = facts {
            return Some(facts.entry(path));
        }
        Some(Entry {
            name: path,
            kind: kind_of(file_type),
            size: 0,
            modified_ns: 0,
            mode: 0,
            version: None,
            digest: None,
        })
    }

    /// Goes on with what is in a folder, given by its path below the listed one, or says why that is not possible.
    fn descend(&mut self, path: Vec<u8>) -> Option<Found> {
        let level = self.levels.last()?;
        let name = path.get(self.prefix.len()..).unwrap_or_default();
        let too_deep = self.levels.len() > MAX_DEPTH
            || self.context.path.as_bytes().len() + path.len() >= MAX_PATH;
        let opened = if too_deep {
            Err(self.context.refuse(ErrorCode::NameTooLong))
        } else {
            open_subfolder(level.names.folder.as_fd(), name).map_err(self.context.system())
        };
        match opened {
            Ok(folder) => {
                self.prefix = path;
                self.prefix.push(b'/');
                self.levels.push(Level {
                    names: Names::new(folder),
                    prefix: self.prefix.len(),
                });
                None
            }
            Err(error) if was_replaced(&error) => None,
            Err(error) => Some(Found::Unreadable { name: path, error }),
        }
    }
}

/// Whether a folder was removed, or made a link or a file, since its name was read: then nothing is missing.
fn was_replaced(error: &StorageError) -> bool {
    matches!(
        error.code(),
        ErrorCode::NotFound | ErrorCode::NotDirectory | ErrorCode::BadLink
    )
}
