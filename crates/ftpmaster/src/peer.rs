//! Asking another server of the suite: connect, skip the greeting, speak TLS, agree on a version.

use std::io::{self, Read};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};

use anyhow::{Context, Result, bail};
use auth::tls::Tls;
use protocol::limits::MAX_GREETING;
use protocol::{ClientPreface, Connection, Message, Role, ServerPreface};

use crate::limits::{CONNECT, QUESTION};
use crate::stream::DeadlineStream;

/// What is at the other end.
#[derive(Debug)]
pub(crate) enum Answered {
    /// A server that takes questions.
    Ready(Connection<DeadlineStream>),
    /// A server without a free place.
    Busy,
}

/// Connects to the first of the host's addresses that takes us.
pub(crate) fn dial(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut failure = io::Error::from(io::ErrorKind::NotFound);
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT) {
            Ok(socket) => return Ok(socket),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// As [`dial`], for an address that needs no looking up.
pub(crate) fn dial_address(address: SocketAddr) -> io::Result<TcpStream> {
    TcpStream::connect_timeout(&address, CONNECT)
}

/// Greets a server that should have this role, over TLS where a session for it is given. All that follows must be done
/// within the time for a question.
pub(crate) fn shake_hands(socket: TcpStream, role: Role, tls: Option<Tls>) -> Result<Answered> {
    socket.set_nodelay(true)?;
    let mut stream = DeadlineStream::new(socket, QUESTION);
    let over_tls = tls.is_some();
    if let Some(tls) = tls {
        if read_line(&mut stream)?.starts_with(b"421") {
            return Ok(Answered::Busy);
        }
        stream.secure(tls)?;
    }
    let mut connection = Connection::new(stream);
    connection.send_raw(&ClientPreface::ours().encode());
    connection.flush()?;
    if !over_tls && connection.read_line(MAX_GREETING)?.starts_with(b"421") {
        return Ok(Answered::Busy);
    }
    let mut bytes = [0; ServerPreface::LENGTH];
    connection.read_exact(&mut bytes)?;
    let preface = ServerPreface::decode(&bytes)?;
    if preface.role != role {
        match role {
            Role::Master => bail!("it is a slave, not a master"),
            Role::Slave => bail!("it is a master, not a slave"),
        }
    }
    if preface.version == 0 {
        bail!(
            "it speaks versions {} to {} of the protocol, this program other ones",
            preface.oldest,
            preface.newest
        );
    }
    Ok(Answered::Ready(connection))
}

/// The greeting, byte by byte: what stands behind it belongs to TLS.
fn read_line(stream: &mut DeadlineStream) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    let mut byte = [0];
    while line.len() < MAX_GREETING {
        stream.read_exact(&mut byte)?;
        line.extend(byte);
        if byte == *b"\n" {
            return Ok(line);
        }
    }
    let sentence = "its greeting has no end";
    Err(io::Error::new(io::ErrorKind::InvalidData, sentence))
}

/// Sends one question and takes its one answer.
pub(crate) fn ask<A: Message>(
    connection: &mut Connection<DeadlineStream>,
    question: &impl Message,
) -> Result<A> {
    connection.send(1, question);
    connection.flush()?;
    let header = connection.receive_answer()?;
    connection.decode(&header).context("it answers nonsense")
}
