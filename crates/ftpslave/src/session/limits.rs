//! How fast content may pass: over the whole slave, and in each session.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use supervisor::Scoreboard;
use transfer::Pace;

/// Bytes of content a second; `None`: as fast as it goes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Limits {
    /// Over all sessions of all workers.
    pub(crate) slave: Option<u64>,
    /// For each session.
    pub(crate) session: Option<u64>,
}

/// The limits that one session keeps.
#[derive(Clone, Copy, Debug)]
pub(super) struct Paces<'a> {
    slave: Option<Pace<'a>>,
    session: Option<Pace<'a>>,
    moved: &'a AtomicU64,
}

/// A session's own words: until when its pace is paid, and the bytes of content that it has moved.
#[derive(Debug, Default)]
pub(super) struct Tally {
    paid_until: AtomicU64,
    moved: AtomicU64,
}

impl<'a> Paces<'a> {
    /// `own` is the session's; the slave's word is in the scoreboard.
    pub(super) fn new(limits: Limits, scoreboard: &'a Scoreboard, own: &'a Tally) -> Self {
        let shared = scoreboard.program_word().ok();
        Self {
            slave: limits
                .slave
                .and_then(|rate| shared.map(|word| Pace::new(word, rate))),
            session: limits.session.map(|rate| Pace::new(&own.paid_until, rate)),
            moved: &own.moved,
        }
    }

    /// How many of `wanted` bytes to move before the next [`Self::pay`].
    pub(super) fn piece(&self, wanted: u32) -> u32 {
        let within =
            |wanted, pace: &Option<Pace<'_>>| pace.map_or(wanted, |pace| pace.piece(wanted));
        within(within(wanted, &self.slave), &self.session)
    }

    /// Waits until `bytes` more are within the limits.
    pub(super) fn pay(&self, bytes: u64) {
        self.moved.fetch_add(bytes, Relaxed);
        if let Some(pace) = self.session {
            pace.pay(bytes);
        }
        if let Some(pace) = self.slave {
            pace.pay(bytes);
        }
    }

    /// Bytes of content that the session has paid for so far.
    pub(super) fn moved(&self) -> u64 {
        self.moved.load(Relaxed)
    }
}
