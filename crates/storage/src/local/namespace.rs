//! Making, removing and renaming names. Each is durable when the call returns, also where it says that it was done before.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use protocol::limits::MAX_COMPONENTS;
use protocol::{ErrorCode, RemotePath};
use rustix::fs::{AtFlags, FileType, Mode};
use rustix::io::{self, Errno};

use super::confined::{Root, Spot, open_subfolder, rename_onto_free_name};
use super::facts::Facts;
use super::names::Names;
use super::quota::{Removals, size_at};
use crate::error::{Context, Result, StorageError};

/// Makes one folder.
pub(crate) fn make_directory(root: &Root, path: &RemotePath) -> Result<()> {
    let context = Context::new("make folder", path);
    if path.is_root() {
        return Err(context.refuse(ErrorCode::Exists));
    }
    let Spot { folder, name, .. } = root.spot(context)?;
    // The process's umask takes its bits away.
    let mode = Mode::RWXU | Mode::RWXG | Mode::RWXO;
    let made = rustix::fs::mkdirat(&folder, name, mode).map_err(context.system());
    settle(root, context, &[&folder], (made, ErrorCode::Exists))
}

/// Makes a folder and all above it that are missing.
pub(crate) fn make_directories(root: &Root, path: &RemotePath) -> Result<()> {
    let context = Context::new("make folder", path);
    let mut made = RemotePath::root();
    for name in path.components() {
        made = made
            .join(name)
            .map_err(|_| context.refuse(ErrorCode::NameTooLong))?;
        if made != *path && root.open_folder(Context::new("make folder", &made)).is_ok() {
            continue;
        }
        match make_directory(root, &made) {
            Err(error) if error.code() == ErrorCode::Exists && made == *path => {
                // There it may be a link to a folder as well, but nothing else.
                return match root.open_folder(context) {
                    Err(other) if other.code() == ErrorCode::NotDirectory => Err(error),
                    opened => opened.map(drop),
                };
            }
            Err(error) if error.code() != ErrorCode::Exists => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

/// Makes a name durable.
pub(crate) fn flush_name(root: &Root, path: &RemotePath) -> Result<()> {
    let context = Context::new("flush", path);
    let Spot { folder, .. } = root.spot(context)?;
    root.flush_folder(folder.as_fd()).map_err(context.system())
}

/// Removes a file or link, or with `recursive` a folder with all in it.
pub(crate) fn remove(root: &Root, path: &RemotePath, recursive: bool) -> Result<()> {
    let context = Context::new("remove", path);
    let Spot { folder, name, .. } = root.spot(context)?;
    let removed = remove_name(root, context, (&folder, name), recursive);
    settle(root, context, &[&folder], (removed, ErrorCode::NotFound))
}

fn remove_name(
    root: &Root,
    context: Context<'_>,
    (folder, name): (&OwnedFd, &[u8]),
    recursive: bool,
) -> Result<()> {
    let facts = Facts::at(folder, name).map_err(context.system())?;
    let mut removals = Removals::new(root.quota.as_deref());
    if !facts.is_directory() {
        removals.unlink(folder, name).map_err(context.system())
    } else if recursive {
        remove_tree(context, (folder.as_fd(), name), &mut removals)
    } else {
        Err(context.refuse(ErrorCode::IsDirectory))
    }
}

/// Removes an empty folder.
pub(crate) fn remove_directory(root: &Root, path: &RemotePath) -> Result<()> {
    let context = Context::new("remove folder", path);
    let Spot { folder, name, .. } = root.spot(context)?;
    let removed = remove_empty(folder.as_fd(), name).map_err(context.system());
    settle(root, context, &[&folder], (removed, ErrorCode::NotFound))
}

/// Makes durable what was changed in the folders, and also what `done` says was changed before: by another slave, perhaps,
/// that died before it was durable. A client that has lost the answer of that one takes this one for it.
fn settle(
    root: &Root,
    context: Context<'_>,
    folders: &[&OwnedFd],
    (changed, done): (Result<()>, ErrorCode),
) -> Result<()> {
    if changed.as_ref().is_err_and(|error| error.code() != done) {
        return changed;
    }
    for folder in folders {
        root.flush_folder(folder.as_fd())
            .map_err(context.system())?;
    }
    changed
}

/// Renames a file, link or folder.
pub(crate) fn rename(root: &Root, from: &RemotePath, to: &RemotePath, replace: bool) -> Result<()> {
    let context = Context::new("rename", from);
    let target = Context::new("rename to", to);
    let old = root.spot(context)?;
    let new = root.spot(target)?;
    let renamed = rename_spot(root, (context, &old), (target, &new), replace);
    let folders = [&new.folder, &old.folder];
    settle(root, context, &folders, (renamed, ErrorCode::NotFound))
}

fn rename_spot(
    root: &Root,
    (context, old): (Context<'_>, &Spot<'_>),
    (target, new): (Context<'_>, &Spot<'_>),
    replace: bool,
) -> Result<()> {
    let (from, to) = (context.path, target.path);
    let facts = Facts::at(&old.folder, old.name).map_err(context.system())?;
    if from != to && to.is_within(from) && facts.is_directory() {
        return Err(target.refuse(ErrorCode::BadRename));
    }
    let change = match &root.quota {
        Some(quota) => Some(quota.rename(context)?),
        None => None,
    };
    let replaced = match &change {
        Some(_) if replace && !is_same_name(old, new) => size_at(&new.folder, new.name),
        _ => Ok(0),
    };
    let replaced = replaced.map_err(target.system())?;
    let renamed = if replace {
        replace_name(old, new, &facts)
    } else {
        rename_onto_free_name(
            (old.folder.as_fd(), old.name),
            (new.folder.as_fd(), new.name),
        )
    };
    if let Some(mut change) = change {
        if renamed.is_ok() {
            change.took_place(None, (replaced, 0));
        }
        change.end();
    }
    renamed.map_err(|errno| {
        let error = target.naming()(errno.into());
        match errno {
            // The one folder lies beneath the other in a way that their names do not tell.
            Errno::INVAL => error.with_code(ErrorCode::BadRename),
            Errno::EXIST if replace => error.with_code(ErrorCode::NotEmpty),
            _ => error,
        }
    })
}

/// A rename that may replace. Between two names of one file the system does nothing; then the old name is dropped. If it is the
/// only one it stays: somebody has moved the file back meanwhile, or both are one to a file system that ignores case.
fn replace_name(old: &Spot<'_>, new: &Spot<'_>, facts: &Facts) -> io::Result<()> {
    rustix::fs::renameat(&old.folder, old.name, &new.folder, new.name)?;
    let is_left = |left: Facts| left.is_same_file(facts) && left.links > 1;
    if Facts::at(&old.folder, old.name).is_ok_and(is_left) && !is_same_name(old, new) {
        rustix::fs::unlinkat(&old.folder, old.name, AtFlags::empty())?;
    }
    Ok(())
}

fn is_same_name(one: &Spot<'_>, other: &Spot<'_>) -> bool {
    one.name == other.name && one.facts.is_same_file(&other.facts)
}

fn remove_empty(folder: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
    match rustix::fs::unlinkat(folder, name, AtFlags::REMOVEDIR) {
        // POSIX allows either word.
        Err(Errno::EXIST) => Err(Errno::NOTEMPTY),
        removed => removed,
    }
}

/// A folder on the way down, that is being emptied.
struct Level {
    names: Names,
    name: Vec<u8>,
    /// Whether anything was removed since its names were read from the first on.
    progress: bool,
}

/// Removes a folder with all in it through held descriptors: what is made a link meanwhile is unlinked, never followed.
/// What cannot be removed is passed over, and the first such failure told in the end.
fn remove_tree(
    context: Context<'_>,
    (parent, name): (BorrowedFd<'_>, &[u8]),
    removals: &mut Removals<'_>,
) -> Result<()> {
    let mut failure = None;
    let mut levels = vec![Level::open(parent, name).map_err(context.system())?];
    loop {
        let depth = levels.len();
        let Some(level) = levels.last_mut() else {
            return failure.map_or(Ok(()), Err);
        };
        match level.next(&mut failure, context, removals) {
            Some(name) if depth >= MAX_COMPONENTS => {
                tracing::debug!(?name, "too deep to be removed");
                note(&mut failure, || context.refuse(ErrorCode::NameTooLong));
            }
            Some(name) => match Level::open(level.names.folder.as_fd(), &name) {
                Ok(below) => levels.push(below),
                Err(errno) => note(&mut failure, || context.system()(errno)),
            },
            None => {
                let Some(done) = levels.pop() else { continue };
                let above = levels
                    .last()
                    .map_or(parent, |level| level.names.folder.as_fd());
                match remove_empty(above, &done.name) {
                    // Names that came meanwhile, or that the system passed over while others were removed.
                    Err(Errno::NOTEMPTY) if done.progress && failure.is_none() => {
                        levels.push(done.again().map_err(context.system())?);
                    }
                    Err(Errno::NOENT) => {}
                    Err(errno) => note(&mut failure, || context.system()(errno)),
                    Ok(()) => levels.iter_mut().rev().take(1).for_each(Level::progressed),
                }
            }
        }
    }
}

fn note(failure: &mut Option<StorageError>, error: impl FnOnce() -> StorageError) {
    if failure.is_none() {
        *failure = Some(error());
    }
}

impl Level {
    fn open(parent: BorrowedFd<'_>, name: &[u8]) -> io::Result<Self> {
        Ok(Self {
            names: Names::new(open_subfolder(parent, name)?),
            name: name.to_vec(),
            progress: false,
        })
    }

    fn again(mut self) -> io::Result<Self> {
        self.names.rewind()?;
        self.progress = false;
        Ok(self)
    }

    fn progressed(&mut self) {
        self.progress = true;
    }

    /// Removes what is no folder, up to the next folder, whose name is returned.
    fn next(
        &mut self,
        failure: &mut Option<StorageError>,
        context: Context<'_>,
        removals: &mut Removals<'_>,
    ) -> Option<Vec<u8>> {
        loop {
            let name = match self.names.next() {
                Ok(next) => next?,
                Err(errno) => {
                    note(failure, || context.system()(errno));
                    return None;
                }
            };
            if name.file_type == FileType::Directory {
                return Some(name.bytes);
            }
            match removals.unlink(&self.names.folder, &name.bytes) {
                Ok(()) => self.progress = true,
                Err(Errno::NOENT) => {}
                Err(Errno::ISDIR) => return Some(name.bytes),
                Err(errno) => note(failure, || context.system()(errno)),
            }
        }
    }
}
