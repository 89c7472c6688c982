//! Where files live, and how a name is resolved safely. Knows no socket and no session.
//!
//! [`Storage`] is what a session works with; [`LocalDirectory`] keeps files in a folder of this machine (or of a shared
//! file system mounted here). A program chooses one at start-up and hands it on as `Arc<dyn Storage>`.
//!
//! Promises that hold for every storage:
//! - no name leads out of the root, whatever links and renames do meanwhile;
//! - a name appears only when its content is complete, verified and durable; replacing is atomic;
//! - [`protocol::Version`] tells two contents apart; a digest is believed only for the version it was computed for;
//! - reserved names (`.mini-ftp`, `.mini-ftp.*`) exist for no request and no listing.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

use std::fmt::Debug;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use protocol::{Digest, Entry, RemotePath, StorageId, Version};

mod error;
pub mod formats;
mod local;
mod open_file;
mod still_wanted;
mod upload;

pub use error::{Result, Room, StorageError};
pub use local::LocalDirectory;
pub use open_file::OpenFile;
pub use still_wanted::StillWanted;
pub use upload::{AtHand, PendingCommit, Received, Stored, Upload, UploadRequest};

/// Told now and then how many bytes of a long piece of work are done, so that a session can show its peer that it lives;
/// [`ControlFlow::Break`] stops the work.
pub type Progress<'a> = &'a mut dyn FnMut(u64) -> ControlFlow<()>;

/// For work whose progress nobody asks about.
pub fn no_progress() -> impl FnMut(u64) -> ControlFlow<()> {
    |_| ControlFlow::Continue(())
}

/// A place where files live. Every operation takes the full path and may be called from any thread.
pub trait Storage: Send + Sync + Debug {
    /// Which storage this is: the same for every slave that serves it.
    fn id(&self) -> StorageId;

    /// The same storage as seen from one of its folders, which is `/` there: nothing beside or above it can be named, nor
    /// reached by links. With a `quota`, the files in it may hold so many bytes together: what would pass that is refused as
    /// `QuotaExceeded`, by all who see the folder with one.
    ///
    /// # Errors
    /// `NotFound`, `NotDirectory`, `NotPermitted`, `BadLink`, `BadName`; and whatever keeps a quota from being kept.
    fn beneath(&self, folder: &RemotePath, quota: Option<u64>) -> Result<Arc<dyn Storage>>;

    /// Facts about one name; with `follow`, a symbolic link stands for what it leads to. The entry's name is empty.
    ///
    /// # Errors
    /// `NotFound`, `NotDirectory`, `NotPermitted`, `BadLink`, `BadName`.
    fn stat(&self, path: &RemotePath, follow: bool) -> Result<Entry>;

    /// Visits the names in a folder, in no order, in constant memory. Recursion visits a folder before what is in it,
    /// names everything by its path below the listed folder, and does not follow links.
    ///
    /// # Errors
    /// When the folder itself cannot be read (`NotFound`, `NotDirectory`, `NotPermitted`…); what is wrong with folders
    /// below is visited as [`Found::Unreadable`].
    fn list(
        &self,
        path: &RemotePath,
        options: ListOptions,
        visit: &mut dyn FnMut(Found) -> ControlFlow<()>,
    ) -> Result<()>;

    /// Opens a file for reading.
    ///
    /// # Errors
    /// `IsDirectory`, `NotRegular`, `Changed` when the file is not the `expected` version, and those of `stat`.
    fn open(&self, path: &RemotePath, expected: Option<&Version>) -> Result<Box<dyn OpenFile>>;

    /// Begins an upload, or goes on with one that was interrupted: hashing what is there may take long, hence `progress`.
    ///
    /// # Errors
    /// `NotFound` or `NotDirectory` for the folder above, `IsDirectory`, `NoSpace` when the size is known and cannot fit,
    /// `QuotaExceeded` likewise, `Exists` or `Changed` when the condition does not hold already, `ReadOnly`, `NotPermitted`,
    /// `Timeout` when `progress` stopped it.
    fn begin_upload(
        &self,
        request: &UploadRequest,
        progress: Progress<'_>,
    ) -> Result<Box<dyn Upload>>;

    /// Publishes many uploads: all bytes are made durable first, then every name appears, then the folders are made
    /// durable. One result for each, in the same order; a failed one does not hinder the others.
    fn commit_batch(&self, uploads: Vec<PendingCommit>) -> Vec<Result<Stored>>;

    /// Makes a file and its name durable, whoever put it there.
    ///
    /// # Errors
    /// Those of [`open`](Self::open), `Changed` where it is not the version `expected`.
    fn make_durable(&self, path: &RemotePath, expected: &Version) -> Result<()>;

    /// Makes durable whatever the storage shows, whoever put it there.
    ///
    /// # Errors
    /// The disk's.
    fn sync(&self) -> Result<()>;

    /// Makes a folder; with `parents` also those above, and a folder that is there already is no error.
    ///
    /// # Errors
    /// `Exists`, `NotFound`, `NotDirectory`, `NotPermitted`, `BadName`…
    fn make_directory(&self, path: &RemotePath, parents: bool) -> Result<()>;

    /// Removes a file or a link (never what it leads to); with `recursive` also a folder and all in it.
    ///
    /// # Errors
    /// `NotFound`, `IsDirectory` for a folder without `recursive`, `NotPermitted` for the root…
    fn remove(&self, path: &RemotePath, recursive: bool) -> Result<()>;

    /// Removes an empty folder.
    ///
    /// # Errors
    /// `NotEmpty`, `NotDirectory`, `NotFound`, `NotPermitted` for the root…
    fn remove_directory(&self, path: &RemotePath) -> Result<()>;

    /// Gives a file or folder another name; one that is taken is replaced only with `replace`.
    ///
    /// # Errors
    /// `Exists`, `BadRename` for a folder beneath itself or a move between file systems, `IsDirectory`, `NotEmpty`…
    fn rename(&self, from: &RemotePath, to: &RemotePath, replace: bool) -> Result<()>;

    /// Sets a file's modification time; a digest that is known of its content stays known.
    ///
    /// # Errors
    /// Those of [`open`](Self::open), `NotPermitted`…
    fn set_time(
        &self,
        path: &RemotePath,
        modified_ns: i64,
        expected: Option<&Version>,
    ) -> Result<()>;

    /// Size of the storage, and what is free; with a quota, what that is, and what of it can still be stored.
    ///
    /// # Errors
    /// When the system does not say.
    fn space(&self) -> Result<Space>;

    /// Removes what abandoned uploads left: all that cannot be resumed or is older than `max_age`, and the oldest until
    /// the rest takes at most `max_bytes`. Uploads that are being written are never touched. Counts anew, now and then, what
    /// homes with a quota hold. Says how many uploads were removed.
    ///
    /// # Errors
    /// When the staging area cannot be read.
    fn sweep(&self, max_age: Duration, max_bytes: u64) -> Result<u64>;

    /// Verifies a whole small content and stages it for [`commit_batch`](Self::commit_batch): not visible yet. Whether the
    /// condition holds may be left for the commit to say. `at_hand` is the batch's.
    ///
    /// # Errors
    /// `Corrupt` when `digest` is not that of `content`, and those of [`begin_upload`](Self::begin_upload).
    fn stage_whole(
        &self,
        request: &UploadRequest,
        (content, digest): (&[u8], &Digest),
        _at_hand: &mut AtHand,
    ) -> Result<PendingCommit> {
        let received = Received::verified(request, content, digest)?;
        let mut upload = self.begin_upload(request, &mut no_progress())?;
        upload.write_all_at(content, 0)?;
        Ok(PendingCommit { upload, received })
    }

    /// Stores a whole small content: visible and durable when this returns.
    ///
    /// # Errors
    /// Those of [`stage_whole`](Self::stage_whole) and of [`Upload::commit`].
    fn store_whole(&self, request: &UploadRequest, whole: (&[u8], &Digest)) -> Result<Stored> {
        let staged = self.stage_whole(request, whole, &mut AtHand::default())?;
        let PendingCommit { upload, received } = staged;
        upload.commit(&received)
    }
}

/// How to list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListOptions {
    /// Whether to descend, at most [`MAX_DEPTH`](protocol::limits::MAX_DEPTH) levels.
    pub recursive: bool,
    /// Whether size, time, mode and version are wanted; names and kinds alone are much cheaper.
    pub facts: bool,
}

/// What a listing comes across.
#[derive(Debug)]
pub enum Found {
    /// A name.
    Entry(Entry),
    /// A folder below the listed one that was visited as an entry, but cannot be read, or lies too deep (`NameTooLong`).
    Unreadable {
        /// Its path below the listed folder.
        name: Vec<u8>,
        /// Why.
        error: StorageError,
    },
}

/// Size of a storage in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// In all.
    pub total: u64,
    /// Free for new files.
    pub available: u64,
}

/// A length in memory as a length in a file.
pub(crate) fn length_of(bytes: &[u8]) -> u64 {
    length_of_prefix(bytes.len())
}

pub(crate) fn length_of_prefix(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
