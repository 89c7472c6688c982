//! What the kernel knows about a connection and std does not tell.

use std::io;
use std::mem::zeroed;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

/// Bytes written to `socket` that the peer's kernel has not acknowledged: `SIOCOUTQ`, tcp(7).
///
/// A sender whose figure falls is making progress, however long its last `write` has been blocked.
///
/// # Errors
/// `ENOTTY` for what is no socket, `EINVAL` for a listening one.
pub fn unacknowledged(socket: impl AsFd) -> io::Result<u64> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the request writes one int, where the pointer is to. SIOCOUTQ is another name of TIOCOUTQ.
    match unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(u64::try_from(bytes).unwrap_or(0)),
    }
}

/// How long a round trip takes, as the kernel has smoothed what it measured on `socket`, all that waits on the way counted:
/// `tcpi_rtt` of `TCP_INFO`, tcp(7).
///
/// # Errors
/// `ENOTSOCK` for what is no socket, `EOPNOTSUPP` for one that is not of TCP.
pub fn smoothed_round_trip(socket: impl AsFd) -> io::Result<Duration> {
    Ok(Duration::from_micros(info(socket)?.tcpi_rtt.into()))
}

/// Whether the peer of a connected `socket` has closed its side, or the connection is lost. Other than `POLLRDHUP`, which
/// is set by our own `shutdown(SHUT_RD)` too.
///
/// # Errors
/// As [`smoothed_round_trip`].
pub fn is_closed_by_peer(socket: impl AsFd) -> io::Result<bool> {
    /// States in which the peer may still send, include/net/tcp_states.h of the kernel: established, and closed by us alone.
    const PEER_IS_OPEN: [u8; 3] = [1, 4, 5];
    Ok(!PEER_IS_OPEN.contains(&info(socket)?.tcpi_state))
}

fn info(socket: impl AsFd) -> io::Result<libc::tcp_info> {
    // SAFETY: it is made of numbers alone, which may be zero.
    let mut info: libc::tcp_info = unsafe { zeroed() };
    let mut length = libc::socklen_t::try_from(size_of_val(&info)).unwrap_or(0);
    // SAFETY: the kernel writes at most `length` bytes, which are there, and sets `length`.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut info).cast(),
            &raw mut length,
        )
    };
    match result {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(info),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{Shutdown, TcpListener, TcpStream};

    use super::*;

    #[test]
    fn figure_rises_while_the_peer_does_not_read_and_falls_to_zero_after() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut sender = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut receiver, _) = listener.accept().unwrap();
        assert_eq!(unacknowledged(&sender).unwrap(), 0);
        sender.set_nonblocking(true).unwrap();
        let mut sent = 0;
        while let Ok(count) = sender.write(&[0; 65536]) {
            sent += count;
        }
        assert!(unacknowledged(&sender).unwrap() > 0);
        receiver.read_exact(&mut vec![0; sent]).unwrap();
        while unacknowledged(&sender).unwrap() > 0 {
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_round_trip_has_been_measured_once_something_was_acknowledged() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut sender = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        sender.write_all(b"ping").unwrap();
        while unacknowledged(&sender).unwrap() > 0 {
            std::thread::yield_now();
        }
        let measured = smoothed_round_trip(&sender).unwrap();
        assert!(!measured.is_zero() && measured < Duration::from_secs(5));
    }

    #[test]
    fn only_the_peer_closes_its_side() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (peer, _) = listener.accept().unwrap();
        for direction in [Shutdown::Read, Shutdown::Write] {
            socket.shutdown(direction).unwrap();
            assert!(!is_closed_by_peer(&socket).unwrap());
        }
        drop(peer);
        while !is_closed_by_peer(&socket).unwrap() {
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_file_is_no_socket() {
        let file = tempfile::tempfile().unwrap();
        let asked = [
            unacknowledged(&file).err(),
            smoothed_round_trip(&file).err(),
        ];
        let codes = asked.map(|error| error.and_then(|error| error.raw_os_error()));
        assert_eq!(codes, [Some(libc::ENOTTY), Some(libc::ENOTSOCK)]);
    }
}
