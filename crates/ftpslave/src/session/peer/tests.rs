//! Tests of `peer`.

use std::net::TcpListener;
use std::os::fd::AsFd as _;

use auth::tls::{Connector, Identity, Tls, Trust};
use rustix::net::sockopt::{
    set_socket_recv_buffer_size, set_socket_send_buffer_size, tcp_congestion, tcp_user_timeout,
};

use super::*;

const MOMENT: Duration = Duration::from_millis(300);

fn accepted() -> (TcpStream, TcpStream, SocketAddr) {
    let listener = Socket::from(TcpListener::bind("127.0.0.1:0").unwrap());
    Peer::prepare(&listener).unwrap();
    let listener = TcpListener::from(listener);
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (socket, address) = listener.accept().unwrap();
    (client, socket, address)
}

/// A client, and its session's end of the connection.
pub(in crate::session) fn connected() -> (TcpStream, Peer) {
    let (client, socket, address) = accepted();
    let congestion = Congestion::of_this_machine();
    (client, Peer::new(socket, address, &congestion))
}

#[test]
fn an_accepted_socket_has_what_was_set_on_the_listening_one() {
    let (_client, socket, _) = accepted();
    assert!(socket.nodelay().unwrap());
    assert_eq!(socket.read_timeout().unwrap(), Some(STALL));
    assert_eq!(socket.write_timeout().unwrap(), Some(STALL));
    let user_timeout = tcp_user_timeout(&socket).unwrap();
    assert_eq!(u128::from(user_timeout), STALL.as_millis());
    let unpaced = TcpListener::bind("127.0.0.1:0").unwrap();
    Congestion::of_this_machine().prepare(&unpaced);
    let controls = [socket.as_fd(), unpaced.as_fd()].map(|fd| tcp_congestion(fd).unwrap());
    assert_eq!(controls[0], controls[1]);
}

#[test]
fn who_takes_or_sends_content_too_slowly_is_not_waited_for() {
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let (mut client, mut peer) = connected();
    client.set_read_timeout(Some(MOMENT / 20)).unwrap();
    // By itself the kernel lets more be under way than is written here, to a peer that took much before.
    set_socket_send_buffer_size(&peer.line.socket, 65_536).unwrap();
    set_socket_recv_buffer_size(&client, 65_536).unwrap();
    peer.require(RateFloor::new(1 << 30, MOMENT));
    std::thread::scope(|threads| {
        threads.spawn(move || {
            while stopped.recv_timeout(MOMENT / 10).is_err() {
                client.write_all(b"x").unwrap();
                drop(client.read(&mut [0; 4096]));
            }
        });
        let mut writer = peer.clone();
        let ends = |result: io::Result<usize>| result.err().and_then(|error| Lapse::of(&error));
        let read = (0..40).find_map(|_| ends(peer.read(&mut [0; 1])));
        let written = (0..250).find_map(|_| ends(writer.write(&[0; 16_384])));
        stop.send(()).unwrap();
        assert_eq!(
            (read, written),
            (Some(Limit::MinimumRate), Some(Limit::MinimumRate))
        );
    });
}

#[test]
fn bytes_that_drip_in_do_not_move_the_deadline() {
    let (mut dripping, mut peer) = connected();
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    std::thread::scope(|threads| {
        threads.spawn(move || {
            while stopped.recv_timeout(MOMENT / 10).is_err() {
                dripping.write_all(b"x").unwrap();
            }
            dripping.write_all(&[b'x'; 1000]).unwrap();
        });
        let begun = Instant::now();
        peer.read_until(Some(begun + MOMENT));
        assert!(peer.read_exact(&mut [0; 1000]).is_err());
        assert!((MOMENT..10 * MOMENT).contains(&begun.elapsed()));
        peer.read_until(None);
        stop.send(()).unwrap();
        peer.read_exact(&mut [0; 1000]).unwrap();
    });
}

/// Both ends of a session over TLS.
fn secured() -> (TcpStream, Tls, Peer) {
    let (mut client, peer) = connected();
    let identity = Identity::generate(&[]).unwrap();
    let acceptor = Acceptor::new(&identity).unwrap();
    let trust = Trust::Known(identity.fingerprint());
    let mut tls = Connector::new(trust).unwrap().start("localhost").unwrap();
    let deadline = Instant::now() + STALL;
    std::thread::scope(|threads| {
        let server = threads.spawn(|| peer.secure(&acceptor, deadline));
        tls.handshake(&mut client).unwrap();
        server.join().unwrap().unwrap();
    });
    (client, tls, peer)
}

#[test]
fn who_drips_a_handshake_in_is_not_waited_for_longer() {
    let (mut dripping, peer) = connected();
    let acceptor = Acceptor::new(&Identity::generate(&[]).unwrap()).unwrap();
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    std::thread::scope(|threads| {
        threads.spawn(move || {
            let mut hello = vec![0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc];
            hello.resize(517, 0);
            for byte in hello {
                if stopped.recv_timeout(MOMENT / 20).is_ok() {
                    break;
                }
                dripping.write_all(&[byte]).unwrap_or_default();
            }
        });
        let begun = Instant::now();
        let error = peer.secure(&acceptor, begun + MOMENT).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!((MOMENT..10 * MOMENT).contains(&begun.elapsed()));
        drop(stop);
    });
}

#[test]
fn what_is_half_there_or_no_content_is_not_waited_on() {
    let (mut client, mut tls, mut peer) = secured();
    let mut record = Vec::new();
    tls.write(&mut Recording(&mut record), b"hello").unwrap();
    let (half, rest) = record.split_at(record.len() / 2);
    client.write_all(half).unwrap();
    assert!(!peer.wait_for_input(MOMENT).unwrap());
    client.write_all(rest).unwrap();
    assert!(peer.wait_for_input(MOMENT).unwrap());
    // What is decrypted already does not show at the socket.
    let mut two = [0; 2];
    peer.read_exact(&mut two).unwrap();
    assert!(peer.wait_for_input(Duration::ZERO).unwrap());
    peer.rest();
    let mut three = [0; 3];
    assert_eq!(peer.read_awake(&mut three).unwrap(), 3);
    assert_eq!([&two[..], &three].concat(), b"hello");
    assert!(!peer.wait_for_input(Duration::ZERO).unwrap());
}

#[test]
fn a_sign_of_life_waits_for_nobody_and_leaves_the_stream_whole() {
    let (mut client, mut tls, mut peer) = secured();
    // The session's own thread waits for its client, with the lock in its hand.
    let mut reading = peer.clone();
    std::thread::scope(|threads| {
        let reader = threads.spawn(move || reading.read(&mut [0; 10]));
        let begun = Instant::now();
        while begun.elapsed() < MOMENT {
            peer.write_at_once(b"alive").unwrap();
        }
        tls.write(&mut client, b"x").unwrap();
        assert_eq!(reader.join().unwrap().unwrap(), 1);
    });
    // A client that reads nothing: its buffers are full, then what is encrypted waits here, once.
    let begun = Instant::now();
    for _ in 0..200_000 {
        peer.write_at_once(&[b'l'; 100]).unwrap();
    }
    assert!(begun.elapsed() < STALL);
    std::thread::scope(|threads| {
        threads.spawn(move || {
            peer.write_all(b"end").unwrap();
            peer.part();
        });
        let mut heard = Vec::new();
        let mut piece = [0; 4096];
        while let read @ 1.. = tls.read(&mut client, &mut piece).unwrap() {
            heard.extend_from_slice(&piece[..read]);
        }
        assert!(heard.ends_with(b"lend"));
    });
}

#[test]
fn a_file_goes_through_tls_from_any_place_and_ends_where_it_ends() {
    let (mut client, mut tls, mut peer) = secured();
    let content: Vec<u8> = (0..700_000_u32).flat_map(u32::to_be_bytes).collect();
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&content).unwrap();
    let sender = std::thread::Builder::new().spawn(move || {
        assert_eq!(peer.write_more(b"head").unwrap(), 4);
        let mut offset = 5_u64;
        loop {
            match peer.send_file(&file, offset, 1 << 20).unwrap() {
                0 => break,
                sent => offset += sent as u64,
            }
        }
        // A folder, say: an ordinary read tells.
        let unreadable = File::open("/").unwrap();
        let refused = peer.send_file(&unreadable, 0, 10).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::Unsupported);
        peer.rest();
        peer.part();
    });
    let mut heard = Vec::new();
    let mut piece = [0; 65_536];
    while let read @ 1.. = tls.read(&mut client, &mut piece).unwrap() {
        heard.extend_from_slice(&piece[..read]);
    }
    assert!(heard == [b"head", &content[5..]].concat());
    sender.unwrap().join().unwrap();
}

#[test]
fn a_drained_session_over_tls_sees_the_end_although_it_waits() {
    let (_client, _tls, peer) = secured();
    let mut waiting = peer.clone();
    std::thread::scope(|threads| {
        let reader = threads.spawn(move || waiting.read(&mut [0; 10]));
        peer.stop_reading();
        let error = reader.join().unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    });
}

#[test]
fn that_we_stopped_reading_is_not_the_client_s_end() {
    let (client, peer) = connected();
    peer.stop_reading();
    assert!(!peer.is_gone());
    client.shutdown(Shutdown::Write).unwrap();
    while !peer.is_gone() {
        std::thread::yield_now();
    }
}

/// A stream that keeps what is written.
struct Recording<'a>(&'a mut Vec<u8>);

impl Read for Recording<'_> {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }
}

impl Write for Recording<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
