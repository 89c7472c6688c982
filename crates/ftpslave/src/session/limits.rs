//! How fast content may pass: over the whole slave, and in each session.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use supervisor::Scoreboard;
use transfer::Pace;

use super::Session;

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

    /// How many of `wanted` bytes to move before the next [`Self::book`].
    pub(super) fn piece(&self, wanted: u32) -> u32 {
        let within =
            |wanted, pace: &Option<Pace<'_>>| pace.map_or(wanted, |pace| pace.piece(wanted));
        within(within(wanted, &self.slave), &self.session)
    }

    /// Books `bytes` more; how long to wait until they are within the limits.
    #[must_use]
    pub(super) fn book(&self, bytes: u64) -> Duration {
        self.moved.fetch_add(bytes, Relaxed);
        let paces = [self.session, self.slave].into_iter().flatten();
        paces.map(|pace| pace.book(bytes)).max().unwrap_or_default()
    }

    /// Bytes of content that the session has booked so far.
    pub(super) fn moved(&self) -> u64 {
        self.moved.load(Relaxed)
    }
}

impl Session<'_> {
    /// Waits until `bytes` more of that request are within the limits: it may be the turn of many others first, and the
    /// client hears meanwhile that we are alive.
    pub(super) fn pay(&mut self, request: u32, bytes: u64) -> io::Result<()> {
        let wait = self.paces.book(bytes);
        if !wait.is_zero() {
            self.connection.flush()?;
        }
        self.errand.wait(request, wait)
    }
}
