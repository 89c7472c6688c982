//! Slaves that die or hang in the middle of a transfer.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::MEBIBYTE;
use crate::harness::{
    Client, Cluster, PATIENCE, Process, Session, Setup, allocated, owner_of_connection, peers_of,
    random_bytes, staged, wait_until,
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

fn begin_put(cluster: &Cluster, content: &[u8]) -> (Client, Process) {
    let client = cluster.client();
    client.write("a.bin", content);
    let transfer = client.spawn(["--limit-rate", RATE, "put", "a.bin"]);
    wait_until("the upload to be under way", PATIENCE, || {
        let staged = staged(&cluster.root());
        staged
            .iter()
            .any(|path| allocated(path) > 4 * MEBIBYTE as u64)
    });
    (client, transfer)
}

fn hangs(begin: fn(&Cluster, &[u8]) -> (Client, Process)) {
    let cluster = Cluster::start(2);
    let content = random_bytes(1, SIZE);
    let (client, mut transfer) = begin(&cluster, &content);
    let serving = cluster.serving();
    cluster.slaves[serving].signal_all(Signal::STOP);
    let begun = Instant::now();
    transfer.wait_for_line("lost", PATIENCE);
    let noticed = begun.elapsed();
    assert!(noticed < NOTICED_WITHIN, "{noticed:?}");
    assert_eq!(transfer.wait_code(PATIENCE), 0);
    assert_eq!(
        transfer.stderr().lines().count(),
        1,
        "{}",
        transfer.stderr()
    );
    assert!(client.read("a.bin") == content);
    assert!(std::fs::read(cluster.path("a.bin")).unwrap() == content);
    // Awake again, it must not disturb what the other one has stored.
    cluster.slaves[serving].signal_all(Signal::CONT);
    cluster.wait_for_slaves(2);
    assert!(std::fs::read(cluster.path("a.bin")).unwrap() == content);
    assert_eq!(staged(&cluster.root()), Vec::<PathBuf>::new());
}

#[test]
fn a_slave_that_hangs_during_a_download_is_left_for_the_other_one() {
    hangs(begin_get);
}

#[test]
fn a_slave_that_hangs_during_an_upload_is_left_for_the_other_one() {
    hangs(begin_put);
}

/// The connection stands and the kernel still answers; only the process that serves it does nothing.
#[test]
fn a_single_worker_that_hangs_during_a_download_is_left_too() {
    let cluster = Cluster::start(1);
    let content = random_bytes(2, SIZE);
    let (client, transfer) = begin_get(&cluster, &content);
    one_worker_hangs(&cluster, &client, transfer, &content);
}

/// Where all are full nobody but the gate can say that one of them hangs.
#[test]
fn a_single_worker_that_hangs_in_a_full_pool_is_left_within_five_seconds_too() {
    let cluster = Setup::new(2).workers(2).sessions(1).start();
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

fn dies(begin: fn(&Cluster, &[u8]) -> (Client, Process)) {
    let mut cluster = Cluster::start(3);
    let content = random_bytes(3, SIZE);
    let (client, mut transfer) = begin(&cluster, &content);
    let serving = cluster.serving();
    let lost = cluster.slaves[serving].address.to_string();
    cluster.slaves[serving].kill();
    let begun = Instant::now();
    let said = transfer.wait_for_line("lost", PATIENCE);
    assert!(
        begun.elapsed() < Duration::from_secs(2),
        "a reset counts at once"
    );
    assert!(said.contains(&lost), "{said}");
    assert_eq!(transfer.wait_code(PATIENCE), 0);
    assert_eq!(
        transfer.stderr().lines().count(),
        1,
        "{}",
        transfer.stderr()
    );
    assert!(client.read("a.bin") == content);
    assert!(std::fs::read(cluster.path("a.bin")).unwrap() == content);
    assert_eq!(staged(&cluster.root()), Vec::<PathBuf>::new());
}

#[test]
fn a_slave_that_is_killed_during_a_download_is_left_for_another_with_one_line() {
    dies(begin_get);
}

#[test]
fn a_slave_that_is_killed_during_an_upload_is_left_for_another_with_one_line() {
    dies(begin_put);
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
