//! Opening a served folder: its id, and its place for uploads.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use protocol::{ErrorCode, RemotePath, StorageId};
use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;

use super::confined::{
    OwnFolder, RESERVED, Root, open_beneath, open_subfolder, rename_onto_free_name,
};
use super::facts::Facts;
use crate::error::{Context, Result, StorageError};

const ID: &[u8] = b"storage-id";
const STAGING: &[u8] = b"staging";
const LEDGERS: &[u8] = b"quota";

/// An id's 32 digits and the closing newline.
const ID_LENGTH: u64 = 33;

type SystemResult<T> = std::io::Result<T>;

impl Root {
    /// Opens the folder of the storage `id`, and nothing else that may have its place by now: an empty mount point, say,
    /// in which nothing is made.
    pub(crate) fn reopen_at(path: &Path, id: StorageId) -> Result<Self> {
        let at_root = RemotePath::root();
        let context = Context::new("serve", &at_root);
        let folder = open_root(path).map_err(context.system())?;
        let found = match open_subfolder(folder.as_fd(), RESERVED) {
            Ok(own) => read_id(own.as_fd()).map_err(context.io())?,
            Err(_) => None,
        };
        let derived = derived_id(&Facts::of(&folder).map_err(context.system())?);
        if found.unwrap_or(derived) != id {
            return Err(context.refuse(ErrorCode::WrongStorage));
        }
        let root = Self::open_at(path)?;
        if root.id == id {
            Ok(root)
        } else {
            Err(context.refuse(ErrorCode::WrongStorage))
        }
    }

    /// Opens the folder and makes in it what is missing.
    pub(crate) fn open_at(path: &Path) -> Result<Self> {
        let at_root = RemotePath::root();
        let context = Context::new("serve", &at_root);
        let folder = open_root(path).map_err(context.system())?;
        let facts = Facts::of(&folder).map_err(context.system())?;
        let own = Own::open(folder.as_fd(), context)?;
        let id = match own.id(context)? {
            Some(id) => id,
            None => {
                tracing::warn!(
                    "the root keeps no storage id: one is derived from its device and inode"
                );
                derived_id(&facts)
            }
        };
        Ok(Self {
            facts,
            id,
            reserved: own.reserved(),
            staging: own.staging,
            ledgers: own.ledgers,
            is_limited: false,
            quota: None,
            boot: boot(),
            umask: umask(),
            digests: Arc::default(),
            swept: Arc::default(),
            folder,
        })
    }
}

fn open_root(path: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, path, flags, Mode::empty())
}

/// The storage's own folder, as far as it is there and may be used.
struct Own {
    folder: Option<OwnedFd>,
    staging: std::result::Result<OwnFolder, ErrorCode>,
    ledgers: std::result::Result<OwnFolder, ErrorCode>,
}

impl Own {
    fn open(root: BorrowedFd<'_>, context: Context<'_>) -> Result<Self> {
        let folder = match open_or_make(root, RESERVED).map_err(context.io()) {
            Ok(folder) => folder,
            Err(error) => {
                let code = only_reading(error)?;
                return Ok(Self {
                    folder: None,
                    staging: Err(code),
                    ledgers: Err(code),
                });
            }
        };
        let below = |name| match open_or_make(folder.as_fd(), name).and_then(own_folder) {
            Ok(own) => Ok(Ok(own)),
            Err(error) => only_reading(context.io()(error)).map(Err),
        };
        Ok(Self {
            staging: below(STAGING)?,
            ledgers: below(LEDGERS)?,
            folder: Some(folder),
        })
    }

    fn reserved(&self) -> Vec<Facts> {
        let folder = self.folder.as_ref().and_then(|own| Facts::of(own).ok());
        let below = [&self.staging, &self.ledgers];
        let below = below.into_iter().flatten().map(|own| own.facts);
        folder.into_iter().chain(below).collect()
    }

    /// The id that is there, or a new one; `None` where none can be made.
    fn id(&self, context: Context<'_>) -> Result<Option<StorageId>> {
        let Some(folder) = &self.folder else {
            return Ok(None);
        };
        if let Some(id) = read_id(folder.as_fd()).map_err(context.io())? {
            return Ok(Some(id));
        }
        let Ok(staging) = &self.staging else {
            return Ok(None);
        };
        match make_id(folder.as_fd(), staging.folder.as_fd()).map_err(context.io()) {
            Ok(()) => read_id(folder.as_fd()).map_err(context.io()),
            Err(error) => only_reading(error).map(|_| None),
        }
    }
}

/// Why a storage is opened for reading alone, or the error that keeps it from being opened at all.
fn only_reading(error: StorageError) -> Result<ErrorCode> {
    match error.code() {
        code @ (ErrorCode::ReadOnly | ErrorCode::NotPermitted) => {
            tracing::warn!(%code, "the root cannot be written: it is served for reading alone");
            Ok(code)
        }
        _ => Err(error),
    }
}

fn own_folder(folder: OwnedFd) -> SystemResult<OwnFolder> {
    Ok(OwnFolder {
        facts: Facts::of(&folder)?,
        folder: Arc::new(folder),
    })
}

/// Opens a folder of the storage's own; one that is in truth a link is refused.
fn open_or_make(parent: BorrowedFd<'_>, name: &[u8]) -> SystemResult<OwnedFd> {
    match open_subfolder(parent, name) {
        Err(Errno::NOENT) => {}
        opened => return Ok(opened?),
    }
    match rustix::fs::mkdirat(parent, name, Mode::RWXU) {
        // Another slave was faster, and may die before it has done this.
        Ok(()) | Err(Errno::EXIST) => rustix::fs::fsync(parent)?,
        Err(error) => return Err(error.into()),
    }
    Ok(open_subfolder(parent, name)?)
}

fn read_id(folder: BorrowedFd<'_>) -> SystemResult<Option<StorageId>> {
    let file = match open_beneath(folder, ID, OFlags::RDONLY | OFlags::NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(None),
        opened => File::from(opened?),
    };
    let mut text = String::new();
    file.take(ID_LENGTH + 1).read_to_string(&mut text)?;
    text.trim_end()
        .parse()
        .map(Some)
        .map_err(|_| std::io::Error::other(".mini-ftp/storage-id holds no storage id"))
}

/// Makes an id, whole before it has its name, so that slaves starting together read the same one.
fn make_id(folder: BorrowedFd<'_>, staging: BorrowedFd<'_>) -> SystemResult<()> {
    let mut id = StorageId([0; 16]);
    getrandom::fill(&mut id.0).map_err(std::io::Error::other)?;
    let name = format!("storage-id.{id}").into_bytes();
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let mode = Mode::RUSR | Mode::WUSR;
    let mut file = File::from(rustix::fs::openat(staging, &*name, flags, mode)?);
    let made = file
        .write_all(format!("{id}\n").as_bytes())
        .and_then(|()| file.sync_all())
        .and_then(|()| Ok(rename_onto_free_name((staging, &name), (folder, ID))?));
    match made {
        Ok(()) => Ok(rustix::fs::fsync(folder)?),
        Err(error) => {
            rustix::fs::unlinkat(staging, &*name, AtFlags::empty())?;
            match Errno::from_io_error(&error) {
                Some(Errno::EXIST) => Ok(rustix::fs::fsync(folder)?),
                _ => Err(error),
            }
        }
    }
}

/// An id for a root that nothing can be written to: the same as long as the folder is.
fn derived_id(facts: &Facts) -> StorageId {
    let (major, minor) = facts.device;
    let place = [u64::from(major), u64::from(minor), facts.inode].map(u64::to_be_bytes);
    let mut id = [0; 16];
    blake3::Hasher::new_derive_key("mini-ftp storage id of a read-only root")
        .update(place.as_flattened())
        .finalize_xof()
        .fill(&mut id);
    StorageId(id)
}

/// Which run of this machine it is (random(4)).
fn boot() -> Option<u128> {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    u128::from_str_radix(&id.trim().replace('-', ""), 16).ok()
}

/// The process's umask, read without changing it (proc_pid_status(5)).
fn umask() -> u16 {
    const USUAL: u16 = 0o022;
    std::fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|status| {
            let value = status
                .lines()
                .find_map(|line| line.strip_prefix("Umask:"))?;
            u16::from_str_radix(value.trim(), 8).ok()
        })
        .unwrap_or(USUAL)
}
