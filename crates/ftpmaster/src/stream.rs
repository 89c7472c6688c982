//! A socket on which everything must be done by a certain time, in the clear or over TLS.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use auth::tls::{Reception, Tls};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

/// While a peer is told why it is sent away, it has this long to stop talking.
const FAREWELL: Duration = Duration::from_secs(1);

/// A connection whose reads and writes fail with `TimedOut` once the time allowed is over, however slowly bytes drip in.
#[derive(Debug)]
pub(crate) struct DeadlineStream {
    raw: Raw,
    /// From its handshake on, everything goes through it.
    tls: Option<Box<Tls>>,
}

impl DeadlineStream {
    /// The socket, from now on with `time` for whatever is done on it.
    pub(crate) fn new(socket: TcpStream, time: Duration) -> Self {
        let deadline = Instant::now() + time;
        Self {
            raw: Raw { socket, deadline },
            tls: None,
        }
    }

    /// Sets the time, from now on, for whatever is done next.
    pub(crate) fn allow(&mut self, time: Duration) {
        self.raw.deadline = Instant::now() + time;
    }

    /// Waits until the peer has said something; whether that begins with TLS. Nothing is read.
    pub(crate) fn begins_tls(&self) -> io::Result<bool> {
        self.raw.wait_for(PollFlags::IN)?;
        let mut first = [0];
        let seen = self.raw.socket.peek(&mut first)?;
        let [first] = first;
        Ok(seen == 1 && Reception::is_tls(first))
    }

    /// Speaks TLS from now on, within the time allowed.
    pub(crate) fn secure(&mut self, mut tls: Tls) -> io::Result<()> {
        tls.handshake(&mut self.raw)?;
        self.tls = Some(Box::new(tls));
        Ok(())
    }

    /// The session over TLS, where there is one.
    pub(crate) fn tls(&self) -> Option<&Tls> {
        self.tls.as_deref()
    }

    /// Who is at the other end, and whether that is this machine.
    pub(crate) fn peer(&self) -> io::Result<Peer> {
        let socket = &self.raw.socket;
        Ok(Peer::new(socket.peer_addr()?, socket.local_addr()?))
    }

    /// What makes this connection unlike any other, for proofs that cannot be relayed; empty in the clear.
    pub(crate) fn channel(&self) -> io::Result<Vec<u8>> {
        match &self.tls {
            Some(tls) => Ok(tls.channel_binding()?.to_vec()),
            None => Ok(Vec::new()),
        }
    }

    /// Whether nobody on the way can read what is said.
    pub(crate) fn is_private(&self) -> io::Result<bool> {
        Ok(self.tls.is_some() || self.peer()?.is_here)
    }

    /// Closes so that the peer gets what was written: bytes of its own that nobody read would make the kernel reset the
    /// connection and drop them (RFC 1122, section 4.2.2.13).
    pub(crate) fn close_politely(&mut self) -> io::Result<()> {
        self.allow(FAREWELL);
        if let Some(tls) = &mut self.tls {
            tls.close(&mut self.raw)?;
        }
        self.raw.socket.shutdown(Shutdown::Write)?;
        let mut unheard = [0; 4096];
        for _ in 0..16 {
            if self.raw.read(&mut unheard)? == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Whether the peer has said something that was not read yet, or has closed.
    pub(crate) fn has_input(&self) -> io::Result<bool> {
        let is_decrypted = self.tls().is_some_and(Tls::is_ready);
        Ok(is_decrypted || self.raw.poll(PollFlags::IN, Duration::ZERO)?)
    }

    /// Waits, within the time allowed, until the peer has said something that was not read yet, or has closed.
    pub(crate) fn wait_for_input(&self) -> io::Result<()> {
        match self.tls().is_some_and(Tls::is_ready) {
            true => Ok(()),
            false => self.raw.wait_for(PollFlags::IN),
        }
    }

    /// Gives memory back that only the last exchange needed.
    pub(crate) fn rest(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.rest();
        }
    }
}

impl Read for DeadlineStream {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match &mut self.tls {
            Some(tls) => tls.read(&mut self.raw, bytes),
            None => self.raw.read(bytes),
        }
    }
}

impl Write for DeadlineStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.tls {
            Some(tls) => tls.write(&mut self.raw, bytes),
            None => self.raw.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.tls {
            Some(tls) => tls.flush(&mut self.raw),
            None => Ok(()),
        }
    }
}

/// The socket itself.
#[derive(Debug)]
struct Raw {
    socket: TcpStream,
    deadline: Instant,
}

impl Raw {
    /// Waits until the socket is ready for that, within the time allowed.
    fn wait_for(&self, readiness: PollFlags) -> io::Result<()> {
        loop {
            let remaining = self.deadline.saturating_duration_since(Instant::now());
            if remaining.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            if self.poll(readiness, remaining)? {
                return Ok(());
            }
        }
    }

    fn poll(&self, readiness: PollFlags, time: Duration) -> io::Result<bool> {
        let time = Timespec::try_from(time).map_err(io::Error::other)?;
        match poll(&mut [PollFd::new(&self.socket, readiness)], Some(&time)) {
            Ok(ready) => Ok(ready > 0),
            Err(Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

impl Read for Raw {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        loop {
            // What is there already needs no clock.
            match recv(&self.socket, &mut *bytes, RecvFlags::DONTWAIT) {
                Err(Errno::AGAIN) => self.wait_for(PollFlags::IN)?,
                Err(error) => return Err(error.into()),
                Ok((read, _)) => return Ok(read),
            }
        }
    }
}

impl Write for Raw {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match send(
                &self.socket,
                bytes,
                SendFlags::DONTWAIT | SendFlags::NOSIGNAL,
            ) {
                Err(Errno::AGAIN) => self.wait_for(PollFlags::OUT)?,
                Err(error) => return Err(error.into()),
                Ok(written) => return Ok(written),
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    /// Its address; IPv4 as such even where it came over an IPv6 socket.
    pub(crate) ip: IpAddr,
    /// Its port.
    pub(crate) port: u16,
    /// Whether it is on this machine.
    pub(crate) is_here: bool,
}

impl Peer {
    fn new(theirs: SocketAddr, ours: SocketAddr) -> Self {
        let ip = theirs.ip().to_canonical();
        Self {
            ip,
            port: theirs.port(),
            is_here: ip.is_loopback() || ip == ours.ip().to_canonical(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let one = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (one, listener.accept().unwrap().0)
    }

    #[test]
    fn dripping_bytes_do_not_move_the_deadline() {
        let (mut dripper, socket) = pair();
        let mut stream = DeadlineStream::new(socket, Duration::from_millis(200));
        let begun = Instant::now();
        let reader = std::thread::scope(|scope| {
            scope
                .spawn(move || {
                    let mut byte = [0];
                    loop {
                        if let Err(error) = stream.read_exact(&mut byte) {
                            return error;
                        }
                        dripper.write_all(b"x").unwrap();
                    }
                })
                .join()
        });
        assert_eq!(reader.unwrap().kind(), io::ErrorKind::TimedOut);
        assert!(begun.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn a_peer_that_does_not_read_does_not_hold_up_a_writer() {
        let (_silent, socket) = pair();
        let mut stream = DeadlineStream::new(socket, Duration::from_millis(100));
        let error = stream.write_all(&vec![0; 64 << 20]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn who_is_on_this_machine_is_known() {
        let is_here = |theirs: &str, ours: &str| {
            Peer::new(theirs.parse().unwrap(), ours.parse().unwrap()).is_here
        };
        assert!(is_here("127.0.0.1:1", "127.0.0.1:2"));
        assert!(is_here("[::ffff:127.0.0.1]:1", "[::ffff:127.0.0.1]:2"));
        assert!(is_here("10.0.0.1:1", "10.0.0.1:2"));
        assert!(!is_here("10.0.0.2:1", "10.0.0.1:2"));
    }

    #[test]
    fn a_farewell_arrives_although_bytes_of_the_peer_were_left_unread() {
        let (mut chatterer, socket) = pair();
        chatterer.write_all(&[b'x'; 1000]).unwrap();
        let mut stream = DeadlineStream::new(socket, Duration::from_secs(5));
        let mut first = [0];
        stream.read_exact(&mut first).unwrap();
        stream.write_all(b"no").unwrap();
        let heard = std::thread::scope(|scope| {
            let heard = scope.spawn(|| {
                let mut heard = String::new();
                chatterer.read_to_string(&mut heard).unwrap();
                chatterer.shutdown(Shutdown::Both).unwrap();
                heard
            });
            stream.close_politely().unwrap();
            drop(stream);
            heard.join().unwrap()
        });
        assert_eq!(heard, "no");
    }
}
