//! Publishing uploads in the order that makes them durable: digest, mode, time and kept digest on the staged files; their
//! bytes flushed; the names; the folders flushed. Whatever the machine does in between, a name stands for the old
//! content or for the whole new one.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};

use protocol::{Condition, ErrorCode};
use rustix::fs::{Mode, Timestamps, UTIME_NOW};
use rustix::io::{self, Errno};

use super::confined::{Root, rename_onto_free_name};
use super::digest_cache;
use super::facts::{Facts, timespec};
use super::upload::{LocalUpload, OnDrop, check_target};
use crate::error::{Result, StorageError};
use crate::{Received, Stored};

/// Up to so many files are flushed one by one; more by flushing their file system once.
const FLUSHED_ONE_BY_ONE: usize = 8;

/// A file system, or a folder in it.
type Device = (u32, u32);
type FolderId = (Device, u64);

/// An upload on its way through the steps, or what stopped it.
pub(crate) type Step = Result<(Box<LocalUpload>, Received)>;

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
    let mut folders = BTreeMap::new();
    let published: Vec<_> = flush(sealed)
        .into_iter()
        .map(|step| step.and_then(|step| publish(root, step, &mut folders)))
        .collect();
    let failures: BTreeMap<_, _> = folders
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
fn seal((mut upload, received): (Box<LocalUpload>, Received)) -> Step {
    let file = &upload.staged.file;
    let length = Facts::of(file).map_err(upload.context().system())?.size;
    let has_length =
        length == received.length && upload.request.size.is_none_or(|size| size == length);
    if !has_length || received.computed != received.announced {
        let error = upload.context().refuse(ErrorCode::Corrupt);
        return Err(upload.fail(error));
    }
    let mode = u32::from(upload.request.mode & 0o777 & !upload.root.umask);
    tolerate(rustix::fs::fchmod(file, Mode::from_raw_mode(mode)));
    let mut times = Timestamps {
        last_access: timespec(0),
        last_modification: timespec(upload.request.modified_ns),
    };
    times.last_access.tv_nsec = UTIME_NOW;
    tolerate(rustix::fs::futimens(file, &times));
    let facts = Facts::of(file).map_err(upload.context().system())?;
    digest_cache::attach(file, &facts, &received.computed);
    Ok((upload, received))
}

/// File systems without modes or without such times (FAT) store the content all the same.
fn tolerate(result: io::Result<()>) {
    if let Err(error) = result {
        tracing::debug!(%error, "mode or time of a stored file could not be set");
    }
}

/// Makes the staged bytes durable. A descriptor whose flush failed is never flushed again: the kernel would call it
/// durable although pages were dropped.
fn flush(mut steps: Vec<Step>) -> Vec<Step> {
    let mut by_device: BTreeMap<Device, Vec<usize>> = BTreeMap::new();
    for (index, step) in steps.iter().enumerate() {
        if let Ok((upload, _)) = step
            && let Ok(facts) = Facts::of(&upload.staged.file)
        {
            by_device.entry(facts.device).or_default().push(index);
        }
    }
    let flushed_together: Vec<usize> = by_device
        .into_values()
        .filter(|indexes| indexes.len() > FLUSHED_ONE_BY_ONE && flush_file_system(&steps, indexes))
        .flatten()
        .collect();
    for (index, step) in steps.iter_mut().enumerate() {
        if let Ok((upload, _)) = step
            && flushed_together.binary_search(&index).is_err()
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
fn flush_file_system(steps: &[Step], indexes: &[usize]) -> bool {
    indexes
        .iter()
        .filter_map(|&index| steps.get(index)?.as_ref().ok())
        .min_by_key(|(upload, _)| upload.begun)
        .is_some_and(|(oldest, _)| rustix::fs::syncfs(&oldest.staged.file).is_ok())
}

/// Gives the target's name to the staged file.
fn publish(
    root: &Root,
    (mut upload, received): (Box<LocalUpload>, Received),
    folders: &mut BTreeMap<FolderId, OwnedFd>,
) -> Result<Published> {
    if !upload.request.wanted.ask() {
        return Err(upload.context().refuse(ErrorCode::Superseded));
    }
    match rename_to_target(root, &upload, folders) {
        Ok(folder) => {
            upload.on_drop = OnDrop::Nothing;
            let facts = Facts::of(&upload.staged.file).map_err(upload.context().system())?;
            let version = facts
                .version()
                .ok_or_else(|| upload.context().refuse(ErrorCode::Internal))?;
            let stored = Stored {
                version,
                digest: received.computed,
            };
            Ok(Published {
                stored,
                upload,
                folder,
            })
        }
        Err(error) => Err(upload.fail(error)),
    }
}

fn rename_to_target(
    root: &Root,
    upload: &LocalUpload,
    folders: &mut BTreeMap<FolderId, OwnedFd>,
) -> Result<FolderId> {
    let context = upload.context();
    let spot = root.spot(context)?;
    let staged = &upload.staged;
    if !staged.is_named() {
        return Err(context.refuse(ErrorCode::Superseded));
    }
    check_target(root, context, &spot, &upload.request.condition)?;
    let renamed = if upload.request.condition == Condition::Absent {
        rename_onto_free_name(
            (staged.folder.as_fd(), &staged.name),
            (spot.folder.as_fd(), spot.name),
        )
    } else {
        rustix::fs::renameat(&staged.folder, &*staged.name, &spot.folder, spot.name)
    };
    renamed.map_err(|errno| {
        let error: StorageError = context.system()(errno);
        match errno {
            Errno::NOENT if !staged.is_named() => error.with_code(ErrorCode::Superseded),
            Errno::XDEV => error.with_code(ErrorCode::BadRename),
            _ => error,
        }
    })?;
    let facts = Facts::of(&spot.folder).map_err(context.system())?;
    let id = (facts.device, facts.inode);
    folders.entry(id).or_insert(spot.folder);
    Ok(id)
}
