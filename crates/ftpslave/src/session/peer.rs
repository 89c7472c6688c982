//! The client's socket: its deadlines, its options, and how to part with it.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// Longest pause within a frame, in either direction.
const STALL: Duration = Duration::from_secs(30);

/// How long a parting word may take to be read.
const LINGER: Duration = Duration::from_secs(1);

/// Blocking reads and writes with [`STALL`] as their deadline. Clones share the socket.
#[derive(Clone, Debug)]
pub(crate) struct Peer(Arc<TcpStream>);

impl Peer {
    /// Takes an accepted socket over.
    pub(crate) fn new(stream: TcpStream, address: SocketAddr) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(STALL))?;
        stream.set_write_timeout(Some(STALL))?;
        // The timeout for writing begins anew with whatever was written of a call; this one counts from the last byte that
        // the client's side took, closed window or dead wire.
        let stall_ms = u32::try_from(STALL.as_millis()).unwrap_or(u32::MAX);
        rustix::net::sockopt::set_tcp_user_timeout(&stream, stall_ms)?;
        if address.ip().to_canonical().is_loopback() {
            // A congestion control that paces its segments halves loopback. Where this one is not to be had, the default stays.
            rustix::net::sockopt::set_tcp_congestion(&stream, "cubic").unwrap_or_default();
        }
        Ok(Self(Arc::new(stream)))
    }

    /// The socket itself, for content that goes past all buffers.
    pub(crate) fn stream(&self) -> &TcpStream {
        &self.0
    }

    /// Waits until the client has sent something or closed, `limit` at most; whether it did.
    pub(crate) fn wait_for_input(&self, limit: Duration) -> io::Result<bool> {
        let deadline = Instant::now() + limit;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let timeout = Timespec::try_from(left).map_err(io::Error::other)?;
            match poll(&mut [PollFd::new(&*self.0, PollFlags::IN)], Some(&timeout)) {
                Ok(0) => return Ok(false),
                Ok(_) => return Ok(true),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Whether the client has closed its side: it no longer waits for anything, and may have gone to another slave.
    pub(crate) fn is_gone(&self) -> bool {
        let mut socket = [PollFd::new(&*self.0, PollFlags::RDHUP)];
        // What was not asked for, an error or the end of both directions, is told all the same (poll(2)).
        matches!(poll(&mut socket, Some(&Timespec::default())), Ok(1..))
    }

    /// Makes a thread that waits for the client's next request see the end of the stream.
    pub(crate) fn stop_reading(&self) {
        self.0.shutdown(Shutdown::Read).unwrap_or_default();
    }

    /// Closes so that the client can still read what was written last: closing a socket with unread input would reset the
    /// connection and with it what the client's kernel has not handed over yet.
    pub(crate) fn part(self) {
        let deadline = Instant::now() + LINGER;
        let mut unread = [0; 4096];
        if self.0.shutdown(Shutdown::Write).is_err() {
            return;
        }
        while let Ok(true) = self.wait_for_input(deadline.saturating_duration_since(Instant::now()))
        {
            if !matches!((&*self.0).read(&mut unread), Ok(1..)) {
                return;
            }
        }
    }
}

impl Read for Peer {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        (&*self.0).read(bytes)
    }
}

impl Write for Peer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&*self.0).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
