//! The digests of a file's blocks, computed behind whoever writes or sends it: what has passed is read back from the
//! kernel's cache, beside the transfer where that is worth a thread. So content moves past our memory and is hashed all the
//! same, as it stands in the file. Content that went through our memory all the same, since it was encrypted, is handed over
//! instead: that thread writes it, and hashes it while it has it at hand.

mod blocks;
mod buffers;
mod unwritten;

use std::fs::File;
use std::io;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{Builder, JoinHandle};

use blocks::{Blocks, closed_blocks};
use buffers::Buffers;
pub(crate) use unwritten::Unwritten;

use crate::block_tree::Hashed;

/// Below this a thread costs more than it saves, bytes.
const WORTH_A_THREAD: u64 = 4 * 1024 * 1024;

/// The hashing thread's.
const STACK: usize = 128 * 1024;

/// Steps that hashing may be behind; then the transfer waits for it.
const MOST_BEHIND: usize = 64;

/// Hashes one file from its beginning on. Once this is gone nobody writes to the file any more.
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
    Beside(Beside),
}

/// The thread, and the way there and back.
#[derive(Debug)]
struct Beside {
    /// `None` once nothing more will come.
    steps: Option<SyncSender<Step>>,
    buffers: Buffers,
    /// `None` once it has ended.
    thread: Option<JoinHandle<io::Result<Blocks>>>,
}

/// The file has come so far, once what came with it is written.
#[derive(Debug)]
struct Step {
    position: u64,
    unwritten: Option<Unwritten>,
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

    /// As [`Self::advance`], with content that is to be written first, in a buffer that was [borrowed](Self::borrow). What is
    /// behind `position` is only written.
    ///
    /// # Errors
    /// What reading or writing the file says, sooner or later.
    pub(crate) fn advance_with(
        &mut self,
        file: &File,
        position: u64,
        unwritten: Option<Unwritten>,
    ) -> io::Result<()> {
        if let Lane::Here(blocks) = &mut self.lane {
            if self.expected.saturating_sub(blocks.length()) < WORTH_A_THREAD {
                return blocks.hash_up_to(file, position);
            }
            let blocks = std::mem::take(blocks);
            self.lane = Lane::Beside(Beside::start(file, blocks)?);
        }
        match &mut self.lane {
            Lane::Beside(beside) => beside.pass(Step {
                position,
                unwritten,
            }),
            Lane::Off | Lane::Here(_) => Ok(()),
        }
    }

    /// An empty buffer for what is received next, as soon as there is one; `None` where whoever receives it has to write it,
    /// behind which nothing waits to be written.
    pub(crate) fn borrow(&mut self) -> Option<Vec<u8>> {
        match &mut self.lane {
            Lane::Beside(beside) => beside.buffers.borrow(),
            Lane::Off | Lane::Here(_) => None,
        }
    }

    /// Waits until the first `position` bytes of `file` are hashed; `None` where nothing is.
    ///
    /// # Errors
    /// What reading or writing the file says; [`io::ErrorKind::UnexpectedEof`] where it is shorter.
    pub fn finish(self, file: &File, position: u64) -> io::Result<Option<Hashed>> {
        let blocks = match self.lane {
            Lane::Off => return Ok(None),
            Lane::Here(blocks) => blocks,
            Lane::Beside(mut beside) => beside.join()?,
        };
        blocks.finish(file, position).map(Some)
    }
}

impl Beside {
    fn start(file: &File, mut blocks: Blocks) -> io::Result<Self> {
        let file = file.try_clone()?;
        let (steps, coming): (_, Receiver<Step>) = sync_channel(MOST_BEHIND);
        let (back, returned): (Sender<Vec<u8>>, _) = channel();
        let work = move || {
            for step in coming {
                if let Some(unwritten) = step.unwritten {
                    blocks.write(&file, &unwritten, step.position)?;
                    back.send(unwritten.into_room()).unwrap_or_default(); // fails only where nobody borrows any more
                }
                blocks.hash_up_to(&file, step.position)?;
            }
            Ok(blocks)
        };
        let builder = Builder::new().name("hash".to_owned());
        Ok(Self {
            steps: Some(steps),
            buffers: Buffers::new(returned),
            thread: Some(builder.stack_size(STACK).spawn(work)?),
        })
    }

    fn pass(&mut self, step: Step) -> io::Result<()> {
        let steps = self.steps.as_ref();
        if steps.is_some_and(|steps| steps.send(step).is_ok()) {
            return Ok(());
        }
        // It has ended before its time.
        self.join().and_then(|_| Err(broken()))
    }

    /// Waits until all steps are done.
    fn join(&mut self) -> io::Result<Blocks> {
        self.steps = None;
        let ended = self.thread.take().map(JoinHandle::join);
        ended.and_then(Result::ok).unwrap_or_else(|| Err(broken()))
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        // What could not be written is missed by whoever goes on with the file, as it is behind a cut.
        let _result = self.join();
    }
}

fn broken() -> io::Error {
    io::Error::other("the hashing thread broke")
}

#[cfg(test)]
mod tests;
