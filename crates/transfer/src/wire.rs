//! A connection to a peer, and the ways past our memory that it offers.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::BorrowedFd;

use rustix::fs::sendfile;
use rustix::net::{SendFlags, send};
use rustix::pipe::{SpliceFlags, splice};

/// A byte stream to a peer. What it does not provide is [`io::ErrorKind::Unsupported`], and then goes through a buffer.
pub trait Wire: Read + Write {
    /// Moves at most `most` bytes that the peer sent into `pipe`, splice(2); otherwise as [`Read::read`].
    ///
    /// # Errors
    /// What the stream says.
    fn splice_into(&mut self, pipe: BorrowedFd<'_>, most: usize) -> io::Result<usize>;

    /// Sends at most `most` bytes of `file` from `offset` on, sendfile(2); 0 where the file ends there.
    ///
    /// # Errors
    /// What the stream or the file says: the kernel does not tell whose fault it is.
    fn send_file(&mut self, file: &File, offset: u64, most: usize) -> io::Result<usize>;

    /// Writes some of `bytes`, behind which more will follow at once.
    ///
    /// # Errors
    /// What the stream says.
    fn write_more(&mut self, bytes: &[u8]) -> io::Result<usize>;
}

/// A socket without encryption, whose timeouts are those of each call.
impl Wire for &TcpStream {
    fn splice_into(&mut self, pipe: BorrowedFd<'_>, most: usize) -> io::Result<usize> {
        Ok(splice(*self, None, pipe, None, most, SpliceFlags::MOVE)?)
    }

    fn send_file(&mut self, file: &File, mut offset: u64, most: usize) -> io::Result<usize> {
        Ok(sendfile(*self, file, Some(&mut offset), most)?)
    }

    fn write_more(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(send(*self, bytes, SendFlags::MORE | SendFlags::NOSIGNAL)?)
    }
}

impl Wire for TcpStream {
    fn splice_into(&mut self, pipe: BorrowedFd<'_>, most: usize) -> io::Result<usize> {
        (&*self).splice_into(pipe, most)
    }

    fn send_file(&mut self, file: &File, offset: u64, most: usize) -> io::Result<usize> {
        (&*self).send_file(file, offset, most)
    }

    fn write_more(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&*self).write_more(bytes)
    }
}

/// Calls again whatever a signal interrupted.
pub(crate) fn retrying<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
