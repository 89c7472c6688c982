//! A connection to a master: in the clear on this machine, over TLS to any other.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use auth::tls::{Connector, Tls, TlsError, Trust};
use cli::TlsUse;
use protocol::limits::MAX_GREETING;
use protocol::{
    ClientPreface, Connection, ConnectionError, ErrorCode, Fingerprint, MasterReply, MasterRequest,
    Role, ServerPreface,
};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Longest wait for a master's word; it answers at once or is gone.
const DEADLINE: Duration = Duration::from_secs(3);

/// Which connections are encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Encryption {
    Always,
    /// Beyond this machine, and where the master demands it.
    Auto,
    Never,
}

impl From<TlsUse> for Encryption {
    fn from(wanted: TlsUse) -> Self {
        match wanted {
            TlsUse::Always => Self::Always,
            TlsUse::Auto => Self::Auto,
            TlsUse::Never => Self::Never,
        }
    }
}

/// How a master is spoken to.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Manner {
    pub(crate) encryption: Encryption,
    /// By what the master is known; without it, any is spoken to and must prove itself by the slave's key.
    pub(crate) master: Option<[u8; 32]>,
}

/// A socket, and what encrypts it.
#[derive(Debug)]
pub(crate) struct Line {
    socket: TcpStream,
    tls: Option<Tls>,
}

/// Why a master cannot be talked to.
#[derive(Debug, Error)]
pub(crate) enum LineError {
    #[error("{0}")]
    Unreachable(io::Error),
    #[error("{0}")]
    Connection(#[from] ConnectionError),
    #[error("cannot speak to it over TLS: {0}")]
    Tls(#[from] TlsError),
    #[error("a slave listens there, not a master")]
    NotAMaster,
    #[error("it speaks another version of the protocol")]
    Version,
    #[error("{}", refusal(.0, .1))]
    Refused(ErrorCode, String),
    #[error("it answers out of turn")]
    OutOfTurn,
}

fn refusal(code: &ErrorCode, detail: &str) -> String {
    if detail.is_empty() {
        code.sentence().to_owned()
    } else {
        detail.to_owned()
    }
}

impl LineError {
    /// Whether nobody is there, or nobody who answers.
    pub(crate) const fn is_absence(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::Connection(_))
    }
}

/// What TLS has against the peer stands inside an I/O error.
impl From<io::Error> for LineError {
    fn from(error: io::Error) -> Self {
        match error.downcast::<TlsError>() {
            Ok(error) => Self::Tls(error),
            Err(error) => Self::Unreachable(error),
        }
    }
}

impl Line {
    /// What makes this connection unlike any other, for proofs that cannot be relayed; empty in the clear.
    pub(crate) fn channel(&self) -> io::Result<Vec<u8>> {
        match &self.tls {
            Some(tls) => Ok(tls.channel_binding()?.to_vec()),
            None => Ok(Vec::new()),
        }
    }

    /// Whether it is TLS.
    pub(crate) const fn is_encrypted(&self) -> bool {
        self.tls.is_some()
    }

    /// Whether nobody on the way can read what is said.
    pub(crate) fn is_private(&self) -> io::Result<bool> {
        Ok(self.tls.is_some() || is_here(self.socket.peer_addr()?))
    }
}

impl Read for Line {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match &mut self.tls {
            Some(tls) => tls.read(&mut self.socket, bytes),
            None => self.socket.read(bytes),
        }
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.tls {
            Some(tls) => tls.write(&mut self.socket, bytes),
            None => self.socket.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.tls {
            Some(tls) => tls.flush(&mut self.socket),
            None => Ok(()),
        }
    }
}

fn is_here(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

/// Connects to the master at that host and port and agrees on a version; `demanded` says that it wants TLS.
pub(crate) fn connect(
    (host, port): (&str, u16),
    manner: Manner,
    demanded: bool,
) -> Result<Connection<Line>, LineError> {
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "no such host");
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, DEADLINE) {
            Ok(socket) => {
                let over_tls = match manner.encryption {
                    Encryption::Always => true,
                    Encryption::Auto => demanded || !is_here(address),
                    Encryption::Never => false,
                };
                return introduce(socket, host, over_tls.then_some(manner));
            }
            Err(error) => failure = error,
        }
    }
    Err(failure.into())
}

fn introduce(
    mut socket: TcpStream,
    host: &str,
    tls: Option<Manner>,
) -> Result<Connection<Line>, LineError> {
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(DEADLINE))?;
    socket.set_write_timeout(Some(DEADLINE))?;
    let is_clear = tls.is_none();
    let tls = match tls {
        Some(manner) => {
            skip_greeting(&mut socket)?;
            let trust = match manner.master {
                Some(known) => Trust::Known(Fingerprint(known)),
                None => Trust::Anyone,
            };
            let mut tls = Connector::new(trust)?.start(host)?;
            tls.handshake(&mut socket)?;
            Some(tls)
        }
        None => None,
    };
    let mut connection = Connection::new(Line { socket, tls });
    connection.send_raw(&ClientPreface::ours().encode());
    connection.flush()?;
    if is_clear {
        connection.read_line(MAX_GREETING)?;
    }
    let mut preface = [0; ServerPreface::LENGTH];
    connection.read_exact(&mut preface)?;
    match ServerPreface::decode(&preface).map_err(ConnectionError::from)? {
        ServerPreface { version: 0, .. } => Err(LineError::Version),
        ServerPreface {
            role: Role::Slave, ..
        } => Err(LineError::NotAMaster),
        ServerPreface {
            role: Role::Master, ..
        } => Ok(connection),
    }
}

/// Byte by byte: what stands behind the line belongs to TLS.
fn skip_greeting(socket: &mut TcpStream) -> io::Result<()> {
    let mut byte = [0];
    for _ in 0..MAX_GREETING {
        socket.read_exact(&mut byte)?;
        if byte == *b"\n" {
            return Ok(());
        }
    }
    Err(io::Error::new(
        io::ErrorKind::InvalidData,
        "its greeting has no end",
    ))
}

/// Asks one thing and waits for the answer.
pub(crate) fn ask(
    connection: &mut Connection<Line>,
    id: u32,
    request: &MasterRequest,
) -> Result<MasterReply, LineError> {
    connection.send(id, request);
    connection.flush()?;
    let header = connection.receive_answer()?;
    match connection.decode(&header).map_err(ConnectionError::from)? {
        MasterReply::Error { code, detail } => {
            Err(LineError::Refused(code, detail.as_str().to_owned()))
        }
        reply => Ok(reply),
    }
}
