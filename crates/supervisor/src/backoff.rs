//! How long a post stays empty after the one who held it died.

use std::time::Duration;

/// A child that lived this long was in working order: whatever ended it, the next one may start at once.
const SETTLED: Duration = Duration::from_secs(3);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Somebody else's SIGKILL is not the child's fault: the pool must be whole again within a second.
const LONGEST_AFTER_KILL: Duration = Duration::from_millis(400);

/// How a child's life went, as far as the pause before the next one is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Life {
    pub(crate) length: Duration,
    /// It was ready and then killed by SIGKILL: by a person, the kernel's memory killer, or us.
    pub(crate) killed: bool,
}

/// The pauses of one post: none after a settled life, then 0.1 s, doubling up to 5 s.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Backoff {
    early_deaths: u32,
}

impl Backoff {
    /// Takes note of a death; the pause before the next start.
    pub(crate) fn pause_after(&mut self, life: Life) -> Duration {
        if life.length >= SETTLED {
            *self = Self::default();
            return Duration::ZERO;
        }
        let doubled = FIRST_PAUSE.saturating_mul(1 << self.early_deaths.min(10));
        self.early_deaths = self.early_deaths.saturating_add(1);
        doubled.min(if life.killed {
            LONGEST_AFTER_KILL
        } else {
            LONGEST_PAUSE
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn life(milliseconds: u64) -> Life {
        Life {
            length: Duration::from_millis(milliseconds),
            killed: false,
        }
    }

    #[test]
    fn pauses_double_up_to_the_longest() {
        let mut backoff = Backoff::default();
        let pauses: Vec<u128> = (0..9)
            .map(|_| backoff.pause_after(life(10)).as_millis())
            .collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000]);
        for _ in 0..100 {
            assert_eq!(backoff.pause_after(life(0)), LONGEST_PAUSE);
        }
    }

    #[test]
    fn a_settled_life_forgives_everything() {
        let mut backoff = Backoff::default();
        backoff.pause_after(life(10));
        backoff.pause_after(life(10));
        assert_eq!(backoff.pause_after(life(3000)), Duration::ZERO);
        assert_eq!(backoff.pause_after(life(10)), FIRST_PAUSE);
    }

    #[test]
    fn a_killed_worker_is_replaced_within_a_second_however_often() {
        let mut backoff = Backoff::default();
        for _ in 0..100 {
            assert!(
                backoff.pause_after(Life {
                    killed: true,
                    ..life(10)
                }) < Duration::from_millis(500)
            );
        }
    }
}
