//! Files of a tree that are there and verified, and get their names together: durability is paid for once.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::draft::Draft;
use crate::folder::{Folder, facts_of};
use crate::{Result, Transferred};

/// Most files in the batches of all streams: each is kept open until it has its name, and 1,024 descriptors are the
/// usual limit.
const MAX_FILES: usize = 512;

/// Most files in one batch: more do not make the flush cheaper.
const MAX_BATCH: usize = 256;

/// Most bytes in a batch.
const MAX_BYTES: u64 = 64 * 1024 * 1024;

/// How long a verified file waits for its name, at most.
const MAX_AGE: Duration = Duration::from_secs(1);

/// Files that wait for their names.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    files: Vec<Waiting>,
    bytes: u64,
    since: Option<Instant>,
}

/// A file that is whole and has its time set.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) draft: Draft,
    pub(crate) mode: u16,
    pub(crate) replace: bool,
    pub(crate) transferred: Transferred,
    /// Which name of the tree it is.
    pub(crate) relative: PathBuf,
    /// The name that it gets where it is not its own.
    pub(crate) beside: Option<OsString>,
}

impl Waiting {
    /// Its folder, beneath the root of the tree.
    fn folder(&self) -> &Path {
        self.relative.parent().unwrap_or(Path::new(""))
    }

    fn name(&self) -> &OsStr {
        let own = self.relative.file_name().unwrap_or_default();
        self.beside.as_deref().unwrap_or(own)
    }
}

impl Batch {
    pub(crate) fn push(&mut self, file: Waiting) {
        self.bytes += file.transferred.bytes;
        self.since.get_or_insert_with(Instant::now);
        self.files.push(file);
    }

    /// Whether the batch of one of so many streams is to be published.
    pub(crate) fn is_due(&self, streams: u32) -> bool {
        let share = MAX_FILES / usize::try_from(streams.max(1)).unwrap_or(MAX_FILES);
        self.files.len() >= share.min(MAX_BATCH)
            || self.bytes >= MAX_BYTES
            || self.since.is_some_and(|since| since.elapsed() >= MAX_AGE)
    }

    /// Flushes all contents, then gives all names, then flushes the folders. Each file's fate goes to `ended`.
    pub(crate) fn publish(
        &mut self,
        root: &Folder,
        mut ended: impl FnMut(Waiting, io::Result<()>),
    ) -> Result<()> {
        let batch = std::mem::take(self);
        let mut devices: Vec<u64> = Vec::new();
        let is_neighbour = |a: &Waiting, b: &Waiting| a.folder() == b.folder();
        for file in batch.files.chunk_by(is_neighbour).filter_map(<[_]>::first) {
            let device = facts_of(file.draft.file())?.identity.0;
            if !devices.contains(&device) {
                devices.push(device);
                rustix::fs::syncfs(file.draft.file())?;
            }
        }
        let mut folder: Option<(PathBuf, Folder)> = None;
        for file in batch.files {
            let result = enter(&mut folder, root, file.folder()).and_then(|folder| {
                file.draft
                    .give_name(folder, file.name(), (file.mode, file.replace))
            });
            ended(file, result);
        }
        match folder {
            Some((_, last)) => Ok(last.flush()?),
            None => Ok(()),
        }
    }
}

/// The folder `path`, kept open while files of the same folder follow one another and flushed behind the last.
fn enter<'a>(
    current: &'a mut Option<(PathBuf, Folder)>,
    root: &Folder,
    path: &Path,
) -> io::Result<&'a Folder> {
    if current.as_ref().is_none_or(|(at, _)| at != path) {
        if let Some((_, left)) = current.take() {
            left.flush()?;
        }
        *current = Some((path.to_owned(), root.beneath(path)?));
    }
    current
        .as_ref()
        .map(|(_, folder)| folder)
        .ok_or_else(|| io::ErrorKind::NotFound.into())
}
