//! Workers that hang, and slaves that all die, in the middle of a transfer.

use std::time::{Duration, Instant};

use super::MEBIBYTE;
use crate::harness::{Client, Cluster, PATIENCE, Process, allocated, random_bytes, wait_until};

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
    let cluster = Cluster::start(1);
    let content = random_bytes(2, SIZE);
    let (client, mut transfer) = begin_get(&cluster, &content);
    let slave = &cluster.slaves[0];
    let peer = crate::harness::peers_of(slave.address)[0];
    let workers = slave.workers();
    let worker = crate::harness::owner_of_connection(slave.address, peer, &workers).unwrap();
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
