//! Content on its way into a part: collected to whole blocks, each written and then hashed; and the blocks of an earlier
//! try, compared with what they should be.

use protocol::Digest;
use protocol::limits::BLOCK;
use transfer::block_tree::BLOCK_LENGTH;

use crate::ClientError;
use crate::content::read_full;
use crate::offload::{BlockDigests, Offload, new_buffer};
use crate::part_file::PartFile;

/// Whether the part's next block has that digest; if so, it is counted.
pub(crate) fn has_block(
    part: &PartFile,
    blocks: &mut BlockDigests,
    digest: Digest,
) -> Result<bool, ClientError> {
    let index = blocks.count();
    let mut buffer = new_buffer();
    let size = blocks.size();
    let length = usize::try_from(size.saturating_sub(index * BLOCK)).unwrap_or(usize::MAX);
    let wanted = buffer
        .get_mut(..length.min(BLOCK_LENGTH))
        .unwrap_or_default();
    let read = read_full(part.file(), wanted, index * BLOCK)?;
    let is_same = read == wanted.len() && read > 0 && blocks.digest_of(index, wanted) == digest;
    if is_same {
        blocks.push(digest);
    }
    Ok(is_same)
}

/// Content as it comes in: collected to whole blocks, each written and then hashed.
#[derive(Debug)]
pub(crate) struct Intake {
    size: u64,
    /// Blocks written.
    written: u64,
    hashing: Option<Offload<BlockDigests>>,
    buffer: Vec<u8>,
    /// Bytes of the next block that are there.
    filled: usize,
}

impl Intake {
    /// Goes on behind the blocks that are there.
    pub(crate) fn new(size: u64, blocks: BlockDigests) -> Result<Self, ClientError> {
        let written = blocks.count();
        let left = size.saturating_sub(written * BLOCK);
        Ok(Self {
            size,
            written,
            hashing: Some(Offload::start(blocks, left)?),
            buffer: new_buffer(),
            filled: 0,
        })
    }

    /// So many bytes were put into the [`room`](Self::room).
    pub(crate) fn note_filled(&mut self, bytes: usize) {
        self.filled += bytes;
    }

    /// Where the next byte goes.
    pub(crate) fn position(&self) -> u64 {
        let filled = u64::try_from(self.filled).unwrap_or(u64::MAX);
        self.size.min(self.written * BLOCK + filled)
    }

    /// Room for the rest of the block; empty where it is full.
    pub(crate) fn room(&mut self) -> &mut [u8] {
        let block = self.size.saturating_sub(self.written * BLOCK).min(BLOCK);
        let end = usize::try_from(block).unwrap_or(BLOCK_LENGTH);
        self.buffer.get_mut(self.filled..end).unwrap_or_default()
    }

    pub(crate) fn hand_over(&mut self, part: &PartFile, verify: bool) -> Result<(), ClientError> {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.truncate(self.filled);
        let written = part.write(&buffer, self.written * BLOCK);
        if written.is_ok() {
            self.written += 1;
            self.filled = 0;
            if let Some(hashing) = self.hashing.as_mut().filter(|_| verify) {
                buffer = hashing.give(buffer);
            }
        }
        buffer.resize(BLOCK_LENGTH, 0);
        self.buffer = buffer;
        Ok(written?)
    }

    /// Forgets what lies behind `position`, or at least behind the block before it.
    pub(crate) fn go_back(&mut self, position: u64) -> Result<(), ClientError> {
        if position / BLOCK == self.written {
            let filled = usize::try_from(position % BLOCK).unwrap_or(0);
            self.filled = self.filled.min(filled);
            return Ok(());
        }
        let mut blocks = self.settle()?;
        blocks.truncate(position / BLOCK);
        self.written = self.written.min(position / BLOCK);
        self.filled = 0;
        self.put_back(blocks)
    }

    /// Waits until everything is hashed.
    pub(crate) fn settle(&mut self) -> Result<BlockDigests, ClientError> {
        match self.hashing.take() {
            Some(hashing) => Ok(hashing.finish()?),
            None => Ok(BlockDigests::new(self.size)),
        }
    }

    pub(crate) fn put_back(&mut self, blocks: BlockDigests) -> Result<(), ClientError> {
        let left = self.size.saturating_sub(blocks.count() * BLOCK);
        self.hashing = Some(Offload::start(blocks, left)?);
        Ok(())
    }
}
