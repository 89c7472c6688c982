//! Is the worker at the other end of a silent connection alive? Asked on a second connection, within a deadline.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use auth::tls::{Connector, Trust};
use protocol::limits::MAX_GREETING;
use protocol::{
    ClientPreface, Connection, ConnectionError, DecodeError, Fingerprint, Reply, Request,
    ServerPreface,
};

use crate::aside::spawn;
use crate::channel::{Channel, is_turn_over};
use crate::dial::is_busy;

/// What a probe found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Probed {
    /// The slave answers; its worker showed life that long ago.
    Alive {
        /// Since when the worker has been silent.
        silent: Duration,
    },
    /// Nobody listens there any more: it ended, or takes no one new while it ends.
    Refused,
    /// No answer in time.
    Dead,
}

/// Whom to ask about which of its workers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    pub(crate) address: SocketAddr,
    pub(crate) worker: u32,
    /// The key that the slave has shown, where it is spoken to over TLS: then it is asked in the same way.
    pub(crate) key: Option<Fingerprint>,
}

/// Asks a slave about one of its workers.
fn probe(asked: &Asked, limit: Duration) -> Probed {
    match ask(asked, Instant::now() + limit) {
        Ok(silent) => Probed::Alive { silent },
        Err(error) => {
            tracing::debug!(address = %asked.address, %error, "probe failed");
            match error {
                ConnectionError::Io(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    Probed::Refused
                }
                _ => Probed::Dead,
            }
        }
    }
}

/// The same, while whoever asks goes on.
///
/// # Errors
/// No thread is to be had.
pub(crate) fn ask_aside(asked: Asked, limit: Duration) -> io::Result<Receiver<Probed>> {
    let (answer, receiver) = channel();
    spawn("probe", move || {
        let told = answer.send(probe(&asked, limit));
        tracing::trace!(?told, "probe");
    })?;
    Ok(receiver)
}

fn ask(asked: &Asked, end: Instant) -> Result<Duration, ConnectionError> {
    let socket = TcpStream::connect_timeout(&asked.address, left(end)?)?;
    socket.set_nodelay(true)?;
    let mut stream = Deadline {
        channel: Channel::new(socket),
        end,
    };
    if let Some(key) = asked.key {
        let mut greeting = Vec::new();
        let done = stream.encrypt(key, &asked.address.ip().to_string(), &mut greeting);
        // Whoever is there to say that all is full did not hear the question in time; but he is there.
        if is_busy(&greeting) {
            return Ok(Duration::ZERO);
        }
        done?;
    }
    let mut connection = Connection::new(stream);
    connection.send_raw(&ClientPreface::ours().encode());
    connection.send(
        1,
        &Request::Probe {
            worker: asked.worker,
        },
    );
    connection.flush()?;
    if asked.key.is_none() && is_busy(&connection.read_line(MAX_GREETING)?) {
        return Ok(Duration::ZERO);
    }
    let mut preface = [0; ServerPreface::LENGTH];
    connection.read_exact(&mut preface)?;
    ServerPreface::decode(&preface)?;
    let header = connection.receive_answer()?;
    match connection.decode(&header)? {
        Reply::Alive { silent_ms, .. } => Ok(Duration::from_millis(silent_ms.into())),
        // Whoever refuses to answer is there.
        Reply::Error { .. } => Ok(Duration::ZERO),
        _ => Err(DecodeError::UnknownKind(header.kind).into()),
    }
}

fn left(end: Instant) -> io::Result<Duration> {
    Some(end.saturating_duration_since(Instant::now()))
        .filter(|left| !left.is_zero())
        .ok_or_else(|| io::ErrorKind::TimedOut.into())
}

/// A connection whose reads and writes all end by one moment.
#[derive(Debug)]
struct Deadline {
    channel: Channel,
    end: Instant,
}

impl Deadline {
    /// Speaks TLS from now on, behind the greeting, with whoever holds that key.
    fn encrypt(&mut self, key: Fingerprint, host: &str, greeting: &mut Vec<u8>) -> io::Result<()> {
        let connector = Connector::new(Trust::Known(key)).map_err(io::Error::other)?;
        let mut tls = connector.start(host).map_err(io::Error::other)?;
        self.within(|channel| channel.shake_hands(&mut tls, greeting))?;
        self.channel.encrypt(tls);
        Ok(())
    }

    /// Calls again whatever would have to wait, until the time is over: within TLS one call may read several times.
    fn within<T>(&mut self, mut call: impl FnMut(&mut Channel) -> io::Result<T>) -> io::Result<T> {
        loop {
            let left = Some(left(self.end)?);
            self.channel.socket().set_read_timeout(left)?;
            self.channel.socket().set_write_timeout(left)?;
            match call(&mut self.channel) {
                Err(error) if is_turn_over(&error) => {}
                result => return result,
            }
        }
    }
}

impl Read for Deadline {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.within(|channel| channel.read(bytes))
    }
}

impl Write for Deadline {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.within(|channel| channel.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.within(Channel::finish_writing)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::net::TcpListener;

    use auth::tls::{Acceptor, Identity, Tls};
    use protocol::Role;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(1);

    fn in_clear(address: SocketAddr) -> Asked {
        Asked {
            address,
            worker: 1,
            key: None,
        }
    }

    /// Plays a slave that is asked about a worker.
    pub(crate) fn answer_probe(stream: impl Read + Write, silent: Duration) {
        converse(Connection::new(stream), b"220 mini-ftp ready\r\n", silent);
    }

    fn converse(mut connection: Connection<impl Read + Write>, greeting: &[u8], silent: Duration) {
        let mut preface = [0; ClientPreface::LENGTH];
        connection.read_exact(&mut preface).unwrap();
        let header = connection.receive_answer().unwrap();
        let request: Request = connection.decode(&header).unwrap();
        assert!(matches!(request, Request::Probe { .. }));
        connection.send_raw(greeting);
        connection.send_raw(&preface_of_a_slave().encode());
        connection.send(
            header.request,
            &Reply::Alive {
                silent_ms: u32::try_from(silent.as_millis()).unwrap(),
                sessions: 1,
                places: 2,
                draining: false,
            },
        );
        connection.flush().unwrap();
    }

    pub(crate) fn preface_of_a_slave() -> ServerPreface {
        ServerPreface {
            version: 1,
            oldest: 1,
            newest: 1,
            role: Role::Slave,
            login_required: false,
            features: 0,
            worker: 1,
            window_requests: 256,
            window_answer_bytes: 1 << 20,
        }
    }

    fn with_peer(answer: impl FnOnce(TcpStream) + Send + 'static) -> Probed {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let answering = std::thread::Builder::new()
            .spawn(move || answer(listener.accept().unwrap().0))
            .unwrap();
        let probed = probe(&in_clear(address), LIMIT);
        answering.join().unwrap();
        probed
    }

    #[test]
    fn the_answer_says_how_long_the_worker_has_been_silent() {
        let silent = Duration::from_millis(1234);
        assert_eq!(
            with_peer(move |stream| answer_probe(stream, silent)),
            Probed::Alive { silent }
        );
    }

    struct Secured(Tls, TcpStream);

    impl Read for Secured {
        fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
            self.0.read(&mut self.1, bytes)
        }
    }

    impl Write for Secured {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.write(&mut self.1, bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            self.0.flush(&mut self.1)
        }
    }

    #[test]
    fn within_tls_only_the_same_slave_is_alive() {
        let identity = Identity::generate(&[]).unwrap();
        let silent = Duration::from_millis(1234);
        for (key, expected) in [
            (identity.fingerprint(), Probed::Alive { silent }),
            (Fingerprint([7; 32]), Probed::Dead),
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let asked = Asked {
                key: Some(key),
                ..in_clear(listener.local_addr().unwrap())
            };
            let mut tls = Acceptor::new(&identity).unwrap().start().unwrap();
            let answering = std::thread::Builder::new()
                .spawn(move || {
                    let (mut stream, _) = listener.accept().unwrap();
                    stream.write_all(b"220 mini-ftp ready\r\n").unwrap();
                    if tls.handshake(&mut stream).is_ok() {
                        converse(Connection::new(Secured(tls, stream)), b"", silent);
                    }
                })
                .unwrap();
            assert_eq!(probe(&asked, LIMIT), expected);
            answering.join().unwrap();
        }
    }

    #[test]
    fn busy_is_alive() {
        let probed = with_peer(|mut stream| {
            stream.write_all(b"421 busy\r\n").unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).unwrap();
        });
        assert_eq!(
            probed,
            Probed::Alive {
                silent: Duration::ZERO
            }
        );
    }

    #[test]
    fn no_answer_is_dead_and_nobody_there_is_told_apart() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let start = Instant::now();
        assert_eq!(probe(&in_clear(address), LIMIT), Probed::Dead);
        assert!(start.elapsed() >= LIMIT);
        drop(listener);
        assert_eq!(probe(&in_clear(address), LIMIT), Probed::Refused);
    }
}
