//! What the kernel knows about a connection and std does not tell.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

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

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

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
    fn a_file_is_no_socket() {
        let file = tempfile::tempfile().unwrap();
        assert_eq!(
            unacknowledged(&file).unwrap_err().raw_os_error(),
            Some(libc::ENOTTY)
        );
    }
}
