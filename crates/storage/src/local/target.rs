//! The folder that uploads go to, as far as it must be known before their content is staged.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use protocol::{Condition, EntryKind, ErrorCode, RemotePath};
use rustix::fs::{Access, AtFlags, OFlags};
use rustix::io::Errno;

use super::confined::{Root, parent_and_name};
use super::facts::Facts;
use super::quota::size_at;
use super::staging::Place;
use crate::UploadRequest;
use crate::error::{Context, Result};

/// How long an abandoned upload is kept beside a target on another file system, where no sweep comes by.
const KEPT_BESIDE_TARGET: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// A folder in which names may be given to uploads, held open.
#[derive(Debug)]
pub(crate) struct Target {
    path: RemotePath,
    pub(crate) folder: Arc<OwnedFd>,
    facts: Facts,
}

impl Target {
    /// The path of the folder.
    pub(crate) const fn path(&self) -> &RemotePath {
        &self.path
    }

    /// The bytes that the name stands for now.
    pub(crate) fn size_of(&self, context: Context<'_>) -> Result<u64> {
        let (_, name) = parent_and_name(context)?;
        size_at(&self.folder, name).map_err(context.system())
    }

    /// The folder that the upload goes to. Refuses before the content is sent what giving the name would refuse after it.
    pub(crate) fn find(root: &Root, context: Context<'_>, request: &UploadRequest) -> Result<Self> {
        let (path, name) = parent_and_name(context)?;
        let spot = root.spot(context)?;
        let folder = spot.folder.as_fd();
        check_target(root, context, (folder, name), &request.condition)?;
        check_writable(context, folder)?;
        Ok(Self {
            path,
            folder: Arc::new(spot.folder),
            facts: spot.facts,
        })
    }

    /// Refuses what cannot fit: of `size` bytes those that are not staged yet. Nothing is reserved (`fallocate`): an upload that
    /// was given up would hold all of its space.
    pub(crate) fn check_space(
        &self,
        context: Context<'_>,
        size: Option<u64>,
        staged: u64,
    ) -> Result<()> {
        let (Some(size), Ok(space)) = (size, rustix::fs::fstatvfs(&self.folder)) else {
            return Ok(());
        };
        let free = space.f_bfree.saturating_mul(space.f_frsize);
        // Some file systems in user space tell nothing.
        if space.f_blocks > 0 && size.saturating_sub(staged) > free {
            return Err(context.refuse(ErrorCode::NoSpace));
        }
        Ok(())
    }

    /// Whether what the context's path names goes there, if it may be named so at all.
    pub(crate) fn holds(&self, context: Context<'_>) -> Result<bool> {
        let (path, _) = parent_and_name(context)?;
        Ok(path == self.path)
    }

    /// The staging folder, or this one where a rename from there could not succeed.
    pub(crate) fn place(&self, root: &Root, context: Context<'_>) -> Result<Place> {
        if let Err(code) = &root.ledgers
            && root.is_limited
        {
            return Err(context.refuse(*code));
        }
        match &root.staging {
            Ok(staging) if staging.facts.shares_file_system(&self.facts) => Ok(Place {
                folder: Arc::clone(&staging.folder),
                beside_target: false,
            }),
            Err(code) if root.facts.shares_file_system(&self.facts) => Err(context.refuse(*code)),
            _ => {
                let place = Place {
                    folder: Arc::clone(&self.folder),
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

fn check_writable(context: Context<'_>, folder: BorrowedFd<'_>) -> Result<()> {
    let access = Access::WRITE_OK | Access::EXEC_OK;
    match rustix::fs::accessat(folder, c".", access, AtFlags::EACCESS) {
        Err(error @ (Errno::ACCESS | Errno::PERM | Errno::ROFS)) => Err(context.system()(error)),
        _ => Ok(()),
    }
}
