//! The digests of a file's blocks, computed behind whoever writes or sends it: what has passed is read back from the
//! kernel's cache, beside the transfer where that is worth a thread. So content moves past our memory and is hashed all the
//! same, as it stands in the file. Content that went through our memory all the same, since it was encrypted, may be handed
//! over instead: then it is not read a second time.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{Builder, JoinHandle};

use blake3::Hasher;
use blake3::hazmat::HasherExt;
use protocol::Digest;
use protocol::limits::BLOCK;

use crate::block_tree::Hashed;

/// Below this a thread costs more than it saves, bytes.
const WORTH_A_THREAD: u64 = 4 * 1024 * 1024;

/// What is read at once, bytes: it stays in a core's own cache until it is hashed.
const PIECE: usize = 128 * 1024;

/// The hashing thread's.
const STACK: usize = 128 * 1024;

/// Steps that hashing may be behind; then the transfer waits for it.
const MOST_BEHIND: usize = 64;

/// Content in memory that is not hashed yet, at most, in pieces of a block each; what is beyond is read back.
const MOST_RECENT: usize = 4;

/// Content that was written to the file and is still in memory.
#[derive(Debug)]
pub(crate) struct Recent {
    /// Where it stands in the file.
    start: u64,
    /// Filled with zeros once, and then used again and again.
    room: Vec<u8>,
    length: usize,
}

/// Hashes one file from its beginning on.
#[derive(Debug)]
pub struct HashBehind {
    /// Bytes that will be hashed in all, as far as it is known.
    expected: u64,
    lane: Lane,
}

#[derive(Debug)]
enum Lane {
    Off,
    Here(Blocks),
    Beside {
        passed: SyncSender<Step>,
        /// Buffers that come back.
        spare: Receiver<Vec<u8>>,
        /// How many there are.
        buffers: usize,
        thread: JoinHandle<io::Result<Blocks>>,
    },
}

/// The file has come so far, and what of it is at hand.
#[derive(Debug)]
struct Step {
    position: u64,
    recent: Option<Recent>,
}

/// Digests of blocks that are known not to be the last one.
#[derive(Debug)]
struct Blocks {
    digests: Vec<Digest>,
    /// On the heap, for as long as the transfer takes: what a session's stack once touched would stay resident.
    piece: Vec<u8>,
}

impl HashBehind {
    /// Goes on behind what `hashed` covers. `expected` is the length of the whole in bytes, as far as it is known, and decides
    /// only how the work is laid out.
    #[must_use]
    pub fn new(hashed: Hashed, expected: u64) -> Self {
        let mut digests = hashed.blocks;
        digests.truncate(closed_blocks(hashed.length));
        Self {
            expected,
            lane: Lane::Here(Blocks::behind(digests)),
        }
    }

    /// Hashes nothing.
    #[must_use]
    pub fn off() -> Self {
        Self {
            expected: 0,
            lane: Lane::Off,
        }
    }

    /// The first `position` bytes of `file`, always the same one, have passed and will not change.
    ///
    /// # Errors
    /// What reading the file says, sooner or later: otherwise [`Self::finish`] reports it.
    pub fn advance(&mut self, file: &File, position: u64) -> io::Result<()> {
        self.advance_with(file, position, None)
    }

    /// As [`Self::advance`], with content before `position` in a buffer that was [borrowed](Self::borrow).
    pub(crate) fn advance_with(
        &mut self,
        file: &File,
        position: u64,
        recent: Option<Recent>,
    ) -> io::Result<()> {
        if let Lane::Here(blocks) = &mut self.lane {
            if self.expected.saturating_sub(blocks.length()) < WORTH_A_THREAD {
                return blocks.hash_up_to(file, position);
            }
            let digests = std::mem::take(&mut blocks.digests);
            self.lane = beside(file, Blocks::behind(digests))?;
        }
        if let Lane::Beside { passed, .. } = &self.lane {
            // Fails only where the thread has ended, which `finish` reports.
            passed.send(Step { position, recent }).unwrap_or_default();
        }
        Ok(())
    }

    /// An empty buffer for what is received next; `None` where there is none, or nothing would be gained.
    pub(crate) fn borrow(&mut self) -> Option<Vec<u8>> {
        let Lane::Beside { spare, buffers, .. } = &mut self.lane else {
            return None;
        };
        if let Ok(buffer) = spare.try_recv() {
            return Some(buffer);
        }
        let is_new = *buffers < MOST_RECENT;
        is_new.then(|| {
            *buffers += 1;
            Vec::new()
        })
    }

    /// Waits until the first `position` bytes of `file` are hashed; `None` where nothing is.
    ///
    /// # Errors
    /// What reading the file says; [`io::ErrorKind::UnexpectedEof`] where it is shorter.
    pub fn finish(self, file: &File, position: u64) -> io::Result<Option<Hashed>> {
        let blocks = match self.lane {
            Lane::Off => return Ok(None),
            Lane::Here(blocks) => blocks,
            Lane::Beside { passed, thread, .. } => {
                drop(passed);
                thread
                    .join()
                    .map_err(|_| io::Error::other("the hashing thread broke"))??
            }
        };
        blocks.finish(file, position).map(Some)
    }
}

/// Blocks of that many bytes behind which there is another byte: none of them is the only one.
fn closed_blocks(length: u64) -> usize {
    let closed = length.saturating_sub(1) / BLOCK;
    usize::try_from(closed).unwrap_or(usize::MAX)
}

fn beside(file: &File, mut blocks: Blocks) -> io::Result<Lane> {
    let file = file.try_clone()?;
    let (passed, passing): (_, Receiver<Step>) = sync_channel(MOST_BEHIND);
    let (back, spare) = channel();
    let hash = move || {
        let mut recent = VecDeque::new();
        for step in passing {
            recent.extend(step.recent);
            blocks.hash_with(&file, step.position, &recent)?;
            give_back(&mut recent, blocks.length(), &back);
        }
        Ok(blocks)
    };
    let builder = Builder::new().name("hash".to_owned());
    let thread = builder.stack_size(STACK).spawn(hash)?;
    Ok(Lane::Beside {
        passed,
        spare,
        buffers: 0,
        thread,
    })
}

/// Gives back the buffers that hold nothing behind `hashed`.
fn give_back(recent: &mut VecDeque<Recent>, hashed: u64, back: &Sender<Vec<u8>>) {
    while recent.front().is_some_and(|recent| recent.end() <= hashed) {
        if let Some(done) = recent.pop_front() {
            back.send(done.room).unwrap_or_default(); // fails only where nobody borrows any more
        }
    }
}

impl Recent {
    /// Nothing yet of what stands at `start`, to be held in `room`.
    pub(crate) fn new(start: u64, room: Vec<u8>) -> Self {
        Self {
            start,
            room,
            length: 0,
        }
    }

    pub(crate) fn length(&self) -> usize {
        self.length
    }

    /// A place for the next `wanted` bytes, which counts once they are [added](Self::add).
    pub(crate) fn room_for(&mut self, wanted: usize) -> &mut [u8] {
        let end = self.length.saturating_add(wanted);
        if self.room.len() < end {
            self.room.resize(end, 0);
        }
        self.room.get_mut(self.length..end).unwrap_or_default()
    }

    pub(crate) fn add(&mut self, filled: usize) {
        self.length = self.length.saturating_add(filled).min(self.room.len());
    }

    /// Where in the file it ends.
    pub(crate) fn end(&self) -> u64 {
        let length = u64::try_from(self.length).unwrap_or(u64::MAX);
        self.start.saturating_add(length)
    }

    /// The bytes of a block that begins at `start`, if all of it is here.
    fn block(&self, start: u64) -> Option<&[u8]> {
        let from = usize::try_from(start.checked_sub(self.start)?).ok()?;
        let length = usize::try_from(BLOCK).ok()?;
        let held = self.room.get(..self.length)?;
        held.get(from..from.checked_add(length)?)
    }
}

impl Blocks {
    fn behind(digests: Vec<Digest>) -> Self {
        Self {
            digests,
            piece: Vec::new(),
        }
    }

    /// Where the first block begins that is not hashed yet.
    fn length(&self) -> u64 {
        u64::try_from(self.digests.len()).unwrap_or(u64::MAX) * BLOCK
    }

    fn hash_up_to(&mut self, file: &File, position: u64) -> io::Result<()> {
        self.hash_with(file, position, &VecDeque::new())
    }

    /// Takes from `recent` what is there, the rest from the file.
    fn hash_with(
        &mut self,
        file: &File,
        position: u64,
        recent: &VecDeque<Recent>,
    ) -> io::Result<()> {
        while self.digests.len() < closed_blocks(position) {
            let start = self.length();
            let hasher = match recent.iter().find_map(|recent| recent.block(start)) {
                Some(bytes) => hash_bytes(start, bytes),
                None => self.hash(file, start..start + BLOCK)?,
            };
            self.digests.push(Digest(hasher.finalize_non_root()));
        }
        Ok(())
    }

    /// Hashes the block at the end too, which is the only one where no other is closed.
    fn finish(mut self, file: &File, position: u64) -> io::Result<Hashed> {
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
        let mut hasher = Hasher::new();
        hasher.set_input_offset(range.start);
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

fn hash_bytes(start: u64, bytes: &[u8]) -> Hasher {
    let mut hasher = Hasher::new();
    hasher.set_input_offset(start);
    hasher.update(bytes);
    hasher
}

#[cfg(test)]
mod tests;
