//! Whose the words are that all processes of the pool share.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use admission::Words;
use supervisor::Scoreboard;

/// For revoked tickets.
const REVOKED: usize = 1024;

/// All of them.
pub(crate) const WORDS: usize = REVOKED + admission::WORDS;

/// Those in which revoked tickets are kept.
pub(crate) fn revoked(board: &Scoreboard) -> &[AtomicU64] {
    split(board).0
}

/// Those of the limits against abuse.
pub(crate) fn limits(board: &Scoreboard) -> &[AtomicU64] {
    split(board).1
}

fn split(board: &Scoreboard) -> (&[AtomicU64], &[AtomicU64]) {
    let words = board.program_words();
    words.split_at_checked(REVOKED).unwrap_or((words, &[]))
}

/// [`limits`], for as long as it is needed.
#[derive(Debug)]
pub(crate) struct LimitsMemory(pub(crate) Arc<Scoreboard>);

impl Words for LimitsMemory {
    fn words(&self) -> &[AtomicU64] {
        limits(&self.0)
    }
}
