//! Files of a tree that are there and verified, and get their names together: durability is paid for once.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::draft::Draft;
use crate::folder::{Folder, facts_of};
use crate::{ClientError, Result, Transferred};

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
}

impl Waiting {
    /// Its folder, beneath the root of the tree.
    fn folder(&self) -> &Path {
        self.relative.parent().unwrap_or(Path::new(""))
    }

    fn name(&self) -> &OsStr {
        self.relative.file_name().unwrap_or_default()
    }

    fn is_in_folder_of(&self, other: &Self) -> bool {
        self.folder() == other.folder()
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

    /// Flushes all contents, then gives all names and flushes the folders. Each file's fate goes to `ended`, once nothing can
    /// change it any more.
    pub(crate) fn publish(&mut self, root: &Folder, mut ended: impl FnMut(Waiting, Result<()>)) {
        let batch = std::mem::take(self);
        let flushed = flush(&batch.files);
        let mut files = batch.files.into_iter();
        while let Some(neighbours) = first_of_one_folder(files.as_slice()) {
            let fates = match &flushed {
                Ok(()) => give_names(root, neighbours),
                Err(error) => vec![Err(error.clone()); neighbours.len()],
            };
            for (fate, file) in fates.into_iter().zip(files.by_ref()) {
                ended(file, fate);
            }
        }
    }
}

fn first_of_one_folder(files: &[Waiting]) -> Option<&[Waiting]> {
    files.chunk_by(Waiting::is_in_folder_of).next()
}

/// Makes the contents durable, by whole file systems: seldom more than one.
fn flush(files: &[Waiting]) -> Result<()> {
    let mut devices: Vec<u64> = Vec::new();
    let neighbours = files.chunk_by(Waiting::is_in_folder_of);
    for file in neighbours.filter_map(<[_]>::first) {
        let device = facts_of(file.draft.file())?.identity.0;
        if !devices.contains(&device) {
            devices.push(device);
            rustix::fs::syncfs(file.draft.file())?;
        }
    }
    Ok(())
}

/// Gives files of one folder their names, and makes these durable.
fn give_names(root: &Folder, files: &[Waiting]) -> Vec<Result<()>> {
    let path = files.first().map_or(Path::new(""), Waiting::folder);
    let folder = match root.beneath(path) {
        Ok(folder) => folder,
        Err(error) => return vec![Err(error.into()); files.len()],
    };
    let give = |file: &Waiting| {
        let how = (file.mode, file.replace);
        Ok(file.draft.give_name(&folder, file.name(), how)?)
    };
    let mut fates: Vec<Result<()>> = files.iter().map(give).collect();
    if let Err(error) = folder.flush() {
        let error = ClientError::from(error);
        let given = fates.iter_mut().filter(|fate| fate.is_ok());
        given.for_each(|fate| *fate = Err(error.clone()));
    }
    fates
}
