//! Work on bytes that pass by, on a second thread where it pays: hashing keeps up with the network only beside it.
//! Buffers go over by ownership and come back to be filled again.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};

use protocol::Digest;
use protocol::limits::BLOCK;
use transfer::ContentHasher;
use transfer::block_tree::{BLOCK_LENGTH, block_digest, merge};

/// Contents larger than this are hashed beside the transfer, bytes.
const WORTH_A_THREAD: u64 = 8 * 1024 * 1024;

/// Buffers under way: one is filled while another is worked on, and some wait where one side is slower for a moment.
const BUFFERS: usize = 4;

/// What is done with bytes that pass by in order.
pub(crate) trait Work: Send + 'static {
    fn take(&mut self, bytes: &[u8]);
}

impl Work for ContentHasher {
    fn take(&mut self, bytes: &[u8]) {
        self.update(bytes);
    }
}

/// The digests of a content's blocks, each handed over whole.
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

    /// Forgets all but the first `count` blocks.
    pub(crate) fn truncate(&mut self, count: u64) {
        self.digests
            .truncate(usize::try_from(count).unwrap_or(usize::MAX));
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

impl Work for BlockDigests {
    fn take(&mut self, bytes: &[u8]) {
        let digest = self.digest_of(self.count(), bytes);
        self.push(digest);
    }
}

/// Work that goes on here or on another thread.
#[derive(Debug)]
pub(crate) enum Offload<W> {
    Here(W),
    Beside {
        full: SyncSender<Vec<u8>>,
        empty: Receiver<Vec<u8>>,
        thread: JoinHandle<W>,
    },
}

impl<W: Work> Offload<W> {
    /// Begins, on a thread where `expected` bytes are worth one and there is one to be had.
    pub(crate) fn start(work: W, expected: u64) -> io::Result<Self> {
        if expected <= WORTH_A_THREAD {
            return Ok(Self::Here(work));
        }
        let (full, to_do) = sync_channel::<Vec<u8>>(BUFFERS);
        let (done, empty) = sync_channel(BUFFERS + 1);
        for _ in 1..BUFFERS {
            // Room for every buffer there is: cannot fail.
            drop(done.try_send(new_buffer()));
        }
        let mut work = work;
        let thread = Builder::new().name("hash".to_owned()).spawn(move || {
            for buffer in to_do {
                work.take(&buffer);
                drop(done.try_send(buffer));
            }
            work
        })?;
        Ok(Self::Beside {
            full,
            empty,
            thread,
        })
    }

    /// Hands `buffer` over, and gives another (whose content means nothing) back.
    pub(crate) fn give(&mut self, buffer: Vec<u8>) -> Vec<u8> {
        match self {
            Self::Here(work) => {
                work.take(&buffer);
                buffer
            }
            Self::Beside { full, empty, .. } => {
                // Fails only when the thread has panicked, which `finish` reports.
                drop(full.send(buffer));
                empty.recv().unwrap_or_else(|_| new_buffer())
            }
        }
    }

    /// Waits until everything is worked on.
    pub(crate) fn finish(self) -> io::Result<W> {
        match self {
            Self::Here(work) => Ok(work),
            Self::Beside { full, thread, .. } => {
                drop(full);
                thread
                    .join()
                    .map_err(|_| io::Error::other("the hashing thread failed"))
            }
        }
    }
}

/// A buffer for one block.
pub(crate) fn new_buffer() -> Vec<u8> {
    vec![0; BLOCK_LENGTH]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through<W: Work>(work: W, content: &[u8], expected: u64) -> W {
        let mut offload = Offload::start(work, expected).unwrap();
        let mut buffer = new_buffer();
        for block in content.chunks(BLOCK_LENGTH) {
            buffer.clear();
            buffer.extend_from_slice(block);
            buffer = offload.give(buffer);
        }
        offload.finish().unwrap()
    }

    #[test]
    fn here_and_beside_agree() {
        let content: Vec<u8> = (0..9_500_000_u32).map(|n| (n % 251) as u8).collect();
        let expected = Digest(*blake3::hash(&content).as_bytes());
        for size in [0, u64::MAX] {
            let hasher = through(ContentHasher::new(), &content, size);
            assert_eq!(hasher.finalize(), expected);
            let blocks = through(BlockDigests::new(9_500_000), &content, size);
            assert_eq!(blocks.whole(), Some(expected));
        }
    }

    #[test]
    fn a_missing_block_leaves_no_whole() {
        let mut blocks = BlockDigests::new(2 * BLOCK + 1);
        blocks.take(&[1; BLOCK_LENGTH]);
        assert_eq!(blocks.whole(), None);
    }
}
