//! How fast a stream is, and from that how much to ask of it. Pure: whoever asks brings the time.

use std::time::{Duration, Instant};

/// What is asked of a stream at once takes it about this long, and a round trip: short, so that all end together; long
/// enough to hide the way of a request.
const AHEAD: Duration = Duration::from_millis(150);

/// Blocks asked of a stream whose speed is not known.
const AT_FIRST: u64 = 4;

/// Blocks asked of a stream at least, so that the next one is on its way while one arrives.
const LEAST: u64 = 2;

/// And at most.
const MOST: u64 = 32;

/// How many blocks the mean time of a block looks back over, about.
const MEMORY: u32 = 6;

/// A stream is helped with its last blocks only where that saves more than this.
const WORTH_HELP: Duration = Duration::from_millis(20);

/// The pace of one stream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    round_trip: Duration,
    /// Mean time of a block; `None` before the first.
    block: Option<Duration>,
    /// When it delivered last, or began to be waited for.
    since: Instant,
}

impl Pace {
    pub(crate) fn new(round_trip: Duration, now: Instant) -> Self {
        Self {
            round_trip,
            block: None,
            since: now,
        }
    }

    /// It was idle, and is waited for from now on.
    pub(crate) fn begin(&mut self, now: Instant) {
        self.since = now;
    }

    /// A block has come.
    pub(crate) fn deliver(&mut self, now: Instant) {
        let took = now.saturating_duration_since(self.since);
        self.since = now;
        self.block = Some(match self.block {
            None => took,
            Some(mean) => (mean * (MEMORY - 1) + took) / MEMORY,
        });
    }

    /// Blocks in a million seconds; 0 where that is not known.
    pub(crate) fn speed(&self) -> u64 {
        const MILLION_SECONDS: u128 = 1_000_000_000_000_000;
        let speed = |block: Duration| MILLION_SECONDS / block.as_nanos().max(1);
        let speed = self.block.map_or(0, speed);
        u64::try_from(speed).unwrap_or(u64::MAX)
    }

    /// Blocks that it should have before it.
    fn window(&self) -> u64 {
        let Some(block) = self.block else {
            return AT_FIRST;
        };
        let ahead = (AHEAD + self.round_trip * 2).as_nanos() / block.as_nanos().max(1);
        u64::try_from(ahead).unwrap_or(MOST).clamp(LEAST, MOST)
    }

    /// How many more blocks to ask of it now, of the `missing` ones; `others` is the speed of all streams together. Near
    /// the end everybody gets a share of what is left, so that no slow one has the last word.
    pub(crate) fn wanted(&self, outstanding: u64, missing: u64, others: &Others) -> u64 {
        let window = self.window();
        if outstanding > window / 2 {
            return 0;
        }
        let share = match (self.speed(), others.speed) {
            (0, _) | (_, 0) => missing / others.count.max(1),
            (own, all) => {
                let share = u128::from(missing) * u128::from(own) / u128::from(all);
                u64::try_from(share).unwrap_or(missing)
            }
        };
        (window - outstanding).min((share / 2).max(1)).min(missing)
    }

    /// When it will have delivered `blocks` more, from `now` on; one that has been silent is believed to stay so.
    fn left(&self, blocks: u64, now: Instant) -> Duration {
        let silent = now.saturating_duration_since(self.since);
        let block = self.block.unwrap_or_default().max(silent);
        block * u32::try_from(blocks).unwrap_or(u32::MAX)
    }

    /// How many of the `blocks` that `slow` has before it this idle stream should fetch too; 0 where that helps nobody.
    pub(crate) fn help(&self, slow: &Self, blocks: u64, now: Instant) -> u64 {
        let own = self.block.unwrap_or_default();
        let first = self.round_trip * 2 + own;
        let alone = slow.left(blocks, now);
        if blocks == 0 || alone < first + first / 2 + WORTH_HELP {
            return 0;
        }
        // Both are done at the same time when each has a part as large as it is fast.
        let theirs = alone.as_nanos() / u128::from(blocks).max(1);
        let all = (theirs + own.as_nanos()).max(1);
        let share = u64::try_from(u128::from(blocks) * theirs / all).unwrap_or(blocks);
        share.clamp(1, MOST)
    }
}

/// All streams together.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Others {
    pub(crate) count: u64,
    /// Blocks in a million seconds.
    pub(crate) speed: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    const RTT: Duration = Duration::from_millis(1);

    fn at_pace(milliseconds: u64, now: Instant) -> Pace {
        let mut pace = Pace::new(RTT, now);
        let mut time = now;
        for _ in 0..30 {
            time += Duration::from_millis(milliseconds);
            pace.deliver(time);
        }
        pace.begin(now);
        pace
    }

    #[test]
    fn a_fast_stream_is_asked_for_more() {
        let now = Instant::now();
        let (fast, slow) = (at_pace(9, now), at_pace(85, now));
        let others = Others {
            count: 2,
            speed: fast.speed() + slow.speed(),
        };
        assert_eq!(fast.wanted(0, 10_000, &others), 16);
        assert_eq!(fast.wanted(8, 10_000, &others), 8);
        assert_eq!(fast.wanted(9, 10_000, &others), 0);
        assert_eq!(slow.wanted(0, 10_000, &others), LEAST);
        assert_eq!(Pace::new(RTT, now).wanted(0, 10_000, &others), AT_FIRST);
    }

    #[test]
    fn shares_become_small_towards_the_end() {
        let now = Instant::now();
        let fast = at_pace(1, now);
        let others = Others {
            count: 3,
            speed: fast.speed() * 3,
        };
        assert_eq!(fast.wanted(0, 30, &others), 5);
        assert_eq!(fast.wanted(0, 3, &others), 1);
        assert_eq!(fast.wanted(0, 0, &others), 0);
    }

    #[test]
    fn only_a_slow_or_silent_stream_is_helped() {
        let now = Instant::now();
        let (fast, slow) = (at_pace(9, now), at_pace(85, now));
        assert_eq!(fast.help(&slow, 2, now), 1);
        assert_eq!(fast.help(&slow, 10, now), 9);
        assert_eq!(slow.help(&fast, 2, now), 0);
        assert_eq!(fast.help(&fast, 1, now), 0);
        let later = now + Duration::from_secs(1);
        assert_eq!(fast.help(&fast, 4, later), 3, "silent for a second");
    }
}
