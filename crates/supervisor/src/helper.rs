//! A helper: one extra child beside the workers, with the same lifeline and the same care, and no listener.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::launch::Handover;
use crate::membership::{Membership, News};
use crate::scoreboard::Scoreboard;
use crate::wake::Waker;

/// What [`Helper::next`] came back with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HelperEvent {
    /// Nothing: time passed, or [`Waker::wake`] was called.
    Tick,
    /// Finish and leave with [`WorkerExit::Clean`](crate::WorkerExit). Comes once. After a reload the successor is
    /// already ready; when the whole pool ends, [`Totals::draining`](crate::Totals) says so.
    Drain,
    /// As [`Self::Drain`]; leave with `WorkerExit::SupervisorGone`. Comes once.
    SupervisorGone,
}

/// The helper process of a pool. Its main thread owns this and calls [`Self::next`] again and again.
#[derive(Debug)]
pub struct Helper {
    membership: Membership,
    handover: Handover,
}

impl Helper {
    /// Becomes the helper that this process was started as; signals as for
    /// [`Worker::from_inherited`](crate::Worker::from_inherited).
    ///
    /// # Errors
    /// If this process was not started by a supervisor of the same version.
    pub fn from_inherited() -> io::Result<Self> {
        let (membership, _, handover) = Membership::from_inherited()?;
        Ok(Self {
            membership,
            handover: handover.into(),
        })
    }

    /// Tells the supervisor that it does its work: a predecessor may leave.
    ///
    /// # Errors
    /// What writing to the supervisor reports.
    pub fn ready(&self) -> io::Result<()> {
        self.membership.report_ready()
    }

    /// Takes the program's own bytes out of the letter: the first call has them, a second one nothing.
    #[must_use]
    pub fn take_handover(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.handover).into_bytes()
    }

    /// The table of the whole pool.
    #[must_use]
    pub const fn scoreboard(&self) -> &Arc<Scoreboard> {
        self.membership.board()
    }

    /// What wakes [`Self::next`].
    #[must_use]
    pub fn waker(&self) -> Waker {
        self.membership.waker().clone()
    }

    /// Ticks and waits, for `timeout` at most (and never longer than 250 ms). To be called within `silent_after`.
    ///
    /// # Errors
    /// The kernel refuses `poll`.
    pub fn next(&mut self, timeout: Duration) -> io::Result<HelperEvent> {
        let (_, news) = self.membership.wait(None, timeout)?;
        Ok(match news {
            Some(News::Drain) => HelperEvent::Drain,
            Some(News::SupervisorGone) => HelperEvent::SupervisorGone,
            None => HelperEvent::Tick,
        })
    }
}
