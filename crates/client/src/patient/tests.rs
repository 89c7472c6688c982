//! Tests of `patient`.

use std::net::TcpListener;
use std::time::Instant;

use auth::tls::{Acceptor, Connector, Identity, Trust};
use protocol::Connection;
use rustix::net::sockopt::set_socket_recv_buffer_size;

use super::waiting::{HANGING, MOST_BUFFERED, PROBE_LIMIT, QUIET, UNHEARD, UNHEARD_LIMIT};
use super::*;
use crate::fault::Fault;
use crate::probe::tests::answer_probe;

struct Pair {
    patient: Patient,
    peer: TcpStream,
    listener: TcpListener,
    interrupt: Interrupt,
}

fn pair(limit: Duration) -> Pair {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let stream = TcpStream::connect(address).unwrap();
    let interrupt = Interrupt::default();
    let mut patient = Patient::new((stream, address), interrupt.clone(), limit).unwrap();
    patient.watch(7);
    let (peer, _) = listener.accept().unwrap();
    Pair {
        patient,
        peer,
        listener,
        interrupt,
    }
}

fn in_clear_and_within_tls(test: impl Fn(Pair) + Sync) {
    let limit = Duration::from_secs(30);
    let pairs = [pair(limit), encrypted(limit).0];
    std::thread::scope(|threads| {
        for pair in pairs {
            threads.spawn(|| test(pair));
        }
    });
}

fn cause(error: &io::Error) -> String {
    Fault::from_socket(error).cause()
}

#[test]
fn a_slave_that_answers_no_probe_is_lost_within_five_seconds() {
    let mut pair = pair(Duration::from_secs(30));
    let start = Instant::now();
    let error = pair.patient.read(&mut [0; 8]).unwrap_err();
    assert_eq!(cause(&error), "it does not answer");
    assert!(start.elapsed() >= QUIET && start.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_worker_that_hangs_is_lost_within_five_seconds() {
    let mut pair = pair(Duration::from_secs(30));
    let start = Instant::now();
    let listener = pair.listener.try_clone().unwrap();
    let answering = std::thread::Builder::new()
        .spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                let silent = start.elapsed();
                answer_probe(stream, silent);
                if silent > HANGING {
                    break;
                }
            }
        })
        .unwrap();
    let error = pair.patient.read(&mut [0; 8]).unwrap_err();
    assert_eq!(cause(&error), "its worker hangs");
    assert!(start.elapsed() < Duration::from_secs(5));
    answering.join().unwrap();
}

#[test]
fn a_busy_slave_is_waited_for_up_to_the_limit() {
    let mut pair = pair(Duration::from_secs(5));
    let start = Instant::now();
    let listener = pair.listener.try_clone().unwrap();
    let is_over = Interrupt::default();
    let over = is_over.clone();
    let answering = std::thread::Builder::new()
        .spawn(move || {
            while let Ok((stream, _)) = listener.accept()
                && !over.is_set()
            {
                answer_probe(stream, Duration::ZERO);
            }
        })
        .unwrap();
    let error = pair.patient.read(&mut [0; 8]).unwrap_err();
    assert_eq!(cause(&error), "no answer for 5 s");
    assert!(start.elapsed() >= Duration::from_secs(5));
    is_over.set();
    drop(TcpStream::connect(pair.listener.local_addr().unwrap()));
    answering.join().unwrap();
}

#[test]
fn a_peer_that_stops_reading_is_lost_too() {
    let mut pair = pair(Duration::from_secs(30));
    let start = Instant::now();
    let error = loop {
        if let Err(error) = pair.patient.write(&[0; 65_536]) {
            break error;
        }
    };
    assert_eq!(cause(&error), "it does not answer");
    assert!(start.elapsed() < Duration::from_secs(5));
}

/// Nothing ever blocks for them: the kernel would take what they send for minutes.
#[test]
fn a_peer_that_stops_reading_is_lost_by_those_too_who_send_slowly() {
    in_clear_and_within_tls(|mut pair| {
        // The peer's buffer is full, ours is not; what arrives is acknowledged sooner than in this pause.
        set_socket_recv_buffer_size(&pair.peer, 4096).unwrap();
        while sys::socket::unacknowledged(pair.patient.socket()).unwrap() == 0 {
            pair.patient.write_all(&[0; 16_384]).unwrap();
            std::thread::sleep(Duration::from_millis(100));
        }
        let start = Instant::now();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[0; 16]).unwrap();
        let error = loop {
            // As content is sent: straight from the file, where that can be.
            let sent = pair.patient.send_file(&file, 0, 16);
            let sent = sent.or_else(|error| match error.kind() {
                io::ErrorKind::Unsupported => pair.patient.write(&[0; 16]),
                _ => Err(error),
            });
            // Each frame ends so.
            if let Err(error) = sent.and_then(|_| pair.patient.flush()) {
                break error;
            }
            assert!(start.elapsed() < Duration::from_secs(5), "not noticed");
            std::thread::sleep(TURN / 5);
        };
        assert_eq!(cause(&error), "it does not answer");
    });
}

/// The kernel of a stopped slave acknowledges whatever its buffer has room for.
#[test]
fn a_peer_that_is_stopped_is_lost_though_its_kernel_takes_everything() {
    let mut pair = pair(Duration::from_secs(30));
    let start = Instant::now();
    let error = loop {
        if let Err(error) = pair.patient.write(&[0; 16]) {
            break error;
        }
        assert!(start.elapsed() < Duration::from_secs(5), "not noticed");
        std::thread::sleep(TURN / 5);
    };
    assert_eq!(cause(&error), "it does not answer");
    assert!(start.elapsed() >= UNHEARD + UNHEARD_LIMIT);
}

/// What its kernel takes ends while the worker is being asked about: that is not waited for anew.
#[test]
fn a_peer_that_is_stopped_is_lost_in_time_where_its_buffer_is_full_meanwhile() {
    in_clear_and_within_tls(|mut pair| {
        pair.patient.watch(7);
        let start = Instant::now();
        while start.elapsed() < UNHEARD + 2 * TURN {
            pair.patient.write_all(&[0; 16]).unwrap();
            std::thread::sleep(TURN / 5);
        }
        let error = loop {
            let sent = pair.patient.write(&[0; 65_536]);
            if let Err(error) = sent.and_then(|_| pair.patient.flush()) {
                break error;
            }
        };
        assert_eq!(cause(&error), "it does not answer");
        assert!(start.elapsed() < Duration::from_secs(5));
    });
}

/// Who cannot be asked, because nobody is let in there, is not lost while it takes what is sent.
#[test]
fn a_peer_that_takes_more_than_buffers_hold_is_not_asked_about() {
    let mut pair = pair(Duration::from_secs(30));
    let mut peer = pair.peer.try_clone().unwrap();
    let reading = std::thread::Builder::new()
        .spawn(move || io::copy(&mut peer, &mut io::sink()))
        .unwrap();
    let start = Instant::now();
    while start.elapsed() < UNHEARD + UNHEARD_LIMIT + 2 * TURN {
        pair.patient.write_all(&[0; 4 * 1024 * 1024]).unwrap();
        std::thread::sleep(TURN / 10);
    }
    drop(pair.patient);
    assert!(reading.join().unwrap().unwrap() > MOST_BUFFERED);
}

/// A slave that is shut down listens no more, and lets its transfers finish.
#[test]
fn a_peer_that_takes_nobody_new_is_sent_to_as_before() {
    let pair = pair(Duration::from_secs(30));
    let (mut patient, _peer) = (pair.patient, pair.peer);
    drop(pair.listener);
    let start = Instant::now();
    while start.elapsed() < UNHEARD + QUIET + PROBE_LIMIT {
        patient.write_all(&[0; 16]).unwrap();
        std::thread::sleep(TURN / 5);
    }
}

/// Pauses, of which the peer's kernel knows nothing, are no silence of the peer.
#[test]
fn a_sender_that_pauses_goes_on() {
    let mut pair = pair(Duration::from_millis(300));
    pair.patient.waiting.watched = None;
    for _ in 0..3 {
        pair.patient.write_all(b"ping").unwrap();
        std::thread::sleep(Duration::from_millis(400));
        pair.peer.read_exact(&mut [0; 4]).unwrap();
    }
}

#[test]
fn an_interrupt_ends_a_wait() {
    let pair = pair(Duration::from_secs(30));
    let mut connection = Connection::new(pair.patient);
    let interrupt = pair.interrupt;
    let setting = std::thread::Builder::new()
        .spawn(move || interrupt.set())
        .unwrap();
    let fault = Fault::from(connection.receive().unwrap_err());
    assert_eq!(fault.cause(), "interrupted");
    setting.join().unwrap();
}

#[test]
fn bytes_pass() {
    let mut pair = pair(Duration::from_secs(30));
    pair.patient.write_all(b"ping").unwrap();
    let mut bytes = [0; 4];
    pair.peer.read_exact(&mut bytes).unwrap();
    pair.peer.write_all(&bytes).unwrap();
    pair.patient.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"ping");
}
/// The pair, with TLS between its ends, and the session at the peer's.
fn encrypted(limit: Duration) -> (Pair, Tls) {
    let mut pair = pair(limit);
    let identity = Identity::generate(&[]).unwrap();
    let mut theirs = Acceptor::new(&identity).unwrap().start().unwrap();
    let mut peer = pair.peer.try_clone().unwrap();
    let shaking = std::thread::Builder::new()
        .spawn(move || {
            peer.write_all(b"220 hello\r\n").unwrap();
            theirs.handshake(&mut peer).unwrap();
            theirs
        })
        .unwrap();
    let connector = Connector::new(Trust::Anyone).unwrap();
    let (greeting, done) = pair.patient.encrypt(connector.start("host").unwrap());
    done.unwrap();
    assert_eq!(greeting, b"220 hello\r\n");
    assert_eq!(
        pair.patient.tls().unwrap().peer(),
        Some(identity.fingerprint())
    );
    (pair, shaking.join().unwrap())
}

/// What `said` is once it is encrypted.
fn record(tls: &mut Tls, said: &[u8]) -> Vec<u8> {
    struct Collected(Vec<u8>);
    impl Read for Collected {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::WouldBlock.into())
        }
    }
    impl Write for Collected {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut stream = Collected(Vec::new());
    assert_eq!(tls.write(&mut stream, said).unwrap(), said.len());
    stream.0
}

/// Sends bytes one by one, with such a pause between them.
fn dribble(mut peer: TcpStream, bytes: Vec<u8>, pause: Duration) {
    std::thread::Builder::new()
        .spawn(move || {
            for byte in bytes {
                std::thread::sleep(pause);
                if peer.write_all(&[byte]).is_err() {
                    return;
                }
            }
        })
        .unwrap();
}

#[test]
fn bytes_pass_within_tls_and_its_end_is_told_from_a_cut() {
    let (mut pair, mut theirs) = encrypted(Duration::from_secs(30));
    pair.patient.watch(7);
    let asked = pair.patient.waiting.watched.unwrap();
    assert!(asked.key.is_some(), "whoever is met within TLS is asked so");
    pair.patient.write_more(b"pi").unwrap();
    pair.patient.write_all(b"ng").unwrap();
    let mut bytes = [0; 4];
    let mut read = 0;
    while read < 4 {
        read += theirs.read(&mut pair.peer, &mut bytes[read..]).unwrap();
    }
    assert_eq!(&bytes, b"ping");
    theirs.write(&mut pair.peer, b"pong").unwrap();
    pair.patient.read_exact(&mut bytes[..1]).unwrap();
    // The rest is decrypted by now: the socket shows nothing of it.
    assert!(pair.patient.has_input().unwrap());
    pair.patient.read_exact(&mut bytes[1..]).unwrap();
    assert_eq!(&bytes, b"pong");
    assert!(!pair.patient.has_input().unwrap());
    pair.peer.shutdown(std::net::Shutdown::Both).unwrap();
    let cut = pair.patient.read(&mut bytes).unwrap_err();
    assert_eq!(cause(&cut), "connection closed");
    let (mut pair, mut theirs) = encrypted(Duration::from_secs(30));
    theirs.close(&mut pair.peer).unwrap();
    assert_eq!(pair.patient.read(&mut bytes).unwrap(), 0);
    // And this side tells its own.
    drop(pair.patient);
    assert_eq!(theirs.read(&mut pair.peer, &mut bytes).unwrap(), 0);
}

#[test]
fn more_is_written_than_the_line_takes_at_once() {
    let (mut pair, mut theirs) = encrypted(Duration::from_secs(30));
    let sent: Vec<u8> = (0..16_u32 << 20).map(|at| (at / 7 % 251) as u8).collect();
    let expected = sent.clone();
    let mut peer = pair.peer.try_clone().unwrap();
    let reading = std::thread::Builder::new()
        .spawn(move || {
            // Long enough for the writer's turns to end while the line is full.
            std::thread::sleep(TURN * 3);
            let mut received = vec![0; expected.len()];
            let mut read = 0;
            while read < received.len() {
                read += theirs.read(&mut peer, &mut received[read..]).unwrap();
            }
            received == expected
        })
        .unwrap();
    pair.patient.write_all(&sent).unwrap();
    pair.patient.flush().unwrap();
    assert!(reading.join().unwrap());
}

#[test]
fn a_record_that_comes_slowly_is_life_and_can_be_interrupted() {
    let (mut pair, mut theirs) = encrypted(Duration::from_secs(1));
    pair.patient.waiting.watched = None;
    let bytes = record(&mut theirs, b"slowly");
    dribble(
        pair.peer.try_clone().unwrap(),
        bytes,
        Duration::from_millis(60),
    );
    let begun = Instant::now();
    let mut read = [0; 6];
    pair.patient.read_exact(&mut read).unwrap();
    assert!(
        begun.elapsed() > Duration::from_secs(1),
        "too quick to tell"
    );
    let bytes = record(&mut theirs, &[0; 4000]);
    dribble(
        pair.peer.try_clone().unwrap(),
        bytes,
        Duration::from_millis(5),
    );
    let interrupt = pair.interrupt.clone();
    let setting = std::thread::Builder::new()
        .spawn(move || {
            std::thread::sleep(TURN * 2);
            interrupt.set();
        })
        .unwrap();
    let begun = Instant::now();
    let error = pair.patient.read(&mut read).unwrap_err();
    assert_eq!(cause(&error), "interrupted");
    assert!(begun.elapsed() < TURN * 6, "{:?}", begun.elapsed());
    setting.join().unwrap();
}

#[test]
fn a_handshake_that_stalls_ends_within_the_limit() {
    for greeting in [&b""[..], b"220 hel", b"220 hello\r\n"] {
        let mut pair = pair(Duration::from_secs(1));
        pair.patient.waiting.watched = None;
        pair.peer.write_all(greeting).unwrap();
        let connector = Connector::new(Trust::Anyone).unwrap();
        let (_, done) = pair.patient.encrypt(connector.start("host").unwrap());
        assert_eq!(cause(&done.unwrap_err()), "no answer for 1 s");
    }
}
