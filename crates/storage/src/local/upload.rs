//! A local upload while it is being received: staged, then handed to `commit`.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::{Condition, EntryKind, ErrorCode};
use rustix::fs::{Access, AtFlags, OFlags};
use rustix::io::Errno;
use transfer::Hashed;

use super::commit;
use super::confined::{Root, Spot};
use super::facts::Facts;
use super::staging::{Place, Staged};
use crate::error::{Context, Result, StorageError};
use crate::{Progress, Received, Stored, Upload, UploadRequest};

/// How long an abandoned upload is kept beside a target on another file system, where no sweep comes by.
const KEPT_BESIDE_TARGET: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// An upload into a local directory.
#[derive(Debug)]
pub(crate) struct LocalUpload {
    pub(crate) root: Arc<Root>,
    pub(crate) request: UploadRequest,
    pub(crate) staged: Staged,
    hashed: Hashed,
    /// When the staged file was opened.
    pub(crate) begun: Instant,
    /// What happens to the staged file when this is dropped.
    pub(crate) on_drop: OnDrop,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnDrop {
    Remove,
    Keep,
    /// It is the target by now.
    Nothing,
}

impl LocalUpload {
    pub(crate) fn begin(
        root: &Arc<Root>,
        request: &UploadRequest,
        progress: Progress<'_>,
    ) -> Result<Self> {
        let context = Context::new("store", &request.path);
        let spot = root.spot(context)?;
        check_target(
            root,
            context,
            (spot.folder.as_fd(), spot.name),
            &request.condition,
        )?;
        check_writable(context, &spot.folder)?;
        check_space(context, &spot.folder, request.size)?;
        let place = place_for(root, context, spot)?;
        let begun = Instant::now();
        let (staged, hashed) = match request.id {
            Some(id) => place.begin(&id, request.resume, progress),
            None => place.begin_once().map(|staged| (staged, Hashed::default())),
        }
        .map_err(context.io())?;
        Ok(Self {
            root: Arc::clone(root),
            request: request.clone(),
            staged,
            hashed,
            begun,
            on_drop: if request.id.is_some() {
                OnDrop::Keep
            } else {
                OnDrop::Remove
            },
        })
    }

    pub(crate) fn context(&self) -> Context<'_> {
        Context::new("store", &self.request.path)
    }

    /// Gives the upload up because of `error`, for good.
    pub(crate) fn fail(&mut self, error: StorageError) -> StorageError {
        self.on_drop = OnDrop::Remove;
        error
    }
}

impl Drop for LocalUpload {
    fn drop(&mut self) {
        let is_empty = || {
            self.staged
                .file
                .metadata()
                .is_ok_and(|facts| facts.len() == 0)
        };
        match self.on_drop {
            OnDrop::Nothing => {}
            OnDrop::Keep if !is_empty() => {}
            OnDrop::Keep | OnDrop::Remove => self.staged.remove(),
        }
    }
}

impl Upload for LocalUpload {
    fn offset(&self) -> u64 {
        self.hashed.length
    }

    fn hashed(&self) -> &Hashed {
        &self.hashed
    }

    fn restart(&mut self) -> Result<()> {
        self.staged.file.set_len(0).map_err(self.context().io())?;
        self.hashed = Hashed::default();
        Ok(())
    }

    fn file(&self) -> Option<&File> {
        Some(&self.staged.file)
    }

    fn write_all_at(&mut self, content: &[u8], offset: u64) -> Result<()> {
        self.staged
            .file
            .write_all_at(content, offset)
            .map_err(self.context().io())
    }

    fn commit(self: Box<Self>, received: &Received) -> Result<Stored> {
        let root = Arc::clone(&self.root);
        let lost = self.context().refuse(ErrorCode::Internal);
        let mut results = commit::publish_all(&root, vec![Ok((self, *received))]);
        results.pop().unwrap_or(Err(lost))
    }

    fn keep(mut self: Box<Self>) {
        self.on_drop = OnDrop::Keep;
    }

    fn discard(mut self: Box<Self>) {
        self.on_drop = OnDrop::Remove;
    }
}

/// Whether the target's name may be given to an upload as things are now.
pub(crate) fn check_target(
    root: &Root,
    context: Context<'_>,
    (folder, name): (BorrowedFd<'_>, &[u8]),
    condition: &Condition,
) -> Result<()> {
    let target = match Facts::at(folder, name) {
        Ok(facts) if facts.kind == EntryKind::Link => follow(root, context)?,
        Ok(facts) => Some(facts),
        Err(Errno::NOENT) if matches!(condition, Condition::Matches(_)) => {
            return Err(context.refuse(ErrorCode::Changed));
        }
        Err(Errno::NOENT) => return Ok(()),
        Err(error) => return Err(context.system()(error)),
    };
    if target.is_some_and(|facts| facts.is_directory()) {
        return Err(context.refuse(ErrorCode::IsDirectory));
    }
    match condition {
        Condition::Any => Ok(()),
        Condition::Absent => Err(context.refuse(ErrorCode::Exists)),
        Condition::Matches(version) => {
            if target.and_then(|facts| facts.version()).as_ref() == Some(version) {
                Ok(())
            } else {
                Err(context.refuse(ErrorCode::Changed))
            }
        }
    }
}

/// What a link leads to; `None` when it leads nowhere, or nowhere allowed: as a name it can be replaced all the same.
fn follow(root: &Root, context: Context<'_>) -> Result<Option<Facts>> {
    match root.open(context, OFlags::PATH) {
        Ok(target) => Facts::of(&target).map(Some).map_err(context.system()),
        Err(_) => Ok(None),
    }
}

/// Refuses before the content is sent what the rename would refuse after it.
fn check_writable(context: Context<'_>, folder: &OwnedFd) -> Result<()> {
    let access = Access::WRITE_OK | Access::EXEC_OK;
    match rustix::fs::accessat(folder, c".", access, AtFlags::EACCESS) {
        Err(error @ (Errno::ACCESS | Errno::PERM | Errno::ROFS)) => Err(context.system()(error)),
        _ => Ok(()),
    }
}

/// Refuses what cannot fit. Nothing is reserved (`fallocate`): an upload that was given up would hold all of its space.
fn check_space(context: Context<'_>, folder: &OwnedFd, size: Option<u64>) -> Result<()> {
    let (Some(size), Ok(space)) = (size, rustix::fs::fstatvfs(folder)) else {
        return Ok(());
    };
    // Some file systems in user space tell nothing.
    if space.f_blocks > 0 && size > space.f_bfree.saturating_mul(space.f_frsize) {
        return Err(context.refuse(ErrorCode::NoSpace));
    }
    Ok(())
}

/// The staging folder, or the target's own where a rename from there could not succeed.
fn place_for(root: &Root, context: Context<'_>, spot: Spot<'_>) -> Result<Place> {
    let Spot { folder, facts, .. } = spot;
    match &root.staging {
        Ok(staging) if staging.facts.shares_file_system(&facts) => Ok(Place {
            folder: Arc::clone(&staging.folder),
            beside_target: false,
        }),
        Err(code) if root.facts.shares_file_system(&facts) => Err(context.refuse(*code)),
        _ => {
            let place = Place {
                folder: Arc::new(folder),
                beside_target: true,
            };
            if root.is_sweep_due()
                && let Err(error) = place.sweep(KEPT_BESIDE_TARGET, u64::MAX)
            {
                tracing::debug!(%error, "abandoned uploads beside the target are not looked for");
            }
            Ok(place)
        }
    }
}
