//! What a caller can choose, and how it stops what runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::login::Credentials;
use crate::trust::{Encryption, Trust};

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
    /// Connections over which one large file is fetched, or the files of a tree move, at once; `None`: as many as help.
    /// One is the classic way.
    pub streams: Option<u32>,
    /// Who logs in; `None`: nobody, which serves where no login is required.
    pub login: Option<Arc<dyn Credentials>>,
    /// Whether connections are encrypted.
    pub tls: Encryption,
    /// By what servers are known.
    pub trust: Trust,
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
            login: None,
            tls: Encryption::default(),
            trust: Trust::default(),
        }
    }
}

/// A flag that ends what runs, within about a second: set from a signal handler or another thread. Every operation
/// then fails with [`Interrupted`](crate::ClientErrorKind::Interrupted) until it is cleared.
#[derive(Clone, Debug, Default)]
pub struct Interrupt {
    own: Arc<AtomicBool>,
    /// Another one that ends it too.
    also: Option<Arc<AtomicBool>>,
}

impl Interrupt {
    /// The flag itself, for whoever sets it.
    #[must_use]
    pub fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.own)
    }

    /// Stops what runs.
    pub fn set(&self) {
        self.own.store(true, Ordering::SeqCst);
    }

    /// Lets the next operation run.
    pub fn clear(&self) {
        self.own.store(false, Ordering::SeqCst);
    }

    /// Whether the flag is set.
    #[must_use]
    pub fn is_set(&self) -> bool {
        let is_set = |flag: &Arc<AtomicBool>| flag.load(Ordering::SeqCst);
        is_set(&self.own) || self.also.as_ref().is_some_and(is_set)
    }

    /// A flag of its own for part of the work, which this one ends as well.
    pub(crate) fn child(&self) -> Self {
        Self {
            own: Arc::default(),
            also: Some(self.flag()),
        }
    }
}

impl From<Arc<AtomicBool>> for Interrupt {
    fn from(flag: Arc<AtomicBool>) -> Self {
        Self {
            own: flag,
            also: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_the_work_ends_with_the_whole_and_not_the_other_way_round() {
        let whole = Interrupt::default();
        let (part, other) = (whole.child(), whole.child());
        part.set();
        assert!(part.is_set() && !whole.is_set() && !other.is_set());
        whole.set();
        assert!(other.is_set());
    }
}
