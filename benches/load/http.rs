//! Lanes that speak HTTP/1.1, as much of it as a server of static files answers.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::{Dialer, unexpected};

/// Whole sessions: connect, fetch one file, leave.
pub fn sessions(server: SocketAddr, lane: usize, path: &str) -> impl FnMut() -> io::Result<u64> {
    let mut dialer = Dialer::new(server, lane);
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let mut buffer = vec![0; 64 * 1024];
    move || {
        let mut stream = dialer.dial()?;
        stream.write_all(request.as_bytes())?;
        content(&mut stream, &mut buffer)?;
        Ok(1)
    }
}

/// Files on one connection, one after another.
pub fn files(
    server: SocketAddr,
    paths: &[String],
) -> io::Result<impl FnMut() -> io::Result<u64> + use<>> {
    let mut stream = Dialer::new(server, 0).dial()?;
    let request = |path: &String| format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let requests: Vec<String> = paths.iter().map(request).collect();
    let (mut buffer, mut asked) = (vec![0; 64 * 1024], 0);
    Ok(move || {
        stream.write_all(requests[asked % requests.len()].as_bytes())?;
        asked += 1;
        content(&mut stream, &mut buffer)?;
        Ok(1)
    })
}

/// Reads head and body of one answer, and drops them.
fn content(stream: &mut TcpStream, buffer: &mut [u8]) -> io::Result<()> {
    let (mut filled, mut wanted) = (0, None);
    while wanted.is_none_or(|wanted| filled < wanted) {
        match stream.read(&mut buffer[filled..])? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => filled += read,
        }
        if wanted.is_none() {
            wanted = length_of_answer(&buffer[..filled])?;
        }
    }
    Ok(())
}

/// How long the answer is, head and body; `None` while its head is not whole.
fn length_of_answer(bytes: &[u8]) -> io::Result<Option<usize>> {
    let Some(head) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(None);
    };
    let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
    let length = text.lines().find_map(|line| {
        line.strip_prefix("content-length:")?
            .trim()
            .parse::<usize>()
            .ok()
    });
    match length {
        Some(length) if text.starts_with("http/1.1 200") => Ok(Some(head + 4 + length)),
        _ => Err(unexpected(text)),
    }
}
