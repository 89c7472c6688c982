//! Which blocks of a content are there, and who is asked for the others. Pure: it knows no clock, no file, no socket.
//!
//! A block is missing, asked for by one or more streams, claimed by the one stream that writes it, or there. Streams come
//! and go in any order; whatever they do, every block is written once, and those of a stream that left are missing again.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// One stream, for as long as it lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Stream(pub(crate) u32);

/// A slave: its place in the list of those that were tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Origin(pub(crate) u16);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Block {
    Missing,
    Asked,
    Claimed(Stream),
    /// From that slave, or from an earlier try.
    There(Option<Origin>),
}

/// The plan of one content.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    blocks: Vec<Block>,
    /// No block before this one is missing.
    first: u64,
    missing: u64,
    there: u64,
    hands: BTreeMap<Stream, Hand>,
    /// Slaves whose content for a block was wrong.
    avoided: BTreeMap<u64, BTreeSet<Origin>>,
}

/// What a stream was asked for and has not delivered.
#[derive(Clone, Debug)]
struct Hand {
    origin: Origin,
    blocks: BTreeSet<u64>,
}

impl Plan {
    /// Nothing of `count` blocks is there.
    pub(crate) fn new(count: u64) -> Self {
        Self {
            blocks: vec![Block::Missing; place(count)],
            first: 0,
            missing: count,
            there: 0,
            hands: BTreeMap::new(),
            avoided: BTreeMap::new(),
        }
    }

    /// A missing block is there from an earlier try.
    pub(crate) fn keep(&mut self, index: u64) {
        if self.block(index) == Some(Block::Missing) {
            self.set(index, Block::There(None));
        }
    }

    /// A stream begins.
    pub(crate) fn join(&mut self, stream: Stream, origin: Origin) {
        let blocks = BTreeSet::new();
        self.hands.insert(stream, Hand { origin, blocks });
    }

    /// A stream ends: what nobody else is asked for is missing again.
    pub(crate) fn leave(&mut self, stream: Stream) {
        let Some(hand) = self.hands.remove(&stream) else {
            return;
        };
        for index in hand.blocks {
            let is_his = match self.block(index) {
                Some(Block::Claimed(by)) => by == stream,
                Some(Block::Asked) => self.holders(index) == 0,
                _ => false,
            };
            if is_his {
                let others = self.holders(index) > 0;
                self.set(index, if others { Block::Asked } else { Block::Missing });
            }
        }
    }

    /// The first missing blocks that may come from this stream, at most `wanted` of them, side by side.
    pub(crate) fn take(&mut self, stream: Stream, wanted: u64) -> Option<Range<u64>> {
        let origin = self.hands.get(&stream)?.origin;
        let is_for_him = |index: &u64| {
            self.block(*index) == Some(Block::Missing) && !self.is_avoided(*index, origin)
        };
        if self.missing == 0 || wanted == 0 {
            return None;
        }
        let start = (self.first..self.count()).find(is_for_him)?;
        let end = (start..self.count().min(start.saturating_add(wanted)))
            .find(|index| !is_for_him(index))
            .unwrap_or_else(|| self.count().min(start.saturating_add(wanted)));
        for index in start..end {
            self.set(index, Block::Asked);
            self.hold(stream, index);
        }
        Some(start..end)
    }

    /// Blocks that `victim` alone is asked for, from the end of what it has before it, at most `wanted` of them, side by
    /// side: now the thief is asked for them too, and whoever has them first writes them.
    pub(crate) fn steal(
        &mut self,
        thief: Stream,
        victim: Stream,
        wanted: u64,
    ) -> Option<Range<u64>> {
        let origin = self.hands.get(&thief)?.origin;
        let is_free = |index: &u64| {
            self.block(*index) == Some(Block::Asked)
                && self.holders(*index) == 1
                && !self.is_avoided(*index, origin)
        };
        let mut from_the_end = self.hands.get(&victim)?.blocks.iter().rev().copied();
        let last = from_the_end.find(is_free).filter(|_| wanted > 0)?;
        let mut first = last;
        for index in from_the_end {
            if index + 1 != first || last - index >= wanted || !is_free(&index) {
                break;
            }
            first = index;
        }
        (first..=last).for_each(|index| self.hold(thief, index));
        Some(first..last + 1)
    }

    /// Whether the stream may write the block that it has received; `false` where another was quicker.
    pub(crate) fn claim(&mut self, stream: Stream, index: u64) -> bool {
        let holds = self
            .hands
            .get_mut(&stream)
            .is_some_and(|hand| hand.blocks.contains(&index));
        if holds && self.block(index) == Some(Block::Asked) {
            self.set(index, Block::Claimed(stream));
            return true;
        }
        if let Some(hand) = self.hands.get_mut(&stream) {
            hand.blocks.remove(&index);
        }
        false
    }

    /// The stream has written the block that it claimed.
    pub(crate) fn finish(&mut self, stream: Stream, index: u64) {
        if self.block(index) == Some(Block::Claimed(stream)) {
            let origin = self.hands.get(&stream).map(|hand| hand.origin);
            self.set(index, Block::There(origin));
            for hand in self.hands.values_mut() {
                hand.blocks.remove(&index);
            }
        }
    }

    /// What is there of a block is wrong: it is missing again, and not asked of the slave that it came from, whose number
    /// is given back.
    pub(crate) fn reject(&mut self, index: u64) -> Option<Origin> {
        let Some(Block::There(origin)) = self.block(index) else {
            return None;
        };
        self.set(index, Block::Missing);
        if let Some(origin) = origin {
            self.avoided.entry(index).or_default().insert(origin);
        }
        origin
    }

    /// Where only slaves are left whose content for a block was wrong, they may try again.
    pub(crate) fn forgive(&mut self) {
        let origins: BTreeSet<_> = self.hands.values().map(|hand| hand.origin).collect();
        self.avoided
            .retain(|_, avoided| !origins.is_subset(avoided));
    }

    /// How many blocks a stream is asked for and has not delivered.
    pub(crate) fn outstanding(&self, stream: Stream) -> u64 {
        self.hands
            .get(&stream)
            .map_or(0, |hand| number(hand.blocks.len()))
    }

    pub(crate) fn count(&self) -> u64 {
        number(self.blocks.len())
    }

    /// Blocks that nobody is asked for.
    pub(crate) fn missing(&self) -> u64 {
        self.missing
    }

    /// Blocks that are there.
    pub(crate) fn there(&self) -> u64 {
        self.there
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.there == self.count()
    }

    /// Blocks that are there from an earlier try.
    pub(crate) fn kept(&self) -> impl Iterator<Item = u64> + '_ {
        let kept = |block: &Block| *block == Block::There(None);
        (0..)
            .zip(&self.blocks)
            .filter(move |(_, block)| kept(block))
            .map(|(index, _)| index)
    }

    /// How many blocks each slave has served.
    pub(crate) fn served(&self) -> BTreeMap<Origin, u64> {
        let mut served = BTreeMap::new();
        for block in &self.blocks {
            if let Block::There(Some(origin)) = block {
                *served.entry(*origin).or_default() += 1;
            }
        }
        served
    }

    fn block(&self, index: u64) -> Option<Block> {
        self.blocks.get(place(index)).copied()
    }

    fn set(&mut self, index: u64, to: Block) {
        let Some(block) = self.blocks.get_mut(place(index)) else {
            return;
        };
        let from = std::mem::replace(block, to);
        match from {
            Block::Missing => self.missing -= 1,
            Block::There(_) => self.there -= 1,
            Block::Asked | Block::Claimed(_) => {}
        }
        match to {
            Block::Missing => {
                self.missing += 1;
                self.first = self.first.min(index);
            }
            Block::There(_) => self.there += 1,
            Block::Asked | Block::Claimed(_) => {}
        }
        while self.missing > 0 && self.block(self.first) != Some(Block::Missing) {
            self.first += 1;
        }
    }

    fn hold(&mut self, stream: Stream, index: u64) {
        if let Some(hand) = self.hands.get_mut(&stream) {
            hand.blocks.insert(index);
        }
    }

    fn holders(&self, index: u64) -> usize {
        let holds = |hand: &&Hand| hand.blocks.contains(&index);
        self.hands.values().filter(holds).count()
    }

    fn is_avoided(&self, index: u64, origin: Origin) -> bool {
        let avoided = self.avoided.get(&index);
        avoided.is_some_and(|avoided| avoided.contains(&origin))
    }
}

fn place(index: u64) -> usize {
    usize::try_from(index).unwrap_or(usize::MAX)
}

fn number(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
