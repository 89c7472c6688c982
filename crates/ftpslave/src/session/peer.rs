//! The client's socket: its deadlines, its options, and how to part with it.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use admission::{Lapse, Limit, RateFloor};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use rustix::thread::sched_yield;
use socket2::Socket;
use transfer::{Wire, is_same_machine, send_unpaced};

/// Longest pause within a frame, in either direction.
const STALL: Duration = Duration::from_secs(30);

/// How long a parting word may take to be read.
const LINGER: Duration = Duration::from_secs(1);

/// A client that answers at once is waited for awake for so long: putting a thread to sleep and waking it takes about as
/// long, on both sides.
const AWAKE: Duration = Duration::from_micros(40);

/// Blocking reads and writes with [`STALL`] as their deadline. Clones share the socket.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    socket: Arc<TcpStream>,
    is_near: bool,
    /// When what is read now must be complete.
    deadline: Option<Instant>,
    /// How fast content must pass at least.
    floor: RateFloor,
}

impl Peer {
    /// Sets on the listening socket what every accepted one is to have: it inherits these options (Linux: tcp(7),
    /// socket(7)), which saves each session as many system calls.
    pub(crate) fn prepare(listener: &Socket) -> io::Result<()> {
        listener.set_tcp_nodelay(true)?;
        listener.set_read_timeout(Some(STALL))?;
        listener.set_write_timeout(Some(STALL))?;
        // The timeout for writing begins anew with whatever was written of a call; this one counts from the last byte that
        // the client's side took, closed window or dead wire.
        listener.set_tcp_user_timeout(Some(STALL))
    }

    /// Takes an accepted socket over.
    pub(crate) fn new(stream: TcpStream, address: SocketAddr) -> Self {
        let is_near = is_same_machine(&stream, address);
        if is_near {
            send_unpaced(&stream);
        }
        Self {
            socket: Arc::new(stream),
            is_near,
            deadline: None,
            floor: RateFloor::new(0, Duration::MAX),
        }
    }

    /// From now on every read is over by that moment, however slowly bytes drip in; with `None` only [`STALL`] counts.
    pub(crate) fn read_until(&mut self, deadline: Option<Instant>) {
        self.deadline = deadline;
    }

    /// From now on content must pass so fast at least.
    pub(crate) fn require(&mut self, floor: RateFloor) {
        self.floor = floor;
    }

    /// Moves content, and fails where the client has let us wait for it for too long.
    fn watched(
        &mut self,
        mut moves: impl FnMut(&TcpStream) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let begun = Instant::now();
        match moves(&self.socket) {
            Ok(moved) => {
                self.floor.pass(moved, begun.elapsed())?;
                Ok(moved)
            }
            // The socket's own timeout: not a byte for so long.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                Err(Lapse(Limit::Stall).into())
            }
            Err(error) => Err(error),
        }
    }

    /// What has arrived, without waiting; `None`: nothing has.
    fn read_at_once(&self, bytes: &mut [u8]) -> io::Result<Option<usize>> {
        match recv(&*self.socket, bytes, RecvFlags::DONTWAIT) {
            Ok((read, _)) => Ok(Some(read)),
            Err(Errno::AGAIN) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes a few bytes without waiting. Where the client has yet to take what was written before, they are not needed: that
    /// shows as much as they do.
    pub(crate) fn write_at_once(&self, bytes: &[u8]) -> io::Result<()> {
        match send(
            &*self.socket,
            bytes,
            SendFlags::DONTWAIT | SendFlags::NOSIGNAL,
        ) {
            Err(Errno::AGAIN) => Ok(()),
            Ok(written) if written == bytes.len() => Ok(()),
            Ok(_) => {
                // Nothing that follows would be understood.
                self.socket.shutdown(Shutdown::Both)?;
                Err(io::ErrorKind::WriteZero.into())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The socket itself.
    pub(crate) fn stream(&self) -> &TcpStream {
        &self.socket
    }

    /// Where the client is, and whether that is this machine.
    pub(crate) fn origin(&self) -> io::Result<(IpAddr, bool)> {
        let address = self.socket.peer_addr()?;
        let is_here = is_same_machine(&self.socket, address);
        Ok((address.ip(), is_here))
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

    /// As [`Self::wait_for_input`], awake and for [`AWAKE`] alone; not at all for a client over a network, whose answer takes
    /// longer.
    pub(crate) fn watch_for_input(&self) -> bool {
        if !self.is_near {
            return false;
        }
        let end = Instant::now() + AWAKE;
        let mut byte = [0];
        loop {
            let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
            if !matches!(recv(&*self.socket, &mut byte, flags), Err(Errno::AGAIN)) {
                return true; // a byte, the end, or an error that the next read tells
            }
            if Instant::now() >= end {
                return false;
            }
            // Whoever else has something to do goes first.
            sched_yield();
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
        let Some(deadline) = self.deadline else {
            return self.watched(|mut socket| socket.read(bytes));
        };
        loop {
            if let Some(read) = self.read_at_once(bytes)? {
                return Ok(read);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if !self.wait_for_input(left.min(STALL))? {
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

impl Write for Peer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.watched(|mut socket| socket.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Wire for Peer {
    fn splice_into(&mut self, pipe: BorrowedFd<'_>, most: usize) -> io::Result<usize> {
        self.watched(|mut socket| socket.splice_into(pipe, most))
    }

    fn send_file(&mut self, file: &File, offset: u64, most: usize) -> io::Result<usize> {
        self.watched(|mut socket| socket.send_file(file, offset, most))
    }

    fn write_more(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.watched(|mut socket| socket.write_more(bytes))
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    const MOMENT: Duration = Duration::from_millis(300);

    fn connected() -> (TcpStream, Peer) {
        let listener = Socket::from(TcpListener::bind("127.0.0.1:0").unwrap());
        Peer::prepare(&listener).unwrap();
        let listener = TcpListener::from(listener);
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (socket, address) = listener.accept().unwrap();
        (client, Peer::new(socket, address))
    }

    #[test]
    fn an_accepted_socket_has_what_was_set_on_the_listening_one() {
        let (_client, peer) = connected();
        let socket = peer.stream();
        assert!(socket.nodelay().unwrap());
        assert_eq!(socket.read_timeout().unwrap(), Some(STALL));
        assert_eq!(socket.write_timeout().unwrap(), Some(STALL));
        let user_timeout = rustix::net::sockopt::tcp_user_timeout(socket).unwrap();
        assert_eq!(u128::from(user_timeout), STALL.as_millis());
    }

    #[test]
    fn who_takes_or_sends_content_too_slowly_is_not_waited_for() {
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let (mut client, mut peer) = connected();
        client.set_read_timeout(Some(MOMENT / 20)).unwrap();
        peer.require(RateFloor::new(1 << 30, MOMENT));
        std::thread::scope(|threads| {
            threads.spawn(move || {
                while stopped.recv_timeout(MOMENT / 10).is_err() {
                    client.write_all(b"x").unwrap();
                    client.read(&mut [0; 4096]).ok();
                }
            });
            let mut writer = peer.clone();
            let ends = |result: io::Result<usize>| result.err().and_then(|error| Lapse::of(&error));
            let read = (0..40).find_map(|_| ends(peer.read(&mut [0; 1])));
            let written = (0..250).find_map(|_| ends(writer.write(&[0; 16_384])));
            stop.send(()).unwrap();
            assert_eq!(
                (read, written),
                (Some(Limit::MinimumRate), Some(Limit::MinimumRate))
            );
        });
    }

    #[test]
    fn bytes_that_drip_in_do_not_move_the_deadline() {
        let (mut dripping, mut peer) = connected();
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        std::thread::scope(|threads| {
            threads.spawn(move || {
                while stopped.recv_timeout(MOMENT / 10).is_err() {
                    dripping.write_all(b"x").unwrap();
                }
                dripping.write_all(&[b'x'; 1000]).unwrap();
            });
            let begun = Instant::now();
            peer.read_until(Some(begun + MOMENT));
            assert!(peer.read_exact(&mut [0; 1000]).is_err());
            assert!((MOMENT..10 * MOMENT).contains(&begun.elapsed()));
            peer.read_until(None);
            stop.send(()).unwrap();
            peer.read_exact(&mut [0; 1000]).unwrap();
        });
    }
}
