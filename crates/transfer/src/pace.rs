//! A limit on bytes a second that any number of threads and processes keep together, by one word in shared memory.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Pieces a second under a limit: nobody waits long for the next sign of life.
const PIECES_A_SECOND: u64 = 20;

/// Smallest piece, bytes: below this the limit would be spent on headers.
const SMALLEST_PIECE: u64 = 4096;

/// How much unused time is caught up: a moment's delay, not a long pause.
const DEPTH: Duration = Duration::from_millis(100);

/// A limit, and the word that all who share it look at: nanoseconds of the machine's monotonic clock at which everything
/// that was moved so far is paid for. The word begins as 0.
#[derive(Clone, Copy, Debug)]
pub struct Pace<'a> {
    paid_until: &'a AtomicU64,
    rate: u64,
}

impl<'a> Pace<'a> {
    /// At most `rate` bytes a second (0 counts as 1) over all who share `paid_until`.
    #[must_use]
    pub fn new(paid_until: &'a AtomicU64, rate: u64) -> Self {
        Self {
            paid_until,
            rate: rate.max(1),
        }
    }

    /// How many of `wanted` bytes to move at once.
    #[must_use]
    pub fn piece(&self, wanted: u32) -> u32 {
        let piece = (self.rate / PIECES_A_SECOND).max(SMALLEST_PIECE);
        u32::try_from(piece).map_or(wanted, |piece| wanted.min(piece))
    }

    /// Books `bytes` more; how long to wait before anything else is moved. That can be long where many share the limit.
    #[must_use]
    pub fn book(&self, bytes: u64) -> Duration {
        self.reserve(bytes, now())
    }

    /// Books `bytes` at the time `now`; how long to wait for them.
    fn reserve(&self, bytes: u64, now: u64) -> Duration {
        let cost = u128::from(bytes) * 1_000_000_000 / u128::from(self.rate);
        let cost = u64::try_from(cost).unwrap_or(u64::MAX);
        let earliest = now.saturating_sub(nanoseconds(DEPTH));
        let book = |paid: u64| Some(paid.max(earliest).saturating_add(cost));
        let booked = self.paid_until.fetch_update(Relaxed, Relaxed, book);
        let paid = book(booked.unwrap_or(0)).unwrap_or(u64::MAX);
        Duration::from_nanos(paid.saturating_sub(now))
    }
}

fn now() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000) + u64::try_from(now.tv_nsec).unwrap_or(0)
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn bytes_are_paid_for_one_after_another() {
        let word = AtomicU64::new(0);
        let pace = Pace::new(&word, 1000);
        let start = 50 * SECOND;
        let first = pace.reserve(1000, start);
        assert_eq!(first, Duration::from_secs(1) - DEPTH);
        let second = Pace::new(&word, 1000).reserve(500, start);
        assert_eq!(second - first, Duration::from_millis(500));
    }

    #[test]
    fn a_long_pause_is_not_caught_up() {
        let word = AtomicU64::new(0);
        let pace = Pace::new(&word, 1000);
        pace.reserve(1, SECOND);
        assert_eq!(
            pace.reserve(1000, 100 * SECOND),
            Duration::from_secs(1) - DEPTH
        );
    }

    #[test]
    fn pieces_are_small_under_a_low_limit_and_whole_without_need() {
        let word = AtomicU64::new(0);
        assert_eq!(Pace::new(&word, 1).piece(1 << 20), 4096);
        assert_eq!(Pace::new(&word, 2_000_000).piece(1 << 20), 100_000);
        assert_eq!(Pace::new(&word, u64::MAX).piece(1 << 20), 1 << 20);
    }

    #[test]
    fn extreme_figures_do_not_overflow() {
        let word = AtomicU64::new(u64::MAX);
        let wait = Pace::new(&word, 0).reserve(u64::MAX, 5);
        assert_eq!(wait, Duration::from_nanos(u64::MAX - 5));
    }
}
