//! Cutting a file system's power (`EXT4_IOC_SHUTDOWN`, which XFS and F2FS have too): only for showing what outlives that.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// `_IOR('X', 125, __u32)`.
const SHUTDOWN: libc::Ioctl = 0x8004_587d;

/// Not even the journal is written first.
const AT_ONCE: u32 = 2;

/// Stops the mounted file system that holds `file`: from now on nothing of it reaches its device, and what is not there is
/// lost. Every call on it fails until it is mounted anew.
///
/// # Errors
/// `EPERM` without the right to; `ENOTTY` from file systems that have no such request.
pub fn cut(file: impl AsFd) -> io::Result<()> {
    let file = file.as_fd().as_raw_fd();
    let how = AT_ONCE;
    // SAFETY: the request reads one `u32`, where the pointer is to.
    let cut = unsafe { libc::ioctl(file, SHUTDOWN, &raw const how) };
    match cut {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_power_to_be_cut_is_left_alone() {
        let file = rustix::fs::memfd_create("file", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        let refused = cut(&file).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc::ENOTTY));
    }
}
