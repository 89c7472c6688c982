//! Frames over any stream: the one place that owns the bytes; everyone else sees messages.

mod unframed;
mod upcoming;

use std::io::{self, Read, Write};

use crate::frame::{DATA, Header, KEEP_ALIVE};
use crate::{ClientPreface, ConnectionError, DecodeError, MAGIC, Message};

/// Room for small frames that arrive together; larger payloads are read past it.
const INPUT_BUFFER: usize = 8 * 1024;

/// The same for a connection over which many small contents come.
const LARGE_INPUT_BUFFER: usize = 64 * 1024;

/// What the buffer of collected frames keeps from one flush to the next, at most; none of it while the connection rests.
const KEPT_CAPACITY: usize = 256 * 1024;

/// Frames over a stream. Answers and requests are collected until [`Self::flush`]; content is read and written past the
/// buffers. Deadlines are the stream's: a timed-out read is an [`ConnectionError::Io`].
#[derive(Debug)]
pub struct Connection<S> {
    stream: S,
    /// What was read lies between `start` and `end`.
    input: Vec<u8>,
    start: usize,
    end: usize,
    /// Most bytes that are read ahead at once.
    room: usize,
    payload: Vec<u8>,
    data_left: usize,
    /// Large data frames come one after another: nothing is read ahead, so that content need not pass the input buffer.
    is_bulk: bool,
    output: Vec<u8>,
}

impl<S: Read + Write> Connection<S> {
    /// Frames over `stream`, behind greeting and preface or before them.
    #[must_use]
    pub fn new(stream: S) -> Self {
        Self {
            stream,
            input: Vec::new(),
            start: 0,
            end: 0,
            room: INPUT_BUFFER,
            payload: Vec::new(),
            data_left: 0,
            is_bulk: false,
            output: Vec::new(),
        }
    }

    /// Reads more at once from now on: for many small contents.
    pub fn read_far_ahead(&mut self) {
        self.room = LARGE_INPUT_BUFFER;
    }

    /// The next frame's header, keep-alives included. Bytes of a data frame that were not read are skipped first. `None`
    /// where the stream ends between two frames.
    ///
    /// # Errors
    /// [`ConnectionError::Closed`] where it ends inside a frame, [`ConnectionError::Decode`] for whatever is no frame,
    /// [`ConnectionError::Io`].
    pub fn receive(&mut self) -> Result<Option<Header>, ConnectionError> {
        self.skip_data()?;
        if self.buffered() == 0 && self.fill()? == 0 {
            return Ok(None);
        }
        let mut bytes = [0; Header::LENGTH];
        self.read_exact(&mut bytes)?;
        let header = Header::decode(&bytes)?;
        let length = usize::try_from(header.length).map_err(|_| DecodeError::Truncated)?;
        self.is_bulk = header.kind == DATA && length > INPUT_BUFFER;
        if header.kind == DATA {
            self.data_left = length;
        } else {
            let mut payload = std::mem::take(&mut self.payload);
            payload.resize(length, 0);
            self.read_exact(&mut payload)?;
            header.verify(&bytes, &payload)?;
            self.payload = payload;
        }
        Ok(Some(header))
    }

    /// The next frame's header that is no keep-alive.
    ///
    /// # Errors
    /// As [`Self::receive`], and [`ConnectionError::Closed`] where the stream ends.
    pub fn receive_answer(&mut self) -> Result<Header, ConnectionError> {
        loop {
            match self.receive()? {
                Some(header) if header.kind == KEEP_ALIVE => {}
                Some(header) => return Ok(header),
                None => return Err(ConnectionError::Closed),
            }
        }
    }

    /// The message that the control frame behind `header` carries.
    ///
    /// # Errors
    /// As [`Message::decode`].
    pub fn decode<M: Message>(&self, header: &Header) -> Result<M, DecodeError> {
        M::decode(header.kind, &self.payload)
    }

    /// Bytes of the current data frame that are not read yet.
    #[must_use]
    pub fn data_left(&self) -> usize {
        self.data_left
    }

    /// Drops what is left of the current data frame.
    ///
    /// # Errors
    /// Those of [`Self::read_data`].
    pub fn skip_data(&mut self) -> Result<(), ConnectionError> {
        let buffered = self.buffered_data();
        self.start += buffered;
        self.data_left -= buffered;
        match self.data_left {
            0 => Ok(()),
            _ => self.skip_stream(),
        }
    }

    /// Reads content of the current data frame into `bytes`; 0 where the frame ends.
    ///
    /// # Errors
    /// [`ConnectionError::Closed`] where the stream ends inside the frame, [`ConnectionError::Io`].
    pub fn read_data(&mut self, bytes: &mut [u8]) -> Result<usize, ConnectionError> {
        let wanted = bytes.len().min(self.data_left);
        let Some(bytes) = bytes.get_mut(..wanted).filter(|bytes| !bytes.is_empty()) else {
            return Ok(0);
        };
        let read = match self.take_buffered(bytes) {
            0 => self.read_stream(bytes)?,
            buffered => buffered,
        };
        self.data_left -= read;
        Ok(read)
    }

    /// How many of [`Self::data_left`] have been read from the stream already.
    #[must_use]
    pub fn buffered_data(&self) -> usize {
        self.buffered().min(self.data_left)
    }

    /// Has `pull` take content of the current data frame, at most that many bytes, straight from the stream, none of it being
    /// [buffered](Self::buffered_data); how many it took, as it says, 0 only where the frame ends.
    ///
    /// # Errors
    /// [`ConnectionError::Closed`] where it found the end of the stream, or what it says.
    pub fn pull_data(
        &mut self,
        most: usize,
        pull: impl FnOnce(&mut S, usize) -> io::Result<usize>,
    ) -> Result<usize, ConnectionError> {
        let wanted = most.min(self.data_left);
        if wanted == 0 || self.buffered() > 0 {
            return Ok(0);
        }
        match pull(&mut self.stream, wanted)?.min(wanted) {
            0 => Err(ConnectionError::Closed),
            pulled => {
                self.data_left -= pulled;
                Ok(pulled)
            }
        }
    }

    /// Has `read` look once for what has arrived, where nothing is buffered; how much there is now, 0 at the end of the stream.
    ///
    /// # Errors
    /// What `read` says.
    pub fn read_ahead(
        &mut self,
        read: impl FnOnce(&mut S, &mut [u8]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        if self.buffered() == 0 {
            let room = match self.is_bulk {
                true => Header::LENGTH,
                false => self.room,
            };
            if self.input.len() < room {
                self.input.resize(room, 0);
            }
            (self.start, self.end) = (0, 0);
            let place = self.input.get_mut(..room).unwrap_or_default();
            self.end = read(&mut self.stream, place)?;
        }
        Ok(self.buffered())
    }

    /// Whether bytes of a further frame have arrived already.
    #[must_use]
    pub fn has_input(&self) -> bool {
        self.buffered() > self.data_left
    }

    /// Bytes that have arrived and were not read yet.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.end - self.start
    }

    /// Appends a message to what the next [`Self::flush`] sends.
    pub fn send(&mut self, request: u32, message: &impl Message) {
        let start = self.output.len();
        self.output.extend_from_slice(&[0; Header::LENGTH]);
        message.encode(&mut self.output);
        let (head, payload) = self.output.split_at_mut(start + Header::LENGTH);
        let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        let header = Header {
            length,
            request,
            kind: message.kind(),
        }
        .encode(payload);
        if let Some(place) = head.get_mut(start..) {
            place.copy_from_slice(&header);
        }
    }

    /// Appends a data frame to what the next [`Self::flush`] sends: for content small enough to travel with its neighbours.
    pub fn send_data(&mut self, request: u32, content: &[u8]) {
        let length = u32::try_from(content.len()).unwrap_or(u32::MAX);
        self.output
            .extend_from_slice(&Header::data(request, length));
        self.output.extend_from_slice(content);
    }

    /// Appends a data frame of `length` bytes, none where that is 0, which `fill` provides; where it fails, everything behind
    /// the first `kept` of the [unsent](Self::unsent) bytes is taken back.
    ///
    /// # Errors
    /// Those of `fill`.
    pub fn send_data_from<E>(
        &mut self,
        (request, length): (u32, u32),
        kept: usize,
        fill: impl FnOnce(&mut [u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        if length > 0 {
            self.send_data_header(request, length);
        }
        let start = self.output.len();
        let end = start + usize::try_from(length).unwrap_or(0);
        self.output.resize(end, 0);
        let filled = fill(self.output.get_mut(start..).unwrap_or_default());
        if filled.is_err() {
            self.output.truncate(kept);
        }
        filled
    }

    /// Appends only the header of a data frame, whose `length` bytes the caller writes to the stream after a flush.
    pub fn send_data_header(&mut self, request: u32, length: u32) {
        self.output
            .extend_from_slice(&Header::data(request, length));
    }

    /// Appends a frame that says "alive, but busy" with `request`.
    pub fn send_keep_alive(&mut self, request: u32) {
        self.output.extend_from_slice(
            &Header {
                length: 0,
                request,
                kind: KEEP_ALIVE,
            }
            .encode(&[]),
        );
    }

    /// Bytes that the next [`Self::flush`] sends.
    #[must_use]
    pub fn unsent(&self) -> usize {
        self.output.len()
    }

    /// Writes everything that was collected.
    ///
    /// # Errors
    /// What the stream says; what was not written is lost, and with it the connection.
    pub fn flush(&mut self) -> io::Result<()> {
        if !self.output.is_empty() {
            let result = self.stream.write_all(&self.output);
            self.output.clear();
            self.output.shrink_to(KEPT_CAPACITY);
            result?;
        }
        self.stream.flush()
    }

    /// Gives memory back that only the last exchange needed; for a connection that may be idle for long.
    pub fn rest(&mut self) {
        self.payload = Vec::new();
        self.output.shrink_to(0);
        if self.buffered() == 0 {
            self.input = Vec::new();
            (self.start, self.end) = (0, 0);
        }
    }

    /// Reads a client's preface, which is not looked into but for its magic. `None`: the peer speaks something else, and has been
    /// told so with `foreign`. What was collected is sent as soon as the peer may wait for it.
    ///
    /// # Errors
    /// [`ConnectionError::Closed`] where the stream ends before, [`ConnectionError::Io`].
    pub fn read_client_preface(
        &mut self,
        foreign: &[u8],
    ) -> Result<Option<[u8; ClientPreface::LENGTH]>, ConnectionError> {
        let mut preface = [0; ClientPreface::LENGTH];
        let (magic, rest) = preface.split_at_mut(MAGIC.len());
        for (byte, expected) in magic.iter_mut().zip(MAGIC) {
            let heard = self.read_exact(std::slice::from_mut(byte));
            // Who has not said all of it may wait for the greeting, or have closed.
            if self.buffered() < rest.len() {
                self.flush()?;
            }
            heard?;
            if *byte != expected {
                self.send_raw(foreign);
                self.flush()?;
                return Ok(None);
            }
        }
        self.read_exact(rest)?;
        Ok(Some(preface))
    }

    /// Reads exactly `bytes`, which stand outside any frame: greeting and preface.
    ///
    /// # Errors
    /// [`ConnectionError::Closed`] where the stream ends before, [`ConnectionError::Io`].
    pub fn read_exact(&mut self, mut bytes: &mut [u8]) -> Result<(), ConnectionError> {
        while !bytes.is_empty() {
            if self.buffered() == 0 && bytes.len() < INPUT_BUFFER && self.fill()? == 0 {
                return Err(ConnectionError::Closed);
            }
            let read = match self.take_buffered(bytes) {
                0 => self.read_stream(bytes)?,
                buffered => buffered,
            };
            bytes = bytes.get_mut(read..).unwrap_or_default();
        }
        Ok(())
    }

    /// The stream, for deadlines and for writing content past the buffers after a flush.
    pub fn stream(&mut self) -> &mut S {
        &mut self.stream
    }

    /// The stream, to look at.
    pub fn stream_ref(&self) -> &S {
        &self.stream
    }

    /// The stream itself; what was read ahead is lost.
    pub fn into_stream(self) -> S {
        self.stream
    }

    fn skip_stream(&mut self) -> Result<(), ConnectionError> {
        let mut scratch = [0; 4096];
        while self.data_left > 0 {
            self.read_data(&mut scratch)?;
        }
        Ok(())
    }

    /// Reads once into the empty input buffer.
    fn fill(&mut self) -> Result<usize, ConnectionError> {
        Ok(self.read_ahead(read_retrying)?)
    }

    fn take_buffered(&mut self, bytes: &mut [u8]) -> usize {
        let buffered = self.input.get(self.start..self.end).unwrap_or_default();
        let taken = buffered.len().min(bytes.len());
        if let (Some(to), Some(from)) = (bytes.get_mut(..taken), buffered.get(..taken)) {
            to.copy_from_slice(from);
        }
        self.start += taken;
        taken
    }

    fn read_stream(&mut self, bytes: &mut [u8]) -> Result<usize, ConnectionError> {
        match read_retrying(&mut self.stream, bytes)? {
            0 => Err(ConnectionError::Closed),
            read => Ok(read),
        }
    }
}

fn read_retrying(stream: &mut impl Read, bytes: &mut [u8]) -> io::Result<usize> {
    loop {
        match stream.read(bytes) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
