//! The two ways to use the socket that all clones of a [`Peer`](super::Peer) share: with a deadline, or without waiting.

use std::io::{self, IoSlice, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use admission::{Lapse, Limit, STALL};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

/// Waits until the client has sent something or closed, `limit` at most; whether it did.
pub(super) fn wait_for_input(socket: &TcpStream, limit: Duration) -> io::Result<bool> {
    let deadline = Instant::now() + limit;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).map_err(io::Error::other)?;
        match poll(&mut [PollFd::new(socket, PollFlags::IN)], Some(&timeout)) {
            Ok(0) => return Ok(false),
            Ok(_) => return Ok(true),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Blocking reads and writes with [`STALL`] as their deadline.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiting<'a> {
    pub(super) socket: &'a TcpStream,
    /// When what is read must be complete.
    pub(super) deadline: Option<Instant>,
}

impl Read for Waiting<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let mut socket = self.socket;
        let Some(deadline) = self.deadline else {
            return socket.read(bytes);
        };
        loop {
            match AtOnce(socket).read(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return read,
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if !wait_for_input(socket, left.min(STALL))? {
                let limit = if left > STALL {
                    Limit::Stall
                } else {
                    Limit::Message
                };
                return Err(Lapse(limit).into());
            }
        }
    }
}

impl Write for Waiting<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(send(self.socket, bytes, SendFlags::NOSIGNAL)?)
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut socket = self.socket;
        socket.write_vectored(parts)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads and writes that never wait: then they are [`io::ErrorKind::WouldBlock`].
#[derive(Clone, Copy, Debug)]
pub(super) struct AtOnce<'a>(pub(super) &'a TcpStream);

impl Read for AtOnce<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let (read, _) = recv(self.0, bytes, RecvFlags::DONTWAIT)?;
        Ok(read)
    }
}

impl Write for AtOnce<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        Ok(send(self.0, bytes, flags)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
