//! Lanes that speak the framed protocol.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

use protocol::limits::MAX_GREETING;
use protocol::{
    ClientPreface, Connection, ConnectionError, MasterReply, MasterRequest, RemotePath, Reply,
    Request, ServerPreface,
};

use super::{Dialer, unexpected};
use crate::harness::{Secured, secure_over};

/// Whole sessions: connect, fetch one file, leave.
pub fn sessions(slave: SocketAddr, lane: usize, path: &str) -> impl FnMut() -> io::Result<u64> {
    let mut dialer = Dialer::new(slave, lane);
    let request = retrieve(path);
    move || {
        let mut connection = Connection::new(dialer.dial()?);
        connection.send_raw(&ClientPreface::ours().encode());
        connection.send(1, &request);
        connection.flush()?;
        greeting(&mut connection)?;
        content(&mut connection)?;
        Ok(1)
    }
}

/// Questions to a master: connect, ask which slave serves, leave.
pub fn redirects(master: SocketAddr, lane: usize) -> impl FnMut() -> io::Result<u64> {
    let mut dialer = Dialer::new(master, lane);
    let request = MasterRequest::Locate {
        tried: Vec::new(),
        renew: false,
    };
    move || {
        let mut connection = Connection::new(dialer.dial()?);
        connection.send_raw(&ClientPreface::ours().encode());
        connection.send(1, &request);
        connection.flush()?;
        greeting(&mut connection)?;
        let header = connection.receive_answer().map_err(plain)?;
        match connection.decode(&header).map_err(io::Error::other)? {
            MasterReply::Located { slaves, .. } if !slaves.is_empty() => Ok(1),
            other => Err(unexpected(other)),
        }
    }
}

/// Files on one connection, never more than `window` asked for and not answered; a window of 1 is one after another.
pub fn files(
    slave: SocketAddr,
    paths: &[String],
    window: usize,
) -> io::Result<impl FnMut() -> io::Result<u64>> {
    let mut connection = Connection::new(Dialer::new(slave, 0).dial()?);
    connection.read_far_ahead(); // with many answers under way, the generator must not be what is slow
    connection.send_raw(&ClientPreface::ours().encode());
    connection.flush()?;
    greeting(&mut connection)?;
    let requests: Vec<Request> = paths.iter().map(|path| retrieve(path)).collect();
    let batch = window.div_ceil(4);
    let (mut sent, mut answered) = (0, 0);
    Ok(move || {
        while sent - answered + batch <= window {
            for _ in 0..batch {
                connection.send(sent as u32, &requests[sent % requests.len()]);
                sent += 1;
            }
        }
        connection.flush()?;
        for _ in 0..batch {
            content(&mut connection)?;
        }
        answered += batch;
        Ok(batch as u64)
    })
}

/// One connection that has fetched a file and now rests.
pub fn idle(slave: SocketAddr, lane: usize, path: &str) -> io::Result<TcpStream> {
    let mut connection = Connection::new(Dialer::new(slave, lane).dial()?);
    connection.send_raw(&ClientPreface::ours().encode());
    connection.send(1, &retrieve(path));
    connection.flush()?;
    greeting(&mut connection)?;
    content(&mut connection)?;
    connection.stream().try_clone()
}

/// The same over TLS.
pub fn idle_over_tls(slave: SocketAddr, lane: usize, path: &str) -> io::Result<Secured> {
    let stream = secure_over(Dialer::new(slave, lane).dial()?, None)?;
    let mut connection = Connection::new(stream);
    connection.send_raw(&ClientPreface::ours().encode());
    connection.send(1, &retrieve(path));
    connection.flush()?;
    preface(&mut connection)?;
    content(&mut connection)?;
    Ok(connection.into_stream())
}

fn retrieve(path: &str) -> Request {
    Request::Retrieve {
        path: RemotePath::try_from(path).unwrap(),
        offset: 0,
        length: u64::MAX,
        expected: None,
        digest: true,
    }
}

fn greeting(connection: &mut Connection<impl Read + Write>) -> io::Result<()> {
    let line = connection.read_line(MAX_GREETING).map_err(plain)?;
    if !line.starts_with(b"220 ") {
        return Err(unexpected(String::from_utf8_lossy(&line)));
    }
    preface(connection)
}

fn preface(connection: &mut Connection<impl Read + Write>) -> io::Result<()> {
    connection
        .read_exact(&mut [0; ServerPreface::LENGTH])
        .map_err(plain)
}

/// Reads a file to its closing frame, and drops it.
fn content(connection: &mut Connection<impl Read + Write>) -> io::Result<()> {
    loop {
        let header = connection.receive_answer().map_err(plain)?;
        if header.kind == protocol::frame::DATA {
            continue;
        }
        match connection.decode(&header).map_err(io::Error::other)? {
            Reply::Content { .. } => {}
            Reply::ContentEnd { .. } => return Ok(()),
            other => return Err(unexpected(other)),
        }
    }
}

fn plain(error: ConnectionError) -> io::Error {
    io::Error::other(error)
}
