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

/// A file that is fetched over three streams, and the least time that it takes; who served it.
fn striped(setup: Setup, options: &[&str], least: Duration) -> usize {
    const SIZE: usize = 36 * KIBIBYTE * KIBIBYTE;
    let cluster = setup.start();
    cluster.write("a.bin", &random_bytes(5, SIZE));
    let client = cluster.client().options(["--json", "--streams", "3"]);
    let begun = Instant::now();
    let finished = client
        .options(options.iter().copied())
        .run(["get", "a.bin"]);
    let took = begun.elapsed();
    finished.succeeded();
    assert!(took >= least, "{took:?}");
    let slaves = &finished.json()[0]["slaves"];
    slaves.as_array().map_or(1, Vec::len)
}

#[test]
fn a_client_limit_holds_for_all_streams_of_a_file_together() {
    let least = Duration::from_millis(1700);
    let slaves = striped(Setup::new(3), &["--limit-rate", "20M"], least);
    assert_eq!(slaves, 3);
}

#[test]
fn slave_limits_hold_for_striped_files_too() {
    // One slave: all streams together; three: each for itself; one again: each session for itself.
    for (slaves, limit, least) in [
        (1, ["--limit-rate", "20M"], 1700),
        (3, ["--limit-rate", "7M"], 1600),
        (1, ["--limit-session-rate", "7M"], 1600),
    ] {
        let setup = Setup::new(slaves).slave_options(limit);
        let served = striped(setup, &[], Duration::from_millis(least));
        assert_eq!(served, slaves, "{limit:?}");
    }
}
