//! Slaves that sleep for a while, and wake when their clients have long been served by others.

use rustix::process::Signal;

use protocol::{Condition, Content, Digest, RemotePath, Reply, Request, UploadId};

use crate::harness::{
    Cluster, PATIENCE, Setup, Wire, open_descriptors, peers_of, signal_pid, staged, stop_pid,
    wait_until,
};

/// Two slaves that stand alone over one storage, one worker each.
fn two_slaves() -> Cluster {
    Setup::new(2)
        .observable()
        .without_master()
        .workers(1)
        .start()
}

fn path(name: &str) -> RemotePath {
    RemotePath::try_from(name).unwrap()
}

fn digest(content: &[u8]) -> Digest {
    Digest(*blake3::hash(content).as_bytes())
}

fn store(name: &str, content: &[u8], deferred: bool) -> Request {
    Request::StoreWhole {
        path: path(name),
        modified_ns: 1_000_000_000,
        mode: 0o640,
        condition: Condition::Any,
        digest: digest(content),
        deferred,
        content: Content::new(content.to_vec()).unwrap(),
    }
}

fn done(reply: &Reply) -> bool {
    matches!(reply, Reply::Done {} | Reply::Stored { .. })
}

/// What one slave was asked before it fell asleep, and its client gave up and had done by another one.
fn falls_asleep(ask: impl FnOnce(&Cluster, u32, Wire), expected: &[u8]) {
    let cluster = two_slaves();
    cluster.write("name", b"old");
    let sleeper = &cluster.slaves[0];
    let worker = sleeper.workers()[0];
    let idle = sockets(worker);
    let mut wire = Wire::open(sleeper.address);
    let begun: Reply = wire.ask(&Request::DiskFree {});
    assert!(matches!(begun, Reply::Space { .. }), "{begun:?}");
    ask(&cluster, worker, wire);
    // On a busy machine the end of a connection may come later than what is said on others.
    wait_until("the slave's kernel to know of the end", PATIENCE, || {
        peers_of(sleeper.address).is_empty()
    });
    let mut other = Wire::open(cluster.slaves[1].address);
    assert!(done(&other.ask(&store("/name", expected, false))));
    signal_pid(worker, Signal::CONT);
    // Whatever it finds, it has dealt with it once it has closed the connection.
    wait_until("the slave to let its client go", PATIENCE, || {
        sockets(worker) <= idle
    });
    assert_eq!(std::fs::read(cluster.path("name")).unwrap(), expected);
    assert!(staged(&cluster.root()).is_empty());
}

/// How many sockets a process holds.
fn sockets(pid: u32) -> usize {
    let is_socket = |target: &std::path::PathBuf| target.to_string_lossy().starts_with("socket:");
    open_descriptors(pid)
        .iter()
        .filter(|target| is_socket(target))
        .count()
}

#[test]
fn a_removal_that_its_client_gave_up_is_not_carried_out_later() {
    falls_asleep(
        |_, worker, mut wire| {
            stop_pid(worker);
            wire.send(&Request::Remove {
                path: path("/name"),
                recursive: false,
            });
        },
        b"new",
    );
}

#[test]
fn a_small_file_that_its_client_gave_up_replaces_nothing_later() {
    falls_asleep(
        |_, worker, mut wire| {
            stop_pid(worker);
            wire.send(&store("/name", b"between", false));
        },
        b"new",
    );
}

#[test]
fn a_deferred_file_whose_client_has_gone_is_not_published_later() {
    falls_asleep(
        |_, worker, mut wire| {
            let reply: Reply = wire.ask(&store("/name", b"between", true));
            assert_eq!(reply, Reply::Received {});
            stop_pid(worker);
        },
        b"new",
    );
}

#[test]
fn an_upload_whose_client_has_gone_before_its_end_was_read_is_not_published_later() {
    falls_asleep(
        |cluster, worker, mut wire| {
            let begun: Reply = wire.ask(&Request::Store {
                path: path("/name"),
                upload: UploadId([9; 32]),
                size: 0,
                modified_ns: 0,
                mode: 0o640,
                condition: Condition::Any,
                resume: true,
                deferred: false,
            });
            assert!(matches!(begun, Reply::Ready { .. }), "{begun:?}");
            stop_pid(worker);
            wire.send_more(&Request::StoreEnd {
                digest: digest(b""),
            });
            assert_eq!(staged(&cluster.root()).len(), 1);
        },
        b"new",
    );
}
