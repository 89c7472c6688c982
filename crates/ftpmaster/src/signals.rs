//! Signals: a handler notes which one and writes a byte to a pipe; everything else happens in the loop that reads it.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::{flag, low_level::pipe};

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// SIGINT, SIGTERM.
    Stop,
    /// SIGHUP.
    Reload,
}

/// The signals of this process; readable when one has come.
#[derive(Debug)]
pub(crate) struct Signals {
    wake: UnixStream,
    stop: Arc<AtomicBool>,
    reload: Arc<AtomicBool>,
}

impl Signals {
    /// Catches them from now on.
    ///
    /// # Errors
    /// The system has no descriptors left.
    pub(crate) fn catch() -> io::Result<Self> {
        let (wake, waker) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        let (stop, reload) = (Arc::default(), Arc::default());
        for (signal, flag) in [(SIGINT, &stop), (SIGTERM, &stop), (SIGHUP, &reload)] {
            // The flag first, so that whoever is woken finds it.
            flag::register(signal, Arc::clone(flag))?;
            pipe::register(signal, waker.try_clone()?)?;
        }
        Ok(Self { wake, stop, reload })
    }

    /// What has been asked for since the last call, the weightier wish first.
    ///
    /// # Errors
    /// The pipe is broken.
    pub(crate) fn next(&self) -> io::Result<Option<Wish>> {
        let mut bytes = [0; 64];
        while !matches!((&self.wake).read(&mut bytes), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
        {
        }
        if self.stop.swap(false, Ordering::SeqCst) {
            return Ok(Some(Wish::Stop));
        }
        Ok(self
            .reload
            .swap(false, Ordering::SeqCst)
            .then_some(Wish::Reload))
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}
