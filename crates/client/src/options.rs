//! What a caller can choose, and how it stops what runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How a client behaves.
#[derive(Clone, Debug)]
pub struct Options {
    /// A slave that is alive but has said nothing for this long is given up.
    pub timeout: Duration,
    /// How often a transfer goes on elsewhere without having moved a byte in between.
    pub retries: u32,
    /// How long to wait for a slave to be up, or to have a free place.
    pub wait: Duration,
    /// Bytes of content a second, both ways together; `None`: as fast as it goes.
    pub limit_rate: Option<u64>,
    /// Whether the digest of every content is compared.
    pub verify: bool,
    /// Connections over which one large file is fetched at once; `None`: as many as help. One is the classic way.
    pub streams: Option<u32>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(30),
            retries: 8,
            wait: Duration::ZERO,
            limit_rate: None,
            verify: true,
            streams: None,
        }
    }
}

/// A flag that ends what runs, within about a second: set from a signal handler or another thread. Every operation
/// then fails with [`Interrupted`](crate::ClientErrorKind::Interrupted) until it is cleared.
#[derive(Clone, Debug, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// The flag itself, for whoever sets it.
    #[must_use]
    pub fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.0)
    }

    /// Stops what runs.
    pub fn set(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Lets the next operation run.
    pub fn clear(&self) {
        self.0.store(false, Ordering::SeqCst);
    }

    /// Whether the flag is set.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

impl From<Arc<AtomicBool>> for Interrupt {
    fn from(flag: Arc<AtomicBool>) -> Self {
        Self(flag)
    }
}
