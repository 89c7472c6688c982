//! Lanes that speak FTP: log in, and one EPSV and one RETR for each file.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::{Dialer, at_port, unexpected};

/// Name and password.
pub type Login = (&'static str, &'static str);

/// Whole sessions: connect, log in, fetch one file, leave.
pub fn sessions(
    server: SocketAddr,
    login: Login,
    lane: usize,
    path: &str,
) -> impl FnMut() -> io::Result<u64> + use<> {
    let mut dialer = Dialer::new(server, lane);
    let path = path.to_owned();
    move || {
        let mut session = Session::open(dialer.dial()?, login)?;
        session.fetch(server, lane, &path)?;
        session.ask("QUIT", "221")?;
        Ok(1)
    }
}

/// Files in one session, one after another.
pub fn files(
    server: SocketAddr,
    login: Login,
    paths: &[String],
) -> io::Result<impl FnMut() -> io::Result<u64> + use<>> {
    let mut session = Session::open(Dialer::new(server, 0).dial()?, login)?;
    let (paths, mut asked) = (paths.to_vec(), 0);
    Ok(move || {
        session.fetch(server, 0, &paths[asked % paths.len()])?;
        asked += 1;
        Ok(1)
    })
}

/// A session that has logged in and now rests.
pub fn idle(server: SocketAddr, login: Login, lane: usize) -> io::Result<TcpStream> {
    let session = Session::open(Dialer::new(server, lane).dial()?, login)?;
    Ok(session.control.into_inner())
}

struct Session {
    control: BufReader<TcpStream>,
}

impl Session {
    fn open(stream: TcpStream, (user, password): Login) -> io::Result<Self> {
        let mut session = Self {
            control: BufReader::new(stream),
        };
        session.expect("220")?;
        session.ask(&format!("USER {user}"), "331")?;
        session.ask(&format!("PASS {password}"), "230")?;
        session.ask("TYPE I", "200")?;
        Ok(session)
    }

    fn fetch(&mut self, server: SocketAddr, lane: usize, path: &str) -> io::Result<()> {
        let offer = self.ask("EPSV", "229")?;
        let port = offer.split('|').nth(3).and_then(|port| port.parse().ok());
        let port = port.ok_or_else(|| unexpected(&offer))?;
        let mut data = Dialer::new(at_port(server, port), lane).dial()?;
        self.ask(&format!("RETR {path}"), "1")?;
        while data.read(&mut [0; 16 * 1024])? > 0 {}
        drop(data);
        self.expect("226").map(drop)
    }

    fn ask(&mut self, command: &str, code: &str) -> io::Result<String> {
        self.control
            .get_mut()
            .write_all(format!("{command}\r\n").as_bytes())?;
        self.expect(code)
    }

    /// The last line of the next reply.
    fn expect(&mut self, code: &str) -> io::Result<String> {
        loop {
            let mut line = String::new();
            if self.control.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let last = line.as_bytes().get(3) == Some(&b' ') && line.starts_with(char::is_numeric);
            match last {
                true if line.starts_with(code) => return Ok(line),
                true => return Err(unexpected(line)),
                false => {}
            }
        }
    }
}
