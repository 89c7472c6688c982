//! The lock by which whoever writes a staged file is known to live.

use std::fs::File;

use rustix::fs::FlockOperation;
use rustix::io::Errno;

/// What trying to lock a staged file tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lock {
    /// It is locked now, and no other writer is left.
    Ours,
    /// Another writer holds it.
    Elsewhere,
    /// Nothing certain: a shared file system, or one without locks.
    Unknown,
}

pub(crate) fn lock(file: &File) -> Lock {
    match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) if locks_are_proof(file) => Lock::Ours,
        Err(Errno::WOULDBLOCK) => Lock::Elsewhere,
        _ => Lock::Unknown,
    }
}

/// Whether a free lock proves that no writer is left: on file systems of this machine. On shared ones a lock may be lost
/// to a broken connection while its holder lives on.
pub(crate) fn locks_are_proof(file: &File) -> bool {
    // ext4, XFS, Btrfs, tmpfs, F2FS, ZFS, bcachefs (statfs(2)).
    const LOCAL: [u64; 7] = [
        0xEF53,
        0x5846_5342,
        0x9123_683E,
        0x0102_1994,
        0xF2F5_2010,
        0x2FC1_2FC1,
        0xCA45_1A4E,
    ];
    rustix::fs::fstatfs(file)
        .ok()
        .and_then(|found| u64::try_from(found.f_type).ok())
        .is_some_and(|kind| LOCAL.contains(&kind))
}
