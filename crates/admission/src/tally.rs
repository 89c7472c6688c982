//! How many there are of what, over all processes, so that a process that is killed gives back what it held.
//!
//! An entry is a key, and a word with its owner, which is a process, and the owner's count. A process changes its own entries
//! alone, one thread at a time, and claims vacant ones; the supervisor clears those of a dead one. So there is no lock
//! that could outlive its holder. The count of a key is the sum over all owners.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

/// Entries of the table.
pub(crate) const ENTRIES: usize = 128 * 1024;

/// A key's entries are in one bucket; where some bucket was ever too full, in the ones behind it, too.
const BUCKET: usize = 64;

/// The count stands in the lower bits, the owner above.
const OWNER_SHIFT: u32 = 32;

/// The table, and how far it is spread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tally<'a> {
    /// A key and an owner's count each. A word of zero is nobody's.
    pub(crate) entries: &'a [[AtomicU64; 2]],
    /// How many buckets a key's entries may stand in besides its own. It only grows: more processes than a bucket has entries
    /// may hold something of one key.
    pub(crate) spread: Option<&'a AtomicU64>,
}

impl<'a> Tally<'a> {
    /// One more of `key`, held by the process in `slot`; how many there are then. `None`: there is no room to count it.
    pub(crate) fn add(&self, slot: usize, key: u64) -> Option<u64> {
        let owner = owner_bits(slot);
        let word = match self.own(key, owner) {
            Some(word) => word,
            None => self.claim(key, owner)?,
        };
        word.fetch_add(1, SeqCst);
        Some(self.count(key))
    }

    /// A vacant entry, for that owner and key from now on. Until the key is there others see a count of zero, whatever it is.
    fn claim(&self, key: u64, owner: u64) -> Option<&'a AtomicU64> {
        let take = |[_, word]: &&[AtomicU64; 2]| {
            let taken = word.compare_exchange(0, owner, SeqCst, SeqCst);
            taken.is_ok()
        };
        loop {
            if let Some([its_key, word]) = self.places(key).find(take) {
                its_key.store(key, SeqCst);
                return Some(word);
            }
            self.spread_further()?;
        }
    }

    /// One less.
    pub(crate) fn remove(&self, slot: usize, key: u64) {
        let owner = owner_bits(slot);
        let Some(word) = self.own(key, owner) else {
            return;
        };
        let left = word.load(SeqCst).saturating_sub(1);
        word.store(if left <= owner { 0 } else { left }, SeqCst);
    }

    /// How many there are.
    pub(crate) fn count(&self, key: u64) -> u64 {
        self.places(key)
            .filter(|[its_key, _]| its_key.load(SeqCst) == key)
            .map(|[_, word]| word.load(SeqCst) & (u64::MAX >> OWNER_SHIFT))
            .sum()
    }

    /// Takes back all that the process in `slot` held.
    pub(crate) fn clear(&self, slot: usize) {
        let owner = owner_bits(slot);
        for [_, word] in self.entries {
            if owner_of(word) == owner {
                word.store(0, SeqCst);
            }
        }
    }

    /// Where a key's entries may stand.
    fn places(&self, key: u64) -> impl Iterator<Item = &'a [AtomicU64; 2]> + use<'a> {
        let buckets = u64::try_from(self.entries.len() / BUCKET).unwrap_or(0);
        let index = key.checked_rem(buckets).unwrap_or(0);
        let start = usize::try_from(index).map_or(0, |index| index * BUCKET);
        let (before, from) = self.entries.split_at_checked(start).unwrap_or_default();
        let most = self.spread().saturating_add(1).saturating_mul(BUCKET);
        from.iter().chain(before).take(most)
    }

    fn spread(&self) -> usize {
        let spread = self.spread.map_or(0, |spread| spread.load(SeqCst));
        usize::try_from(spread).unwrap_or(usize::MAX)
    }

    /// Has each key's entries stand in more buckets, unless all are used.
    fn spread_further(&self) -> Option<()> {
        let used = self.spread().saturating_add(1);
        if used.saturating_mul(BUCKET) >= self.entries.len() {
            return None;
        }
        self.spread?
            .fetch_max(u64::try_from(2 * used - 1).ok()?, SeqCst);
        Some(())
    }

    /// The word of this owner's own entry for a key.
    fn own(&self, key: u64, owner: u64) -> Option<&'a AtomicU64> {
        let entry = self
            .places(key)
            .find(|[its_key, word]| owner_of(word) == owner && its_key.load(SeqCst) == key);
        entry.map(|[_, word]| word)
    }
}

fn owner_of(word: &AtomicU64) -> u64 {
    word.load(SeqCst) >> OWNER_SHIFT << OWNER_SHIFT
}

/// Slots count from zero, owners from one.
fn owner_bits(slot: usize) -> u64 {
    u64::try_from(slot).unwrap_or(u64::MAX).saturating_add(1) << OWNER_SHIFT
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Table(Vec<[AtomicU64; 2]>, AtomicU64);

    impl Table {
        fn new(buckets: usize) -> Self {
            let empty = |_| <[AtomicU64; 2]>::default();
            Self(
                (0..buckets * BUCKET).map(empty).collect(),
                AtomicU64::new(0),
            )
        }

        fn tally(&self) -> Tally<'_> {
            Tally {
                entries: &self.0,
                spread: Some(&self.1),
            }
        }
    }

    #[test]
    fn a_key_counts_over_all_processes_and_a_dead_one_gives_its_share_back() {
        let table = Table::new(4);
        let tally = table.tally();
        assert_eq!(tally.add(0, 7), Some(1));
        assert_eq!(tally.add(0, 7), Some(2));
        assert_eq!(tally.add(1, 7), Some(3));
        assert_eq!(tally.add(1, 11), Some(1), "the same bucket");
        tally.remove(0, 7);
        assert_eq!(tally.count(7), 2);
        tally.clear(1);
        assert_eq!((tally.count(7), tally.count(11)), (1, 0));
        tally.remove(0, 7);
        // One too many changes nothing, and nothing is left behind.
        tally.remove(0, 7);
        assert!(table.0.iter().all(|[_, word]| word.load(SeqCst) == 0));
    }

    #[test]
    fn a_full_bucket_takes_no_further_key_until_one_is_gone() {
        let table = Table::new(1);
        let tally = table.tally();
        for key in 1..=64 {
            assert_eq!(tally.add(0, key), Some(1));
        }
        assert_eq!(tally.add(0, 65), None);
        assert_eq!(tally.add(0, 64), Some(2));
        tally.remove(0, 1);
        assert_eq!(tally.add(1, 65), Some(1));
    }

    #[test]
    fn more_processes_than_a_bucket_has_entries_hold_one_key() {
        let table = Table::new(8);
        let tally = table.tally();
        for key in [7, 0] {
            for slot in 0..150 {
                let count = u64::try_from(slot).unwrap() + 1;
                assert_eq!(tally.add(slot, key), Some(count));
            }
        }
        tally.clear(149);
        tally.remove(80, 0);
        assert_eq!((tally.count(0), tally.count(7)), (148, 149));
        for slot in 0..150 {
            tally.remove(slot, 0);
            tally.remove(slot, 7);
        }
        assert!(table.0.iter().all(|[_, word]| word.load(SeqCst) == 0));
    }

    #[test]
    fn processes_claim_entries_at_once_and_none_is_lost() {
        let table = Table::new(1);
        let tally = table.tally();
        std::thread::scope(|scope| {
            for slot in 0..8 {
                scope.spawn(move || {
                    for round in 0..2000 {
                        tally.add(slot, 3 + round % 3).unwrap();
                        tally.remove(slot, 3 + round % 3);
                    }
                    tally.add(slot, 3).unwrap();
                });
            }
        });
        assert_eq!((tally.count(3), tally.count(4)), (8, 0));
    }
}
