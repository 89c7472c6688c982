//! Files of a tree that wait for their turn: the first of them in memory, the others in a file without a name, so that a
//! listing need not wait for the fetching, and a tree of millions of names takes no more memory than one of thousands.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use protocol::{Entry, Message, RemotePath, Reply};

use crate::ClientError;
use crate::folder::Folder;
use crate::tree_desk::{Left, Supply};
use crate::tree_download::below;
use crate::tree_job::Job;
use crate::tree_upload::LARGE;

/// Names in memory from which on the others go into the file.
const NEAR: usize = 4096;

/// Names that are written and read together.
const CHUNK: usize = 512;

/// A file that a person has named is gone on with where it stopped if it is larger, bytes: it is moved for itself.
pub(crate) const WORTH_RESUMING: u64 = 1024 * 1024;

/// Where files are put beneath the local folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// As they are beneath the remote one.
    Tree,
    /// All of them in it.
    Flat,
}

impl Layout {
    /// Files larger than this are fetched one by one, so that each can be gone on with and mended in part, bytes.
    pub(crate) const fn large(self) -> u64 {
        match self {
            Self::Tree => LARGE,
            Self::Flat => WORTH_RESUMING,
        }
    }

    /// The path beneath the local folder of what is called `name` beneath the remote one.
    pub(crate) fn place(self, name: &[u8]) -> PathBuf {
        let path = Path::new(OsStr::from_bytes(name));
        match self {
            Self::Tree => path.to_owned(),
            Self::Flat => path.file_name().unwrap_or_default().into(),
        }
    }
}

/// The backlog. Names come out in the order in which they went in.
#[derive(Debug)]
pub(crate) struct Backlog {
    /// The folder that names are below.
    remote: RemotePath,
    layout: Layout,
    near: VecDeque<Entry>,
    file: Spill,
    /// Behind what is in the file.
    tail: Vec<Entry>,
    left: Left,
}

/// Chunks of names in a file, each behind its length.
#[derive(Debug, Default)]
struct Spill {
    /// `None` where there is none, or none can be had.
    file: Option<File>,
    is_of_no_use: bool,
    read: u64,
    written: u64,
}

impl Backlog {
    pub(crate) fn new(remote: &RemotePath, layout: Layout) -> Self {
        Self {
            remote: remote.clone(),
            layout,
            near: VecDeque::new(),
            file: Spill::default(),
            tail: Vec::new(),
            left: Left::default(),
        }
    }

    /// Adds a file; `folder` is where there may be room for the names that memory is not to hold.
    pub(crate) fn push(&mut self, entry: Entry, folder: &Folder) {
        self.left.files += 1;
        self.left.bytes = self.left.bytes.saturating_add(entry.size);
        if self.near.len() < NEAR && self.tail.is_empty() && self.file.is_empty() {
            self.near.push_back(entry);
            return;
        }
        self.tail.push(entry);
        if self.tail.len() >= CHUNK && !self.file.is_of_no_use {
            self.tail = self.file.write(std::mem::take(&mut self.tail), folder);
        }
    }
}

impl Supply for Backlog {
    type Item = Job;

    fn next(&mut self) -> Result<Option<Job>, ClientError> {
        if self.near.is_empty() {
            self.near = match self.file.read()? {
                Some(chunk) => chunk.into(),
                None => std::mem::take(&mut self.tail).into(),
            };
        }
        let Some(entry) = self.near.pop_front() else {
            return Ok(None);
        };
        self.left.files -= 1;
        self.left.bytes = self.left.bytes.saturating_sub(entry.size);
        let remote = below(&self.remote, &entry.name)?;
        let relative = self.layout.place(&entry.name);
        Ok(Some(Job::new((remote, relative), entry)))
    }

    fn left(&self) -> Left {
        self.left
    }
}

impl Spill {
    const fn is_empty(&self) -> bool {
        self.read == self.written
    }

    /// Writes a chunk; gives it back where that is not possible.
    fn write(&mut self, entries: Vec<Entry>, folder: &Folder) -> Vec<Entry> {
        let chunk = Reply::Entries {
            entries,
            unreadable: Vec::new(),
            more: false,
        };
        let mut bytes = vec![0; 4];
        chunk.encode(&mut bytes);
        let length = u32::try_from(bytes.len() - 4).unwrap_or(u32::MAX);
        if let Some(head) = bytes.first_chunk_mut() {
            *head = length.to_be_bytes();
        }
        let written = match &self.file {
            Some(file) => file.write_all_at(&bytes, self.written),
            None => folder.nameless_file(0o600).and_then(|file| {
                file.write_all_at(&bytes, self.written)?;
                self.file = Some(file);
                Ok(())
            }),
        };
        match (written, chunk) {
            (Ok(()), _) => {
                self.written += 4 + u64::from(length);
                Vec::new()
            }
            (Err(error), Reply::Entries { entries, .. }) => {
                tracing::debug!(%error, "names stay in memory");
                self.is_of_no_use = true;
                entries
            }
            (Err(_), _) => Vec::new(),
        }
    }

    fn read(&mut self) -> Result<Option<Vec<Entry>>, ClientError> {
        let Some(file) = self.file.as_ref().filter(|_| !self.is_empty()) else {
            return Ok(None);
        };
        let mut length = [0; 4];
        file.read_exact_at(&mut length, self.read)?;
        let length = u32::from_be_bytes(length);
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
        file.read_exact_at(&mut bytes, self.read + 4)?;
        self.read += 4 + u64::from(length);
        if self.is_empty() {
            // What is behind is written over what was read.
            (self.read, self.written) = (0, 0);
        }
        let kind = Reply::Entries {
            entries: Vec::new(),
            unreadable: Vec::new(),
            more: false,
        }
        .kind();
        match Reply::decode(kind, &bytes) {
            Ok(Reply::Entries { entries, .. }) => Ok(Some(entries)),
            _ => Err(std::io::Error::from(std::io::ErrorKind::InvalidData).into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use protocol::EntryKind;

    use super::*;

    fn entry(number: usize) -> Entry {
        Entry {
            name: format!("folder/{number}").into_bytes(),
            kind: EntryKind::File,
            size: 3,
            modified_ns: 0,
            mode: 0o644,
            version: None,
            digest: None,
        }
    }

    fn numbers(backlog: &mut Backlog, count: usize) -> Vec<String> {
        let next = || backlog.next().unwrap();
        std::iter::from_fn(next)
            .take(count)
            .map(|job| job.relative.to_str().unwrap().to_owned())
            .collect()
    }

    fn names(range: std::ops::Range<usize>) -> Vec<String> {
        range.map(|number| format!("folder/{number}")).collect()
    }

    #[test]
    fn names_keep_their_order_and_memory_holds_few() {
        let directory = tempfile::tempdir().unwrap();
        let folder = Folder::open(directory.path()).unwrap();
        let mut backlog = Backlog::new(&RemotePath::root(), Layout::Tree);
        let count = NEAR + 5 * CHUNK + 7;
        (0..count).for_each(|number| backlog.push(entry(number), &folder));
        assert!(backlog.near.len() + backlog.tail.len() <= NEAR + CHUNK);
        assert_eq!(
            (backlog.left.files, backlog.left.bytes),
            (count, 3 * count as u64)
        );
        assert_eq!(numbers(&mut backlog, NEAR + 3), names(0..NEAR + 3));
        (count..count + CHUNK).for_each(|number| backlog.push(entry(number), &folder));
        let rest = numbers(&mut backlog, usize::MAX);
        assert_eq!(rest, names(NEAR + 3..count + CHUNK));
        assert_eq!((backlog.left.files, backlog.left.bytes), (0, 0));
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn where_no_file_can_be_had_names_stay_in_memory() {
        let Ok(folder) = Folder::open(Path::new("/proc")) else {
            return;
        };
        let mut backlog = Backlog::new(&RemotePath::root(), Layout::Tree);
        let count = NEAR + 3 * CHUNK;
        (0..count).for_each(|number| backlog.push(entry(number), &folder));
        assert!(backlog.file.is_of_no_use);
        assert_eq!(numbers(&mut backlog, usize::MAX), names(0..count));
    }
}
