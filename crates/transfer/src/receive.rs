//! Content from a peer's data frames into a file, hashed on the way; one engine for downloads and uploads.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;

use protocol::{Connection, ConnectionError};

use crate::block_tree::Hashed;
use crate::hash_behind::{HashBehind, Unwritten};
use crate::pipe::Pipe;
use crate::wire::retrying;
use crate::{TransferError, Wire};

/// What is copied at once where content goes through our memory, bytes.
const BUFFER: usize = 256 * 1024;

/// Below this a pipe costs more than it saves, bytes.
const WORTH_A_PIPE: u64 = 512 * 1024;

/// Writes content behind what a file holds already, and hashes it. Always the same file.
///
/// What was taken is hashed only once it is confirmed: the last data frame before an error may be padding. Content that passes
/// through memory may be written only then, too, on the hashing thread: until [`Self::finish`], or [`Self::leave`], the file is
/// up to nine blocks behind.
#[derive(Debug)]
pub struct Receiver {
    position: u64,
    expected: u64,
    way: Way,
    buffer: Vec<u8>,
    /// What came through our memory since the last confirmation, where the hashing thread writes.
    unwritten: Option<Unwritten>,
    hashing: HashBehind,
}

/// How content gets from the socket into the file.
#[derive(Debug)]
enum Way {
    /// Not tried yet.
    Unknown,
    /// By splice(2): one copy in the kernel.
    Pipe(Pipe),
    /// Through the buffer: two copies, on every file system and stream.
    Buffer,
}

impl Receiver {
    /// Goes on behind the bytes that `hashed` covers. `expected` is the length of the whole in bytes, as far as it is known,
    /// and decides only how the work is laid out.
    #[must_use]
    pub fn new(hashed: Hashed, expected: u64) -> Self {
        let position = hashed.length;
        Self::with(position, expected, HashBehind::of_own(hashed, expected))
    }

    /// Goes on at `position` without hashing anything: then [`Self::finish`] has nothing to give.
    #[must_use]
    pub fn unverified(position: u64, expected: u64) -> Self {
        Self::with(position, expected, HashBehind::off())
    }

    fn with(position: u64, expected: u64, hashing: HashBehind) -> Self {
        let way = match expected.saturating_sub(position) {
            WORTH_A_PIPE.. => Way::Unknown,
            _ => Way::Buffer,
        };
        Self {
            position,
            expected,
            way,
            buffer: Vec::new(),
            unwritten: None,
            hashing,
        }
    }

    /// Bytes of the whole that are there so far.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Bytes that are still to come, as far as it is known.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.expected.saturating_sub(self.position)
    }

    /// Takes the next bytes of the current data frame, `most` of them or fewer, into `file`; how many, 0 where the frame ends.
    ///
    /// # Errors
    /// [`TransferError::Local`] when the file takes no more: some of the frame is then lost, the rest still unread.
    /// [`TransferError::Peer`] when the frame does not come whole.
    pub fn take<W: Wire>(
        &mut self,
        connection: &mut Connection<W>,
        file: &File,
        most: usize,
    ) -> Result<usize, TransferError> {
        let wanted = connection.data_left().min(most);
        if wanted == 0 {
            return Ok(0);
        }
        if let Way::Unknown = self.way {
            self.way = Pipe::new().map_or(Way::Buffer, Way::Pipe);
        }
        let taken = match &self.way {
            Way::Pipe(pipe) if connection.buffered_data() == 0 => {
                let through_pipe = splice(connection, pipe, (file, self.position), wanted);
                match through_pipe {
                    Err(TransferError::Peer(error)) if is_unsupported(&error) => {
                        self.way = Way::Buffer;
                        self.copy(connection, file, wanted)
                    }
                    Err(error @ TransferError::Local(_)) => {
                        // Content is stuck in the pipe.
                        self.way = Way::Buffer;
                        Err(error)
                    }
                    taken => taken,
                }
            }
            _ => self.copy(connection, file, wanted),
        }?;
        self.position += u64::try_from(taken).unwrap_or(0);
        Ok(taken)
    }

    fn copy<W: Wire>(
        &mut self,
        connection: &mut Connection<W>,
        file: &File,
        wanted: usize,
    ) -> Result<usize, TransferError> {
        // Behind what the connection holds already, the rest may go through the pipe.
        let at_once = match self.way {
            Way::Pipe(_) => connection.buffered_data(),
            _ => BUFFER,
        };
        let wanted = wanted.min(at_once);
        match &mut self.unwritten {
            Some(unwritten) => {
                fill(connection, unwritten.room_for(wanted))?;
                unwritten.add(wanted);
            }
            None => {
                self.buffer.resize(wanted, 0);
                fill(connection, &mut self.buffer)?;
                file.write_all_at(&self.buffer, self.position)
                    .map_err(TransferError::Local)?;
            }
        }
        Ok(wanted)
    }

    /// What was taken so far is content, as the frame behind it shows: it may be hashed, and is written.
    ///
    /// # Errors
    /// What writing the file, or reading it back, says, about this or earlier content.
    pub fn confirm(&mut self, file: &File) -> io::Result<()> {
        let unwritten = self.unwritten.take_if(|unwritten| !unwritten.is_empty());
        self.hashing.advance_with(file, self.position, unwritten)?;
        if matches!(self.way, Way::Buffer) && self.unwritten.is_none() {
            let start = self.position;
            let buffer = self.hashing.borrow()?;
            self.unwritten = buffer.map(|room| Unwritten::new(start, room));
        }
        Ok(())
    }

    /// Forgets what was taken behind `position`, all of which is not confirmed.
    pub fn go_back(&mut self, position: u64) {
        self.position = self.position.min(position);
        if let Some(unwritten) = &mut self.unwritten {
            unwritten.cut(position);
        }
    }

    /// Ends before everything has come: waits until the file holds what was taken, confirmed or not, for whoever goes on.
    ///
    /// # Errors
    /// What writing the file says; it holds less then.
    pub fn leave(mut self, file: &File) -> io::Result<()> {
        if let Some(unwritten) = self.unwritten.take() {
            self.hashing.advance_with(file, 0, Some(unwritten))?;
        }
        self.hashing.give_up()
    }

    /// Waits until everything that was taken is written and hashed; `None` from an unverified receiver.
    ///
    /// # Errors
    /// What writing the file, or reading it back, says.
    pub fn finish(mut self, file: &File) -> io::Result<Option<Hashed>> {
        if let Some(unwritten) = self.unwritten.take() {
            self.hashing
                .advance_with(file, self.position, Some(unwritten))?;
        }
        self.hashing.finish(file, self.position)
    }
}

/// One turn through the pipe.
fn splice<W: Wire>(
    connection: &mut Connection<W>,
    pipe: &Pipe,
    (file, offset): (&File, u64),
    wanted: usize,
) -> Result<usize, TransferError> {
    let taken = connection.pull_data(wanted, |wire, most| {
        retrying(|| wire.splice_into(pipe.entrance(), most))
    })?;
    pipe.drain(file, offset, taken)
        .map_err(TransferError::Local)?;
    Ok(taken)
}

/// Nothing was taken: this wire has no way past our memory.
fn is_unsupported(error: &ConnectionError) -> bool {
    matches!(error, ConnectionError::Io(error) if error.kind() == io::ErrorKind::Unsupported)
}

fn fill<S: Read + Write>(
    connection: &mut Connection<S>,
    buffer: &mut [u8],
) -> Result<(), TransferError> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        filled += connection.read_data(rest)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
