//! The digests of a content's blocks, and from them that of the whole.

use protocol::Digest;
use protocol::limits::BLOCK;
use transfer::Hashed;
use transfer::block_tree::{block_digest, merge};

/// The digests of a content's blocks, as far as they are known.
#[derive(Clone, Debug)]
pub(crate) struct BlockDigests {
    size: u64,
    digests: Vec<Digest>,
}

impl BlockDigests {
    /// None yet, of a content of `size` bytes.
    pub(crate) fn new(size: u64) -> Self {
        Self {
            size,
            digests: Vec::new(),
        }
    }

    /// All of a content.
    pub(crate) fn of(hashed: Hashed) -> Self {
        Self {
            size: hashed.length,
            digests: hashed.blocks,
        }
    }

    /// The blocks so far, as what others go on from.
    pub(crate) fn hashed(self) -> Hashed {
        Hashed {
            length: self.size.min(self.count() * BLOCK),
            blocks: self.digests,
        }
    }

    /// Room for the digests of `count` blocks, to be put in by [`replace`](Self::replace).
    pub(crate) fn blank(size: u64, count: u64) -> Self {
        let count = usize::try_from(count).unwrap_or(0);
        Self {
            size,
            digests: vec![Digest([0; 32]); count],
        }
    }

    /// Bytes of the whole content.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// How many blocks there are.
    pub(crate) fn count(&self) -> u64 {
        u64::try_from(self.digests.len()).unwrap_or(u64::MAX)
    }

    pub(crate) fn digests(&self) -> &[Digest] {
        &self.digests
    }

    pub(crate) fn push(&mut self, digest: Digest) {
        self.digests.push(digest);
    }

    /// Puts another digest in the place of one.
    pub(crate) fn replace(&mut self, index: u64, digest: Digest) {
        let place = usize::try_from(index).ok();
        if let Some(old) = place.and_then(|place| self.digests.get_mut(place)) {
            *old = digest;
        }
    }

    /// The digest that the block of that index and content has.
    pub(crate) fn digest_of(&self, index: u64, bytes: &[u8]) -> Digest {
        block_digest(index, bytes, self.size <= BLOCK)
    }

    /// The digest of the whole; `None` while blocks are missing.
    pub(crate) fn whole(&self) -> Option<Digest> {
        merge(&self.digests, self.size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_block_leaves_no_whole() {
        let mut blocks = BlockDigests::new(2 * BLOCK + 1);
        blocks.push(Digest([1; 32]));
        assert_eq!(blocks.whole(), None);
        assert_eq!(blocks.hashed().length, BLOCK);
    }
}
