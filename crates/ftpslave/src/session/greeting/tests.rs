use std::io::Read as _;
use std::net::{Shutdown, TcpStream};
use std::thread;

use auth::tls::{Connector, Identity, Tls, Trust};

use super::super::peer;
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
    let (client, peer) = peer::tests::connected();
    client.set_nodelay(true).unwrap();
    (client, peer)
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
