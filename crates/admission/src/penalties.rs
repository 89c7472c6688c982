//! Sources that misbehaved, and are not listened to for a while. The model is `PerSourcePenalties` of sshd_config(5).

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Sources that are remembered; where there are more, whose penalty is over soonest is forgotten.
pub(crate) const ENTRIES: usize = 65_536;

/// A source's entry is somewhere in its bucket.
const BUCKET: usize = 16;

/// A penalty counts from here on: with the third failed login in a row, since people mistype. It then lasts until it is over.
pub(crate) const COUNTS_FROM: Duration = Duration::from_secs(12);

/// No penalty is longer.
pub(crate) const LONGEST: Duration = Duration::from_secs(600);

/// What a source is penalised for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offence {
    /// A login with a wrong name or password.
    AuthFailed,
    /// A connection that ended without a word of the protocol.
    NoAuth,
    /// A connection that did not come to a login in time.
    GraceExceeded,
    /// A session that broke down.
    Crashed,
}

impl Offence {
    /// What it adds to the source's penalty.
    #[must_use]
    pub const fn penalty(self) -> Duration {
        Duration::from_secs(match self {
            Self::AuthFailed => 5,
            Self::NoAuth => 1,
            Self::GraceExceeded => 10,
            Self::Crashed => 90,
        })
    }
}

/// The table: a source's key, and when its penalty is over. The moment is in milliseconds; its lowest bit says that it counts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Penalties<'a>(pub(crate) &'a [[AtomicU64; 2]]);

/// `CLOCK_MONOTONIC`, the same for every process, milliseconds.
pub(crate) fn now() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let (seconds, nanoseconds) = (u64::try_from(now.tv_sec), u64::try_from(now.tv_nsec));
    seconds
        .unwrap_or(0)
        .saturating_mul(1000)
        .saturating_add(nanoseconds.unwrap_or(0) / 1_000_000)
}

impl<'a> Penalties<'a> {
    /// Whether this source is not listened to now.
    pub(crate) fn is_shut_out(&self, key: u64, now: u64) -> bool {
        self.find(key).is_some_and(|until| {
            let (until, counts) = parts(until.load(SeqCst));
            counts && until > now
        })
    }

    /// Adds to a source's penalty.
    pub(crate) fn add(&self, key: u64, penalty: Duration, now: u64) {
        let until = match self.find(key) {
            Some(until) => until,
            None => match self.take_mildest(key) {
                Some(until) => until,
                None => return,
            },
        };
        until
            .fetch_update(SeqCst, SeqCst, |word| Some(worsened(word, penalty, now)))
            .unwrap_or_default();
    }

    fn find(&self, key: u64) -> Option<&'a AtomicU64> {
        let entry = self
            .bucket(key)
            .iter()
            .find(|[its_key, _]| its_key.load(SeqCst) == key);
        entry.map(|[_, until]| until)
    }

    /// Two processes may take the same entry: one of the sources is then let off once.
    fn take_mildest(&self, key: u64) -> Option<&'a AtomicU64> {
        let mildest = self
            .bucket(key)
            .iter()
            .min_by_key(|[_, until]| until.load(SeqCst));
        mildest.map(|[its_key, until]| {
            until.store(0, SeqCst);
            its_key.store(key, SeqCst);
            until
        })
    }

    fn bucket(&self, key: u64) -> &'a [[AtomicU64; 2]] {
        let (buckets, _) = self.0.as_chunks::<BUCKET>();
        let count = u64::try_from(buckets.len()).unwrap_or(0);
        let index = key
            .checked_rem(count)
            .and_then(|index| usize::try_from(index).ok());
        index
            .and_then(|index| buckets.get(index))
            .map_or(&[], <[_; BUCKET]>::as_slice)
    }
}

fn worsened(word: u64, penalty: Duration, now: u64) -> u64 {
    let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let (until, counted) = parts(word);
    let still_counts = counted && until > now;
    let until = until
        .max(now)
        .saturating_add(milliseconds(penalty))
        .min(now.saturating_add(milliseconds(LONGEST)));
    let counts = still_counts || until.saturating_sub(now) >= milliseconds(COUNTS_FROM);
    until << 1 | u64::from(counts)
}

const fn parts(word: u64) -> (u64, bool) {
    (word >> 1, word & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_000_000;

    fn table(buckets: usize) -> Vec<[AtomicU64; 2]> {
        (0..buckets * BUCKET)
            .map(|_| <[AtomicU64; 2]>::default())
            .collect()
    }

    #[test]
    fn three_failed_logins_are_free_and_the_penalty_then_lasts_to_its_end() {
        let table = table(1);
        let penalties = Penalties(&table);
        let fails = |now| penalties.add(7, Offence::AuthFailed.penalty(), now);
        for failure in 0..3 {
            assert!(!penalties.is_shut_out(7, NOW + failure * 100));
            fails(NOW + failure * 100);
        }
        assert!(penalties.is_shut_out(7, NOW + 300));
        assert!(!penalties.is_shut_out(8, NOW + 300), "another source");
        assert!(penalties.is_shut_out(7, NOW + 14_999));
        assert!(!penalties.is_shut_out(7, NOW + 15_001));
        fails(NOW + 15_001);
        assert!(!penalties.is_shut_out(7, NOW + 15_001), "it counts anew");
    }

    #[test]
    fn no_penalty_is_longer_than_the_longest() {
        let table = table(1);
        let penalties = Penalties(&table);
        for _ in 0..100 {
            penalties.add(7, Offence::Crashed.penalty(), NOW);
        }
        assert!(penalties.is_shut_out(7, NOW + 599_999));
        assert!(!penalties.is_shut_out(7, NOW + 600_000));
    }

    #[test]
    fn the_table_is_bounded_and_forgets_the_mildest() {
        let table = table(1);
        let penalties = Penalties(&table);
        penalties.add(1, Offence::Crashed.penalty(), NOW);
        for key in 2..1000 {
            penalties.add(key, Offence::NoAuth.penalty(), NOW);
        }
        assert!(penalties.is_shut_out(1, NOW));
        let remembered = table
            .iter()
            .filter(|[key, _]| key.load(SeqCst) != 0)
            .count();
        assert_eq!(remembered, BUCKET);
    }
}
