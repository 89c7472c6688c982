//! What every part of a client has at hand: the options, who watches, and whether to stop.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::notice::{Notice, Observer, Progress};
use crate::rate::Limiter;
use crate::{ClientError, Interrupt, Options};

/// How often a wait looks at the interrupt flag.
pub(crate) const GLANCE: Duration = Duration::from_millis(50);

/// Options, observer and interrupt flag, together.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) options: Options,
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) interrupt: Interrupt,
    limiter: Arc<Mutex<Limiter>>,
}

impl Context {
    pub(crate) fn new(options: Options, observer: Arc<dyn Observer>, interrupt: Interrupt) -> Self {
        Self {
            limiter: Arc::new(Mutex::new(Limiter::new(options.limit_rate))),
            options,
            observer,
            interrupt,
        }
    }

    /// How many of `wanted` bytes of content to move before the next [`spend`](Self::spend).
    pub(crate) fn piece(&self, wanted: usize) -> usize {
        self.limiter().piece(wanted)
    }

    /// Notes that content passed, and waits for as long as the rate limit demands.
    pub(crate) fn spend(&self, moved: usize) -> Result<(), ClientError> {
        let wait = self.limiter().pay(moved);
        if wait.is_zero() {
            return Ok(());
        }
        self.pause(wait)
    }

    fn limiter(&self) -> MutexGuard<'_, Limiter> {
        self.limiter.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fails once the interrupt flag is set.
    pub(crate) fn check(&self) -> Result<(), ClientError> {
        if self.interrupt.is_set() {
            Err(ClientError::interrupted())
        } else {
            Ok(())
        }
    }

    /// Waits that long, unless interrupted.
    pub(crate) fn pause(&self, length: Duration) -> Result<(), ClientError> {
        let end = Instant::now() + length;
        loop {
            self.check()?;
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(GLANCE));
        }
    }

    pub(crate) fn notice(&self, notice: &Notice) {
        tracing::debug!(%notice);
        self.observer.notice(notice);
    }

    pub(crate) fn progress(&self, bytes: u64, total: u64, name: &[u8]) {
        self.observer.progress(&Progress {
            bytes,
            total,
            name: name.to_vec(),
        });
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Context")
            .field("options", &self.options)
            .field("interrupt", &self.interrupt)
            .finish_non_exhaustive()
    }
}
