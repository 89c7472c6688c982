//! Slaves that are alive, but busy with a slow disk: they say so each second, and their clients wait.

use std::io::Read;
use std::time::Duration;

use protocol::frame::{Header, KEEP_ALIVE};
use protocol::{Condition, Content, Digest, Message, RemotePath, Reply, Request};

use crate::harness::{Cluster, Setup, Wire, tamper};

/// How long the disk takes.
const SLOW: Duration = Duration::from_millis(2500);

/// Asks while that system call is slow; fails the test unless keep-alives come before the answer.
fn says_that_it_is_busy(cluster: &Cluster, call: &str, request: &impl Message) {
    let slave = &cluster.slaves[0];
    let mut wire = Wire::open(slave.address);
    let _: Reply = wire.ask(&Request::DiskFree {});
    let what = format!("delay_enter={}", SLOW.as_micros());
    let Some(_slow) = tamper(slave.workers()[0], call, &what) else {
        return;
    };
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
}

fn path(name: &str) -> RemotePath {
    RemotePath::try_from(name).unwrap()
}

#[test]
fn whatever_a_slow_disk_is_asked_for_the_slave_shows_that_it_lives() {
    let cluster = Setup::new(1).without_master().workers(1).start();
    cluster.write("tree/a", b"content");
    let content = b"content".to_vec();
    let store = Request::StoreWhole {
        path: path("/b"),
        modified_ns: 0,
        mode: 0o644,
        condition: Condition::Any,
        digest: Digest(*blake3::hash(&content).as_bytes()),
        deferred: false,
        content: Content::new(content).unwrap(),
    };
    says_that_it_is_busy(&cluster, "fsync", &store);
    let make = Request::MakeDirectory {
        path: path("/folder"),
        parents: false,
    };
    says_that_it_is_busy(&cluster, "mkdirat", &make);
    let rename = Request::Rename {
        from: path("/b"),
        to: path("/c"),
        replace: false,
    };
    says_that_it_is_busy(&cluster, "renameat2", &rename);
    let remove = Request::Remove {
        path: path("/tree"),
        recursive: true,
    };
    says_that_it_is_busy(&cluster, "unlinkat", &remove);
    assert!(!cluster.path("tree").exists());
}
