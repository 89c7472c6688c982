//! Limits on how fast content passes. A limit shows in the least time that a transfer takes; a busy machine only adds to it.

use std::time::{Duration, Instant};

use crate::harness::{PATIENCE, Setup, random_bytes};

const KIBIBYTE: usize = 1024;

#[test]
fn a_slave_limit_holds_for_all_sessions_of_all_workers_together() {
    let options = ["--limit-rate", "1M"];
    let cluster = Setup::new(1)
        .without_master()
        .workers(2)
        .sessions(1)
        .slave_options(options)
        .start();
    cluster.write("a.bin", &random_bytes(1, 1024 * KIBIBYTE));
    let clients = [cluster.client(), cluster.client()];
    let begun = Instant::now();
    let mut running: Vec<_> = clients
        .iter()
        .map(|client| client.spawn(["get", "a.bin"]))
        .collect();
    for process in &mut running {
        assert_eq!(process.wait_code(PATIENCE), 0, "{}", process.stderr());
    }
    assert!(begun.elapsed() >= Duration::from_millis(1800));
}

#[test]
fn a_session_limit_holds_in_both_directions_and_for_trees_of_small_files() {
    let options = ["--limit-session-rate", "512K"];
    let cluster = Setup::new(1)
        .without_master()
        .slave_options(options)
        .start();
    for number in 0..64 {
        cluster.write(
            format!("tree/{number}"),
            &random_bytes(number, 8 * KIBIBYTE),
        );
    }
    // A second session would have as much again.
    let client = cluster.client().options(["--streams", "1"]);
    client.write("b.bin", &random_bytes(2, 512 * KIBIBYTE));
    for command in [&["get", "-r", "tree"][..], &["put", "b.bin"]] {
        let begun = Instant::now();
        client.run(command.iter().copied()).succeeded();
        assert!(begun.elapsed() >= Duration::from_millis(850), "{command:?}");
    }
}

#[test]
fn a_client_limit_holds_in_both_directions() {
    let cluster = Setup::new(1).without_master().start();
    cluster.write("a.bin", &random_bytes(3, 512 * KIBIBYTE));
    let client = cluster.client().options(["--limit-rate", "512K"]);
    client.write("b.bin", &random_bytes(4, 512 * KIBIBYTE));
    for command in [["get", "a.bin"], ["put", "b.bin"]] {
        let begun = Instant::now();
        client.run(command).succeeded();
        assert!(begun.elapsed() >= Duration::from_millis(850), "{command:?}");
    }
}
