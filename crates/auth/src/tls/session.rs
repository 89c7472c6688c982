//! One session: plaintext on one side, whatever stream it is lent on the other.

use std::io::{self, IoSlice, Read, Write};

use protocol::Fingerprint;
use rustls::Connection;
use rustls::pki_types::CertificateDer;

use super::ahead::Ahead;
use super::{ALPN, TlsError, fingerprint_of};

/// Plaintext that is encrypted before it is sent, at most, bytes: sixteen records, which one system call takes.
const AT_ONCE: usize = 256 * 1024;

/// What makes a proof this connection's (RFC 9266, section 2).
const BINDING_LABEL: &[u8] = b"EXPORTER-Channel-Binding";

/// A session over TLS, without a stream of its own: each call is given the one that it works over, always the same, and
/// passes on what that says, timeouts for example; unless said otherwise the call may then be made again.
///
/// A call that reads never writes, but for the alert that ends the session: two peers cannot wait for each other.
#[derive(Debug)]
pub struct Tls {
    connection: Connection,
    peer: Option<Fingerprint>,
    /// What the stream gave and is not decrypted. While decrypted bytes wait no more is; else nothing whole waits here.
    ahead: Ahead,
    /// Decrypted bytes that wait.
    waiting: usize,
    /// Whether the peer said that nothing more will come.
    is_ended: bool,
    /// What is wrong with the bytes behind those that were read.
    failure: Option<io::Error>,
    /// What [`Self::hold`] was given.
    held: Vec<u8>,
}

impl Tls {
    pub(super) fn new(mut connection: Connection) -> Self {
        // What is encrypted is sent before anything else is done, so there are bounds enough.
        connection.set_buffer_limit(None);
        Self {
            connection,
            peer: None,
            ahead: Ahead::default(),
            waiting: 0,
            is_ended: false,
            failure: None,
            held: Vec::new(),
        }
    }

    /// Comes to an agreement with the peer. Must be done before anything else.
    ///
    /// # Errors
    /// A [`TlsError`] of kind [`InvalidData`](io::ErrorKind::InvalidData), [`UnexpectedEof`](io::ErrorKind::UnexpectedEof),
    /// or what the stream says.
    pub fn handshake(&mut self, stream: &mut (impl Read + Write)) -> io::Result<()> {
        while self.connection.is_handshaking() {
            self.send(stream)?;
            if self.connection.is_handshaking() && self.receive(stream)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        self.send(stream)?;
        if matches!(self.connection, Connection::Client(_))
            && self.connection.alpn_protocol() != Some(ALPN)
        {
            return Err(TlsError::OtherProtocol.into());
        }
        let key = self.certificates().first().map(fingerprint_of).transpose();
        self.peer = key.map_err(TlsError::from)?;
        self.decrypt_ahead(stream);
        Ok(())
    }

    /// Reads plaintext; 0 only where the peer said that nothing more will come.
    ///
    /// # Errors
    /// [`UnexpectedEof`](io::ErrorKind::UnexpectedEof) where the stream ends although the peer did not say so: somebody may
    /// have cut it off. A [`TlsError`] of kind [`InvalidData`](io::ErrorKind::InvalidData), or what the stream says.
    pub fn read(
        &mut self,
        stream: &mut (impl Read + Write),
        bytes: &mut [u8],
    ) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        loop {
            match self.connection.reader().read(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
                Ok(read) => {
                    self.waiting = self.waiting.saturating_sub(read);
                    self.decrypt_ahead(stream);
                    return Ok(read);
                }
            }
            if let Some(failure) = self.failure.take() {
                return Err(failure);
            }
            self.receive(stream)?;
        }
    }

    /// Writes some of `bytes` behind what was held back. An error of the stream ends the session, since some may be on its way,
    /// but for [`WouldBlock`](io::ErrorKind::WouldBlock) of one that never waits: then all that was given is taken, and
    /// what could not be sent of it goes before whatever is written next; see [`Self::has_unsent`].
    ///
    /// # Errors
    /// What the stream says.
    pub fn write(&mut self, stream: &mut (impl Read + Write), bytes: &[u8]) -> io::Result<usize> {
        let taken = self.encrypt(bytes.get(..AT_ONCE).unwrap_or(bytes))?;
        self.send(stream)?;
        Ok(taken)
    }

    /// Takes plaintext that is to travel with what is written next.
    pub fn hold(&mut self, bytes: &[u8]) {
        self.held.extend_from_slice(bytes);
    }

    /// Sends what was held back, and what the stream did not take so far.
    ///
    /// # Errors
    /// What the stream says, as with [`Self::write`].
    pub fn flush(&mut self, stream: &mut (impl Read + Write)) -> io::Result<()> {
        if !self.held.is_empty() {
            self.encrypt(&[])?;
        }
        self.send(stream)
    }

    /// Whether encrypted bytes wait for the stream to take them.
    #[must_use]
    pub fn has_unsent(&self) -> bool {
        self.connection.wants_write()
    }

    /// Takes in what the stream has, for one that never waits; whether a [read](Self::read) has something to give then.
    ///
    /// # Errors
    /// As [`Self::read`]; what the stream would have to wait for is no error.
    pub fn take_in(&mut self, stream: &mut (impl Read + Write)) -> io::Result<bool> {
        while !self.is_ready() {
            match self.receive(stream) {
                Ok(0) => return Ok(true), // the next read tells
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Says that nothing more will come.
    ///
    /// # Errors
    /// What the stream says.
    pub fn close(&mut self, stream: &mut (impl Read + Write)) -> io::Result<()> {
        self.connection.send_close_notify();
        self.flush(stream)
    }

    /// By what the peer is known, once the handshake is done; `None` for a client, which shows no certificate.
    #[must_use]
    pub fn peer(&self) -> Option<Fingerprint> {
        self.peer
    }

    /// What the peer has shown: its certificate first.
    pub(super) fn certificates(&self) -> &[CertificateDer<'static>] {
        self.connection.peer_certificates().unwrap_or_default()
    }

    /// Decrypted bytes that wait: who polls the stream alone would sleep on them.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.waiting
    }

    /// Whether a [read](Self::read) has something to give without the stream: bytes, the end, or an error.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.waiting > 0 || self.is_ended || self.failure.is_some()
    }

    /// Gives memory back that only the last exchange needed; for a session that may be idle for long.
    pub fn rest(&mut self) {
        self.held = Vec::new();
        self.ahead.rest();
        // Whatever is read next, the buffer is first cut down to what it holds.
        let _nothing = self.connection.read_tls(&mut Nothing);
    }

    /// A secret of this connection alone, which both sides know (RFC 9266): a proof that holds it counts nowhere else.
    ///
    /// # Errors
    /// The handshake is not done.
    pub fn channel_binding(&self) -> io::Result<[u8; 32]> {
        let exported = self
            .connection
            .export_keying_material([0; 32], BINDING_LABEL, Some(&[]));
        Ok(exported.map_err(TlsError::from)?)
    }

    /// Makes records of what was held back and of `bytes`; how many of these.
    fn encrypt(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let held = std::mem::take(&mut self.held);
        let parts = [IoSlice::new(&held), IoSlice::new(bytes)];
        let taken = self.connection.writer().write_vectored(&parts)?;
        let short = || io::Error::from(io::ErrorKind::WriteZero);
        taken.checked_sub(held.len()).ok_or_else(short)
    }

    fn send(&mut self, stream: &mut (impl Read + Write)) -> io::Result<()> {
        while self.connection.wants_write() {
            match self.connection.write_tls(stream) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                Ok(_) | Err(_) => {}
            }
        }
        Ok(())
    }

    /// Decrypts what was read ahead, until there is something to read or all of it is. What is wrong with it the next read tells.
    fn decrypt_ahead(&mut self, stream: &mut (impl Read + Write)) {
        while !self.is_ready() && !self.ahead.is_empty() {
            self.failure = self.receive(stream).err();
        }
    }

    /// Takes in some of what was read ahead, or of what the stream gives; how many bytes, 0 where that ends.
    fn receive(&mut self, stream: &mut (impl Read + Write)) -> io::Result<usize> {
        let received = loop {
            match self.connection.read_tls(&mut self.ahead.then(stream)) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result?,
            }
        };
        match self.connection.process_new_packets() {
            Ok(state) => {
                self.waiting = state.plaintext_bytes_to_read();
                self.is_ended = state.peer_has_closed();
                Ok(received)
            }
            Err(error) => {
                // The peer hears why, where it can still hear.
                self.send(stream).unwrap_or_default();
                Err(TlsError::from(error).into())
            }
        }
    }
}

/// A stream without a byte.
struct Nothing;

impl Read for Nothing {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }
}
