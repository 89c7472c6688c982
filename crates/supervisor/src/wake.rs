//! Waking a thread that sleeps in `poll`: a byte through a pair of sockets, never more than the buffer holds.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

/// Wakes the main thread of this process out of `next`. Clones wake the same thread.
#[derive(Debug, Clone)]
pub struct Waker(Arc<UnixStream>);

/// The end that is polled.
#[derive(Debug)]
pub(crate) struct Sleeper(UnixStream);

pub(crate) fn pair() -> io::Result<(Waker, Sleeper)> {
    let (writer, reader) = UnixStream::pair()?;
    writer.set_nonblocking(true)?;
    reader.set_nonblocking(true)?;
    Ok((Waker(Arc::new(writer)), Sleeper(reader)))
}

impl Waker {
    /// Wakes it. Any number of calls before it looks are one.
    pub fn wake(&self) {
        // A full buffer is fine: that thread has enough to wake up for. So is a reader that is gone.
        drop((&*self.0).write(&[1]));
    }

    /// The writing end again, for a signal handler.
    pub(crate) fn descriptor(&self) -> io::Result<OwnedFd> {
        Ok(self.0.try_clone()?.into())
    }
}

impl Sleeper {
    /// Forgets every wake-up so far.
    pub(crate) fn clear(&self) {
        let mut bytes = [0; 64];
        while matches!((&self.0).read(&mut bytes), Ok(count) if count > 0) {}
    }
}

impl AsFd for Sleeper {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::wait;

    #[test]
    fn any_number_of_wake_ups_is_one() {
        let (waker, sleeper) = pair().unwrap();
        assert_eq!(
            wait::readable(&[sleeper.as_fd()], Duration::ZERO).unwrap(),
            [false]
        );
        for _ in 0..100_000 {
            waker.wake();
        }
        assert_eq!(
            wait::readable(&[sleeper.as_fd()], Duration::from_secs(9)).unwrap(),
            [true]
        );
        sleeper.clear();
        assert_eq!(
            wait::readable(&[sleeper.as_fd()], Duration::ZERO).unwrap(),
            [false]
        );
    }
}
