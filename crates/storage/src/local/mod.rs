//! Files in a folder of this machine, or of a shared file system that is mounted here.

use std::any::Any;
use std::ffi::OsStr;
use std::fmt;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use protocol::{Digest, Entry, ErrorCode, RemotePath, StorageId, Version};
use rustix::fs::OFlags;

use crate::error::{Context, Result, StorageError};
use crate::{
    AtHand, Found, ListOptions, OpenFile, PendingCommit, Progress, Received, Room, Space, Storage,
    Stored, Upload, UploadRequest, no_progress,
};

mod abandoned;
mod commit;
mod confined;
mod digest_cache;
mod digest_memory;
mod facts;
mod look_ahead;
mod names;
mod namespace;
mod open_file;
mod quota;
mod root;
mod staged;
mod staging;
mod target;
#[cfg(test)]
mod tests;
mod upload;
mod walk;
mod writer_lock;

use confined::Root;
pub use digest_cache::KeptDigest;
use facts::Facts;
use open_file::LocalFile;
pub use quota::Ledger;
use staging::Place;
use upload::LocalUpload;

/// A storage in a local folder.
#[derive(Clone)]
pub struct LocalDirectory {
    root: Arc<Root>,
}

impl LocalDirectory {
    /// Opens an existing folder, and makes the storage's own folder `.mini-ftp` in it. Where that is not allowed the
    /// storage is opened for reading alone.
    ///
    /// # Errors
    /// `NotFound`, `NotDirectory` or `NotPermitted` for the folder; anything wrong with what `.mini-ftp` holds.
    pub fn open(root: &Path) -> Result<Self> {
        Ok(Self {
            root: Arc::new(Root::open_at(root)?),
        })
    }

    /// Opens the folder of the storage `id` again, as [`open`](Self::open) did.
    ///
    /// # Errors
    /// Those of `open`; `WrongStorage` where the folder of that path is another storage by now, or none.
    pub fn reopen(root: &Path, id: StorageId) -> Result<Self> {
        Ok(Self {
            root: Arc::new(Root::reopen_at(root, id)?),
        })
    }

    /// The storage's own folder in `root`, if it is there and another user's than `user`: who could neither store nor know
    /// the storage again.
    #[must_use]
    pub fn own_folder_of_another(root: &Path, user: u32) -> Option<PathBuf> {
        let own = root.join(OsStr::from_bytes(confined::RESERVED));
        let facts = std::fs::symlink_metadata(&own).ok()?;
        (facts.uid() != user).then_some(own)
    }

    /// The folder, held open: a process that serves it must be let reach what is beneath.
    #[must_use]
    pub fn folder(&self) -> BorrowedFd<'_> {
        self.root.folder.as_fd()
    }

    /// The folder of uploads that are under way, held open: what [`sweep`](Storage::sweep) removes is in it. `None` where
    /// nothing can be stored.
    #[must_use]
    pub fn staging_folder(&self) -> Option<BorrowedFd<'_>> {
        let staging = self.root.staging.as_ref().ok();
        staging.map(|staging| staging.folder.as_fd())
    }

    /// The folder of what is counted below homes with a quota, held open: [`sweep`](Storage::sweep) writes there, and lists
    /// what is below the homes. `None` where nothing can be stored.
    #[must_use]
    pub fn ledgers_folder(&self) -> Option<BorrowedFd<'_>> {
        let ledgers = self.root.ledgers.as_ref().ok();
        ledgers.map(|ledgers| ledgers.folder.as_fd())
    }

    /// Whether files can be stored at all, as far as is known when the folder is opened.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        self.root.staging.is_ok()
    }
}

impl fmt::Debug for LocalDirectory {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "LocalDirectory({})", self.root.id)
    }
}

impl Storage for LocalDirectory {
    fn id(&self) -> StorageId {
        self.root.id
    }

    fn beneath(&self, folder: &RemotePath, quota: Option<u64>) -> Result<Arc<dyn Storage>> {
        if folder.is_root() && quota.is_none() {
            return Ok(Arc::new(self.clone()));
        }
        let root = self.root.beneath(Context::new("serve", folder), quota)?;
        Ok(Arc::new(Self {
            root: Arc::new(root),
        }))
    }

    fn stat(&self, path: &RemotePath, follow: bool) -> Result<Entry> {
        let context = Context::new("stat", path);
        let how = if follow {
            OFlags::PATH
        } else {
            OFlags::PATH | OFlags::NOFOLLOW
        };
        let found = self.root.open(context, how)?;
        let facts = Facts::of(&found).map_err(context.system())?;
        let mut entry = facts.entry(Vec::new());
        // The digest is read through a descriptor that may read; without that right it is not known.
        if entry.version.is_some()
            && let Ok(file) = LocalFile::open(&self.root, path, entry.version.as_ref())
        {
            entry.digest = file.cached_digest();
        }
        Ok(entry)
    }

    fn list(
        &self,
        path: &RemotePath,
        options: ListOptions,
        visit: &mut dyn FnMut(Found) -> ControlFlow<()>,
    ) -> Result<()> {
        walk::list(&self.root, path, options, visit)
    }

    fn open(&self, path: &RemotePath, expected: Option<&Version>) -> Result<Box<dyn OpenFile>> {
        Ok(Box::new(LocalFile::open(&self.root, path, expected)?))
    }

    fn begin_upload(
        &self,
        request: &UploadRequest,
        progress: Progress<'_>,
    ) -> Result<Box<dyn Upload>> {
        Ok(Box::new(LocalUpload::begin(&self.root, request, progress)?))
    }

    fn stage_whole(
        &self,
        request: &UploadRequest,
        (content, digest): (&[u8], &Digest),
        at_hand: &mut AtHand,
    ) -> Result<PendingCommit> {
        let received = Received::verified(request, content, digest)?;
        let mut upload = match request.id {
            Some(_) => LocalUpload::begin(&self.root, request, &mut no_progress())?,
            None => LocalUpload::begin_whole(&self.root, request, at_hand)?,
        };
        upload.write_all_at(content, 0)?;
        let upload = Box::new(upload);
        Ok(PendingCommit { upload, received })
    }

    fn commit_batch(&self, uploads: Vec<PendingCommit>) -> Vec<Result<Stored>> {
        let ours = uploads
            .into_iter()
            .map(|PendingCommit { upload, received }| {
                let upload: Box<dyn Any> = upload;
                let upload = upload.downcast::<LocalUpload>().map_err(|_| {
                    StorageError::new("store", &RemotePath::root(), ErrorCode::Internal)
                })?;
                Ok((upload, received))
            })
            .collect();
        commit::publish_all(&self.root, ours)
    }

    fn make_directory(&self, path: &RemotePath, parents: bool) -> Result<()> {
        if parents {
            namespace::make_directories(&self.root, path)
        } else {
            namespace::make_directory(&self.root, path)
        }
    }

    fn remove(&self, path: &RemotePath, recursive: bool) -> Result<()> {
        namespace::remove(&self.root, path, recursive)
    }

    fn remove_directory(&self, path: &RemotePath) -> Result<()> {
        namespace::remove_directory(&self.root, path)
    }

    fn rename(&self, from: &RemotePath, to: &RemotePath, replace: bool) -> Result<()> {
        namespace::rename(&self.root, from, to, replace)
    }

    fn make_durable(&self, path: &RemotePath, expected: &Version) -> Result<()> {
        LocalFile::open(&self.root, path, Some(expected))?.flush()?;
        namespace::flush_name(&self.root, path)
    }

    fn sync(&self) -> Result<()> {
        let root = RemotePath::root();
        let context = Context::new("flush", &root);
        rustix::fs::syncfs(&self.root.folder).map_err(context.system())
    }

    fn set_time(
        &self,
        path: &RemotePath,
        modified_ns: i64,
        expected: Option<&Version>,
    ) -> Result<()> {
        LocalFile::open(&self.root, path, expected)?.set_time(modified_ns)
    }

    fn space(&self) -> Result<Space> {
        let root = RemotePath::root();
        let context = Context::new("measure", &root);
        let found = rustix::fs::fstatvfs(&self.root.folder).map_err(context.system())?;
        let available = found.f_bavail.saturating_mul(found.f_frsize);
        let Some(quota) = &self.root.quota else {
            return Ok(Space {
                total: found.f_blocks.saturating_mul(found.f_frsize),
                available,
            });
        };
        let Room { left, limit } = quota.room(&self.root, context)?;
        Ok(Space {
            total: limit,
            available: left.min(available),
        })
    }

    fn sweep(&self, max_age: Duration, max_bytes: u64) -> Result<u64> {
        let root = RemotePath::root();
        let Ok(staging) = &self.root.staging else {
            return Ok(0);
        };
        let place = Place {
            folder: Arc::clone(&staging.folder),
            beside_target: false,
        };
        let swept = place.sweep(max_age, max_bytes);
        // Behind it, as what is swept is reserved no more.
        quota::count_stale(&self.root);
        swept.map_err(Context::new("sweep", &root).io())
    }
}
