//! How often each limit was hit, over all processes, and how an operator hears of it.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::limits::Limit;
use crate::memory::Memory;

/// A word for each limit, in the order of the table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counters<'a>(pub(crate) &'a [AtomicU64]);

impl Counters<'_> {
    pub(crate) fn count(&self, limit: Limit) {
        if let Some(word) = self.0.get(limit.index()) {
            word.fetch_add(1, Relaxed);
        }
    }

    pub(crate) fn read(&self, limit: Limit) -> u64 {
        self.0
            .get(limit.index())
            .map_or(0, |word| word.load(Relaxed))
    }
}

/// Puts into words which limits were hit since it was asked last.
#[derive(Debug)]
pub struct Reporter {
    told: Vec<u64>,
    last: Instant,
}

/// Between two reports.
const INTERVAL: Duration = Duration::from_secs(60);

impl Default for Reporter {
    fn default() -> Self {
        Self {
            told: Vec::new(),
            last: Instant::now(),
        }
    }
}

impl Reporter {
    /// [`Self::news`], a minute after it was looked for last; to be called as often as one likes.
    pub fn due(&mut self, words: &[AtomicU64]) -> Option<String> {
        if self.last.elapsed() < INTERVAL {
            return None;
        }
        self.last = Instant::now();
        self.news(words)
    }

    /// What is new, as one line; `None` where nothing is. Sessions that were left open and ended are told of with the rest
    /// alone: that is no abuse.
    pub fn news(&mut self, words: &[AtomicU64]) -> Option<String> {
        let counters = Memory::of(words).counters;
        let counts: Vec<u64> = Limit::ALL
            .iter()
            .map(|limit| counters.read(*limit))
            .collect();
        self.told.resize(counts.len(), 0);
        let mut line = String::new();
        let mut is_worth_telling = false;
        for ((limit, count), told) in Limit::ALL.iter().zip(&counts).zip(&self.told) {
            let new = count.saturating_sub(*told);
            if new > 0 {
                is_worth_telling |= *limit != Limit::Idle;
                let comma = if line.is_empty() { "" } else { ", " };
                write!(line, "{comma}{} {new} ({count} in all)", limit.name()).unwrap_or_default();
            }
        }
        is_worth_telling.then(|| {
            self.told = counts;
            line
        })
    }
}

#[cfg(test)]
mod tests {
    use sys::shared_memory::SharedWords;

    use super::*;
    use crate::memory::WORDS;

    #[test]
    fn what_was_hit_is_told_once_with_its_sum() {
        let memory = SharedWords::create(WORDS).unwrap().0;
        let hit = |limit| Memory::of(memory.words()).counters.count(limit);
        let mut reporter = Reporter::default();
        assert_eq!(reporter.news(memory.words()), None);
        hit(Limit::Idle);
        assert_eq!(reporter.news(memory.words()), None, "no abuse");
        hit(Limit::PerUser);
        hit(Limit::PerUser);
        assert_eq!(
            reporter.news(memory.words()).unwrap(),
            "per-user 2 (2 in all), idle 1 (1 in all)"
        );
        assert_eq!(reporter.news(memory.words()), None);
        hit(Limit::PerUser);
        assert_eq!(
            reporter.news(memory.words()).unwrap(),
            "per-user 1 (3 in all)"
        );
    }
}
