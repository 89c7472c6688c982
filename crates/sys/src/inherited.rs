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

/// Closes every inherited descriptor above the standard streams that nobody has [taken](take): what the parent left open
/// beyond what it meant to hand over. This process's own stay, told apart as there.
pub fn close_the_rest() {
    let _one_at_a_time = TAKING.lock().unwrap_or_else(PoisonError::into_inner);
    let above = |number: &RawFd| *number >= FIRST_HANDED;
    for number in open_numbers().into_iter().filter(above) {
        // SAFETY: borrowed for one fcntl call, which says EBADF if the number is not open.
        let found = unsafe { BorrowedFd::borrow_raw(number) };
        if rustix::io::fcntl_getfd(found).is_ok_and(|flags| !flags.contains(FdFlags::CLOEXEC)) {
            // SAFETY: it came with the exec and was not taken: nobody in this process owns it.
            drop(unsafe { OwnedFd::from_raw_fd(number) });
        }
    }
}

/// The numbers that may be open: those that `/proc` shows, or where there is none all that could be.
fn open_numbers() -> Vec<RawFd> {
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else {
        let most = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let most = most.and_then(|most| RawFd::try_from(most).ok());
        return (FIRST_HANDED..most.unwrap_or(1 << 16)).collect();
    };
    entries
        .map_while(Result::ok)
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use std::os::fd::{AsFd, AsRawFd, IntoRawFd};

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

    #[test]
    fn what_was_left_open_and_not_taken_is_closed_and_nothing_else() {
        const LEFT_OPEN: &str = "INHERITED_TEST_LEFT_OPEN";
        let is_open =
            |number: RawFd| std::fs::symlink_metadata(format!("/proc/self/fd/{number}")).is_ok();
        if let Ok(left_open) = std::env::var(LEFT_OPEN) {
            let (taken, left) = left_open.split_once(' ').unwrap();
            let (taken, left) = (take(taken.parse().unwrap()).unwrap(), left.parse().unwrap());
            let own = taken.try_clone().unwrap();
            assert!(is_open(left));
            close_the_rest();
            assert!(is_open(taken.as_raw_fd()) && is_open(own.as_raw_fd()));
            return assert!(!is_open(left));
        }
        let handed = [(); 2].map(|()| tempfile::tempfile().unwrap());
        let [taken, left] = handed.each_ref().map(AsRawFd::as_raw_fd);
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        command
            .args([
                "--exact",
                "inherited::tests::what_was_left_open_and_not_taken_is_closed_and_nothing_else",
            ])
            .env(LEFT_OPEN, format!("{taken} {left}"));
        let handed = handed.each_ref().map(AsFd::as_fd);
        let mut child = crate::spawn::spawn_with_descriptors(command, &handed).unwrap();
        assert!(child.wait().unwrap().success());
    }
}
