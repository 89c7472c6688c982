//! What the system says about one file, and the version token that is made of it.

use std::os::fd::AsFd;

use protocol::{Entry, EntryKind, Version};
use rustix::fs::{AtFlags, FileType, Statx, StatxFlags, StatxTimestamp, Timespec, statx};
use rustix::io;

const NANOSECONDS: i64 = 1_000_000_000;

/// First byte of a version token, so that a later layout is never taken for this one.
const VERSION_LAYOUT: u8 = 1;

/// The facts about one file, link or folder at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) kind: EntryKind,
    pub(crate) size: u64,
    /// Bytes on disk.
    pub(crate) allocated: u64,
    pub(crate) modified_ns: i64,
    /// When content or metadata last changed: nobody can set it back.
    pub(crate) changed_ns: i64,
    pub(crate) mode: u16,
    pub(crate) inode: u64,
    pub(crate) device: (u32, u32),
    /// How many names it has.
    pub(crate) links: u32,
    /// Which mount it is seen through; 0 before Linux 5.8.
    pub(crate) mount: u64,
}

impl Facts {
    /// Of an open descriptor, `O_PATH` included.
    pub(crate) fn of(file: impl AsFd) -> io::Result<Self> {
        Self::look(file, b"", AtFlags::EMPTY_PATH)
    }

    /// Of a name in an open folder; a link is itself.
    pub(crate) fn at(folder: impl AsFd, name: &[u8]) -> io::Result<Self> {
        Self::look(folder, name, AtFlags::SYMLINK_NOFOLLOW)
    }

    fn look(folder: impl AsFd, name: &[u8], flags: AtFlags) -> io::Result<Self> {
        let wanted = StatxFlags::BASIC_STATS | StatxFlags::MNT_ID;
        statx(folder, name, flags, wanted).map(|found| Self::new(&found))
    }

    fn new(found: &Statx) -> Self {
        let has_mount = found.stx_mask & StatxFlags::MNT_ID.bits() != 0;
        Self {
            kind: kind_of(FileType::from_raw_mode(found.stx_mode.into())),
            size: found.stx_size,
            allocated: found.stx_blocks.saturating_mul(512),
            modified_ns: nanoseconds(&found.stx_mtime),
            changed_ns: nanoseconds(&found.stx_ctime),
            mode: found.stx_mode & 0o777,
            inode: found.stx_ino,
            device: (found.stx_dev_major, found.stx_dev_minor),
            links: found.stx_nlink,
            mount: if has_mount { found.stx_mnt_id } else { 0 },
        }
    }

    pub(crate) fn is_directory(&self) -> bool {
        self.kind == EntryKind::Directory
    }

    pub(crate) fn is_same_file(&self, other: &Self) -> bool {
        self.inode == other.inode && self.device == other.device
    }

    /// Whether a rename between the two folders can succeed.
    pub(crate) fn shares_file_system(&self, other: &Self) -> bool {
        self.device == other.device && self.mount == other.mount
    }

    /// The token of this state. The change time is no part of it: keeping the digest beside the file moves that.
    pub(crate) fn version(&self) -> Option<Version> {
        let mut token = [VERSION_LAYOUT; 25];
        let (_, identity) = token.split_at_mut(1);
        identity.copy_from_slice(&self.identity());
        Version::new(&token)
    }

    /// Size, modification time and inode: what must be equal for a content to be called the same.
    pub(crate) fn identity(&self) -> [u8; 24] {
        let mut bytes = [0; 24];
        let fields = [
            self.size.to_be_bytes(),
            self.modified_ns.to_be_bytes(),
            self.inode.to_be_bytes(),
        ];
        bytes.copy_from_slice(fields.as_flattened());
        bytes
    }

    /// As the protocol tells it; the size of anything but a file means nothing to a client.
    pub(crate) fn entry(&self, name: Vec<u8>) -> Entry {
        let is_file = self.kind == EntryKind::File;
        Entry {
            name,
            kind: self.kind,
            size: if is_file { self.size } else { 0 },
            modified_ns: self.modified_ns,
            mode: self.mode,
            version: if is_file { self.version() } else { None },
            digest: None,
        }
    }
}

pub(crate) fn kind_of(file_type: FileType) -> EntryKind {
    match file_type {
        FileType::RegularFile => EntryKind::File,
        FileType::Directory => EntryKind::Directory,
        FileType::Symlink => EntryKind::Link,
        _ => EntryKind::Other,
    }
}

fn nanoseconds(time: &StatxTimestamp) -> i64 {
    time.tv_sec
        .saturating_mul(NANOSECONDS)
        .saturating_add(time.tv_nsec.into())
}

/// A time since the epoch as the system takes it.
pub(crate) fn timespec(nanoseconds: i64) -> Timespec {
    Timespec {
        tv_sec: nanoseconds.div_euclid(NANOSECONDS),
        tv_nsec: nanoseconds.rem_euclid(NANOSECONDS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_before_the_epoch_keep_their_fraction() {
        let time = timespec(-1);
        assert_eq!((time.tv_sec, time.tv_nsec), (-1, 999_999_999));
    }
}
