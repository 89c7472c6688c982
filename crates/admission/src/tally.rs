//! How many there are of what, over all processes, so that a process that is killed gives back what it held.
//!
//! An entry is a key, and a word with its owner, which is a process, and the owner's count. A process changes its own entries
//! alone, one thread at a time, and claims vacant ones; the supervisor clears those of a dead one. So there is no lock
//! that could outlive its holder. The count of a key is the sum over all owners.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

/// Entries of the table.
pub(crate) const ENTRIES: usize = 128 * 1024;

/// A key's entries are all in one bucket.
const BUCKET: usize = 64;

/// The count stands in the lower bits, the owner above.
const OWNER_SHIFT: u32 = 32;

/// The table: a key and an owner's count each. A word of zero is nobody's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tally<'a>(pub(crate) &'a [[AtomicU64; 2]]);

impl<'a> Tally<'a> {
    /// One more of `key`, held by the process in `slot`; how many there are then. `None`: there is no room to count it.
    pub(crate) fn add(&self, slot: usize, key: u64) -> Option<u64> {
        let owner = owner_bits(slot);
        let bucket = self.bucket(key)?;
        if let Some(word) = own(bucket, key, owner) {
            word.fetch_add(1, SeqCst);
        } else {
            let [its_key, word] = bucket
                .iter()
                .find(|[_, word]| word.compare_exchange(0, owner, SeqCst, SeqCst).is_ok())?;
            // Only now: until then others see a count of zero, whatever the key is.
            its_key.store(key, SeqCst);
            word.fetch_add(1, SeqCst);
        }
        Some(self.count(key))
    }

    /// One less.
    pub(crate) fn remove(&self, slot: usize, key: u64) {
        let owner = owner_bits(slot);
        let Some(word) = self.bucket(key).and_then(|bucket| own(bucket, key, owner)) else {
            return;
        };
        let left = word.load(SeqCst).saturating_sub(1);
        word.store(if left <= owner { 0 } else { left }, SeqCst);
    }

    /// How many there are.
    pub(crate) fn count(&self, key: u64) -> u64 {
        let bucket = self.bucket(key).unwrap_or_default().iter();
        bucket
            .filter(|[its_key, _]| its_key.load(SeqCst) == key)
            .map(|[_, word]| word.load(SeqCst) & (u64::MAX >> OWNER_SHIFT))
            .sum()
    }

    /// Takes back all that the process in `slot` held.
    pub(crate) fn clear(&self, slot: usize) {
        let owner = owner_bits(slot);
        for [_, word] in self.0 {
            if owner_of(word) == owner {
                word.store(0, SeqCst);
            }
        }
    }

    fn bucket(&self, key: u64) -> Option<&'a [[AtomicU64; 2]]> {
        let (buckets, _) = self.0.as_chunks::<BUCKET>();
        let index = key.checked_rem(u64::try_from(buckets.len()).ok()?)?;
        buckets
            .get(usize::try_from(index).ok()?)
            .map(<[_; BUCKET]>::as_slice)
    }
}

/// The word of this owner's own entry for a key.
fn own(bucket: &[[AtomicU64; 2]], key: u64, owner: u64) -> Option<&AtomicU64> {
    let entry = bucket
        .iter()
        .find(|[its_key, word]| owner_of(word) == owner && its_key.load(SeqCst) == key);
    entry.map(|[_, word]| word)
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

    fn words(buckets: usize) -> Vec<[AtomicU64; 2]> {
        (0..buckets * BUCKET)
            .map(|_| <[AtomicU64; 2]>::default())
            .collect()
    }

    #[test]
    fn a_key_counts_over_all_processes_and_a_dead_one_gives_its_share_back() {
        let words = words(4);
        let tally = Tally(&words);
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
        assert!(words.iter().all(|[_, word]| word.load(SeqCst) == 0));
    }

    #[test]
    fn a_full_bucket_takes_no_further_key_until_one_is_gone() {
        let words = words(1);
        let tally = Tally(&words);
        for key in 1..=64 {
            assert_eq!(tally.add(0, key), Some(1));
        }
        assert_eq!(tally.add(0, 65), None);
        assert_eq!(tally.add(0, 64), Some(2));
        tally.remove(0, 1);
        assert_eq!(tally.add(1, 65), Some(1));
    }

    #[test]
    fn processes_claim_entries_at_once_and_none_is_lost() {
        let words = words(1);
        let tally = Tally(&words);
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
