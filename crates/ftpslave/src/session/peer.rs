//! The client's socket: its deadlines, its options, and how to part with it.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use transfer::Wire;

/// Longest pause within a frame, in either direction.
const STALL: Duration = Duration::from_secs(30);

/// How long a parting word may take to be read.
const LINGER: Duration = Duration::from_secs(1);

/// Blocking reads and writes with [`STALL`] as their deadline. Clones share the socket.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    socket: Arc<TcpStream>,
    /// When what is read now must be complete.
    deadline: Option<Instant>,
    /// Whether the socket's own timeout is shorter than [`STALL`] for that.
    is_hurried: bool,
}

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
        Ok(Self {
            socket: Arc::new(stream),
            deadline: None,
            is_hurried: false,
        })
    }

    /// From now on every read is over by that moment, however slowly bytes drip in; with `None` only [`STALL`] counts.
    pub(crate) fn read_until(&mut self, deadline: Option<Instant>) -> io::Result<()> {
        self.deadline = deadline;
        if std::mem::take(&mut self.is_hurried) {
            self.socket.set_read_timeout(Some(STALL))?;
        }
        Ok(())
    }

    /// Gives the next read no more time than is left.
    fn hurry(&mut self) -> io::Result<()> {
        let Some(deadline) = self.deadline else {
            return Ok(());
        };
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        if left < STALL {
            self.is_hurried = true;
            self.socket.set_read_timeout(Some(left))?;
        }
        Ok(())
    }

    /// The socket itself.
    pub(crate) fn stream(&self) -> &TcpStream {
        &self.socket
    }

    /// Waits until the client has sent something or closed, `limit` at most; whether it did.
    pub(crate) fn wait_for_input(&self, limit: Duration) -> io::Result<bool> {
        let deadline = Instant::now() + limit;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let timeout = Timespec::try_from(left).map_err(io::Error::other)?;
            match poll(
                &mut [PollFd::new(&*self.socket, PollFlags::IN)],
                Some(&timeout),
            ) {
                Ok(0) => return Ok(false),
                Ok(_) => return Ok(true),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Whether the client has closed its side: it no longer waits for anything, and may have gone to another slave.
    pub(crate) fn is_gone(&self) -> bool {
        let mut socket = [PollFd::new(&*self.socket, PollFlags::RDHUP)];
        // What was not asked for, an error or the end of both directions, is told all the same (poll(2)).
        matches!(poll(&mut socket, Some(&Timespec::default())), Ok(1..))
    }

    /// Makes a thread that waits for the client's next request see the end of the stream.
    pub(crate) fn stop_reading(&self) {
        self.socket.shutdown(Shutdown::Read).unwrap_or_default();
    }

    /// Closes so that the client can still read what was written last: closing a socket with unread input would reset the
    /// connection and with it what the client's kernel has not handed over yet.
    pub(crate) fn part(self) {
        let deadline = Instant::now() + LINGER;
        let mut unread = [0; 4096];
        if self.socket.shutdown(Shutdown::Write).is_err() {
            return;
        }
        while let Ok(true) = self.wait_for_input(deadline.saturating_duration_since(Instant::now()))
        {
            if !matches!((&*self.socket).read(&mut unread), Ok(1..)) {
                return;
            }
        }
    }
}

impl Read for Peer {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.hurry()?;
        (&*self.socket).read(bytes)
    }
}

impl Write for Peer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&*self.socket).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Wire for Peer {
    fn splice_into(&mut self, pipe: BorrowedFd<'_>, most: usize) -> io::Result<usize> {
        self.hurry()?;
        (&*self.socket).splice_into(pipe, most)
    }

    fn send_file(&mut self, file: &File, offset: u64, most: usize) -> io::Result<usize> {
        (&*self.socket).send_file(file, offset, most)
    }

    fn write_more(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&*self.socket).write_more(bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    const MOMENT: Duration = Duration::from_millis(300);

    #[test]
    fn bytes_that_drip_in_do_not_move_the_deadline() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut dripping = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (socket, address) = listener.accept().unwrap();
        let mut peer = Peer::new(socket, address).unwrap();
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        std::thread::scope(|threads| {
            threads.spawn(move || {
                while stopped.recv_timeout(MOMENT / 10).is_err() {
                    dripping.write_all(b"x").unwrap();
                }
                dripping.write_all(&[b'x'; 1000]).unwrap();
            });
            let begun = Instant::now();
            peer.read_until(Some(begun + MOMENT)).unwrap();
            assert!(peer.read_exact(&mut [0; 1000]).is_err());
            assert!((MOMENT..10 * MOMENT).contains(&begun.elapsed()));
            peer.read_until(None).unwrap();
            stop.send(()).unwrap();
            peer.read_exact(&mut [0; 1000]).unwrap();
        });
    }
}
