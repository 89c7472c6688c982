//! BLAKE3 as a tree: the digest of a content fed in order, the digests of its blocks, and the way back from these to
//! the digest of the whole. Knows bytes only: no file, no socket.
//!
//! A block is [`BLOCK`] bytes, the last one fewer. Its digest is BLAKE3's chaining value at its offset (the BLAKE3 paper,
//! section 2.1), so that stripes, resumed prefixes and single blocks are verified apart and still merge into one digest.
//! A content of at most one block has no inner node: there the block's digest is the digest of the whole.

use blake3::Hasher;
use blake3::hazmat::{
    ChainingValue, HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root,
};
use protocol::Digest;
use protocol::limits::BLOCK;

/// [`BLOCK`] as a length in memory.
pub const BLOCK_LENGTH: usize = 1024 * 1024;
const _: () = assert!(BLOCK_LENGTH as u64 == BLOCK);

/// Digests of the first bytes of a content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hashed {
    /// Of each block, the last one as long as it is.
    pub blocks: Vec<Digest>,
    /// How many bytes they cover.
    pub length: u64,
}

impl Hashed {
    /// The digest of these bytes as a whole.
    #[must_use]
    pub fn digest(&self) -> Digest {
        merge(&self.blocks, self.length).unwrap_or(Digest([0; 32]))
    }
}

/// Hashes a content that passes by in order; a clone goes on from the same position.
#[derive(Clone, Debug)]
pub struct ContentHasher {
    position: u64,
    state: State,
}

#[derive(Clone, Debug)]
enum State {
    Whole(Box<Hasher>),
    Blocks {
        current: Box<Hasher>,
        complete: Vec<Digest>,
    },
}

impl Default for ContentHasher {
    fn default() -> Self {
        Self::new()
    }
}

impl ContentHasher {
    /// Hashes for the digest of the whole alone.
    #[must_use]
    pub fn new() -> Self {
        Self {
            position: 0,
            state: State::Whole(Box::default()),
        }
    }

    /// Also keeps the digest of each block (32 bytes per [`BLOCK`]); the bytes are still hashed only once.
    #[must_use]
    pub fn with_blocks() -> Self {
        Self {
            position: 0,
            state: State::Blocks {
                current: Box::default(),
                complete: Vec::new(),
            },
        }
    }

    /// Takes the next bytes of the content.
    pub fn update(&mut self, bytes: &[u8]) {
        let start = self.position;
        self.position += length_of(bytes);
        match &mut self.state {
            State::Whole(hasher) => {
                hasher.update(bytes);
            }
            State::Blocks { current, complete } => {
                update_blocks(current, complete, start, bytes);
            }
        }
    }

    /// Begins anew with another content.
    pub fn reset(&mut self) {
        self.position = 0;
        match &mut self.state {
            State::Whole(hasher) => **hasher = Hasher::new(),
            State::Blocks { current, complete } => {
                // Its own reset would keep the offset of the block at hand.
                **current = Hasher::new();
                complete.clear();
            }
        }
    }

    /// How many bytes were taken.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The digest of everything taken so far; more may follow.
    #[must_use]
    pub fn finalize(&self) -> Digest {
        match &self.state {
            State::Whole(hasher) => digest_of(hasher),
            State::Blocks { current, complete } if self.position <= BLOCK => {
                // Block 0 stays in `current` until a byte of block 1 arrives: it may be the only one.
                debug_assert!(complete.is_empty());
                digest_of(current)
            }
            State::Blocks { .. } => {
                merge(&self.blocks(), self.position).unwrap_or_else(|| digest_of(&Hasher::new()))
            }
        }
    }

    /// What was taken so far, blocks included; for a hasher made by [`with_blocks`](Self::with_blocks).
    #[must_use]
    pub fn hashed(&self) -> Hashed {
        Hashed {
            blocks: self.blocks(),
            length: self.position,
        }
    }

    /// The digests of all blocks taken so far, a last one that is not full included; none unless made by
    /// [`with_blocks`](Self::with_blocks), and none for an empty content.
    #[must_use]
    pub fn blocks(&self) -> Vec<Digest> {
        let State::Blocks { current, complete } = &self.state else {
            return Vec::new();
        };
        let mut blocks = complete.clone();
        match self.position {
            0 => {}
            1..=BLOCK => blocks.push(digest_of(current)),
            _ => blocks.push(Digest(current.finalize_non_root())),
        }
        blocks
    }
}

/// Feeds bytes block by block; a block is closed only when a byte of the next one is there.
fn update_blocks(current: &mut Hasher, complete: &mut Vec<Digest>, start: u64, bytes: &[u8]) {
    let mut position = start;
    let mut rest = bytes;
    while !rest.is_empty() {
        if position > 0 && position.is_multiple_of(BLOCK) {
            complete.push(Digest(current.finalize_non_root()));
            *current = Hasher::new();
            current.set_input_offset(position);
        }
        let room = usize::try_from(BLOCK - position % BLOCK).unwrap_or(BLOCK_LENGTH);
        let (now, later) = rest.split_at(room.min(rest.len()));
        current.update(now);
        position += length_of(now);
        rest = later;
    }
}

/// How many blocks a content of that many bytes has.
#[must_use]
pub const fn block_count(length: u64) -> u64 {
    length.div_ceil(BLOCK)
}

/// The digest of the block of that index (from 0), whose content is `bytes`, at most [`BLOCK`] of them.
/// `is_only_block` says that the whole content has no second block.
#[must_use]
pub fn block_digest(index: u64, bytes: &[u8], is_only_block: bool) -> Digest {
    let bytes = bytes.get(..BLOCK_LENGTH).unwrap_or(bytes);
    if is_only_block || bytes.is_empty() {
        return Digest(*blake3::hash(bytes).as_bytes());
    }
    let mut hasher = Hasher::new();
    hasher
        .set_input_offset(index.wrapping_mul(BLOCK))
        .update(bytes);
    Digest(hasher.finalize_non_root())
}

/// The digest of a whole content of `total_length` bytes from those of its blocks, in order; `None` unless their number
/// fits that length.
#[must_use]
pub fn merge(blocks: &[Digest], total_length: u64) -> Option<Digest> {
    if u64::try_from(blocks.len()).ok()? != block_count(total_length) {
        return None;
    }
    match blocks {
        [] => Some(digest_of(&Hasher::new())),
        [only] => Some(*only),
        _ => {
            let (left, right) = blocks.split_at(left_blocks(blocks.len()));
            let root = merge_subtrees_root(&subtree(left), &subtree(right), Mode::Hash);
            Some(Digest(*root.as_bytes()))
        }
    }
}

/// The chaining value above `blocks`; recursion is as deep as the logarithm of their number.
fn subtree(blocks: &[Digest]) -> ChainingValue {
    match blocks {
        [] => ChainingValue::default(),
        [only] => only.0,
        _ => {
            let (left, right) = blocks.split_at(left_blocks(blocks.len()));
            merge_subtrees_non_root(&subtree(left), &subtree(right), Mode::Hash)
        }
    }
}

/// A left subtree is complete and as large as it can be with something left for the right one.
fn left_blocks(count: usize) -> usize {
    count.next_power_of_two() / 2
}

fn digest_of(hasher: &Hasher) -> Digest {
    Digest(*hasher.finalize().as_bytes())
}

fn length_of(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Bytes that differ from block to block, so that swapped blocks are noticed.
    fn content(length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        Hasher::new().finalize_xof().fill(&mut bytes);
        bytes
    }

    fn digests(content: &[u8]) -> Vec<Digest> {
        let only = content.len() <= BLOCK_LENGTH;
        content
            .chunks(BLOCK_LENGTH)
            .zip(0..)
            .map(|(block, index)| block_digest(index, block, only))
            .collect()
    }

    fn check(content: &[u8], piece: usize) {
        let expected = Digest(*blake3::hash(content).as_bytes());
        let blocks = digests(content);
        assert_eq!(merge(&blocks, length_of(content)), Some(expected));
        let mut plain = ContentHasher::new();
        let mut with_blocks = ContentHasher::with_blocks();
        for bytes in content.chunks(piece) {
            plain.update(bytes);
            with_blocks.update(bytes);
        }
        assert_eq!(plain.finalize(), expected);
        assert_eq!(plain.position(), length_of(content));
        assert_eq!(with_blocks.finalize(), expected);
        assert_eq!(with_blocks.blocks(), blocks);
        for mut again in [plain, with_blocks] {
            again.reset();
            again.update(content);
            assert_eq!(
                (again.position(), again.finalize()),
                (length_of(content), expected)
            );
        }
    }

    #[test]
    fn sizes_around_the_edges_of_blocks() {
        let content = content(9 * BLOCK_LENGTH + 1);
        for blocks in 0..=9 {
            for near in [-1, 0, 1] {
                let length = (blocks * BLOCK_LENGTH).saturating_add_signed(near);
                check(&content[..length], BLOCK_LENGTH * 2 / 3);
            }
        }
    }

    #[test]
    fn a_wrong_number_of_blocks_is_no_tree() {
        let blocks = digests(&content(2 * BLOCK_LENGTH));
        assert_eq!(merge(&blocks, 0), None);
        assert_eq!(merge(&blocks, BLOCK), None);
        assert_eq!(merge(&blocks, 2 * BLOCK + 1), None);
    }

    #[test]
    fn a_clone_goes_on_from_the_same_position() {
        let content = content(3 * BLOCK_LENGTH);
        let mut first = ContentHasher::with_blocks();
        first.update(&content[..BLOCK_LENGTH + 5]);
        let mut second = first.clone();
        assert_eq!(
            first.finalize().0,
            *blake3::hash(&content[..BLOCK_LENGTH + 5]).as_bytes()
        );
        second.update(&content[BLOCK_LENGTH + 5..]);
        assert_eq!(second.finalize().0, *blake3::hash(&content).as_bytes());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn every_way_gives_the_digest_of_the_whole(length in 0..6 * BLOCK_LENGTH, piece in 1_000..3 * BLOCK_LENGTH) {
            check(&content(length), piece);
        }
    }
}
