//! Lanes that speak XRootD's protocol: log in; open, read and close for each file.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::{Dialer, unexpected};

const LOGIN: u16 = 3007;
const OPEN: u16 = 3010;
const READ: u16 = 3013;
const CLOSE: u16 = 3003;
const OK: u16 = 0;
const MORE_FOLLOWS: u16 = 4000;
const OPEN_FOR_READING: u8 = 0x10;

/// Whole sessions: connect, log in, fetch one file, leave.
pub fn sessions(server: SocketAddr, lane: usize, path: &str) -> impl FnMut() -> io::Result<u64> {
    let mut dialer = Dialer::new(server, lane);
    move || {
        Session::open(dialer.dial()?)?.fetch(path)?;
        Ok(1)
    }
}

/// Files in one session, one after another.
pub fn files(server: SocketAddr, paths: &[String]) -> io::Result<impl FnMut() -> io::Result<u64>> {
    let mut session = Session::open(Dialer::new(server, 0).dial()?)?;
    let mut asked = 0;
    Ok(move || {
        session.fetch(&paths[asked % paths.len()])?;
        asked += 1;
        Ok(1)
    })
}

/// A session that has logged in and now rests.
pub fn idle(server: SocketAddr, lane: usize) -> io::Result<TcpStream> {
    Ok(Session::open(Dialer::new(server, lane).dial()?)?.stream)
}

struct Session {
    stream: TcpStream,
    body: Vec<u8>,
}

impl Session {
    fn open(stream: TcpStream) -> io::Result<Self> {
        let mut session = Self {
            stream,
            body: Vec::new(),
        };
        let handshake: Vec<u8> = [0, 0, 0, 4, 2012_u32]
            .iter()
            .flat_map(|word| word.to_be_bytes())
            .collect();
        session.stream.write_all(&handshake)?;
        session.expect_ok()?;
        let mut login = [0; 16];
        login[4..9].copy_from_slice(b"bench");
        login[14] = 4; // version of the client's protocol
        session.ask(LOGIN, login, &[])?;
        Ok(session)
    }

    fn fetch(&mut self, path: &str) -> io::Result<()> {
        let mut open = [0; 16];
        open[3] = OPEN_FOR_READING;
        self.ask(OPEN, open, path.as_bytes())?;
        let handle: [u8; 4] = self.body[..4].try_into().unwrap();
        let mut read = [0; 16];
        read[..4].copy_from_slice(&handle);
        read[12..].copy_from_slice(&(32 * 1024_u32).to_be_bytes());
        self.ask(READ, read, &[])?;
        let mut close = [0; 16];
        close[..4].copy_from_slice(&handle);
        self.ask(CLOSE, close, &[])
    }

    fn ask(&mut self, request: u16, parameters: [u8; 16], data: &[u8]) -> io::Result<()> {
        let mut message = vec![0, 1]; // one request at a time, so one stream id
        message.extend_from_slice(&request.to_be_bytes());
        message.extend_from_slice(&parameters);
        message.extend_from_slice(&(data.len() as u32).to_be_bytes());
        message.extend_from_slice(data);
        self.stream.write_all(&message)?;
        self.expect_ok()
    }

    fn expect_ok(&mut self) -> io::Result<()> {
        loop {
            let mut header = [0; 8];
            self.stream.read_exact(&mut header)?;
            let [_, _, status @ .., a, b, c, d] = header;
            self.body
                .resize(u32::from_be_bytes([a, b, c, d]) as usize, 0);
            self.stream.read_exact(&mut self.body)?;
            match u16::from_be_bytes(status) {
                OK => return Ok(()),
                MORE_FOLLOWS => {}
                _ => return Err(unexpected(String::from_utf8_lossy(&self.body))),
            }
        }
    }
}
