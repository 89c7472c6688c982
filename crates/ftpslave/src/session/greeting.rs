//! From an accepted socket to a framed connection: greeting, first byte, prefaces.

use std::io::{self, Write as _};
use std::time::{Duration, Instant};

use admission::{Lapse, Limit};
use protocol::frame::Header;
use protocol::limits::{WINDOW_ANSWER_BYTES, WINDOW_REQUESTS};
use protocol::{
    ClientPreface, Connection, ConnectionError, DecodeError, FEATURE_LOGIN, MAGIC, Message,
    OLDEST_VERSION, Request, Role, ServerPreface, VERSION,
};

use super::peer::Peer;

/// What every client hears at once; it decides nothing (RFC 959, section 5.4).
const WELCOME: &[u8] = b"220 mini-ftp ready\r\n";

/// What a client hears that speaks something else.
const FOREIGN: &[u8] = b"500 this server speaks only the framed dialect of mini-ftp\r\n";

/// How long a client that finds all full may take to say that it only asks after a worker: its words come right behind
/// its connection.
const QUESTION: Duration = Duration::from_millis(100);

/// How long a connection that can begin no session may stay.
pub(super) const AT_THE_GATE: Duration = Duration::from_secs(2);

/// Who opens a connection, as the preface says it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Introduction {
    /// Whether a ticket or a login must come first.
    pub(super) login_required: bool,
    /// Whether a login is taken at all.
    pub(super) takes_logins: bool,
    /// This worker's slot.
    pub(super) worker: u32,
    /// How long a client may take to say its first byte.
    pub(super) first_byte: Duration,
}

/// Greets a client, and agrees on a version; its preface must be there by `enter_by`. `None`: the client said nothing that we
/// speak, and has been told so.
pub(super) fn greet(
    peer: Peer,
    enter_by: Instant,
    introduction: Introduction,
) -> Result<Option<Connection<Peer>>, ConnectionError> {
    let mut connection = Connection::new(peer.clone());
    connection.send_raw(WELCOME);
    // A client that has spoken already gets the greeting together with what answers it.
    if !peer.wait_for_input(Duration::ZERO)? {
        connection.flush()?;
        if !peer.wait_for_input(introduction.first_byte)? {
            return Err(io::Error::from(Lapse(Limit::FirstByte)).into());
        }
    }
    connection.stream().read_until(Some(enter_by));
    let mut preface = [0; ClientPreface::LENGTH];
    let (magic, rest) = preface.split_at_mut(MAGIC.len());
    for (byte, expected) in magic.iter_mut().zip(MAGIC) {
        let heard = connection.read_exact(std::slice::from_mut(byte));
        // Who has not said all of it may wait for the greeting, or have closed.
        if connection.buffered() < ClientPreface::LENGTH - MAGIC.len() {
            connection.flush()?;
        }
        heard?;
        if *byte != expected {
            connection.send_raw(FOREIGN);
            connection.flush()?;
            peer.part();
            return Ok(None);
        }
    }
    connection.read_exact(rest)?;
    let common = match ClientPreface::decode(&preface) {
        Ok(theirs) => theirs.common_version(),
        Err(error) => {
            connection.flush()?;
            return Err(error.into());
        }
    };
    connection.send_raw(&ours(introduction, common).encode());
    if common.is_none() {
        connection.flush()?;
        peer.part();
        return Ok(None);
    }
    Ok(Some(connection))
}

fn ours(introduction: Introduction, common: Option<u16>) -> ServerPreface {
    ServerPreface {
        version: common.unwrap_or(0),
        oldest: OLDEST_VERSION,
        newest: VERSION,
        role: Role::Slave,
        login_required: introduction.login_required,
        features: match introduction.takes_logins {
            true => FEATURE_LOGIN,
            false => 0,
        },
        worker: introduction.worker,
        window_requests: WINDOW_REQUESTS,
        window_answer_bytes: WINDOW_ANSWER_BYTES,
    }
}

/// Whether the first words are a Probe: somebody asks whether a worker lives, and must hear it even where all is full.
pub(crate) fn asks_after_worker(peer: &Peer) -> bool {
    let mut words = [0; ClientPreface::LENGTH + Header::LENGTH];
    let said = peer.wait_for_input(QUESTION).is_ok_and(|spoken| spoken)
        && peer
            .stream()
            .peek(&mut words)
            .is_ok_and(|seen| seen == words.len());
    let (preface, request) = words.split_at(ClientPreface::LENGTH);
    let header = request.try_into().map(Header::decode);
    let probe = Request::Probe { worker: 0 }.kind();
    said && preface.starts_with(&MAGIC) && matches!(header, Ok(Ok(header)) if header.kind == probe)
}

/// Tells a client that it is not let in, and why: it goes to the next slave, or comes again.
pub(crate) fn turn_away(mut peer: Peer, limit: Limit) {
    let line = format!("421 {}: try another slave, or later\r\n", limit.sentence());
    if peer.write_all(line.as_bytes()).is_ok() {
        peer.part();
    }
}

/// Whether the error is bytes that are not our protocol, rather than a connection that ended.
pub(super) fn broke_protocol(error: &ConnectionError) -> Option<&DecodeError> {
    match error {
        ConnectionError::Decode(error) => Some(error),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::net::{Shutdown, TcpListener, TcpStream};
    use std::thread;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    const INTRODUCTION: Introduction = Introduction {
        login_required: true,
        takes_logins: false,
        worker: 7,
        first_byte: PATIENCE,
    };

    fn connected() -> (TcpStream, Peer) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        client.set_nodelay(true).unwrap();
        let (socket, address) = listener.accept().unwrap();
        (client, Peer::new(socket, address))
    }

    fn preface() -> Vec<u8> {
        ClientPreface {
            oldest: OLDEST_VERSION,
            newest: VERSION,
            features: 0,
        }
        .encode()
    }

    fn greeted(peer: Peer) -> Connection<Peer> {
        greet(peer, Instant::now() + PATIENCE, INTRODUCTION)
            .unwrap()
            .unwrap()
    }

    /// What the client hears up to the end of the stream.
    fn heard(mut client: TcpStream) -> Vec<u8> {
        let mut heard = Vec::new();
        client.read_to_end(&mut heard).unwrap();
        heard
    }

    fn welcome_and_preface() -> Vec<u8> {
        let ours = ours(INTRODUCTION, Some(VERSION)).encode();
        [WELCOME, ours.as_slice()].concat()
    }

    #[test]
    fn who_speaks_first_hears_greeting_and_preface_with_the_answer() {
        let (mut client, peer) = connected();
        client.write_all(&preface()).unwrap();
        let mut connection = greeted(peer);
        assert_eq!(connection.unsent(), welcome_and_preface().len());
        connection.send_raw(b"answer");
        connection.flush().unwrap();
        drop(connection);
        assert_eq!(
            heard(client),
            [welcome_and_preface().as_slice(), b"answer"].concat()
        );
    }

    #[test]
    fn who_waits_hears_the_greeting_before_speaking() {
        let (mut client, peer) = connected();
        thread::scope(|scope| {
            let server = scope.spawn(move || greeted(peer));
            let mut welcome = [0; WELCOME.len()];
            client.read_exact(&mut welcome).unwrap();
            client.write_all(&preface()).unwrap();
            server.join().unwrap().flush().unwrap();
            assert_eq!(
                [&welcome, heard(client).as_slice()].concat(),
                welcome_and_preface()
            );
        });
    }

    #[test]
    fn who_speaks_a_byte_at_a_time_hears_the_greeting_after_the_first() {
        let (mut client, peer) = connected();
        let preface = preface();
        let (first, others) = preface.split_at(1);
        client.write_all(first).unwrap();
        thread::scope(|scope| {
            let server = scope.spawn(move || greeted(peer));
            let mut welcome = [0; WELCOME.len()];
            client.read_exact(&mut welcome).unwrap();
            for byte in others {
                client.write_all(&[*byte]).unwrap();
            }
            server.join().unwrap().flush().unwrap();
            assert_eq!(
                [&welcome, heard(client).as_slice()].concat(),
                welcome_and_preface()
            );
        });
    }

    #[test]
    fn who_says_nothing_is_not_waited_for() {
        let (client, peer) = connected();
        let hasty = Introduction {
            first_byte: Duration::from_millis(50),
            ..INTRODUCTION
        };
        let silent = greet(peer, Instant::now() + PATIENCE, hasty).unwrap_err();
        let ConnectionError::Io(error) = silent else {
            panic!("{silent}");
        };
        assert_eq!(Lapse::of(&error), Some(Limit::FirstByte));
        assert_eq!(heard(client), WELCOME);
    }

    #[test]
    fn who_leaves_without_a_word_has_heard_the_greeting() {
        let (client, peer) = connected();
        client.shutdown(Shutdown::Write).unwrap();
        assert!(greet(peer, Instant::now() + PATIENCE, INTRODUCTION).is_err());
        assert_eq!(heard(client), WELCOME);
    }
}
