//! The supervisor's signals: handlers set a flag and write a byte, the loop does the rest.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::SigId;
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM};

use crate::wake::{self, Sleeper, Waker};

#[derive(Debug)]
pub(crate) struct Signals {
    terminate: Arc<AtomicBool>,
    hangup: Arc<AtomicBool>,
    sleeper: Sleeper,
    registered: Vec<SigId>,
}

impl Signals {
    pub(crate) fn register() -> io::Result<Self> {
        let (waker, sleeper) = wake::pair()?;
        let (terminate, hangup) = (Arc::default(), Arc::default());
        let mut signals = Self {
            terminate,
            hangup,
            sleeper,
            registered: Vec::new(),
        };
        let (terminate, hangup) = (Arc::clone(&signals.terminate), Arc::clone(&signals.hangup));
        signals.listen(SIGINT, Some(&terminate), &waker)?;
        signals.listen(SIGTERM, Some(&terminate), &waker)?;
        signals.listen(SIGHUP, Some(&hangup), &waker)?;
        signals.listen(SIGCHLD, None, &waker)?;
        Ok(signals)
    }

    /// SIGINT or SIGTERM came since the last call.
    pub(crate) fn take_terminate(&self) -> bool {
        self.terminate.swap(false, Ordering::SeqCst)
    }

    /// SIGHUP came since the last call.
    pub(crate) fn take_hangup(&self) -> bool {
        self.hangup.swap(false, Ordering::SeqCst)
    }

    /// Forgets the wake-ups; to be called before the flags and the children are looked at.
    pub(crate) fn clear(&self) {
        self.sleeper.clear();
    }

    fn listen(
        &mut self,
        signal: i32,
        flag: Option<&Arc<AtomicBool>>,
        waker: &Waker,
    ) -> io::Result<()> {
        // The flag before the byte: whoever is woken by the byte finds the flag set.
        if let Some(flag) = flag {
            self.registered
                .push(signal_hook::flag::register(signal, Arc::clone(flag))?);
        }
        self.registered.push(signal_hook::low_level::pipe::register(
            signal,
            waker.descriptor()?,
        )?);
        Ok(())
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.sleeper.as_fd()
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        for id in self.registered.drain(..) {
            signal_hook::low_level::unregister(id);
        }
    }
}
