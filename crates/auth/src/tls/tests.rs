//! Sessions over socket pairs, and over streams that misbehave.

use std::fs;
use std::io::{self, Cursor, Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::thread;

use rustls::pki_types::CertificateDer;

use super::*;

fn identity() -> Identity {
    Identity::generate(&["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap()
}

type End = io::Result<(Tls, UnixStream)>;

/// Both ends of a session, or what each side says against it.
fn shake(client: Tls, server: Tls) -> (End, End) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let run =
        |mut tls: Tls, mut stream: UnixStream| tls.handshake(&mut stream).map(|()| (tls, stream));
    thread::scope(|threads| {
        let server = threads.spawn(move || run(server, theirs));
        let client = run(client, ours);
        (client, server.join().unwrap())
    })
}

fn session(trust: Trust, identity: &Identity) -> ((Tls, UnixStream), (Tls, UnixStream)) {
    let client = Connector::new(trust).unwrap().start("localhost").unwrap();
    let server = Acceptor::new(identity).unwrap().start().unwrap();
    let (client, server) = shake(client, server);
    (client.unwrap(), server.unwrap())
}

fn cause(error: &io::Error) -> &TlsError {
    assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
    error.get_ref().unwrap().downcast_ref().unwrap()
}

fn read_all(tls: &mut Tls, stream: &mut UnixStream) -> (Vec<u8>, io::Result<()>) {
    let mut heard = Vec::new();
    let mut piece = [0; 1000];
    loop {
        match tls.read(stream, &mut piece) {
            Ok(0) => return (heard, Ok(())),
            Ok(read) => heard.extend_from_slice(&piece[..read]),
            Err(error) => return (heard, Err(error)),
        }
    }
}

fn write_all(tls: &mut Tls, stream: &mut (impl Read + Write), mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let written = tls.write(stream, bytes).unwrap();
        bytes = &bytes[written..];
    }
}

#[test]
fn what_one_side_writes_the_other_reads_up_to_the_word_that_it_is_all() {
    let identity = identity();
    let known = Trust::Known(identity.fingerprint());
    let ((mut client, mut ours), (mut server, mut theirs)) = session(known, &identity);
    assert_eq!(client.peer(), Some(identity.fingerprint()));
    assert_eq!(server.peer(), None);
    let content: Vec<u8> = (0..3_000_000_u32)
        .map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0])
        .collect();
    let (heard, end) = thread::scope(|threads| {
        threads.spawn(|| {
            client.hold(&content[..10]);
            client.hold(&content[10..13]);
            write_all(&mut client, &mut ours, &content[13..]);
            client.close(&mut ours).unwrap();
        });
        read_all(&mut server, &mut theirs)
    });
    end.unwrap();
    assert!(heard == content);
    assert!(server.is_ready(), "the end is something to be read");
    // The other direction goes on.
    write_all(&mut server, &mut theirs, b"answer");
    let mut answer = [0; 10];
    assert_eq!(client.read(&mut ours, &mut answer).unwrap(), 6);
}

#[test]
fn another_key_is_told_from_the_known_one() {
    let (known, shown) = (identity(), identity());
    let known = known.fingerprint();
    let connector = Connector::new(Trust::Known(known)).unwrap();
    let server = Acceptor::new(&shown).unwrap().start().unwrap();
    let (client, server) = shake(connector.start("localhost").unwrap(), server);
    let error = client.unwrap_err();
    let TlsError::WrongKey { known: k, shown: s } = cause(&error) else {
        panic!("{error}");
    };
    assert_eq!((*k, *s), (known, shown.fingerprint()));
    // The server hears it too, rather than wait.
    assert!(matches!(cause(&server.unwrap_err()), TlsError::Session(_)));
}

#[test]
fn on_first_use_any_key_is_taken_and_told() {
    let identity = identity();
    let ((client, _), _) = session(Trust::Anyone, &identity);
    assert_eq!(client.peer(), Some(identity.fingerprint()));
}

#[test]
fn authorities_vouch_for_a_name_and_for_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| -> PathBuf {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let identity = identity();
    let roots = Roots::read(&write("ca", &identity.to_pem())).unwrap();
    let connector = Connector::new(Trust::Roots(roots)).unwrap();
    let shake_as = |host: &str, identity: &Identity| {
        let server = Acceptor::new(identity).unwrap().start().unwrap();
        shake(connector.start(host).unwrap(), server).0
    };
    for host in ["localhost", "127.0.0.1"] {
        let (client, _) = shake_as(host, &identity).unwrap();
        assert_eq!(client.peer(), Some(identity.fingerprint()));
    }
    let error = shake_as("example.org", &identity).unwrap_err();
    assert!(matches!(cause(&error), TlsError::Untrusted(_)), "{error}");
    let error = shake_as("localhost", &self::identity()).unwrap_err();
    assert!(matches!(cause(&error), TlsError::Untrusted(_)), "{error}");
    assert!(matches!(
        connector.start("no name"),
        Err(TlsError::Name { .. })
    ));
    let nothing = Roots::read(&write("empty", b"not PEM")).unwrap_err();
    assert!(matches!(nothing, TlsError::Nothing { .. }), "{nothing}");
    assert!(matches!(
        Roots::read(&folder.path().join("missing")),
        Err(TlsError::Read { .. })
    ));
}

#[test]
fn who_goes_by_the_key_may_dial_any_name() {
    let identity = identity();
    let connector = Connector::new(Trust::Known(identity.fingerprint())).unwrap();
    for host in ["nas_1", "fe80::1%eth0", "::1", "a b", ""] {
        let server = Acceptor::new(&identity).unwrap().start().unwrap();
        let (client, _) = shake(connector.start(host).unwrap(), server);
        assert_eq!(
            client.unwrap().0.peer(),
            Some(identity.fingerprint()),
            "{host}"
        );
    }
}

/// A client of another protocol.
fn foreign_client(alpn: &[&[u8]]) -> Tls {
    let mut config = (*Connector::new(Trust::Anyone).unwrap().config()).clone();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    let name = "localhost".try_into().unwrap();
    let connection = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    Tls::new(connection.into())
}

#[test]
fn a_client_of_another_protocol_hears_an_alert_and_one_that_names_none_is_taken() {
    let acceptor = Acceptor::new(&identity()).unwrap();
    let (client, server) = shake(
        foreign_client(&[b"http/1.1", b"ftp"]),
        acceptor.start().unwrap(),
    );
    let heard = client.unwrap_err();
    let TlsError::Session(rustls::Error::AlertReceived(alert)) = cause(&heard) else {
        panic!("{heard}");
    };
    assert_eq!(*alert, rustls::AlertDescription::NoApplicationProtocol);
    assert!(matches!(cause(&server.unwrap_err()), TlsError::Session(_)));
    let (client, server) = shake(foreign_client(&[]), acceptor.start().unwrap());
    server.unwrap();
    // Our own client would not stay.
    let error = client.unwrap_err();
    assert!(matches!(cause(&error), TlsError::OtherProtocol), "{error}");
}

#[test]
fn both_sides_know_a_secret_that_no_other_connection_has() {
    let identity = identity();
    let binding = || {
        let ((client, _), (server, _)) = session(Trust::Anyone, &identity);
        let binding = client.channel_binding().unwrap();
        assert_eq!(binding, server.channel_binding().unwrap());
        binding
    };
    assert_ne!(binding(), binding());
    let unborn = Acceptor::new(&identity).unwrap().start().unwrap();
    unborn.channel_binding().unwrap_err();
}

/// Keeps what is written, byte by byte, and gives what it was given.
#[derive(Debug, Default)]
struct Tape {
    written: Vec<u8>,
    given: Cursor<Vec<u8>>,
    /// Bytes that one call moves.
    step: usize,
}

impl Read for Tape {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let most = bytes.len().min(self.step);
        self.given.read(&mut bytes[..most])
    }
}

impl Write for Tape {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let most = bytes.len().min(self.step);
        self.written.extend_from_slice(&bytes[..most]);
        Ok(most)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What a client encrypts of `messages`, each of them in records of its own, and a server that can read it.
fn taped(messages: &[&[u8]]) -> (Vec<u8>, Vec<usize>, Tls) {
    let ((mut client, _), (server, _)) = session(Trust::Anyone, &identity());
    let mut tape = Tape {
        step: 1,
        ..Tape::default()
    };
    let mut ends = vec![0];
    for message in messages {
        write_all(&mut client, &mut tape, message);
        ends.push(tape.written.len());
    }
    (tape.written, ends, server)
}

#[test]
fn a_stream_that_is_cut_off_is_an_error_wherever_it_is_cut() {
    let messages: [&[u8]; 3] = [b"first", &[7; 20_000], b"third"];
    let (_, ends, _) = taped(&messages);
    let cuts = ends
        .iter()
        .flat_map(|&end| [end, end + 1, end + 5, end + 6]);
    for cut in cuts.chain([100, 17_000]) {
        let (mut bytes, _, mut server) = taped(&messages);
        bytes.truncate(cut);
        let mut tape = Tape {
            given: Cursor::new(bytes),
            step: usize::MAX,
            ..Tape::default()
        };
        let mut heard = Vec::new();
        let mut piece = [0; 4096];
        let error = loop {
            match server.read(&mut tape, &mut piece) {
                Ok(0) => panic!("cut at {cut}, taken for the end"),
                Ok(read) => heard.extend_from_slice(&piece[..read]),
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "cut at {cut}");
        assert!(messages.concat().starts_with(&heard));
        // It does not become an end by asking again.
        assert!(server.read(&mut tape, &mut piece).is_err());
    }
}

#[test]
fn bytes_may_come_one_at_a_time() {
    let messages: [&[u8]; 2] = [b"first", &[7; 20_000]];
    let (bytes, _, mut server) = taped(&messages);
    let mut tape = Tape {
        given: Cursor::new(bytes),
        step: 1,
        ..Tape::default()
    };
    let mut heard = vec![0; 20_005];
    let mut filled = 0;
    while filled < heard.len() {
        filled += server.read(&mut tape, &mut heard[filled..]).unwrap();
    }
    assert!(heard == messages.concat());
}

#[test]
fn a_bit_that_flips_on_the_way_ends_the_session() {
    let (mut bytes, _, mut server) = taped(&[b"attack at dawn"]);
    bytes[10] ^= 1;
    let mut tape = Tape {
        given: Cursor::new(bytes),
        step: usize::MAX,
        ..Tape::default()
    };
    let error = server.read(&mut tape, &mut [0; 100]).unwrap_err();
    assert!(matches!(cause(&error), TlsError::Session(_)), "{error}");
    assert!(!tape.written.is_empty(), "the peer hears an alert");
}

#[test]
fn noise_ends_the_handshake_and_never_hangs_or_panics() {
    let acceptor = Acceptor::new(&identity()).unwrap();
    let mut client_hello = Tape {
        step: usize::MAX,
        ..Tape::default()
    };
    let mut client = foreign_client(&[b"mini-ftp/1"]);
    client.handshake(&mut client_hello).unwrap_err(); // nobody answers
    let hello = client_hello.written;
    let mut random = blake3::Hasher::new().finalize_xof();
    for round in 0..2000 {
        let mut noise = match round % 3 {
            // A real beginning, damaged in one place, or followed by something else.
            0 => hello.clone(),
            1 => vec![0x16, 0x03, 0x01, 0x00, 0x40],
            _ => vec![0x16],
        };
        let mut draw = [0; 80];
        random.fill(&mut draw);
        let place = usize::from(u16::from_be_bytes([draw[0], draw[1]]));
        if round % 6 == 0 {
            let place = place % noise.len();
            noise[place] ^= draw[2] | 1;
        }
        noise.extend_from_slice(&draw);
        let mut tape = Tape {
            given: Cursor::new(noise),
            step: usize::from(draw[3]) + 1,
            ..Tape::default()
        };
        acceptor.start().unwrap().handshake(&mut tape).unwrap_err();
    }
}

#[test]
fn bytes_in_the_clear_behind_the_first_ones_are_never_taken_for_content() {
    let acceptor = Acceptor::new(&identity()).unwrap();
    let mut hello = Tape {
        step: usize::MAX,
        ..Tape::default()
    };
    foreign_client(&[]).handshake(&mut hello).unwrap_err();
    let mut tape = Tape {
        given: Cursor::new([hello.written.as_slice(), b"\x89MFT\r\n\x1a\n".as_slice()].concat()),
        step: usize::MAX,
        ..Tape::default()
    };
    let error = acceptor.start().unwrap().handshake(&mut tape).unwrap_err();
    assert!(matches!(cause(&error), TlsError::Session(_)), "{error}");
}

#[test]
fn what_a_stream_does_not_take_at_once_goes_before_what_follows() {
    let ((mut client, ours), (mut server, mut theirs)) = session(Trust::Anyone, &identity());
    let mut ours = ours;
    ours.set_nonblocking(true).unwrap();
    let mut sent = 0;
    let error = loop {
        match client.write(&mut ours, &[1; 1000]) {
            Ok(written) => sent += written,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    assert!(client.has_unsent());
    ours.set_nonblocking(false).unwrap();
    let (heard, end) = thread::scope(|threads| {
        threads.spawn(move || {
            write_all(&mut client, &mut ours, b"end");
            assert!(!client.has_unsent());
            client.close(&mut ours).unwrap();
        });
        read_all(&mut server, &mut theirs)
    });
    end.unwrap();
    assert_eq!(heard.len(), sent + 1000 + 3);
    assert!(heard.ends_with(b"end"));
}

#[test]
fn what_is_decrypted_already_is_known_to_wait() {
    let ((mut client, mut ours), (mut server, mut theirs)) = session(Trust::Anyone, &identity());
    theirs.set_nonblocking(true).unwrap();
    assert!(!server.take_in(&mut theirs).unwrap());
    write_all(&mut client, &mut ours, b"hello");
    assert!(server.take_in(&mut theirs).unwrap());
    assert_eq!(server.buffered(), 5);
    let mut byte = [0];
    server.read(&mut theirs, &mut byte).unwrap();
    assert_eq!(server.buffered(), 4);
    server.rest();
    let mut rest = [0; 10];
    assert_eq!(server.read(&mut theirs, &mut rest).unwrap(), 4);
    assert!(!server.is_ready());
    // An end without a word is something to be read, too.
    ours.shutdown(Shutdown::Both).unwrap();
    assert!(server.take_in(&mut theirs).unwrap());
    let error = server.read(&mut theirs, &mut byte).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
}

#[test]
fn what_was_read_ahead_is_known_to_wait_and_so_is_what_is_wrong_with_it() {
    // More than is read at first, so that the last of them come together.
    let messages: [&[u8]; 8] = [&[7; 3000]; 8];
    let (mut bytes, ends, mut server) = taped(&messages);
    bytes[ends[8] - 1] ^= 1;
    let whole = bytes.len() as u64;
    let mut given = Tape {
        given: Cursor::new(bytes),
        step: usize::MAX,
        ..Tape::default()
    };
    let mut exhausted = Tape {
        step: usize::MAX,
        ..Tape::default()
    };
    let (mut heard, mut without_the_stream) = (0, 0);
    let mut piece = [0; 1000];
    let error = loop {
        let is_exhausted = given.given.position() == whole;
        assert!(!is_exhausted || server.is_ready());
        let stream = if is_exhausted {
            &mut exhausted
        } else {
            &mut given
        };
        match server.read(stream, &mut piece) {
            Ok(read) => {
                heard += read;
                without_the_stream += if is_exhausted { read } else { 0 };
            }
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    assert_eq!(heard, 7 * 3000);
    assert!(without_the_stream > 3000, "{without_the_stream}");
    assert!(!exhausted.written.is_empty(), "the peer hears an alert");
}

#[test]
fn an_identity_survives_being_handed_over_and_shows_no_key() {
    let one = identity();
    let other = Identity::from_bytes(&one.to_bytes()).unwrap();
    assert_eq!(other.fingerprint(), one.fingerprint());
    session(Trust::Known(one.fingerprint()), &other);
    assert_eq!(
        format!("{one:?}"),
        format!("Identity({})", one.fingerprint())
    );
    for bytes in [
        &[][..],
        &[0; 3],
        &[0; 4],
        &[0xff; 100],
        &one.to_bytes()[..300],
    ] {
        Identity::from_bytes(bytes).unwrap_err();
    }
}

#[test]
fn a_fingerprint_is_the_digest_of_the_public_key() {
    let key = rcgen::KeyPair::generate().unwrap();
    let parameters = rcgen::CertificateParams::new(vec!["a".to_owned()]).unwrap();
    let certificate = parameters.self_signed(&key).unwrap();
    let der = CertificateDer::from(certificate.der().to_vec());
    let expected = Sha256::digest(rcgen::PublicKeyData::subject_public_key_info(&key));
    assert_eq!(fingerprint_of(&der).unwrap().0, <[u8; 32]>::from(expected));
}

#[test]
fn files_of_an_operator_are_taken_whole_private_and_together_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8], mode: u32| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    };
    let (one, other) = (identity(), identity());
    let certificate = write("cert", &one.certificates, 0o644);
    let key = write("key", &one.key, 0o600);
    let read = Identity::read(&certificate, &key).unwrap();
    assert_eq!(read.fingerprint(), one.fingerprint());
    // As certbot puts them in place.
    let link = folder.path().join("link");
    std::os::unix::fs::symlink("key", &link).unwrap();
    Identity::read(&certificate, &link).unwrap();
    for mode in [0o640, 0o604, 0o620] {
        let open = write("open", &one.key, mode);
        let error = Identity::read(&certificate, &open).unwrap_err();
        assert!(error.to_string().contains("chmod 600"), "{error}");
    }
    let foreign = write("foreign", &other.key, 0o600);
    let error = Identity::read(&certificate, &foreign).unwrap_err();
    assert!(matches!(error, TlsError::Unusable(_)), "{error}");
    let empty = write("empty", b"", 0o600);
    for (certificate, key) in [(&certificate, &empty), (&empty, &key), (&key, &key)] {
        let error = Identity::read(certificate, key).unwrap_err();
        assert!(matches!(error, TlsError::Nothing { .. }), "{error}");
    }
    let missing = folder.path().join("missing");
    assert!(matches!(
        Identity::read(&missing, &key),
        Err(TlsError::Read { .. })
    ));
}

#[test]
fn who_is_heard_in_the_clear_follows_from_where_they_are_and_from_the_option() {
    let identity = identity();
    let takes = |reception: &Reception| (reception.takes_clear(true), reception.takes_clear(false));
    let never = Reception::default();
    let auto = Reception::new(&identity, false).unwrap();
    let always = Reception::new(&identity, true).unwrap();
    assert_eq!(takes(&never), (true, true));
    assert_eq!(takes(&auto), (true, false));
    assert_eq!(takes(&always), (false, false));
    assert!(never.acceptor().is_none());
    assert!(auto.acceptor().is_some() && always.acceptor().is_some());
}
