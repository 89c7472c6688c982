//! Asking another server of the suite: connect, skip the greeting, agree on a version.

use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};

use anyhow::{Context, Result, bail};
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

/// Greets a server that should have this role. All that follows must be done within the time for a question.
pub(crate) fn shake_hands(socket: TcpStream, role: Role) -> Result<Answered> {
    socket.set_nodelay(true)?;
    let mut connection = Connection::new(DeadlineStream::new(socket, QUESTION));
    connection.send_raw(&ClientPreface::ours().encode());
    connection.flush()?;
    let greeting = connection.read_line(MAX_GREETING)?;
    if greeting.starts_with(b"421") {
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
