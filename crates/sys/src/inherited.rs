//! Descriptors that this process was started with, turned from a number into an owner.

use std::io;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::{Mutex, PoisonError};

use rustix::io::FdFlags;

use crate::spawn::FIRST_HANDED;

/// Makes looking at the flag and setting it one step.
static TAKING: Mutex<()> = Mutex::new(());

/// Takes the descriptor that the parent process left open at `number`.
///
/// What this process opens itself carries `FD_CLOEXEC` from its birth and what survives an exec does not: that tells
/// the two apart. Taking sets the flag, so a number can be taken once, and nobody's own file can be taken at all.
///
/// # Errors
/// `InvalidInput` for a standard stream, `AlreadyExists` for a descriptor taken before or opened here, `EBADF` for a
/// number that is not open.
pub fn take(number: RawFd) -> io::Result<OwnedFd> {
    if number < FIRST_HANDED {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "a standard stream cannot be taken",
        ));
    }
    let _one_at_a_time = TAKING.lock().unwrap_or_else(PoisonError::into_inner);
    // SAFETY: borrowed for two fcntl calls; the first says EBADF if the number is not open.
    let found = unsafe { BorrowedFd::borrow_raw(number) };
    let flags = rustix::io::fcntl_getfd(found)?;
    if flags.contains(FdFlags::CLOEXEC) {
        return Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "descriptor was not inherited, or was taken before",
        ));
    }
    rustix::io::fcntl_setfd(found, flags | FdFlags::CLOEXEC)?;
    // SAFETY: the descriptor is open, came with the exec, and the flag just set keeps it from being taken twice.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

#[cfg(test)]
mod tests {
    use std::os::fd::{AsRawFd, IntoRawFd};

    use super::*;

    #[test]
    fn inherited_descriptor_is_taken_once_and_closed_on_exec() {
        let file = tempfile::tempfile().unwrap();
        rustix::io::fcntl_setfd(&file, FdFlags::empty()).unwrap();
        let number = file.into_raw_fd();
        let taken = take(number).unwrap();
        assert_eq!(taken.as_raw_fd(), number);
        assert!(
            rustix::io::fcntl_getfd(&taken)
                .unwrap()
                .contains(FdFlags::CLOEXEC)
        );
        assert_eq!(
            take(number).unwrap_err().kind(),
            io::ErrorKind::AlreadyExists
        );
    }

    #[test]
    fn own_file_standard_stream_and_closed_number_are_refused() {
        let file = tempfile::tempfile().unwrap();
        assert_eq!(
            take(file.as_raw_fd()).unwrap_err().kind(),
            io::ErrorKind::AlreadyExists
        );
        assert_eq!(take(2).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert_eq!(
            take(1_000_000).unwrap_err().raw_os_error(),
            Some(libc::EBADF)
        );
    }
}
