//! The least that a server can do for a session: accept, read a line, answer 64 bytes, close.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use super::Limit;

/// Bytes of the answer.
pub const ANSWER: usize = 64;

/// Starts it in a process of its own at an address of loopback.
pub fn start() -> (Limit, SocketAddr) {
    Limit::listening("accept", &[])
}

/// What that process does: one thread for each core.
pub fn serve(listener: &TcpListener) {
    let threads = thread::available_parallelism().unwrap().get();
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                for stream in listener.incoming().flatten() {
                    answer(stream);
                }
            });
        }
    });
}

/// A client that has gone is no matter.
fn answer(mut stream: TcpStream) {
    if stream.read(&mut [0; 4096]).is_ok_and(|read| read > 0) {
        stream.write_all(&[b'x'; ANSWER]).ok();
    }
}
