//! A limit on bytes of content a second, for both directions together: a bucket that fills at that rate.

use std::time::{Duration, Instant};

/// Bytes that may be moved at once under a limit, in fractions of a second's worth.
const PIECES_A_SECOND: u64 = 20;

/// Most that may be moved at once, bytes: nobody has to wait long for the next sign of life.
const LARGEST_PIECE: u64 = 256 * 1024;

/// How much time the bucket holds: what a moment's delay has cost is caught up, a long pause is not.
const DEPTH: Duration = Duration::from_millis(100);

/// The bucket.
#[derive(Debug)]
pub(crate) struct Limiter {
    rate: Option<u64>,
    /// When the bytes that were moved so far will have been paid for.
    paid_at: Instant,
}

impl Limiter {
    pub(crate) fn new(rate: Option<u64>) -> Self {
        Self {
            rate: rate.map(|rate| rate.max(1)),
            paid_at: Instant::now(),
        }
    }

    /// How many of `wanted` bytes to move before the next [`pay`](Self::pay).
    pub(crate) fn piece(&self, wanted: usize) -> usize {
        match self.rate {
            None => wanted,
            Some(rate) => {
                let piece = (rate / PIECES_A_SECOND).clamp(1, LARGEST_PIECE);
                usize::try_from(piece).map_or(wanted, |piece| wanted.min(piece))
            }
        }
    }

    /// Notes that `moved` more bytes passed; how long to wait until they are within the limit.
    pub(crate) fn pay(&mut self, moved: usize) -> Duration {
        let Some(rate) = self.rate else {
            return Duration::ZERO;
        };
        let now = Instant::now();
        let start = now
            .checked_sub(DEPTH)
            .map_or(now, |earliest| self.paid_at.max(earliest));
        let moved = u128::try_from(moved).unwrap_or(u128::MAX);
        let nanoseconds = moved.saturating_mul(1_000_000_000) / u128::from(rate);
        let cost = Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX));
        self.paid_at = start.checked_add(cost).unwrap_or(start);
        self.paid_at.saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_limit_takes_no_time() {
        let mut limiter = Limiter::new(None);
        assert_eq!(limiter.piece(1 << 30), 1 << 30);
        assert_eq!(limiter.pay(1 << 40), Duration::ZERO);
    }

    #[test]
    fn bytes_take_their_time() {
        let mut limiter = Limiter::new(Some(100_000));
        let start = Instant::now();
        let mut wait = Duration::ZERO;
        let mut left = 30_000;
        while left > 0 {
            let piece = limiter.piece(left);
            assert!(piece <= 5_000);
            wait = limiter.pay(piece);
            left -= piece;
        }
        assert!(start.elapsed() + wait >= Duration::from_millis(299));
        assert!(wait <= Duration::from_millis(300));
    }

    #[test]
    fn a_long_pause_is_not_saved_up() {
        let mut limiter = Limiter::new(Some(1_000));
        std::thread::sleep(DEPTH * 3);
        let total = limiter.pay(1_000);
        assert!(total >= Duration::from_secs(1) - DEPTH && total <= Duration::from_secs(1));
    }
}
