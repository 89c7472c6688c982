//! Lanes that do the least that a session can be: connect, say a line, hear 64 bytes.

use std::io::{self, Read, Write};
use std::net::SocketAddr;

use super::Dialer;
use crate::limits::accept::ANSWER;

/// Whole sessions.
pub fn sessions(server: SocketAddr, lane: usize) -> impl FnMut() -> io::Result<u64> {
    let mut dialer = Dialer::new(server, lane);
    move || {
        let mut stream = dialer.dial()?;
        stream.write_all(b"hello\r\n")?;
        stream.read_exact(&mut [0; ANSWER])?;
        Ok(1)
    }
}
