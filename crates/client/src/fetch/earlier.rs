//! What an earlier try has left in a part, compared block by block with what a slave has.

use protocol::limits::BLOCK;
use protocol::{Digest, Reply, Request};
use transfer::Hashed;
use transfer::block_tree::{BLOCK_LENGTH, block_count};

use crate::ClientError;
use crate::block_digests::BlockDigests;
use crate::content::{new_buffer, read_full};
use crate::context::Context;
use crate::fault::{Attempt, Fault};
use crate::part_file::PartFile;
use crate::session::Session;
use crate::trailer::Trailer;

/// Block digests asked for at once: 32 MiB of content.
const BLOCKS_AT_ONCE: u32 = 32;

#[derive(Debug)]
pub(super) struct Earlier {
    trailer: Trailer,
    /// Those that are known to be right.
    blocks: BlockDigests,
}

impl Earlier {
    /// None of it is compared yet.
    pub(super) fn new(trailer: Trailer) -> Self {
        Self {
            blocks: BlockDigests::new(trailer.size),
            trailer,
        }
    }

    /// Compares up to the first block that differs, or is not there.
    pub(super) fn compare(
        &mut self,
        context: &Context,
        part: &PartFile,
        session: &mut Session,
    ) -> Attempt<()> {
        while self.blocks.count() < block_count(self.trailer.size) {
            let before = self.blocks.count();
            let is_same = self.compare_next(context, part, session)?;
            session.mark_progress();
            if !is_same || self.blocks.count() < before + u64::from(BLOCKS_AT_ONCE) {
                break;
            }
        }
        Ok(())
    }

    /// What it belongs to, and what of it is right.
    pub(super) fn into_parts(self) -> (Trailer, Hashed) {
        (self.trailer, self.blocks.hashed())
    }

    fn compare_next(
        &mut self,
        context: &Context,
        part: &PartFile,
        session: &mut Session,
    ) -> Attempt<bool> {
        let number = session.request(&Request::Blocks {
            path: self.trailer.remote.clone(),
            expected: self.trailer.version.clone(),
            first: self.blocks.count(),
            count: BLOCKS_AT_ONCE,
        });
        session.flush()?;
        let mut is_same = true;
        loop {
            let Reply::Blocks { digests, more, .. } = session.answer(number)? else {
                return Err(Fault::nonsense("an answer to something else"));
            };
            for digest in digests {
                context.check()?;
                is_same = is_same && has_block(part, &mut self.blocks, digest)?;
            }
            if !more {
                return Ok(is_same);
            }
        }
    }
}

/// Whether the part's next block has that digest; if so, it is counted.
fn has_block(
    part: &PartFile,
    blocks: &mut BlockDigests,
    digest: Digest,
) -> Result<bool, ClientError> {
    let index = blocks.count();
    let mut buffer = new_buffer();
    let left = blocks.size().saturating_sub(index * BLOCK);
    let length = usize::try_from(left).unwrap_or(usize::MAX);
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
