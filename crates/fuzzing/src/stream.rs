//! A made-up stream of bytes: as it is, or frames whose checksums are right, in pieces of any size.

use std::borrow::Cow;
use std::io::{self, Read, Write};

use protocol::Connection;
use protocol::frame::{DATA, Header};

/// What the first byte of an input says of the rest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Form(u8);

impl Form {
    /// Takes the form off an input.
    pub(crate) fn of(input: &[u8]) -> Option<(Self, &[u8])> {
        let (&form, rest) = input.split_first()?;
        Some((Self(form), rest))
    }

    /// Whether the rest is the stream, byte for byte; else a list of frames (kind u16, length u16, payload), which get right
    /// headers, so that nobody need guess a CRC.
    pub(crate) const fn is_raw(self) -> bool {
        self.0 & 1 == 0
    }

    /// Whether it is read as a stream of many small contents.
    const fn is_read_far_ahead(self) -> bool {
        self.0 & 2 != 0
    }

    /// How many bytes come at once, at most; `None`: as many as are wanted.
    pub(crate) const fn piece(self) -> Option<usize> {
        match self.0 >> 2 {
            0 => None,
            piece => Some(piece as usize),
        }
    }

    pub(crate) fn bytes(self, rest: &[u8]) -> Cow<'_, [u8]> {
        match self.is_raw() {
            true => Cow::Borrowed(rest),
            false => Cow::Owned(frames(rest)),
        }
    }

    /// The connection over which the bytes come; what is written to it is forgotten.
    pub(crate) fn connection(self, bytes: &[u8], piece: Option<usize>) -> Connection<Stream<'_>> {
        let piece = piece.unwrap_or(usize::MAX);
        let mut connection = Connection::new(Stream { rest: bytes, piece });
        if self.is_read_far_ahead() {
            connection.read_far_ahead();
        }
        connection
    }
}

/// Bytes to read, and nowhere to write.
#[derive(Debug)]
pub(crate) struct Stream<'a> {
    rest: &'a [u8],
    piece: usize,
}

impl Stream<'_> {
    /// Takes bytes off without giving them to anybody, as the kernel does that moves content elsewhere.
    pub(crate) fn pull(&mut self, most: usize) -> usize {
        let pulled = most.min(self.piece).min(self.rest.len());
        self.rest = self.rest.get(pulled..).unwrap_or_default();
        pulled
    }
}

impl Read for Stream<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let room = bytes.len().min(self.piece);
        self.rest.read(bytes.get_mut(..room).unwrap_or_default())
    }
}

impl Write for Stream<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn frames(mut rest: &[u8]) -> Vec<u8> {
    let mut stream = Vec::with_capacity(rest.len() * 4);
    while let Some((&[k0, k1, l0, l1], tail)) = rest.split_first_chunk() {
        let kind = u16::from_be_bytes([k0, k1]);
        let wanted = usize::from(u16::from_be_bytes([l0, l1]));
        let (payload, next) = tail.split_at(wanted.min(tail.len()));
        let header = Header {
            length: u32::try_from(payload.len()).unwrap_or(u32::MAX),
            request: 1,
            kind,
        };
        let covered = if kind == DATA { &[] } else { payload };
        stream.extend(header.encode(covered));
        stream.extend(payload);
        rest = next;
    }
    stream
}
