//! A connection over TLS, as a client by hand has it.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

use auth::tls::{Connector, Tls, Trust};
use protocol::Fingerprint;

use super::wait::PATIENCE;

/// A session over TLS with its socket; reads and writes are plaintext.
#[derive(Debug)]
pub struct Secured {
    socket: TcpStream,
    tls: Tls,
}

/// Connects and speaks TLS at once with whoever shows this key; `None`: any.
pub fn secure(server: SocketAddr, key: Option<Fingerprint>) -> io::Result<Secured> {
    let socket = TcpStream::connect(server)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    secure_over(socket, key)
}

/// The same over a connection that was just made.
pub fn secure_over(mut socket: TcpStream, key: Option<Fingerprint>) -> io::Result<Secured> {
    let trust = key.map_or(Trust::Anyone, Trust::Known);
    let mut tls = Connector::new(trust)?.start("localhost")?;
    let mut greeting = Vec::new();
    tls.handshake(&mut Greeted(&mut socket, &mut greeting))?;
    Ok(Secured { socket, tls })
}

/// A socket from which the greeting, in the clear, is taken first.
struct Greeted<'a>(&'a mut TcpStream, &'a mut Vec<u8>);

impl Read for Greeted<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let Self(socket, greeting) = self;
        while !greeting.ends_with(b"\n") {
            let mut byte = [0];
            socket.read_exact(&mut byte)?;
            greeting.extend(byte);
        }
        assert!(greeting.starts_with(b"220 "), "{greeting:?}");
        socket.read(bytes)
    }
}

impl Write for Greeted<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Secured {
    /// The key that the server showed.
    pub fn key(&self) -> Fingerprint {
        self.tls.peer().unwrap()
    }

    /// Says that nothing more will come.
    pub fn close(&mut self) {
        self.tls.close(&mut self.socket).unwrap();
    }

    /// Reads up to the word that it was all; an end without that word is an error.
    pub fn read_all(&mut self) -> io::Result<Vec<u8>> {
        let mut heard = Vec::new();
        self.read_to_end(&mut heard).map(|_| heard)
    }
}

impl Read for Secured {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.tls.read(&mut self.socket, bytes)
    }
}

impl Write for Secured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.tls.write(&mut self.socket, bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.tls.flush(&mut self.socket)
    }
}
