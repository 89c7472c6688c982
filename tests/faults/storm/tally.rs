//! How often each kind of fault came about, and how often somebody felt it.

use std::collections::BTreeMap;
use std::fmt::{self, Display};

use super::schedule::Kind;

/// A kind that was made so often should have been felt once.
const OFTEN: u64 = 20;

/// Of each kind, how many were made, and how many of them have hit somebody.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally(BTreeMap<Kind, (u64, u64)>);

impl Tally {
    /// One was made, and has hit so many.
    pub(super) fn note(&mut self, kind: Kind, hits: u64) {
        self.add(kind, (1, u64::from(hits > 0)));
    }

    /// The same of another storm.
    pub(super) fn note_all(&mut self, other: &Self) {
        for (kind, counts) in &other.0 {
            self.add(*kind, *counts);
        }
    }

    fn add(&mut self, kind: Kind, (made, felt): (u64, u64)) {
        let counts = self.0.entry(kind).or_default();
        *counts = (counts.0 + made, counts.1 + felt);
    }

    /// Kinds of which one was felt.
    fn kinds(&self) -> usize {
        self.0.values().filter(|(_, felt)| *felt > 0).count()
    }

    fn totals(&self) -> (u64, u64) {
        let add = |sum: (u64, u64), counts: &(u64, u64)| (sum.0 + counts.0, sum.1 + counts.1);
        self.0.values().fold((0, 0), add)
    }

    /// What is wrong with it, where so many kinds must be felt: fewer do where storms are short.
    pub(super) fn lacks(&self, kinds: usize) -> Option<String> {
        let (made, _) = self.totals();
        let least = kinds.min(made as usize / 2);
        if self.kinds() < least {
            return Some(format!("only {} kinds were felt: {self}", self.kinds()));
        }
        let is_vain = |(made, felt): &(u64, u64)| *made >= OFTEN && *felt == 0;
        let mut vain = self.0.iter().filter(|(_, counts)| is_vain(counts));
        vain.next()
            .map(|(kind, (made, _))| format!("nobody has felt one of {made} {kind:?}"))
    }
}

impl Display for Tally {
    /// All in one line; of each kind, felt and made as a fraction.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ((made, felt), kinds) = (self.totals(), self.kinds());
        write!(
            formatter,
            "{made} events made, {felt} felt, of {kinds} kinds"
        )?;
        for (index, (kind, (made, felt))) in self.0.iter().enumerate() {
            let before = if index == 0 { " (" } else { ", " };
            write!(formatter, "{before}{kind:?} {felt}/{made}")?;
        }
        let end = if self.0.is_empty() { "" } else { ")" };
        formatter.write_str(end)
    }
}

#[test]
fn what_nobody_felt_does_not_count() {
    let mut tally = Tally::default();
    for (kind, hits) in [
        (Kind::KillClient, 1),
        (Kind::FillDisk, 0),
        (Kind::FillDisk, 7),
        (Kind::SlowDisk, 0),
    ] {
        tally.note(kind, hits);
    }
    assert_eq!(
        tally.to_string(),
        "4 events made, 2 felt, of 2 kinds (KillClient 1/1, FillDisk 1/2, SlowDisk 0/1)"
    );
    assert_eq!(tally.lacks(3), None, "of four, two are enough");
    let mut all = Tally::default();
    (0..2).for_each(|_| all.note_all(&tally));
    assert!(all.lacks(3).unwrap().contains("only 2 kinds"));
    assert_eq!(all.lacks(2), None);
    (0..9).for_each(|_| all.note_all(&tally));
    assert_eq!(all.lacks(2), None);
    (0..9).for_each(|_| all.note_all(&tally));
    assert!(all.lacks(2).unwrap().contains("20 SlowDisk"));
}
