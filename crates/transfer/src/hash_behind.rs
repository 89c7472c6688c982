//! The digests of a file's blocks, computed behind whoever writes or sends it: what has passed is read back from the
//! kernel's cache, or hashed there in a file that is ours, beside the transfer where that is worth a thread. So content moves
//! past our memory and is hashed all the same, as it stands in the file. Content that went through our memory after all, since
//! it was encrypted, is handed over instead: that thread writes it, and hashes it while it has it at hand.

mod blocks;
mod buffers;
mod unwritten;

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvError, Sender, SyncSender, channel, sync_channel};
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
    /// Whether nobody will ask for the digests: what is to be written still is.
    is_given_up: Arc<AtomicBool>,
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
        Self::behind(hashed, expected, false)
    }

    /// As [`Self::new`], for a file that nobody but us writes to.
    pub(crate) fn of_own(hashed: Hashed, expected: u64) -> Self {
        Self::behind(hashed, expected, true)
    }

    fn behind(hashed: Hashed, expected: u64, is_ours: bool) -> Self {
        let mut digests = hashed.blocks;
        digests.truncate(closed_blocks(hashed.length));
        Self {
            expected,
            lane: Lane::Here(Blocks::behind(digests, is_ours)),
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
        if let Lane::Here(blocks) = &self.lane
            && self.expected.saturating_sub(blocks.length()) >= WORTH_A_THREAD
        {
            match Beside::start(file, blocks.clone()) {
                Ok(beside) => self.lane = Lane::Beside(beside),
                // Where the system has no thread left this one does it.
                Err(_) => self.expected = 0,
            }
        }
        match &mut self.lane {
            Lane::Off => Ok(()),
            Lane::Here(blocks) => {
                if let Some(unwritten) = unwritten {
                    blocks.write(file, &unwritten, position)?;
                }
                blocks.hash_up_to(file, position)
            }
            Lane::Beside(beside) => beside.pass(Step {
                position,
                unwritten,
            }),
        }
    }

    /// An empty buffer for what is received next, as soon as there is one; `None` where whoever receives it has to write it,
    /// behind which nothing waits to be written.
    ///
    /// # Errors
    /// As [`Self::advance_with`].
    pub(crate) fn borrow(&mut self) -> io::Result<Option<Vec<u8>>> {
        match &mut self.lane {
            Lane::Off | Lane::Here(_) => Ok(None),
            Lane::Beside(beside) => match beside.buffers.borrow() {
                Ok(buffer) => Ok(buffer),
                Err(RecvError) => Err(beside.ended_early()),
            },
        }
    }

    /// Waits until what was handed over is written; nothing more is hashed.
    ///
    /// # Errors
    /// What writing the file says.
    pub(crate) fn give_up(self) -> io::Result<()> {
        match self.lane {
            Lane::Off | Lane::Here(_) => Ok(()),
            Lane::Beside(mut beside) => beside.give_up(),
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
        let is_given_up = Arc::new(AtomicBool::new(false));
        let given_up = Arc::clone(&is_given_up);
        let work = move || {
            for step in coming {
                let is_wanted = || !given_up.load(Relaxed);
                if let Some(unwritten) = step.unwritten {
                    let confirmed = if is_wanted() { step.position } else { 0 };
                    blocks.write(&file, &unwritten, confirmed)?;
                    back.send(unwritten.into_room()).unwrap_or_default(); // fails only where nobody borrows any more
                }
                while is_wanted() && blocks.hash_next(&file, step.position)? {}
            }
            Ok(blocks)
        };
        let builder = Builder::new().name("hash".to_owned());
        Ok(Self {
            steps: Some(steps),
            buffers: Buffers::new(returned),
            is_given_up,
            thread: Some(builder.stack_size(STACK).spawn(work)?),
        })
    }

    fn pass(&mut self, step: Step) -> io::Result<()> {
        let steps = self.steps.as_ref();
        if steps.is_some_and(|steps| steps.send(step).is_ok()) {
            return Ok(());
        }
        Err(self.ended_early())
    }

    /// Why it takes no more steps.
    fn ended_early(&mut self) -> io::Error {
        self.join().err().unwrap_or_else(broken)
    }

    /// Waits until all steps are done.
    fn join(&mut self) -> io::Result<Blocks> {
        self.steps = None;
        let ended = self.thread.take().map(JoinHandle::join);
        ended.and_then(Result::ok).unwrap_or_else(|| Err(broken()))
    }

    fn give_up(&mut self) -> io::Result<()> {
        self.is_given_up.store(true, Relaxed);
        self.join().map(|_| ())
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        // What could not be written is missed by whoever goes on with the file, as it is behind a cut.
        self.give_up().unwrap_or_default();
    }
}

fn broken() -> io::Error {
    io::Error::other("the hashing thread broke")
}

#[cfg(test)]
mod tests;
