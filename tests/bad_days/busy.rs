//! Slaves that are alive, but busy with a slow disk: they say so each second, and their clients wait.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use protocol::frame::{Header, KEEP_ALIVE};
use protocol::{ClientPreface, Condition, Connection, Content, Digest, RemotePath, Reply, Request};

use crate::harness::{Cluster, PATIENCE, Setup, Wire, done_as_superuser, tamper};

/// How long the disk takes.
const SLOW: Duration = Duration::from_millis(2500);

/// Asks while that system call is slow; fails the test unless keep-alives come before the answer. `None`: as with [`tamper`].
fn says_that_it_is_busy(cluster: &Cluster, call: &str, request: &Request) -> Option<()> {
    let slave = &cluster.slaves[0];
    let mut wire = Wire::open(slave.address);
    let _: Reply = wire.ask(&Request::DiskFree {});
    let what = format!("delay_enter={}", SLOW.as_micros());
    let _slow = tamper(slave.workers()[0], call, &what)?;
    wire.send(request);
    let mut signs = 0;
    let kind = loop {
        let mut bytes = [0; Header::LENGTH];
        wire.socket().read_exact(&mut bytes).unwrap();
        match Header::decode(&bytes).unwrap().kind {
            KEEP_ALIVE => signs += 1,
            kind => break kind,
        }
    };
    assert_ne!(kind, 0x8000, "an error");
    assert!(signs >= 2, "{signs} signs of life");
    Some(())
}

fn path(name: &str) -> RemotePath {
    RemotePath::try_from(name).unwrap()
}

fn store(name: &str) -> Request {
    let content = b"content".to_vec();
    Request::StoreWhole {
        path: path(name),
        modified_ns: 0,
        mode: 0o644,
        condition: Condition::Any,
        digest: Digest(*blake3::hash(&content).as_bytes()),
        deferred: false,
        content: Content::new(content).unwrap(),
    }
}

#[test]
fn whatever_a_slow_disk_is_asked_for_the_slave_shows_that_it_lives() {
    if done_as_superuser() {
        return;
    }
    let cluster = Setup::new(1).without_master().workers(1).start();
    cluster.write("tree/a", b"content");
    let make = Request::MakeDirectory {
        path: path("/folder"),
        parents: false,
    };
    let rename = Request::Rename {
        from: path("/b"),
        to: path("/c"),
        replace: false,
    };
    let remove = Request::Remove {
        path: path("/tree"),
        recursive: true,
    };
    for (call, request) in [
        ("fsync", store("/b")),
        ("mkdirat", make),
        ("renameat2", rename),
        ("unlinkat", remove),
    ] {
        if says_that_it_is_busy(&cluster, call, &request).is_none() {
            return;
        }
    }
    assert!(!cluster.path("tree").exists());
}

#[test]
fn who_says_all_at_once_is_greeted_before_the_slave_shows_that_it_lives() {
    if done_as_superuser() {
        return;
    }
    let cluster = Setup::new(1).without_master().workers(1).start();
    let slave = &cluster.slaves[0];
    let what = format!("delay_enter={}", SLOW.as_micros());
    let Some(_slow) = tamper(slave.workers()[0], "fsync", &what) else {
        return;
    };
    let mut words = Connection::new(std::io::Cursor::new(Vec::new()));
    words.send_raw(&ClientPreface::ours().encode());
    words.send(1, &store("/file"));
    words.flush().unwrap();
    let mut stream = TcpStream::connect(slave.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(words.stream().get_ref()).unwrap();
    let mut greeting = [0; 4];
    stream.read_exact(&mut greeting).unwrap();
    assert_eq!(&greeting, b"220 ");
}

#[test]
fn a_listing_from_a_slow_disk_comes_as_it_is_made() {
    if done_as_superuser() {
        return;
    }
    let cluster = Setup::new(1).without_master().workers(1).start();
    (0..24).for_each(|number| cluster.write(format!("folder/{number}"), b""));
    let slave = &cluster.slaves[0];
    let mut wire = Wire::open(slave.address);
    let _: Reply = wire.ask(&Request::DiskFree {});
    let Some(_slow) = tamper(slave.workers()[0], "statx", "delay_enter=250000") else {
        return;
    };
    wire.send(&Request::List {
        path: path("/folder"),
        recursive: false,
        facts: true,
    });
    let (mut parts, mut names) = (0, 0);
    loop {
        let (_, answer) = wire.hear().unwrap();
        let Reply::Entries { entries, more, .. } = answer else {
            panic!("{answer:?}");
        };
        parts += 1;
        names += entries.len();
        if !more {
            break;
        }
    }
    assert_eq!(names, 24);
    assert!(parts >= 4, "{parts} parts in six seconds");
}
