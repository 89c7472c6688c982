//! Workers that hang, and slaves that all die, in the middle of a transfer.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::MEBIBYTE;
use crate::harness::{
    Client, Cluster, PATIENCE, Process, Session, Setup, allocated, owner_of_connection, peers_of,
    random_bytes, wait_until,
};

/// As promised, counted from the moment at which the slave was stopped.
const NOTICED_WITHIN: Duration = Duration::from_secs(5);

const SIZE: usize = 48 * MEBIBYTE;
const RATE: &str = "16M";

fn begin_get(cluster: &Cluster, content: &[u8]) -> (Client, Process) {
    cluster.write("a.bin", content);
    let client = cluster.client();
    let transfer = client.spawn(["--limit-rate", RATE, "get", "a.bin"]);
    let part = client.path(".a.bin.part");
    wait_until("the download to be under way", PATIENCE, || {
        allocated(&part) > 4 * MEBIBYTE as u64
    });
    (client, transfer)
}

/// The connection stands and the kernel still answers; only the process that serves it does nothing.
#[test]
fn a_single_worker_that_hangs_during_a_download_is_left_too() {
    let cluster = Setup::new(1).observable().start();
    let content = random_bytes(2, SIZE);
    let (client, transfer) = begin_get(&cluster, &content);
    one_worker_hangs(&cluster, &client, transfer, &content);
}

/// Where all are full nobody but the gate can say that one of them hangs.
#[test]
fn a_single_worker_that_hangs_in_a_full_pool_is_left_within_five_seconds_too() {
    let cluster = Setup::new(2).observable().workers(2).sessions(1).start();
    // One on each slave, so that the download fills one of them.
    let mut others = [(); 2].map(|()| Session::start(&cluster.client()));
    let content = random_bytes(5, SIZE);
    let (client, transfer) = begin_get(&cluster, &content);
    one_worker_hangs(&cluster, &client, transfer, &content);
    for other in &mut others {
        other.ask("ls");
        assert_eq!(other.end(), 0);
    }
}

fn one_worker_hangs(cluster: &Cluster, client: &Client, mut transfer: Process, content: &[u8]) {
    let slave = &cluster.slaves[0];
    let workers = slave.workers();
    let serves_it =
        |peer: &SocketAddr| owner_of_connection(*peer, slave.address, &[transfer.pid()]).is_some();
    let peer = peers_of(slave.address).into_iter().find(serves_it).unwrap();
    let worker = owner_of_connection(slave.address, peer, &workers).unwrap();
    crate::harness::stop_pid(worker);
    let begun = Instant::now();
    transfer.wait_for_line("lost", PATIENCE);
    let noticed = begun.elapsed();
    assert!(noticed < NOTICED_WITHIN, "{noticed:?}");
    assert_eq!(transfer.wait_code(PATIENCE), 0);
    assert!(client.read("a.bin") == content);
}

#[test]
fn a_transfer_whose_slaves_all_die_ends_with_one_error_and_keeps_what_it_has() {
    let mut cluster = Cluster::start(2);
    let content = random_bytes(4, SIZE);
    let (client, mut transfer) = begin_get(&cluster, &content);
    for slave in &mut cluster.slaves {
        slave.kill();
    }
    assert_eq!(transfer.wait_code(PATIENCE), 3);
    let said = transfer.stderr();
    assert!(
        said.lines()
            .last()
            .unwrap()
            .starts_with("ftpclient: cannot get '/a.bin': "),
        "{said}"
    );
    assert!(!client.path("a.bin").exists());
    assert!(allocated(&client.path(".a.bin.part")) > 4 * MEBIBYTE as u64);
}
