//! A connection to a peer, and the ways past our memory that it offers.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::BorrowedFd;

use rustix::fs::sendfile;
use rustix::net::sockopt::set_tcp_congestion;
use rustix::net::{SendFlags, send};
use rustix::pipe::{SpliceFlags, splice};

/// A byte stream to a peer. What it does not provide is [`io::ErrorKind::Unsupported`], and then goes through a buffer.
pub trait Wire: Read + Write {
    /// Moves at most `most` bytes that the peer sent into `pipe`, splice(2); otherwise as [`Read::read`].
    ///
    /// # Errors
    /// What the stream says.
    fn splice_into(&mut self, pipe: BorrowedFd<'_>, most: usize) -> io::Result<usize>;

    /// Sends at most `most` bytes of `file` from `offset` on, sendfile(2); 0 where the file ends there.
    ///
    /// # Errors
    /// What the stream or the file says: the kernel does not tell whose fault it is.
    fn send_file(&mut self, file: &File, offset: u64, most: usize) -> io::Result<usize>;

    /// Writes some of `bytes`, behind which more will follow at once.
    ///
    /// # Errors
    /// What the stream says.
    fn write_more(&mut self, bytes: &[u8]) -> io::Result<usize>;
}

/// A socket without encryption, whose timeouts are those of each call.
impl Wire for &TcpStream {
    fn splice_into(&mut self, pipe: BorrowedFd<'_>, most: usize) -> io::Result<usize> {
        Ok(splice(*self, None, pipe, None, most, SpliceFlags::MOVE)?)
    }

    fn send_file(&mut self, file: &File, mut offset: u64, most: usize) -> io::Result<usize> {
        Ok(sendfile(*self, file, Some(&mut offset), most)?)
    }

    fn write_more(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(send(*self, bytes, SendFlags::MORE | SendFlags::NOSIGNAL)?)
    }
}

impl Wire for TcpStream {
    fn splice_into(&mut self, pipe: BorrowedFd<'_>, most: usize) -> io::Result<usize> {
        (&*self).splice_into(pipe, most)
    }

    fn send_file(&mut self, file: &File, offset: u64, most: usize) -> io::Result<usize> {
        (&*self).send_file(file, offset, most)
    }

    fn write_more(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&*self).write_more(bytes)
    }
}

/// Whether both ends of a connection, with `peer` at the other one, are on one machine, by whichever of its addresses.
#[must_use]
pub fn is_same_machine(socket: &TcpStream, peer: SocketAddr) -> bool {
    let theirs = peer.ip().to_canonical();
    let is_ours = |ours: SocketAddr| ours.ip().to_canonical() == theirs;
    theirs.is_loopback() || socket.local_addr().is_ok_and(is_ours)
}

/// Has a socket send as fast as its window allows. Between two ends on [one machine](is_same_machine) nothing is ever
/// congested, and a control that paces its segments (BBR, the default of some machines) halves what passes. Which one may be
/// chosen without privileges is the machine's to say; where none may, the default stays.
pub fn send_unpaced(socket: &TcpStream) {
    let _is_chosen = ["cubic", "reno"]
        .iter()
        .any(|control| set_tcp_congestion(socket, control).is_ok());
}

/// Calls again whatever a signal interrupted.
pub(crate) fn retrying<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use rustix::net::sockopt::tcp_congestion;

    use super::*;

    #[test]
    fn between_ends_on_one_machine_nothing_is_paced() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let socket = TcpStream::connect(address).unwrap();
        assert!(is_same_machine(&socket, address));
        send_unpaced(&socket);
        // Where the machine lets nobody choose, its default is what it is.
        let control = tcp_congestion(&socket).unwrap();
        let may_choose = set_tcp_congestion(&socket, "reno").is_ok();
        assert!(
            !may_choose || ["cubic", "reno"].contains(&control.as_str()),
            "{control}"
        );
    }
}
