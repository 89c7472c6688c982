//! The harness itself: a proxy that bends nothing, or a line that is never seen, would make every test on it worthless.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::thread;
use std::time::Duration;

use super::*;

/// A server that sends back what it gets.
fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serve = move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut reader = stream.try_clone().unwrap();
            thread::Builder::new()
                .spawn(move || std::io::copy(&mut reader, &mut stream).ok())
                .unwrap();
        }
    };
    thread::Builder::new().spawn(serve).unwrap();
    address
}

fn through(proxy: &Proxy, sent: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(proxy.address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    stream.write_all(sent).ok();
    let mut received = vec![0; sent.len()];
    let mut length = 0;
    while length < received.len() {
        match stream.read(&mut received[length..]) {
            Ok(read @ 1..) => length += read,
            _ => break,
        }
    }
    received.truncate(length);
    received
}

#[test]
fn a_proxy_bends_the_connection_it_is_told_to_and_no_other() {
    let proxy = Proxy::before(echo());
    let sent = random_bytes(1, 100_000);
    let direction = Direction::ToClient;
    proxy.next(Fault::FlipBit {
        direction,
        offset: 70_000,
    });
    proxy.next(Fault::CutAfter {
        direction,
        bytes: 50_001,
    });
    proxy.next(Fault::StallAfter {
        direction: Direction::ToServer,
        bytes: 0,
    });
    let mut flipped = sent.clone();
    flipped[70_000] ^= 0x10;
    assert!(through(&proxy, &sent) == flipped);
    assert!(through(&proxy, &sent) == sent[..50_001]);
    assert!(through(&proxy, &sent).is_empty());
    assert!(through(&proxy, &sent) == sent);
    assert_eq!(proxy.connections(), 4);
    assert_eq!(proxy.bent(), 3);
}

#[test]
fn a_dropped_process_leaves_no_child() {
    let shell = Process::spawn(
        "sh",
        Command::new("sh").args(["-c", "sleep 600 & echo ready >&2; wait"]),
    );
    shell.wait_for_line("ready", PATIENCE);
    let family = descendants(shell.pid());
    assert_eq!(family.len(), 1, "{family:?}");
    assert_eq!(children(shell.pid()), family);
    drop(shell);
    wait_until("the child to be gone", PATIENCE, || !is_alive(family[0]));
}

#[test]
fn a_server_that_has_ended_has_no_family_to_be_killed() {
    let folder = tempfile::tempdir().unwrap();
    let script = "echo listening on 127.0.0.1:1 >&2; exec sleep 600";
    let arguments = ["-c", script].map(std::ffi::OsString::from).to_vec();
    let home = folder.path().to_owned();
    let mut server = Server::start_at(0, "sh".to_owned(), "sh".as_ref(), (arguments, home));
    assert_eq!(server.family(), [server.pid()]);
    server.process.kill();
    assert!(!server.process.keeps_its_number());
    // Whoever has the number now is none of it.
    assert_eq!(server.family(), Vec::<u32>::new());
    server.kill();
}

#[test]
fn a_socket_leads_to_its_owner() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let local = listener.local_addr().unwrap();
    let client = TcpStream::connect(local).unwrap();
    let _server = listener.accept().unwrap();
    let peer = client.local_addr().unwrap();
    let own = std::process::id();
    let other = Process::spawn("cat", &mut Command::new("cat"));
    assert_eq!(peers_of(local), [peer]);
    let candidates = [other.pid(), own];
    assert_eq!(owner_of_connection(local, peer, &candidates), Some(own));
}
