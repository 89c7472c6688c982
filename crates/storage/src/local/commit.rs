//! Publishing uploads in the order that makes them durable: digest, mode, time and kept digest on the staged files; their
//! bytes flushed; the names; the folders flushed. Whatever the machine does in between, a name stands for the old
//! content or for the whole new one.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use protocol::{Condition, ErrorCode, RemotePath};
use rustix::fs::{Mode, Timestamps, UTIME_NOW};
use rustix::io::{self, Errno};

use super::confined::{Root, parent_and_name};
use super::digest_cache;
use super::facts::{Facts, timespec};
use super::quota::{Change, size_at};
use super::target::check_target;
use super::upload::{LocalUpload, OnDrop};
use crate::error::{Context, Result};
use crate::{Received, Stored};

/// Up to so many files are flushed one by one; more by flushing their file system once.
const FLUSHED_ONE_BY_ONE: usize = 8;

/// A file system, or a folder in it.
type Device = (u32, u32);
type FolderId = (Device, u64);

/// An upload to be published, or what stopped it.
pub(crate) type Step = Result<(Box<LocalUpload>, Received)>;

/// An upload whose staged file is all that its name will promise.
struct Sealed {
    upload: Box<LocalUpload>,
    stored: Stored,
    length: u64,
    device: Device,
}

/// The folders in which names were given, each open once.
#[derive(Default)]
struct Folders {
    open: BTreeMap<FolderId, OwnedFd>,
    /// The one that was used last: uploads to one folder mostly follow one another.
    last: Option<(RemotePath, FolderId)>,
}

/// A name that stands for its new content, in a folder that is not flushed yet.
struct Published {
    stored: Stored,
    upload: Box<LocalUpload>,
    folder: FolderId,
}

/// Publishes uploads: one result for each, in the same order.
pub(crate) fn publish_all(root: &Root, uploads: Vec<Step>) -> Vec<Result<Stored>> {
    let sealed = uploads
        .into_iter()
        .map(|step| step.and_then(seal))
        .collect();
    let mut folders = Folders::default();
    let published = give_names(root, flush(sealed), &mut folders);
    let failures: BTreeMap<_, _> = folders
        .open
        .iter()
        .filter_map(|(id, folder)| Some((*id, root.flush_folder(folder.as_fd()).err()?)))
        .collect();
    published
        .into_iter()
        .map(|result| {
            let done = result?;
            match failures.get(&done.folder) {
                None => Ok(done.stored),
                Some(errno) => Err(done.upload.context().system()(*errno)),
            }
        })
        .collect()
}

/// Verifies the content and gives the staged file all that its name will promise.
fn seal((mut upload, received): (Box<LocalUpload>, Received)) -> Result<Sealed> {
    let file = &upload.staged.file;
    let mut times = Timestamps {
        last_access: timespec(0),
        last_modification: timespec(upload.request.modified_ns),
    };
    times.last_access.tv_nsec = UTIME_NOW;
    tolerate(rustix::fs::futimens(file, &times));
    let facts = Facts::of(file).map_err(upload.context().system())?;
    let length = facts.size;
    let has_length =
        length == received.length && upload.request.size.is_none_or(|size| size == length);
    if !has_length || received.computed != received.announced {
        let error = upload.context().refuse(ErrorCode::Corrupt);
        return Err(upload.fail(error));
    }
    digest_cache::attach(file, &facts, &received.computed);
    // Behind that: where the owner may not write, not even we may attach anything, xattr(7).
    let mode = upload.request.mode & 0o777 & !upload.root.umask;
    if facts.mode != mode {
        tolerate(rustix::fs::fchmod(file, Mode::from_raw_mode(mode.into())));
    }
    let version = facts
        .version()
        .ok_or_else(|| upload.context().refuse(ErrorCode::Internal))?;
    Ok(Sealed {
        upload,
        stored: Stored {
            version,
            digest: received.computed,
        },
        length,
        device: facts.device,
    })
}

/// File systems without modes or without such times (FAT) store the content all the same.
fn tolerate(result: io::Result<()>) {
    if let Err(error) = result {
        tracing::debug!(%error, "mode or time of a stored file could not be set");
    }
}

/// Makes the staged bytes durable. A descriptor whose flush failed is never flushed again: the kernel would call it
/// durable although pages were dropped.
fn flush(mut steps: Vec<Result<Sealed>>) -> Vec<Result<Sealed>> {
    let mut by_device: BTreeMap<Device, Vec<usize>> = BTreeMap::new();
    for (index, step) in steps.iter().enumerate() {
        if let Ok(sealed) = step {
            by_device.entry(sealed.device).or_default().push(index);
        }
    }
    let flushed_together: BTreeSet<usize> = by_device
        .into_values()
        .filter(|indexes| indexes.len() > FLUSHED_ONE_BY_ONE && flush_file_system(&steps, indexes))
        .flatten()
        .collect();
    for (index, step) in steps.iter_mut().enumerate() {
        if let Ok(Sealed { upload, .. }) = step
            && !flushed_together.contains(&index)
            && let Err(errno) = rustix::fs::fsync(&upload.staged.file)
        {
            let error = upload.context().system()(errno);
            *step = Err(upload.fail(error));
        }
    }
    steps
}

/// Flushes the file system of many staged files; whether that worked. The descriptor that was opened first also tells of
/// write-back errors that happened to the others before now; after any, each file is asked apart.
fn flush_file_system(steps: &[Result<Sealed>], indexes: &[usize]) -> bool {
    indexes
        .iter()
        .filter_map(|&index| steps.get(index)?.as_ref().ok())
        .min_by_key(|sealed| sealed.upload.begun)
        .is_some_and(|oldest| rustix::fs::syncfs(&oldest.upload.staged.file).is_ok())
}

/// Gives the names of all uploads, under one lock of the quota where there is one.
fn give_names(
    root: &Root,
    steps: Vec<Result<Sealed>>,
    folders: &mut Folders,
) -> Vec<Result<Published>> {
    let mut change = match begin_change(root, &steps) {
        Ok(change) => change,
        Err(refusal) => {
            let refuse = |sealed: Sealed| Err(sealed.upload.context().refuse_as(&refusal));
            return steps.into_iter().map(|step| refuse(step?)).collect();
        }
    };
    // What fails is dropped when the lock is free: it may have to give back what it was promised.
    let mut failed = Vec::new();
    let published = steps
        .into_iter()
        .map(|step| publish(root, step?, (&mut *folders, change.as_mut()), &mut failed))
        .collect();
    if let Some(change) = change {
        change.end();
    }
    published
}

fn begin_change<'a>(root: &'a Root, steps: &[Result<Sealed>]) -> Result<Option<Change<'a>>> {
    let sealed = || steps.iter().flatten();
    let (Some(quota), Some(first)) = (&root.quota, sealed().next()) else {
        return Ok(None);
    };
    let own: Vec<_> = sealed().filter_map(|one| one.upload.request.id).collect();
    let most = sealed().fold(0_u64, |sum, one| sum.saturating_add(one.length));
    let need = || {
        let more = sealed().map(|one| one.length.saturating_sub(size_of_target(root, one)));
        more.fold(0, u64::saturating_add)
    };
    let is_one = sealed().nth(1).is_none();
    quota
        .publish(root, first.upload.context(), (most, &own, is_one), need)
        .map(Some)
}

/// What the upload replaces, as far as can be told.
fn size_of_target(root: &Root, sealed: &Sealed) -> u64 {
    let spot = root.spot(sealed.upload.context());
    spot.ok()
        .and_then(|spot| size_at(&spot.folder, spot.name).ok())
        .unwrap_or(0)
}

/// Gives the target's name to the staged file.
fn publish(
    root: &Root,
    sealed: Sealed,
    (folders, change): (&mut Folders, Option<&mut Change<'_>>),
    failed: &mut Vec<LocalUpload>,
) -> Result<Published> {
    let Sealed {
        mut upload,
        stored,
        length,
        ..
    } = sealed;
    if !upload.request.wanted.ask() {
        let error = upload.context().refuse(ErrorCode::Superseded);
        failed.push(*upload);
        return Err(error);
    }
    match give_name(root, (&upload, length), folders, change) {
        Ok(folder) => {
            upload.on_drop = OnDrop::Nothing;
            Ok(Published {
                stored,
                upload,
                folder,
            })
        }
        Err(error) => {
            let error = upload.fail(error);
            failed.push(*upload);
            Err(error)
        }
    }
}

fn give_name(
    root: &Root,
    (upload, length): (&LocalUpload, u64),
    folders: &mut Folders,
    change: Option<&mut Change<'_>>,
) -> Result<FolderId> {
    let context = upload.context();
    let (id, folder, name) = folders.enter(root, context)?;
    let staged = &upload.staged;
    if !staged.is_ours() {
        return Err(context.refuse(ErrorCode::Superseded));
    }
    let old = match &change {
        Some(change) => {
            let old = size_at(folder, name).map_err(context.system())?;
            change.admit(context, upload.request.id, (old, length))?;
            old
        }
        None => 0,
    };
    let condition = &upload.request.condition;
    let named = match condition {
        Condition::Absent => staged.take_free_name(folder, name),
        Condition::Any if staged.is_nameless() => staged.take_free_name(folder, name),
        Condition::Any | Condition::Matches(_) => Err(Errno::EXIST),
    };
    let named = match named {
        Err(Errno::EXIST) => {
            check_target(root, context, (folder, name), condition)?;
            match condition {
                // It was taken a moment ago.
                Condition::Absent => Err(Errno::EXIST),
                Condition::Any | Condition::Matches(_) => staged.take_name(folder, name),
            }
        }
        named => named,
    };
    named.map_err(|errno| {
        let error = context.naming()(errno.into());
        match errno {
            Errno::NOENT if !staged.is_ours() => error.with_code(ErrorCode::Superseded),
            _ => error,
        }
    })?;
    if let Some(change) = change {
        change.took_place(upload.request.id, (old, length));
    }
    Ok(id)
}

impl Folders {
    /// The folder of what the context's path names, and the name. It is resolved anew unless the upload before went there
    /// too: were it moved between the two, both would have come before that.
    fn enter<'a>(
        &mut self,
        root: &Root,
        context: Context<'a>,
    ) -> Result<(FolderId, BorrowedFd<'_>, &'a [u8])> {
        let (parent, name) = parent_and_name(context)?;
        let id = match self.last.take() {
            Some((path, id)) if path == parent => id,
            _ => {
                let spot = root.spot(context)?;
                let id = (spot.facts.device, spot.facts.inode);
                self.open.entry(id).or_insert(spot.folder);
                id
            }
        };
        self.last = Some((parent, id));
        let folder = self.open.get(&id).map(AsFd::as_fd);
        let folder = folder.ok_or_else(|| context.refuse(ErrorCode::Internal))?;
        Ok((id, folder, name))
    }
}
