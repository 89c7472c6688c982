//! The words that all processes of a server share, and where in them everything stands.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use sys::shared_memory::SharedWords;

use crate::counters::Counters;
use crate::penalties::{self, Penalties};
use crate::tally::{self, Tally};

/// Words of the secret.
const SECRET: usize = 4;

/// Room for counters, more than there are: a new binary may take the memory of an old one over.
const COUNTERS: usize = 59;

/// How far the tally is spread; it was a counter's room once.
const SPREAD: usize = 1;

const TALLY: usize = tally::ENTRIES * 2;
const PENALTIES: usize = penalties::ENTRIES * 2;

/// Words of memory that the limits take; most are never touched, so they cost no memory.
pub const WORDS: usize = SECRET + COUNTERS + SPREAD + TALLY + PENALTIES;

/// Memory that all processes of a server see: [`WORDS`] of it, zero at first.
pub trait Words: fmt::Debug + Send + Sync {
    /// The words.
    fn words(&self) -> &[AtomicU64];
}

impl Words for SharedWords {
    fn words(&self) -> &[AtomicU64] {
        Self::words(self)
    }
}

/// Everything in its place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory<'a> {
    secret: &'a [AtomicU64],
    pub(crate) counters: Counters<'a>,
    pub(crate) tally: Tally<'a>,
    pub(crate) penalties: Penalties<'a>,
}

/// Makes fresh memory ready; to be called once, before anybody uses it.
///
/// # Errors
/// The kernel has no randomness to give.
pub fn prepare(words: &[AtomicU64]) -> io::Result<()> {
    // Who knew it could aim at one bucket of a table, and fill that.
    for word in Memory::of(words).secret {
        word.store(getrandom::u64()?, SeqCst);
    }
    Ok(())
}

/// Memory of a server that has one process, ready to be used.
///
/// # Errors
/// The kernel has no memory or randomness to give.
pub fn of_one_process() -> io::Result<Arc<dyn Words>> {
    let (words, _descriptor) = SharedWords::create(WORDS)?;
    prepare(words.words())?;
    Ok(Arc::new(words))
}

/// Gives back whatever the process in that slot of the pool held: it is dead.
pub fn give_back(words: &[AtomicU64], slot: usize) {
    Memory::of(words).tally.clear(slot);
}

impl<'a> Memory<'a> {
    /// Memory that is too small holds less; none lets everybody in. The pool makes it of the right size.
    pub(crate) fn of(words: &'a [AtomicU64]) -> Self {
        let (secret, words) = split(words, SECRET);
        let (counters, words) = split(words, COUNTERS);
        let (spread, words) = split(words, SPREAD);
        let (tally, words) = split(words, TALLY);
        let (penalties, _) = split(words, PENALTIES);
        Self {
            secret,
            counters: Counters(counters),
            tally: Tally {
                entries: tally.as_chunks().0,
                spread: spread.first(),
            },
            penalties: Penalties(penalties.as_chunks().0),
        }
    }

    /// A number that stands for these bytes in a table, and that nobody can foresee.
    pub(crate) fn key(&self, kind: &str, bytes: &[u8]) -> u64 {
        let mut secret = [0; 32];
        for (bytes, word) in secret.chunks_exact_mut(8).zip(self.secret) {
            bytes.copy_from_slice(&word.load(SeqCst).to_ne_bytes());
        }
        let mut hasher = blake3::Hasher::new_keyed(&secret);
        hasher.update(kind.as_bytes()).update(&[0]).update(bytes);
        let mut key = [0; 8];
        hasher.finalize_xof().fill(&mut key);
        u64::from_ne_bytes(key)
    }
}

fn split(words: &[AtomicU64], at: usize) -> (&[AtomicU64], &[AtomicU64]) {
    words.split_at_checked(at).unwrap_or((words, &[]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_differ_by_kind_bytes_and_secret() {
        let one = SharedWords::create(WORDS).unwrap().0;
        let other = SharedWords::create(WORDS).unwrap().0;
        prepare(one.words()).unwrap();
        prepare(other.words()).unwrap();
        let key =
            |words: &SharedWords, kind, bytes: &[u8]| Memory::of(words.words()).key(kind, bytes);
        assert_eq!(key(&one, "user", b"ada"), key(&one, "user", b"ada"));
        assert_ne!(key(&one, "user", b"ada"), key(&one, "source", b"ada"));
        assert_ne!(key(&one, "user", b"ada"), key(&one, "user", b"bob"));
        assert_ne!(key(&one, "user", b"ada"), key(&other, "user", b"ada"));
    }
}
