//! A socket that waits as long as there is hope, and no longer.
//!
//! It blocks in short turns. Between two turns it looks at the interrupt flag; when nothing has moved for a while it asks,
//! on a second connection, whether the worker at the other end still lives. So a dead or stopped slave is noticed within
//! five seconds, while one that is merely busy is waited for up to the limit. That holds for whoever sends so slowly that
//! nothing ever blocks, and within TLS, too, from the handshake on.

mod waiting;

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::BorrowedFd;
use std::time::Duration;

use auth::tls::Tls;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use transfer::Wire;

use crate::Interrupt;
use crate::channel::{Channel, TURN, is_turn_over};
use crate::patient::waiting::{Standing, Wait, Waiting};
use crate::probe::Asked;

/// A connection whose reads and writes end with a [`Halt`](crate::fault::Halt) when waiting makes no sense any more.
#[derive(Debug)]
pub(crate) struct Patient {
    channel: Channel,
    peer: SocketAddr,
    waiting: Waiting,
    round_trip: Duration,
    /// Bytes sent in the clear; those within TLS are the channel's to count.
    sent: u64,
    /// The wait for what was sent to be acknowledged, from one write to the next.
    sending: Option<Wait>,
}

impl Patient {
    /// A stream to whom was dialled as `peer`, on which no silence may last longer than `limit`.
    pub(crate) fn new(
        (stream, peer): (TcpStream, SocketAddr),
        interrupt: Interrupt,
        limit: Duration,
    ) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TURN))?;
        stream.set_write_timeout(Some(TURN))?;
        Ok(Self {
            peer,
            channel: Channel::new(stream),
            waiting: Waiting::new(interrupt, limit),
            round_trip: Duration::ZERO,
            sent: 0,
            sending: None,
        })
    }

    /// Speaks TLS from now on, behind the server's greeting, which it gives. Whose key the other side has shown is for
    /// the caller to judge before anything is said.
    ///
    /// # Errors
    /// The greeting too, where there was one.
    pub(crate) fn encrypt(&mut self, mut tls: Tls) -> (Vec<u8>, io::Result<()>) {
        let mut greeting = Vec::new();
        let done = self.in_turns(|channel| channel.shake_hands(&mut tls, &mut greeting));
        let done = done.map(|()| self.channel.encrypt(tls));
        (greeting, done)
    }

    /// Sets how long a silence may last.
    pub(crate) fn set_limit(&mut self, limit: Duration) {
        self.waiting.limit = limit;
    }

    /// From now on a silence makes it ask whether that worker lives.
    pub(crate) fn watch(&mut self, worker: u32) {
        self.waiting.watched = Some(Asked {
            address: self.peer,
            worker,
            key: self.tls().and_then(Tls::peer),
        });
    }

    /// Notes how long the connection took to come about.
    pub(crate) fn set_round_trip(&mut self, round_trip: Duration) {
        self.round_trip = round_trip;
    }

    /// How long a round trip took when the connection came about.
    pub(crate) fn round_trip(&self) -> Duration {
        self.round_trip
    }

    pub(crate) fn socket(&self) -> &TcpStream {
        self.channel.socket()
    }

    /// Who was dialled.
    pub(crate) fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// The session that protects what passes; `None` in clear.
    pub(crate) fn tls(&self) -> Option<&Tls> {
        self.channel.tls()
    }

    /// Whether a read would find something, be it the end.
    pub(crate) fn has_input(&self) -> io::Result<bool> {
        if self.channel.is_ready() {
            return Ok(true);
        }
        let mut descriptors = [PollFd::new(self.socket(), PollFlags::IN)];
        Ok(poll(&mut descriptors, Some(&Timespec::default()))? > 0)
    }

    /// Calls what blocks for one turn at most, until it has moved something or there is no hope.
    fn in_turns<T>(
        &mut self,
        mut call: impl FnMut(&mut Channel) -> io::Result<T>,
    ) -> io::Result<T> {
        self.waiting.check()?;
        let mut wait = self.waiting.begin();
        loop {
            match call(&mut self.channel) {
                Err(error) if is_turn_over(&error) => {
                    let standing = self.standing();
                    self.waiting.look(&mut wait, standing)?;
                }
                result => return result,
            }
        }
    }

    /// The same for what sends, whose wait goes on from one call to the next: whoever sends slowly is never blocked, and
    /// would fill the kernel's buffer for a slave that is long gone.
    fn send_in_turns(
        &mut self,
        mut call: impl FnMut(&mut Channel) -> io::Result<usize>,
    ) -> io::Result<usize> {
        self.waiting.check()?;
        let wait = self.sending.take();
        let mut wait = wait.unwrap_or_else(|| self.waiting.begin());
        if wait.is_due() {
            let standing = self.standing();
            if standing.unacknowledged == 0 {
                // A pause of ours is no silence of the peer.
                wait = self.waiting.begin();
            }
            self.waiting.look(&mut wait, standing)?;
        }
        loop {
            match call(&mut self.channel) {
                Err(error) if is_turn_over(&error) => {
                    let standing = self.standing();
                    self.waiting.look(&mut wait, standing)?;
                }
                result => {
                    if let Ok(sent) = result
                        && self.tls().is_none()
                    {
                        self.sent += u64::try_from(sent).unwrap_or(0);
                    }
                    // Behind an error too: what TLS does not do is done in another way.
                    self.sending = Some(wait);
                    if !matches!(result, Ok(0)) {
                        self.waiting.note_sent(self.moved());
                    }
                    return result;
                }
            }
        }
    }

    /// The worker has said something.
    fn hear<T>(&mut self, heard: io::Result<T>) -> io::Result<T> {
        if heard.is_ok() {
            self.waiting.note_heard();
        }
        heard
    }

    /// Bytes that have moved, wherever they are.
    fn moved(&self) -> u64 {
        self.sent + self.channel.moved()
    }

    fn standing(&self) -> Standing {
        let unacknowledged = sys::socket::unacknowledged(self.socket()).unwrap_or(0);
        Standing {
            arrived: self.moved().saturating_sub(unacknowledged),
            unacknowledged,
            round_trip: sys::socket::smoothed_round_trip(self.socket()).unwrap_or_default(),
        }
    }
}

impl Read for Patient {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = self.in_turns(|channel| channel.read(bytes));
        self.hear(read)
    }
}

impl Write for Patient {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.send_in_turns(|channel| channel.write(bytes))
    }

    /// What is waited for is what was waited for before: each frame ends so.
    fn flush(&mut self) -> io::Result<()> {
        self.send_in_turns(|channel| channel.finish_writing().map(|()| 0))
            .map(drop)
    }
}

impl Wire for Patient {
    fn splice_into(&mut self, pipe: BorrowedFd<'_>, most: usize) -> io::Result<usize> {
        let read = self.in_turns(|channel| channel.splice_into(pipe, most));
        self.hear(read)
    }

    fn send_file(&mut self, file: &File, offset: u64, most: usize) -> io::Result<usize> {
        self.send_in_turns(|channel| channel.send_file(file, offset, most))
    }

    fn write_more(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.send_in_turns(|channel| channel.write_more(bytes))
    }
}

#[cfg(test)]
mod tests;
