//! The same master over TLS, and what it says to those who may not speak in the clear.

use auth::tls::{Connector, Identity, Trust};
use protocol::limits::MAX_GREETING;
use protocol::{FEATURE_TLS_REQUIRED, MAGIC};

use super::*;

/// A master that shows this key.
fn world(is_strict: bool) -> (World, Identity) {
    let identity = Identity::generate(&["localhost".to_owned()]).unwrap();
    let reception = Reception::new(&identity, is_strict).unwrap();
    (World::with(reception, Limits::default()), identity)
}

/// A session over TLS, behind the greeting.
fn secured(world: &World, identity: &Identity) -> DeadlineStream {
    let mut socket = TcpStream::connect(world.address).unwrap();
    let mut greeting = Vec::new();
    while !greeting.ends_with(b"\n") {
        let mut byte = [0];
        socket.read_exact(&mut byte).unwrap();
        greeting.extend(byte);
    }
    assert_eq!(greeting, b"220 mini-ftp ready\r\n");
    let mut stream = DeadlineStream::new(socket, PATIENCE);
    let connector = Connector::new(Trust::Known(identity.fingerprint())).unwrap();
    stream
        .secure(connector.start("localhost").unwrap())
        .unwrap();
    stream
}

#[test]
fn over_tls_everything_is_the_same() {
    for is_strict in [false, true] {
        let (world, identity) = world(is_strict);
        let mut link = Connection::new(secured(&world, &identity));
        link.send_raw(&ClientPreface::ours().encode());
        link.flush().unwrap();
        let mut preface = [0; ServerPreface::LENGTH];
        link.read_exact(&mut preface).unwrap();
        assert_eq!(ServerPreface::decode(&preface).unwrap().role, Role::Master);
        for _ in 0..3 {
            let reply = ask(&mut link, &MasterRequest::ListSlaves {}).unwrap();
            assert!(matches!(reply, MasterReply::Slaves { .. }), "{reply:?}");
        }
    }
}

#[test]
fn where_nobody_is_heard_in_the_clear_the_preface_is_answered_with_that_word() {
    let (world, _) = world(true);
    let mut link = Connection::new(TcpStream::connect(world.address).unwrap());
    link.send_raw(&ClientPreface::ours().encode());
    // Whatever follows is not looked at.
    link.send(1, &MasterRequest::ListSlaves {});
    link.flush().unwrap();
    link.read_line(MAX_GREETING).unwrap();
    let mut preface = [0; ServerPreface::LENGTH];
    link.read_exact(&mut preface).unwrap();
    let preface = ServerPreface::decode(&preface).unwrap();
    assert_eq!(
        preface.features & FEATURE_TLS_REQUIRED,
        FEATURE_TLS_REQUIRED
    );
    let header = link.receive().unwrap().unwrap();
    let reply: MasterReply = link.decode(&header).unwrap();
    assert!(
        matches!(
            reply,
            MasterReply::Error {
                code: ErrorCode::TlsRequired,
                ..
            }
        ),
        "{reply:?}"
    );
    assert_eq!(header.request, 0);
    assert!(link.receive().unwrap().is_none(), "it closes");
}

#[test]
fn foreign_words_within_tls_get_one_line_and_the_end() {
    let (world, identity) = world(false);
    for words in [
        b"GET / HTTP/1.1\r\nHost: <script>\r\n\r\n".as_slice(),
        b"EHLO <script>\r\n",
        b"SSH-2.0-<script>\r\n",
        b"\x16\x03\x01<script>",
    ] {
        let mut stream = secured(&world, &identity);
        stream.write_all(words).unwrap();
        let mut heard = String::new();
        stream.read_to_string(&mut heard).unwrap();
        assert!(heard.starts_with("500 "), "{heard}");
        assert_eq!(heard.lines().count(), 1, "{heard}");
        assert!(!heard.contains("script"));
    }
}

#[test]
fn what_begins_as_tls_and_is_none_is_closed() {
    let (world, _) = world(false);
    // A record of nothing, one of noise, one that is longer than any, a preface behind the first byte.
    for words in [
        &b"\x16\x03\x01\x00\x00"[..],
        &[b"\x16\x03\x01\x00\x40".as_slice(), &[0xaa; 64]].concat(),
        &[b"\x16\x03\x01\xff\xff".as_slice(), &[0; 70_000]].concat(),
        &[b"\x16".as_slice(), &MAGIC].concat(),
    ] {
        let mut socket = TcpStream::connect(world.address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.write_all(words).ok(); // it may have closed before all is written
        socket.shutdown(std::net::Shutdown::Write).ok();
        let mut heard = Vec::new();
        // A reset is an end, too.
        let ended = socket.read_to_end(&mut heard);
        let is_late = |error: &std::io::Error| error.kind() == std::io::ErrorKind::WouldBlock;
        assert!(!ended.is_err_and(|error| is_late(&error)), "{words:?}");
        let rest = heard
            .strip_prefix(b"220 mini-ftp ready\r\n")
            .unwrap_or_default();
        // Nothing, or an alert (RFC 8446, section 6).
        assert!(rest.is_empty() || rest[0] == 0x15, "{rest:?}");
    }
}

#[test]
fn who_takes_no_tls_closes_without_a_word() {
    let world = World::new();
    assert_eq!(talk(&world, b"\x16\x03\x01"), b"220 mini-ftp ready\r\n");
}
