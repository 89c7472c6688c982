//! How fast content may pass: over the whole slave, and in each session.

use std::sync::atomic::AtomicU64;

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
}

impl<'a> Paces<'a> {
    /// `own` is the session's word; the slave's is in the scoreboard.
    pub(super) fn new(limits: Limits, scoreboard: &'a Scoreboard, own: &'a AtomicU64) -> Self {
        let shared = scoreboard.program_word().ok();
        Self {
            slave: limits
                .slave
                .and_then(|rate| shared.map(|word| Pace::new(word, rate))),
            session: limits.session.map(|rate| Pace::new(own, rate)),
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
        if let Some(pace) = self.session {
            pace.pay(bytes);
        }
        if let Some(pace) = self.slave {
            pace.pay(bytes);
        }
    }
}
