//! Listings: streamed in constant memory, recursion without recursion.

use std::ops::ControlFlow;
use std::os::fd::AsFd;

use protocol::limits::{MAX_DEPTH, MAX_PATH};
use protocol::{Entry, EntryKind, ErrorCode, RemotePath};
use rustix::fs::FileType;
use rustix::io::Errno;

use super::confined::{Root, is_reserved, open_subfolder};
use super::facts::{Facts, kind_of};
use super::names::{Name, Names};
use crate::error::{Context, Result, StorageError};
use crate::{Found, ListOptions};

/// One folder on the way down from the listed one.
struct Level {
    names: Names,
    /// Length of this folder's path below the listed one, its closing `/` included.
    prefix: usize,
    /// Whether it was told that a name in it is too long.
    has_too_long: bool,
}

impl Level {
    const fn new(names: Names, prefix: usize) -> Self {
        Self {
            names,
            prefix,
            has_too_long: false,
        }
    }
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
        levels: vec![Level::new(Names::new(folder), 0)],
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
            let found = match self.options.facts {
                true => level.names.next_with_facts(),
                false => level.names.next(),
            };
            let name = match found {
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
                    if visit(unreadable(&self.prefix, error)).is_break() {
                        return Ok(());
                    }
                    continue;
                }
            };
            if is_reserved(&name.bytes) {
                continue;
            }
            if path_length(&self.context, &self.prefix, &name) > MAX_PATH {
                let is_news = !std::mem::replace(&mut level.has_too_long, true);
                let error = self.context.refuse(ErrorCode::NameTooLong);
                if is_news && visit(unreadable(&self.prefix, error)).is_break() {
                    return Ok(());
                }
                continue;
            }
            let Some(entry) = self.entry(name) else {
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
    fn entry(&self, name: Name) -> Option<Entry> {
        let level = self.levels.last()?;
        let is_wanted = self.options.facts || name.file_type == FileType::Unknown;
        let look = || is_wanted.then(|| Facts::at(&level.names.folder, &name.bytes));
        let facts = match name.facts.or_else(look) {
            Some(Err(Errno::NOENT)) => return None,
            // As in a folder that may be read but not searched: the name is known, the facts are not.
            Some(other) => other.ok(),
            None => None,
        };
        let mut path = name.bytes;
        path.splice(..0, self.prefix.iter().copied());
        if let Some(facts) = facts {
            return Some(facts.entry(path));
        }
        Some(Entry {
            name: path,
            kind: kind_of(name.file_type),
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
                let level = Level::new(Names::new(folder), self.prefix.len());
                self.levels.push(level);
                None
            }
            Err(error) if was_replaced(&error) => None,
            Err(error) => Some(Found::Unreadable { name: path, error }),
        }
    }
}

/// That a folder is not told of, or not whole.
fn unreadable(prefix: &[u8], error: StorageError) -> Found {
    let name = prefix.strip_suffix(b"/").unwrap_or_default().to_vec();
    Found::Unreadable { name, error }
}

/// Of the path that would name it. It can be longer than any request may have it: what was made below a shorter one was moved.
fn path_length(context: &Context<'_>, prefix: &[u8], name: &Name) -> usize {
    let listed = match context.path.relative() {
        b"" => 0,
        path => path.len() + b"/".len(),
    };
    b"/".len() + listed + prefix.len() + name.bytes.len()
}

/// Whether a folder was removed, or made a link or a file, since its name was read: then nothing is missing.
fn was_replaced(error: &StorageError) -> bool {
    matches!(
        error.code(),
        ErrorCode::NotFound | ErrorCode::NotDirectory | ErrorCode::BadLink
    )
}
