//! One staged file, and how it gets its final name.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{AtFlags, FlockOperation};
use rustix::io::Errno;

use super::confined::rename_onto_free_name;
use super::facts::Facts;

/// How the names begin of staged files that are never resumed: without a writer they are of no use at any age.
pub(crate) const ONCE: &str = "once-";

/// A staged file that this process is writing: open, locked, and still of its own name unless superseded.
#[derive(Debug)]
pub(crate) struct Staged {
    pub(crate) file: File,
    folder: Arc<OwnedFd>,
    /// `None`: it has no name, and is gone with its descriptor.
    name: Option<Vec<u8>>,
}

impl Staged {
    /// A file of that name in the folder, which this process has made or taken over.
    pub(crate) fn named(file: File, folder: &Arc<OwnedFd>, name: Vec<u8>) -> Self {
        Self {
            file,
            folder: Arc::clone(folder),
            name: Some(name),
        }
    }

    /// A new file without a name, on file systems that have such, with the bits of `mode` that the umask leaves. It is made
    /// in `target`, and inherits from that; interim names are given to it in `folder`. `None` where it can only be made
    /// with a name.
    pub(crate) fn nameless(
        target: &OwnedFd,
        folder: &Arc<OwnedFd>,
        mode: u16,
    ) -> rustix::io::Result<Option<Self>> {
        if !sys::nameless::can_be_named() {
            return Ok(None);
        }
        match sys::nameless::create(target, mode) {
            Ok(file) => Ok(Some(Self {
                file,
                folder: Arc::clone(folder),
                name: None,
            })),
            // Elsewhere it would belong to another group, or project, and escape the quota of this one.
            Err(full @ (Errno::DQUOT | Errno::NOSPC)) => Err(full),
            Err(_) => Ok(None),
        }
    }

    /// The nameless file with a name in the folder of interim ones; `EEXIST` where another has it.
    pub(crate) fn named_for_now(mut self, name: Vec<u8>) -> rustix::io::Result<Self> {
        sys::nameless::give_name(&self.file, &self.folder, &*name)?;
        self.name = Some(name);
        Ok(self)
    }

    /// Another name for the file in the folder of interim ones; `EEXIST` where another has it.
    pub(crate) fn rename(&mut self, name: Vec<u8>) -> rustix::io::Result<()> {
        if let Some(staged) = &self.name {
            let folder = self.folder.as_fd();
            rename_onto_free_name((folder, staged), (folder, &name))?;
        }
        self.name = Some(name);
        Ok(())
    }

    /// Whether it still is this writer's: otherwise another one took the upload over.
    pub(crate) fn is_ours(&self) -> bool {
        let is_named = |name: &Vec<u8>| is_named(&self.file, &self.folder, name);
        self.name.as_ref().is_none_or(is_named)
    }

    /// Removes the file, never one that another writer put in its place.
    pub(crate) fn remove(&self) {
        if let Some(name) = &self.name
            && self.is_ours()
            && let Err(error) = rustix::fs::unlinkat(&self.folder, &**name, AtFlags::empty())
        {
            tracing::debug!(%error, "a staged file is left for the sweep");
        }
    }

    /// Whether trying for a [free name](Self::take_free_name) costs nothing where it is taken.
    pub(crate) fn is_nameless(&self) -> bool {
        self.name.is_none()
    }

    /// Gives the file that name, or fails with `EEXIST`.
    pub(crate) fn take_free_name(&self, to: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<()> {
        match &self.name {
            Some(staged) => rename_onto_free_name((self.folder.as_fd(), staged), (to, name)),
            None => sys::nameless::give_name(&self.file, to, name),
        }
    }

    /// Gives the file that name, in place of what has it.
    pub(crate) fn take_name(&self, to: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<()> {
        if let Some(staged) = &self.name {
            return rustix::fs::renameat(&self.folder, &**staged, to, name);
        }
        // A link replaces nothing: it is renamed from a name of its own, locked so that no sweep takes that for abandoned.
        rustix::fs::flock(&self.file, FlockOperation::NonBlockingLockExclusive)?;
        let interim = once_name("")?;
        sys::nameless::give_name(&self.file, &self.folder, &*interim)?;
        let renamed = rustix::fs::renameat(&self.folder, &*interim, to, name);
        if renamed.is_err() {
            let removed = rustix::fs::unlinkat(&self.folder, &*interim, AtFlags::empty());
            tracing::debug!(?removed, "a name that was not given");
        }
        renamed
    }
}

/// A name for what is never resumed.
pub(crate) fn once_name(lead: &str) -> rustix::io::Result<Vec<u8>> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|_| Errno::IO)?;
    Ok(format!("{lead}{ONCE}{:x}", u128::from_be_bytes(random)).into_bytes())
}

pub(crate) fn is_named(file: &File, folder: &OwnedFd, name: &[u8]) -> bool {
    match (Facts::of(file), Facts::at(folder, name)) {
        (Ok(open), Ok(named)) => open.is_same_file(&named),
        _ => false,
    }
}
