//! The client's socket: its deadlines, its options, TLS over it, and how to part with it.

mod awake;
mod secured;
mod socket;

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use admission::{Lapse, Limit, RateFloor, STALL};
use auth::tls::{Acceptor, Reception};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvFlags, recv};
use socket2::Socket;
use transfer::{Congestion, Wire, is_same_machine};

use awake::Awake;
use secured::Secured;
use socket::{AtOnce, Waiting, wait_for_input};

/// How long a parting word may take to be read.
const LINGER: Duration = Duration::from_secs(1);

/// Between two looks at whether it has arrived, where we no longer hear of the client.
const ARRIVING: Duration = Duration::from_millis(10);

/// Blocking reads and writes with [`STALL`] as their deadline, in the clear or over TLS. Clones share the connection.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    line: Arc<Line>,
    is_near: bool,
    /// When what is read now must be complete.
    deadline: Option<Instant>,
    /// How fast content must pass at least.
    floor: RateFloor,
    awake: Awake,
}

#[derive(Debug)]
struct Line {
    socket: TcpStream,
    /// From its handshake on, everything goes through it. Only the session's own thread may wait while it holds this lock:
    /// whoever else would use it comes by another time. The socket itself can be shut down without it.
    tls: OnceLock<Mutex<Secured>>,
}

impl Peer {
    /// Sets on the listening socket what every accepted one is to have: it inherits these options (Linux: tcp(7),
    /// socket(7)), which saves each session as many system calls.
    pub(crate) fn prepare(listener: &Socket) -> io::Result<()> {
        Congestion::of_this_machine().prepare(listener);
        listener.set_tcp_nodelay(true)?;
        listener.set_read_timeout(Some(STALL))?;
        listener.set_write_timeout(Some(STALL))?;
        // The timeout for writing begins anew with whatever was written of a call; this one counts from the last byte that
        // the client's side took, closed window or dead wire.
        listener.set_tcp_user_timeout(Some(STALL))
    }

    /// Takes an accepted socket over.
    pub(crate) fn new(stream: TcpStream, address: SocketAddr, congestion: &Congestion) -> Self {
        let is_near = is_same_machine(&stream, address);
        congestion.settle(&stream, is_near);
        let line = Line {
            socket: stream,
            tls: OnceLock::new(),
        };
        Self {
            line: Arc::new(line),
            is_near,
            deadline: None,
            floor: RateFloor::new(0, Duration::MAX),
            awake: Awake::new(),
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
    fn watched(&mut self, moves: impl FnOnce(&Self) -> io::Result<usize>) -> io::Result<usize> {
        let begun = Instant::now();
        match moves(self) {
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

    /// Whether the client, which has said something or closed, begins with TLS. Nothing is read.
    pub(crate) fn begins_tls(&self) -> io::Result<bool> {
        let mut first = [0];
        let seen = self.line.socket.peek(&mut first)?;
        let [first] = first;
        Ok(seen == 1 && Reception::is_tls(first))
    }

    /// Speaks TLS from now on; the handshake is done by `deadline`.
    pub(crate) fn secure(&self, acceptor: &Acceptor, deadline: Instant) -> io::Result<()> {
        let mut tls = acceptor.start()?;
        tls.handshake(&mut self.waiting(Some(deadline)))
            .map_err(|error| match error.kind() {
                io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Lapse(Limit::Tls).into(),
                _ => error,
            })?;
        let secured = Mutex::new(Secured::new(tls));
        self.line
            .tls
            .set(secured)
            .map_err(|_| io::Error::other("TLS within TLS"))
    }

    /// Whether nobody else can read what passes, or change it: the client is on this machine, or TLS is spoken.
    pub(crate) fn is_private(&self) -> bool {
        self.is_near || self.line.tls.get().is_some()
    }

    /// Whether the client is on this machine.
    pub(crate) fn is_near(&self) -> bool {
        self.is_near
    }

    fn tls(&self) -> Option<MutexGuard<'_, Secured>> {
        let tls = self.line.tls.get()?;
        Some(tls.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn waiting(&self, deadline: Option<Instant>) -> Waiting<'_> {
        Waiting {
            socket: &self.line.socket,
            deadline,
        }
    }

    /// Writes a few bytes without waiting. Where the client has yet to take what was written before, they are not needed: that
    /// shows as much as they do.
    pub(crate) fn write_at_once(&self, bytes: &[u8]) -> io::Result<()> {
        let mut socket = AtOnce(&self.line.socket);
        let Some(tls) = self.line.tls.get() else {
            return match socket.write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
                Ok(written) if written == bytes.len() => Ok(()),
                Ok(_) => {
                    // Nothing that follows would be understood.
                    self.line.socket.shutdown(Shutdown::Both)?;
                    Err(io::ErrorKind::WriteZero.into())
                }
                Err(error) => Err(error),
            };
        };
        match tls.try_lock() {
            Ok(mut tls) => tls.write_at_once(&mut socket, bytes),
            Err(TryLockError::Poisoned(tls)) => tls.into_inner().write_at_once(&mut socket, bytes),
            Err(TryLockError::WouldBlock) => Ok(()),
        }
    }

    /// The socket itself.
    pub(crate) fn stream(&self) -> &TcpStream {
        &self.line.socket
    }

    /// Where the client is.
    pub(crate) fn origin(&self) -> io::Result<IpAddr> {
        Ok(self.line.socket.peer_addr()?.ip())
    }

    /// Waits until the client has said something or closed, `limit` at most; whether it did. Over TLS what is only half there,
    /// or is no content, does not count.
    pub(crate) fn wait_for_input(&self, limit: Duration) -> io::Result<bool> {
        let deadline = Instant::now() + limit;
        loop {
            if self.has_decrypted()? {
                return Ok(true);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if !wait_for_input(&self.line.socket, left)? {
                return Ok(false);
            }
            if self.line.tls.get().is_none() {
                return Ok(true);
            }
        }
    }

    /// Whether TLS has something to be read without waiting.
    fn has_decrypted(&self) -> io::Result<bool> {
        match self.tls() {
            Some(mut tls) => tls.take_in(&mut AtOnce(&self.line.socket)),
            None => Ok(false),
        }
    }

    /// Reads what the client says within a moment, for which it is waited awake; [`io::ErrorKind::WouldBlock`] where it says
    /// nothing, and at once where that is not worth while: over a network, whose answers take longer.
    pub(crate) fn read_awake(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        if !self.is_near {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let Some(tls) = self.tls() else {
            let mut socket = AtOnce(&self.line.socket);
            return self.awake.wait(|| socket.read(bytes));
        };
        let is_ready = tls.is_ready();
        drop(tls);
        if !is_ready {
            let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
            let mut byte = [0];
            let mut look = || Ok(recv(&self.line.socket, &mut byte, flags)?);
            self.awake.wait(&mut look)?;
        }
        self.read(bytes)
    }

    /// Whether the client has closed its side: it no longer waits for anything, and may have gone to another slave. That we
    /// have [stopped reading](Self::stop_reading) is none of its doing.
    pub(crate) fn is_gone(&self) -> bool {
        let mut socket = [PollFd::new(&self.line.socket, PollFlags::RDHUP)];
        // What was not asked for, an error or the end of both directions, is told all the same (poll(2)).
        if !matches!(poll(&mut socket, Some(&Timespec::default())), Ok(1..)) {
            return false;
        }
        let [told] = socket.map(|socket| socket.revents());
        told.intersects(PollFlags::HUP | PollFlags::ERR) || self.has_closed()
    }

    /// The same where the poll tells an end, which may be the one that we have made.
    fn has_closed(&self) -> bool {
        sys::socket::is_closed_by_peer(&self.line.socket).unwrap_or(true)
    }

    /// Makes a thread that waits for the client's next request see the end of the stream.
    pub(crate) fn stop_reading(&self) {
        self.line
            .socket
            .shutdown(Shutdown::Read)
            .unwrap_or_default();
    }

    /// Gives memory back that only the last exchange needed.
    pub(crate) fn rest(&self) {
        if let Some(mut tls) = self.tls() {
            tls.rest();
        }
    }

    /// Says over TLS that nothing more will come, if that can be said without waiting.
    pub(crate) fn say_goodbye(&self) {
        if let Some(mut tls) = self.tls() {
            tls.close(&mut AtOnce(&self.line.socket))
                .unwrap_or_default();
        }
    }

    /// Ends both directions at once, for whatever thread works on them.
    pub(crate) fn cut_off(&self) {
        self.line
            .socket
            .shutdown(Shutdown::Both)
            .unwrap_or_default();
    }

    /// What makes this connection unlike any other, for proofs that cannot be relayed; empty in the clear.
    pub(crate) fn channel(&self) -> io::Result<Vec<u8>> {
        match self.tls() {
            Some(tls) => Ok(tls.channel_binding()?.to_vec()),
            None => Ok(Vec::new()),
        }
    }

    /// Closes so that the client can still read what was written last: closing a socket with unread input would reset the
    /// connection and with it what the client's kernel has not handed over yet.
    pub(crate) fn part(self) {
        let deadline = Instant::now() + LINGER;
        let mut unread = [0; 4096];
        self.say_goodbye();
        let mut socket = &self.line.socket;
        if socket.shutdown(Shutdown::Write).is_err() {
            return;
        }
        let left = || deadline.saturating_duration_since(Instant::now());
        while !left().is_zero() && matches!(wait_for_input(socket, left()), Ok(true)) {
            match socket.read(&mut unread) {
                Ok(1..) => {}
                // The end that we made when we stopped reading: the client may go on.
                Ok(0) if !self.has_closed() && self.is_under_way() => {
                    std::thread::sleep(ARRIVING);
                }
                _ => return,
            }
        }
    }

    /// Whether the client's kernel does not have all that was written.
    fn is_under_way(&self) -> bool {
        sys::socket::unacknowledged(&self.line.socket).is_ok_and(|bytes| bytes > 0)
    }
}

impl Read for Peer {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let mut read = |peer: &Self| {
            let mut socket = peer.waiting(peer.deadline);
            match peer.tls() {
                Some(mut tls) => tls.read(&mut socket, bytes),
                None => socket.read(bytes),
            }
        };
        // A message has a deadline of its own.
        match self.deadline {
            Some(_) => read(self),
            None => self.watched(read),
        }
    }
}

impl Write for Peer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.watched(|peer| {
            let mut socket = peer.waiting(None);
            match peer.tls() {
                Some(mut tls) => tls.write(&mut socket, bytes),
                None => socket.write(bytes),
            }
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.line.tls.get().is_none() {
            return Ok(());
        }
        let flushed = self.watched(|peer| match peer.tls() {
            Some(mut tls) => tls.flush(&mut peer.waiting(None)).map(|()| 0),
            None => Ok(0),
        });
        flushed.map(drop)
    }
}

impl Wire for Peer {
    fn splice_into(&mut self, pipe: BorrowedFd<'_>, most: usize) -> io::Result<usize> {
        self.watched(|peer| match peer.line.tls.get() {
            Some(_) => Err(io::ErrorKind::Unsupported.into()),
            None => (&peer.line.socket).splice_into(pipe, most),
        })
    }

    fn send_file(&mut self, file: &File, offset: u64, most: usize) -> io::Result<usize> {
        self.watched(|peer| match peer.tls() {
            Some(mut tls) => tls.send_file(&mut peer.waiting(None), file, (offset, most)),
            None => (&peer.line.socket).send_file(file, offset, most),
        })
    }

    fn write_more(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.watched(|peer| match peer.tls() {
            Some(mut tls) => Ok(tls.hold(bytes)),
            None => (&peer.line.socket).write_more(bytes),
        })
    }
}

#[cfg(test)]
pub(super) mod tests;
