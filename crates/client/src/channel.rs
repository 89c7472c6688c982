//! The bytes of a connection, in clear or within TLS, and whether any moved.

use std::fs::File;
use std::io::{self, IoSlice, Read, Write};
use std::net::TcpStream;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use auth::tls::Tls;
use protocol::limits::MAX_GREETING;
use transfer::Wire;

/// What a call may take beyond its last wait for the socket: one within TLS may read many times before it has anything to
/// give, and whoever calls wants to look around meanwhile.
pub(crate) const TURN: Duration = Duration::from_millis(250);

/// What is encrypted before any of it is sent, at most, bytes.
const TAKEN_AT_ONCE: usize = 256 * 1024;

/// A socket, and the TLS session over it where there is one.
#[derive(Debug)]
pub(crate) struct Channel {
    socket: TcpStream,
    tls: Option<Box<Tls>>,
    /// Bytes that TLS has moved: a record takes many reads on a slow line, and none of them gives us anything.
    moved: u64,
}

impl Channel {
    /// In clear.
    pub(crate) fn new(socket: TcpStream) -> Self {
        Self {
            socket,
            tls: None,
            moved: 0,
        }
    }

    pub(crate) fn socket(&self) -> &TcpStream {
        &self.socket
    }

    pub(crate) fn tls(&self) -> Option<&Tls> {
        self.tls.as_deref()
    }

    /// Bytes that moved without any call having told so.
    pub(crate) fn moved(&self) -> u64 {
        self.moved
    }

    /// Whether a read has something to give, be it the end, that a look at the socket does not show.
    pub(crate) fn is_ready(&self) -> bool {
        self.tls().is_some_and(Tls::is_ready)
    }

    /// Goes on with the handshake of a session, behind the greeting; what was read of that stays with the caller, should
    /// this have to be called again.
    pub(crate) fn shake_hands(&mut self, tls: &mut Tls, greeting: &mut Vec<u8>) -> io::Result<()> {
        let mut stream = Behind {
            greeting,
            stream: Counted::new(&self.socket, &mut self.moved),
        };
        tls.handshake(&mut stream)
    }

    /// From now on all goes through this session, whose handshake is done.
    pub(crate) fn encrypt(&mut self, tls: Tls) {
        self.tls = Some(Box::new(tls));
    }

    /// Writes, if there is one, what the session has encrypted and not written yet.
    pub(crate) fn finish_writing(&mut self) -> io::Result<()> {
        match &mut self.tls {
            None => Ok(()),
            Some(tls) => tls.flush(&mut Counted::new(&self.socket, &mut self.moved)),
        }
    }
}

/// The server hears that the end is meant, where it can be told without waiting.
impl Drop for Channel {
    fn drop(&mut self) {
        if let Some(tls) = &mut self.tls
            && self.socket.set_nonblocking(true).is_ok()
        {
            let mut stream = Counted::new(&self.socket, &mut self.moved);
            // One that is gone, or does not listen, need not hear it.
            tls.close(&mut stream).unwrap_or_default();
        }
    }
}

impl Read for Channel {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match &mut self.tls {
            None => (&self.socket).read(bytes),
            Some(tls) => {
                let mut stream = Counted::new(&self.socket, &mut self.moved);
                tls.read(&mut stream, bytes)
            }
        }
    }
}

impl Write for Channel {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.tls {
            None => (&self.socket).write(bytes),
            Some(tls) => {
                let mut stream = Counted::new(&self.socket, &mut self.moved);
                // As long as this fails nothing of `bytes` is taken. Behind it all of them are, sent or not.
                if tls.has_unsent() {
                    tls.flush(&mut stream)?;
                }
                let bytes = bytes.get(..TAKEN_AT_ONCE).unwrap_or(bytes);
                match tls.write(&mut stream, bytes) {
                    Err(error) if is_turn_over(&error) => Ok(bytes.len()),
                    result => result,
                }
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.finish_writing()
    }
}

/// The kernel encrypts nothing, so within TLS all content passes through our memory.
impl Wire for Channel {
    fn splice_into(&mut self, pipe: BorrowedFd<'_>, most: usize) -> io::Result<usize> {
        match self.tls {
            None => (&self.socket).splice_into(pipe, most),
            Some(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    fn send_file(&mut self, file: &File, offset: u64, most: usize) -> io::Result<usize> {
        match self.tls {
            None => (&self.socket).send_file(file, offset, most),
            Some(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    fn write_more(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.tls {
            None => (&self.socket).write_more(bytes),
            Some(tls) => {
                tls.hold(bytes);
                Ok(bytes.len())
            }
        }
    }
}

/// A socket for one turn, whose bytes are counted.
struct Counted<'s> {
    socket: &'s TcpStream,
    moved: &'s mut u64,
    end: Instant,
}

impl<'s> Counted<'s> {
    fn new(socket: &'s TcpStream, moved: &'s mut u64) -> Self {
        Self {
            socket,
            moved,
            end: Instant::now() + TURN,
        }
    }

    fn check(&self) -> io::Result<()> {
        match Instant::now() < self.end {
            true => Ok(()),
            false => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn count(&mut self, moved: usize) -> usize {
        *self.moved = self
            .moved
            .wrapping_add(u64::try_from(moved).unwrap_or(u64::MAX));
        moved
    }
}

impl Read for Counted<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.check()?;
        let read = self.socket.read(bytes)?;
        Ok(self.count(read))
    }
}

impl Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.check()?;
        let written = self.socket.write(bytes)?;
        Ok(self.count(written))
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        self.check()?;
        let written = self.socket.write_vectored(parts)?;
        Ok(self.count(written))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A socket on which the server says a line in clear before it speaks TLS.
struct Behind<'s> {
    stream: Counted<'s>,
    greeting: &'s mut Vec<u8>,
}

impl Behind<'_> {
    /// Takes the line off the front, and no byte more: what follows is of the session.
    fn skip_greeting(&mut self) -> io::Result<()> {
        while self.greeting.last() != Some(&b'\n') {
            let mut ahead = [0; MAX_GREETING];
            let room = MAX_GREETING - self.greeting.len().min(MAX_GREETING);
            let ahead = ahead.get_mut(..room).unwrap_or_default();
            // Into nothing nothing is read: one that is longer ends like the stream.
            let arrived = self.stream.socket.peek(ahead)?;
            let line = ahead.iter().take(arrived).position(|byte| *byte == b'\n');
            let line = line.map_or(arrived, |end| end + 1);
            let ahead = ahead.get_mut(..line).unwrap_or_default();
            let read = self.stream.read(ahead)?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.greeting.extend(ahead.iter().take(read));
        }
        Ok(())
    }
}

impl Read for Behind<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.skip_greeting()?;
        self.stream.read(bytes)
    }
}

impl Write for Behind<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Signals end a turn too: a socket with a timeout is not restarted after one, socket(7).
pub(crate) fn is_turn_over(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
    )
}
