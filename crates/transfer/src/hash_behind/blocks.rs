//! The digests of a file's blocks so far.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use blake3::Hasher;
use blake3::hazmat::HasherExt;
use protocol::Digest;
use protocol::limits::BLOCK;

use super::Unwritten;
use crate::block_tree::{BLOCK_LENGTH, Hashed};

/// What is read or written at once, bytes: it stays in a core's own cache until it is hashed.
const PIECE: usize = 128 * 1024;

/// Digests of blocks of which it is known whether they are the only one.
#[derive(Clone, Debug)]
pub(super) struct Blocks {
    digests: Vec<Digest>,
    /// On the heap, for as long as the transfer takes: what a session's stack once touched would stay resident.
    piece: Vec<u8>,
    /// Whether nobody but us writes to the file.
    is_ours: bool,
}

/// Blocks of that many bytes behind which there is another byte: none of them is the only one.
pub(super) fn closed_blocks(length: u64) -> usize {
    let closed = length.saturating_sub(1) / BLOCK;
    usize::try_from(closed).unwrap_or(usize::MAX)
}

impl Blocks {
    /// Those behind `digests`, of a file that nobody but us writes to if it `is_ours`.
    pub(super) fn behind(digests: Vec<Digest>, is_ours: bool) -> Self {
        Self {
            digests,
            piece: Vec::new(),
            is_ours,
        }
    }

    /// Where the first block begins that is not hashed yet.
    pub(super) fn length(&self) -> u64 {
        u64::try_from(self.digests.len()).unwrap_or(u64::MAX) * BLOCK
    }

    /// Hashes what stands in the file before `position` but for the block at the end.
    pub(super) fn hash_up_to(&mut self, file: &File, position: u64) -> io::Result<()> {
        while self.hash_next(file, position)? {}
        Ok(())
    }

    /// Hashes one block of these; whether there was one.
    pub(super) fn hash_next(&mut self, file: &File, position: u64) -> io::Result<bool> {
        let is_there = self.digests.len() < closed_blocks(position);
        if is_there {
            let start = self.length();
            let hasher = self.hash(file, start..start + BLOCK)?;
            self.digests.push(Digest(hasher.finalize_non_root()));
        }
        Ok(is_there)
    }

    /// Writes what was received. If that is a whole block, and content up to `position`, it is hashed on the way, behind those
    /// before it; but for a first one.
    pub(super) fn write(
        &mut self,
        file: &File,
        unwritten: &Unwritten,
        position: u64,
    ) -> io::Result<()> {
        let mut start = unwritten.start();
        let bytes = unwritten.bytes();
        if position > start {
            self.hash_up_to(file, start.saturating_add(1))?;
        }
        let is_next = start > 0 && start == self.length();
        let is_whole = bytes.len() == BLOCK_LENGTH && unwritten.end() <= position;
        let mut hasher = (is_next && is_whole).then(|| hasher_at(start));
        for piece in bytes.chunks(PIECE) {
            file.write_all_at(piece, start)?;
            if let Some(hasher) = &mut hasher {
                hasher.update(piece);
            }
            start += u64::try_from(piece.len()).unwrap_or(0);
        }
        let digest = hasher.map(|hasher| Digest(hasher.finalize_non_root()));
        self.digests.extend(digest);
        Ok(())
    }

    /// Hashes the block at the end too, which is the only one where no other is closed.
    pub(super) fn finish(mut self, file: &File, position: u64) -> io::Result<Hashed> {
        self.hash_up_to(file, position)?;
        let start = self.length();
        if start < position {
            let hasher = self.hash(file, start..position)?;
            self.digests.push(Digest(match start {
                0 => *hasher.finalize().as_bytes(),
                _ => hasher.finalize_non_root(),
            }));
        }
        Ok(Hashed {
            blocks: self.digests,
            length: position,
        })
    }

    fn hash(&mut self, file: &File, range: Range<u64>) -> io::Result<Hasher> {
        if self.is_ours
            && let Some(hasher) = hash_in_place(file, &range)
        {
            return Ok(hasher);
        }
        let mut hasher = hasher_at(range.start);
        let mut position = range.start;
        while position < range.end {
            let left = usize::try_from(range.end - position).unwrap_or(PIECE);
            let wanted = left.min(PIECE);
            if self.piece.len() < wanted {
                self.piece.resize(wanted, 0);
            }
            let piece = self.piece.get_mut(..wanted).unwrap_or_default();
            file.read_exact_at(piece, position)?;
            hasher.update(piece);
            position += u64::try_from(wanted).unwrap_or(0);
        }
        Ok(hasher)
    }
}

/// Without the copy that reading makes: for whole blocks, and where the kernel can; `None` elsewhere. Others' files are read:
/// they may change meanwhile, and what is a hole in one would become memory on a tmpfs.
fn hash_in_place(file: &File, range: &Range<u64>) -> Option<Hasher> {
    if range.end - range.start != BLOCK {
        return None;
    }
    sys::mapped::read(file, range.start, BLOCK_LENGTH, |bytes| {
        let mut hasher = hasher_at(range.start);
        hasher.update(bytes);
        hasher
    })
}

fn hasher_at(start: u64) -> Hasher {
    let mut hasher = Hasher::new();
    hasher.set_input_offset(start);
    hasher
}
