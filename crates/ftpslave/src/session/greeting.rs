//! From an accepted socket to a framed connection: greeting, first byte, TLS, prefaces.

use std::io::{self, Write as _};
use std::time::{Duration, Instant};

use admission::{Lapse, Limit};
use auth::tls::Reception;
use protocol::frame::Header;
use protocol::limits::{WINDOW_ANSWER_BYTES, WINDOW_REQUESTS};
use protocol::{
    ClientPreface, Connection, ConnectionError, DecodeError, ErrorCode, FEATURE_LOGIN,
    FEATURE_TLS_REQUIRED, MAGIC, Message, OLDEST_VERSION, Reply, Request, Role, ServerPreface,
    Text, VERSION,
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
    /// How long it may take to come to an agreement about TLS.
    pub(super) handshake: Duration,
}

/// Greets a client, speaks TLS with it where it wants to, and agrees on a version; its preface must be there by `enter_by`.
/// `None`: the client said nothing that we speak or may speak with it, and has been told so.
pub(super) fn greet(
    peer: Peer,
    enter_by: Instant,
    reception: &Reception,
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
    let is_secured = peer.begins_tls()?;
    if is_secured {
        connection.flush()?;
        let Some(acceptor) = reception.acceptor() else {
            peer.part();
            return Ok(None);
        };
        let deadline = enter_by.min(Instant::now() + introduction.handshake);
        peer.secure(acceptor, deadline)?;
    }
    connection.stream().read_until(Some(enter_by));
    let Some(preface) = read_preface(&mut connection)? else {
        peer.part();
        return Ok(None);
    };
    let common = match ClientPreface::decode(&preface) {
        Ok(theirs) => theirs.common_version(),
        Err(error) => {
            connection.flush()?;
            return Err(error.into());
        }
    };
    let may_speak = is_secured || reception.takes_clear(peer.is_near());
    let mut preface = ours(introduction, common);
    if !may_speak {
        preface.features |= FEATURE_TLS_REQUIRED;
    }
    connection.send_raw(&preface.encode());
    if common.is_some() && !may_speak {
        let reply = Reply::Error {
            code: ErrorCode::TlsRequired,
            detail: Text::default(),
        };
        connection.send(0, &reply);
    }
    if common.is_none() || !may_speak {
        connection.flush()?;
        peer.part();
        return Ok(None);
    }
    Ok(Some(connection))
}

/// The client's preface; `None`: it speaks something else, and has been told what this is.
fn read_preface(
    connection: &mut Connection<Peer>,
) -> Result<Option<[u8; ClientPreface::LENGTH]>, ConnectionError> {
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
            return Ok(None);
        }
    }
    connection.read_exact(rest)?;
    Ok(Some(preface))
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

/// Whether the first words are a Probe, or may be one in TLS: somebody asks whether a worker lives, and must hear it even
/// where all is full.
pub(crate) fn may_ask_after_worker(peer: &Peer) -> bool {
    if !peer.wait_for_input(QUESTION).is_ok_and(|spoken| spoken) {
        return false;
    }
    if peer.begins_tls().is_ok_and(|begins| begins) {
        return true;
    }
    let mut words = [0; ClientPreface::LENGTH + Header::LENGTH];
    let seen = peer.stream().peek(&mut words);
    let said = seen.is_ok_and(|seen| seen == words.len());
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

    use auth::tls::{Connector, Identity, Tls, Trust};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    const INTRODUCTION: Introduction = Introduction {
        login_required: true,
        takes_logins: false,
        worker: 7,
        first_byte: PATIENCE,
        handshake: PATIENCE,
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
        greet(
            peer,
            Instant::now() + PATIENCE,
            &Reception::default(),
            INTRODUCTION,
        )
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
        let silent = greet(
            peer,
            Instant::now() + PATIENCE,
            &Reception::default(),
            hasty,
        )
        .unwrap_err();
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
        assert!(
            greet(
                peer,
                Instant::now() + PATIENCE,
                &Reception::default(),
                INTRODUCTION
            )
            .is_err()
        );
        assert_eq!(heard(client), WELCOME);
    }

    fn reception(is_strict: bool) -> (Reception, Identity) {
        let identity = Identity::generate(&["localhost".to_owned()]).unwrap();
        let reception = Reception::new(&identity, is_strict).unwrap();
        (reception, identity)
    }

    /// Greets on a thread of its own, while the client does something else.
    fn greet_meanwhile<T>(
        reception: &Reception,
        client: impl FnOnce(TcpStream) -> T,
    ) -> (Result<Option<Connection<Peer>>, ConnectionError>, T) {
        let (socket, peer) = connected();
        thread::scope(|scope| {
            let greeting = move || greet(peer, Instant::now() + PATIENCE, reception, INTRODUCTION);
            let server = scope.spawn(greeting);
            let done = client(socket);
            (server.join().unwrap(), done)
        })
    }

    fn secured(mut socket: TcpStream, identity: &Identity) -> (TcpStream, Tls) {
        let mut welcome = [0; WELCOME.len()];
        socket.read_exact(&mut welcome).unwrap();
        assert_eq!(welcome, WELCOME);
        let trust = Trust::Known(identity.fingerprint());
        let mut tls = Connector::new(trust).unwrap().start("localhost").unwrap();
        tls.handshake(&mut socket).unwrap();
        (socket, tls)
    }

    #[test]
    fn over_tls_the_preface_stands_within_and_the_greeting_before() {
        for is_strict in [false, true] {
            let (reception, identity) = reception(is_strict);
            let (greeted, (mut socket, mut tls)) = greet_meanwhile(&reception, |socket| {
                let (mut socket, mut tls) = secured(socket, &identity);
                tls.write(&mut socket, &preface()).unwrap();
                (socket, tls)
            });
            let mut connection = greeted.unwrap().unwrap();
            connection.send_raw(b"answer");
            connection.flush().unwrap();
            let mut heard = [0; 200];
            let read = tls.read(&mut socket, &mut heard).unwrap();
            let ours = ours(INTRODUCTION, Some(VERSION)).encode();
            assert_eq!(heard[..read], [ours.as_slice(), b"answer"].concat());
            connection.stream().say_goodbye();
            assert_eq!(tls.read(&mut socket, &mut heard).unwrap(), 0);
        }
    }

    #[test]
    fn who_may_not_speak_in_the_clear_hears_why_behind_the_preface() {
        let (reception, _) = reception(true);
        let (greeted, heard) = greet_meanwhile(&reception, |mut client| {
            client.write_all(&preface()).unwrap();
            heard(client)
        });
        assert!(greeted.unwrap().is_none());
        let mut demanding = ours(INTRODUCTION, Some(VERSION));
        demanding.features |= FEATURE_TLS_REQUIRED;
        let begin = [WELCOME, &demanding.encode()].concat();
        let rest = heard.strip_prefix(begin.as_slice());
        let mut frames = Connection::new(io::Cursor::new(rest.unwrap().to_vec()));
        let header = frames.receive().unwrap().unwrap();
        let Reply::Error { code, .. } = frames.decode(&header).unwrap() else {
            panic!("no error");
        };
        assert_eq!((code, header.request), (ErrorCode::TlsRequired, 0));
        assert!(frames.receive().unwrap().is_none());
    }

    #[test]
    fn who_begins_with_tls_where_nobody_speaks_it_hears_nothing_more() {
        let (greeted, heard) = greet_meanwhile(&Reception::default(), |mut client| {
            client.write_all(b"\x16\x03\x01").unwrap();
            client.shutdown(Shutdown::Write).unwrap();
            heard(client)
        });
        assert!(greeted.unwrap().is_none());
        assert_eq!(heard, WELCOME);
    }

    #[test]
    fn foreign_words_within_tls_get_one_line_and_the_end() {
        let (reception, identity) = reception(false);
        for words in [
            "GET / HTTP/1.1\r\nHost: <script>\r\n\r\n",
            "SSH-2.0-<script>\r\n",
        ] {
            let (greeted, heard) = greet_meanwhile(&reception, |socket| {
                let (mut socket, mut tls) = secured(socket, &identity);
                tls.write(&mut socket, words.as_bytes()).unwrap();
                let mut heard = Vec::new();
                let mut piece = [0; 100];
                while let read @ 1.. = tls.read(&mut socket, &mut piece).unwrap() {
                    heard.extend_from_slice(&piece[..read]);
                }
                heard
            });
            assert!(greeted.unwrap().is_none());
            assert_eq!(heard, FOREIGN);
        }
    }
}
