//! How often, and after which pauses, something is tried again.

use std::time::{Duration, Instant};

use crate::ClientError;
use crate::context::Context;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(2);

/// Pauses that grow from a tenth of a second to two, each shortened at random so that many clients do not come at once.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
}

impl Backoff {
    pub(crate) fn new() -> Self {
        Self { next: FIRST }
    }

    /// Waits, at most until `end`.
    pub(crate) fn pause(
        &mut self,
        context: &Context,
        end: Option<Instant>,
    ) -> Result<(), ClientError> {
        let mut pause = self.draw();
        if let Some(end) = end {
            pause = pause.min(end.saturating_duration_since(Instant::now()));
        }
        context.pause(pause)
    }

    fn draw(&mut self) -> Duration {
        let longest = self.next;
        self.next = (longest * 2).min(LONGEST);
        let mut byte = [0];
        // Without randomness the pauses are merely all alike.
        getrandom::fill(&mut byte).unwrap_or_else(|error| tracing::debug!(%error));
        let [jitter] = byte;
        longest / 2 + longest / 2 * u32::from(jitter) / 256
    }
}

/// Counts tries that got nowhere.
#[derive(Debug)]
pub(crate) struct Retries {
    left: u32,
    limit: u32,
    pub(crate) backoff: Backoff,
}

impl Retries {
    pub(crate) fn new(limit: u32) -> Self {
        Self {
            left: limit,
            limit,
            backoff: Backoff::new(),
        }
    }

    /// Something moved: all tries are there again.
    pub(crate) fn reset(&mut self) {
        *self = Self::new(self.limit);
    }

    /// Takes one try; `false` when there is none left.
    pub(crate) fn take(&mut self) -> bool {
        let some_left = self.left > 0;
        self.left = self.left.saturating_sub(1);
        some_left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_stay_within_bounds() {
        let mut backoff = Backoff::new();
        let mut longest = FIRST;
        for _ in 0..20 {
            let pause = backoff.draw();
            assert!(pause >= longest / 2 && pause <= longest, "{pause:?}");
            longest = (longest * 2).min(LONGEST);
        }
        assert_eq!(longest, LONGEST);
    }

    #[test]
    fn progress_gives_all_tries_back() {
        let mut retries = Retries::new(2);
        assert!(retries.take() && retries.take() && !retries.take());
        retries.reset();
        assert!(retries.take());
    }
}
