//! A session over TLS, with the buffer through which files pass into it.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;

use auth::tls::Tls;

/// What of a file is read and encrypted at once, bytes.
const PIECE: usize = 256 * 1024;

#[derive(Debug)]
pub(super) struct Secured {
    tls: Tls,
    /// Kept from one piece of content to the next, not while the client rests.
    piece: Vec<u8>,
}

impl Secured {
    pub(super) fn new(tls: Tls) -> Self {
        Self {
            tls,
            piece: Vec::new(),
        }
    }

    pub(super) fn channel_binding(&self) -> io::Result<[u8; 32]> {
        self.tls.channel_binding()
    }

    pub(super) fn read(
        &mut self,
        socket: &mut (impl Read + Write),
        bytes: &mut [u8],
    ) -> io::Result<usize> {
        self.tls.read(socket, bytes)
    }

    pub(super) fn write(
        &mut self,
        socket: &mut (impl Read + Write),
        bytes: &[u8],
    ) -> io::Result<usize> {
        self.tls.write(socket, bytes)
    }

    pub(super) fn flush(&mut self, socket: &mut (impl Read + Write)) -> io::Result<()> {
        self.tls.flush(socket)
    }

    pub(super) fn take_in(&mut self, socket: &mut (impl Read + Write)) -> io::Result<bool> {
        self.tls.take_in(socket)
    }

    pub(super) fn is_ready(&self) -> bool {
        self.tls.is_ready()
    }

    /// Takes bytes that travel with those that are written next; all of them.
    pub(super) fn hold(&mut self, bytes: &[u8]) -> usize {
        self.tls.hold(bytes);
        bytes.len()
    }

    pub(super) fn close(&mut self, socket: &mut (impl Read + Write)) -> io::Result<()> {
        self.tls.close(socket)
    }

    /// Writes a few bytes to a socket that never waits. What it does not take goes before whatever is written next, and until
    /// then nothing else is put there.
    pub(super) fn write_at_once(
        &mut self,
        socket: &mut (impl Read + Write),
        bytes: &[u8],
    ) -> io::Result<()> {
        if self.tls.has_unsent() {
            return unless_full(self.tls.flush(socket));
        }
        unless_full(self.tls.write(socket, bytes).map(|_written| ()))
    }

    /// Sends some of `file` from `offset` on, at most `most` bytes; 0 where it ends there.
    pub(super) fn send_file(
        &mut self,
        socket: &mut (impl Read + Write),
        file: &File,
        (offset, most): (u64, usize),
    ) -> io::Result<usize> {
        let wanted = most.min(PIECE);
        if self.piece.len() < wanted {
            self.piece.resize(wanted, 0);
        }
        let piece = self.piece.get_mut(..wanted).unwrap_or_default();
        let read = match file.read_at(piece, offset) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                // Whoever reads the file in another way finds out what is wrong with it.
                return Err(io::ErrorKind::Unsupported.into());
            }
            read => read?,
        };
        let mut rest = self.piece.get(..read).unwrap_or_default();
        while !rest.is_empty() {
            let written = self.tls.write(socket, rest)?;
            rest = rest.get(written..).unwrap_or_default();
        }
        Ok(read)
    }

    pub(super) fn rest(&mut self) {
        self.piece = Vec::new();
        self.tls.rest();
    }
}

fn unless_full(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
        result => result,
    }
}
