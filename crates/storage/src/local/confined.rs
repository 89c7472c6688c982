//! Names beneath the root: every one is resolved by the kernel from a held descriptor, never checked first and opened
//! later. The only file that calls `openat2`.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use protocol::{ErrorCode, RemotePath, StorageId};
use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags, ResolveFlags};
use rustix::io::{self, Errno};

use super::digest_memory::DigestMemory;
use super::facts::Facts;
use super::quota::Quota;
use crate::error::{Context, Result};

/// The folder at the root that holds the storage's own files, and the first part of every other reserved name.
pub(crate) const RESERVED: &[u8] = b".mini-ftp";

/// How often a resolution that a concurrent rename disturbed is tried before it counts as refused.
const MOST_TRIES: u32 = 32;

/// The shortest time between two sweeps that uploads to other mounts occasion.
const BETWEEN_SWEEPS: Duration = Duration::from_secs(60);

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY);

/// The served folder, and what every operation on it needs.
#[derive(Debug)]
pub(crate) struct Root {
    /// What requests know as `/`.
    pub(crate) folder: OwnedFd,
    /// Those of the folder that is served as a whole.
    pub(crate) facts: Facts,
    pub(crate) id: StorageId,
    /// Where uploads wait, or why none can.
    pub(crate) staging: std::result::Result<OwnFolder, ErrorCode>,
    /// Where the ledgers of quotas are, or why there are none.
    pub(crate) ledgers: std::result::Result<OwnFolder, ErrorCode>,
    /// Whether there is a quota.
    pub(crate) is_limited: bool,
    /// The quota; `None` too where it cannot be kept: then nothing can be stored.
    pub(crate) quota: Option<Arc<Quota>>,
    /// Which run of this machine it is, where the system says.
    pub(crate) boot: Option<u128>,
    /// `.mini-ftp` and what is in it: links made by the machine's owner must not lead requests into them.
    pub(crate) reserved: Vec<Facts>,
    pub(crate) umask: u16,
    /// Those of files below, whoever asks for them.
    pub(crate) digests: Arc<DigestMemory>,
    /// When a folder on another mount was last swept on the occasion of an upload.
    pub(crate) swept: Arc<Mutex<Option<Instant>>>,
}

/// A folder of the storage's own.
#[derive(Clone, Debug)]
pub(crate) struct OwnFolder {
    pub(crate) folder: Arc<OwnedFd>,
    pub(crate) facts: Facts,
}

/// A name in a folder that is held open.
#[derive(Debug)]
pub(crate) struct Spot<'a> {
    pub(crate) folder: OwnedFd,
    /// Those of the folder, when it was opened.
    pub(crate) facts: Facts,
    pub(crate) name: &'a [u8],
}

impl Root {
    /// The same, with the folder that the context's path names for `/`, and with that quota. It is held from now on, whatever
    /// is renamed.
    pub(crate) fn beneath(&self, context: Context<'_>, quota: Option<u64>) -> Result<Self> {
        let folder = self.open_folder(context)?;
        let keep = |limit| Quota::open(self, context.path, (&folder, limit)).map(Arc::new);
        Ok(Self {
            is_limited: quota.is_some(),
            quota: match &self.ledgers {
                Ok(_) => quota.map(keep).transpose()?,
                Err(_) => None,
            },
            folder,
            facts: self.facts,
            id: self.id,
            staging: self.staging.clone(),
            ledgers: self.ledgers.clone(),
            boot: self.boot,
            reserved: self.reserved.clone(),
            umask: self.umask,
            digests: Arc::clone(&self.digests),
            swept: Arc::clone(&self.swept),
        })
    }

    /// Opens what the context's path names.
    pub(crate) fn open(&self, context: Context<'_>, flags: OFlags) -> Result<OwnedFd> {
        if context.path.components().any(is_reserved) {
            return Err(context.refuse(ErrorCode::BadName));
        }
        let path = match context.path.relative() {
            b"" => b".",
            path => path,
        };
        open_beneath(self.folder.as_fd(), path, flags).map_err(context.system())
    }

    /// Opens a folder, so that it can be listed and flushed.
    pub(crate) fn open_folder(&self, context: Context<'_>) -> Result<OwnedFd> {
        let (folder, _) = self.checked(context, self.open(context, FOLDER)?)?;
        Ok(folder)
    }

    /// Opens a folder for using names in it, also where it may be searched but not listed.
    fn open_parent(&self, context: Context<'_>) -> Result<(OwnedFd, Facts)> {
        match self.open(context, FOLDER) {
            Err(error) if error.code() == ErrorCode::NotPermitted => {
                let folder = self.open(context, OFlags::PATH | OFlags::DIRECTORY)?;
                self.checked(context, folder)
            }
            opened => self.checked(context, opened?),
        }
    }

    /// The folder, unless a link led into the reserved ones.
    fn checked(&self, context: Context<'_>, folder: OwnedFd) -> Result<(OwnedFd, Facts)> {
        let facts = Facts::of(&folder).map_err(context.system())?;
        if self
            .reserved
            .iter()
            .any(|reserved| reserved.is_same_file(&facts))
        {
            return Err(context.refuse(ErrorCode::BadName));
        }
        Ok((folder, facts))
    }

    /// Opens the folder above, for operations on the name itself; the root has none and refuses them.
    pub(crate) fn spot<'a>(&self, context: Context<'a>) -> Result<Spot<'a>> {
        let (parent, name) = parent_and_name(context)?;
        let (folder, facts) = self.open_parent(Context::new(context.operation, &parent))?;
        Ok(Spot {
            folder,
            facts,
            name,
        })
    }

    /// Whether an upload to another mount shall look for abandoned ones there: now and then, as that reads the folder.
    pub(crate) fn is_sweep_due(&self) -> bool {
        let mut swept = self.swept.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = swept.is_none_or(|then| then.elapsed() >= BETWEEN_SWEEPS);
        if is_due {
            *swept = Some(Instant::now());
        }
        is_due
    }

    /// Makes a folder's names durable.
    pub(crate) fn flush_folder(&self, folder: BorrowedFd<'_>) -> io::Result<()> {
        match rustix::fs::fsync(folder) {
            // A folder that may only be searched cannot be flushed alone, and one on another mount not with the root either.
            Err(Errno::BADF) if Facts::of(folder)?.device != Facts::of(&self.folder)?.device => {
                Err(Errno::ACCESS)
            }
            Err(Errno::BADF) => rustix::fs::syncfs(&self.folder),
            // File systems that have no notion of flushing a folder write it at once.
            Err(Errno::INVAL | Errno::OPNOTSUPP) => Ok(()),
            flushed => flushed,
        }
    }
}

/// Whether a component is one of the names that exist for no request. In whatever case: there are file systems that do not tell.
pub(crate) fn is_reserved(name: &[u8]) -> bool {
    name.split_at_checked(RESERVED.len())
        .filter(|(lead, _)| lead.eq_ignore_ascii_case(RESERVED))
        .is_some_and(|(_, rest)| matches!(rest.first(), None | Some(b'.')))
}

/// The path above the context's, and the name in it, unless no request may mean that.
pub(crate) fn parent_and_name(context: Context<'_>) -> Result<(RemotePath, &[u8])> {
    let (Some(parent), Some(name)) = (context.path.parent(), context.path.name()) else {
        return Err(context.refuse(ErrorCode::NotPermitted));
    };
    if is_reserved(name) {
        return Err(context.refuse(ErrorCode::BadName));
    }
    Ok((parent, name))
}

/// Opens a path that cannot lead out of `folder`, whatever links are in it and whatever is renamed meanwhile.
pub(crate) fn open_beneath(
    folder: BorrowedFd<'_>,
    path: &[u8],
    flags: OFlags,
) -> io::Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let flags = flags | OFlags::CLOEXEC;
    let mut tries = 0;
    loop {
        tries += 1;
        match rustix::fs::openat2(folder, path, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) if tries < MOST_TRIES => {}
            opened => return opened,
        }
    }
}

/// Opens a folder that is an entry of another: no link, no path.
pub(crate) fn open_subfolder(folder: BorrowedFd<'_>, name: &[u8]) -> io::Result<OwnedFd> {
    open_beneath(folder, name, FOLDER | OFlags::NOFOLLOW)
}

/// Renames onto a free name, or fails with `EEXIST`. File systems without that kind of rename (NFS) get a hard link,
/// which replaces nothing either; only folders there are left with a check before the rename.
pub(crate) fn rename_onto_free_name(
    (from, from_name): (BorrowedFd<'_>, &[u8]),
    (to, to_name): (BorrowedFd<'_>, &[u8]),
) -> io::Result<()> {
    let renamed = rustix::fs::renameat_with(from, from_name, to, to_name, RenameFlags::NOREPLACE);
    if !matches!(renamed, Err(Errno::INVAL | Errno::NOSYS)) {
        return renamed;
    }
    if Facts::at(from, from_name)?.is_directory() {
        return match Facts::at(to, to_name) {
            Ok(_) => Err(Errno::EXIST),
            Err(Errno::NOENT) => rustix::fs::renameat(from, from_name, to, to_name),
            Err(other) => Err(other),
        };
    }
    rustix::fs::linkat(from, from_name, to, to_name, AtFlags::empty())?;
    rustix::fs::unlinkat(from, from_name, AtFlags::empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_names() {
        for name in [".mini-ftp", ".mini-ftp.", ".mini-ftp.0.1", ".Mini-FTP"] {
            assert!(is_reserved(name.as_bytes()), "{name}");
        }
        for name in [
            ".mini-ft",
            ".mini-ftpd",
            "mini-ftp",
            ".mini-ftp-x",
            "a.mini-ftp",
        ] {
            assert!(!is_reserved(name.as_bytes()), "{name}");
        }
    }
}
