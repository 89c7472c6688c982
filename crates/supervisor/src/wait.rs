//! `poll`, as everyone here needs it: which of these can be read, for so long at most.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// How long a wait lasts that the kernel refuses.
const PAUSE_BELOW_LIMIT: Duration = Duration::from_millis(50);

/// Which descriptors can be read, or have ended. A signal ends the wait early with none.
pub(crate) fn readable(descriptors: &[BorrowedFd<'_>], timeout: Duration) -> io::Result<Vec<bool>> {
    let mut polled: Vec<PollFd<'_>> = descriptors
        .iter()
        .map(|descriptor| PollFd::from_borrowed_fd(*descriptor, PollFlags::IN))
        .collect();
    let timeout = Timespec::try_from(timeout).map_err(|_| Errno::INVAL)?;
    match poll(&mut polled, Some(&timeout)) {
        Ok(_) => Ok(polled.iter().map(|one| !one.revents().is_empty()).collect()),
        Err(Errno::INTR) => Ok(vec![false; descriptors.len()]),
        // The limit on descriptors has been set below how many are looked at, poll(2): it may be raised again.
        Err(Errno::INVAL) => {
            std::thread::sleep(PAUSE_BELOW_LIMIT);
            Ok(vec![false; descriptors.len()])
        }
        Err(error) => Err(error.into()),
    }
}
