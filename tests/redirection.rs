//! Who is sent where: turns, masters, slaves that come and go.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::harness::{
    Client, Cluster, PATIENCE, Server, Setup, master_binary, random_bytes, wait_until,
};

/// The slave that serves a new client.
fn slave_of_client(cluster: &Cluster) -> String {
    let finished = cluster.client().options(["--json"]).run(["get", "a.txt"]);
    let records = finished.succeeded().json();
    records[0]["slave"].as_str().unwrap().to_owned()
}

/// The slaves that serve the next `count` clients.
fn slaves_of_clients(cluster: &Cluster, count: usize) -> Vec<String> {
    (0..count).map(|_| slave_of_client(cluster)).collect()
}

fn addresses(cluster: &Cluster) -> BTreeSet<String> {
    cluster
        .slaves
        .iter()
        .map(|slave| slave.address.to_string())
        .collect()
}

#[test]
fn two_slaves_take_turns_among_three_clients() {
    let cluster = Cluster::start(2);
    cluster.write("a.txt", b"hello\n");
    let served = slaves_of_clients(&cluster, 3);
    assert_eq!(served[0], served[2]);
    assert_ne!(served[0], served[1]);
    assert_eq!(
        served.into_iter().collect::<BTreeSet<_>>(),
        addresses(&cluster)
    );
}

#[test]
fn a_slave_beside_its_master_is_found_under_whichever_address_the_master_has() {
    let mut loopbacks = vec!["127.0.0.3"];
    if TcpListener::bind("[::1]:0").is_ok() {
        loopbacks.push("::1");
    }
    for ip in loopbacks {
        let cluster = Setup::new(1)
            .on_localhost()
            .master_options(["--bind", ip])
            .start();
        cluster.write("a.txt", b"hello\n");
        assert_eq!(cluster.address().ip().to_string(), ip);
        let client = cluster.client();
        client.run(["get", "a.txt"]).succeeded();
        assert_eq!(client.read("a.txt"), b"hello\n");
    }
}

#[test]
fn a_slave_says_that_its_master_stays_away() {
    let mut cluster = Cluster::start(1);
    let place = cluster.address();
    cluster.master().kill();
    let line = cluster.slaves[0]
        .process
        .wait_for_line(&format!("no master at {place} ("), PATIENCE);
    assert!(!line.contains("os error"), "{line}");
}

#[test]
fn every_slave_has_the_same_number_of_turns() {
    let cluster = Cluster::start(3);
    cluster.write("a.txt", b"hello\n");
    let served = slaves_of_clients(&cluster, 9);
    for address in addresses(&cluster) {
        let turns = served.iter().filter(|slave| **slave == address).count();
        assert_eq!(turns, 3, "{served:?}");
    }
}

#[test]
fn a_session_keeps_its_slave() {
    let cluster = Cluster::start(2);
    for name in ["a", "b", "c"] {
        cluster.write(name, name.as_bytes());
    }
    let client = cluster.client().options(["--json"]);
    let finished = client.run_script("get a\nget b\nget c\n");
    let served: BTreeSet<String> = finished
        .succeeded()
        .json()
        .iter()
        .map(|record| record["slave"].to_string())
        .collect();
    assert_eq!(served.len(), 1, "{}", finished.stdout);
}

#[test]
fn a_master_hands_out_the_slaves_of_its_command_line_in_turn() {
    let cluster = Setup::new(2).listed().start();
    cluster.write("a.txt", b"hello\n");
    let served = slaves_of_clients(&cluster, 4);
    assert_eq!(served[0], served[2]);
    assert_eq!(served[1], served[3]);
    assert_eq!(
        served.into_iter().collect::<BTreeSet<_>>(),
        addresses(&cluster)
    );
}

#[test]
fn a_slave_that_stands_alone_serves_without_a_master() {
    let cluster = Setup::new(1).without_master().start();
    cluster.write("a.txt", b"hello\n");
    assert_eq!(
        slave_of_client(&cluster),
        cluster.slaves[0].address.to_string()
    );
}

#[test]
fn what_is_stored_through_one_slave_is_there_through_the_other() {
    let cluster = Cluster::start(2);
    let client = cluster.client();
    let content = random_bytes(1, 300_000);
    client.write("up.bin", &content);
    client.run(["put", "up.bin"]).succeeded();
    for _ in 0..2 {
        client.run(["get", "-f", "up.bin", "down.bin"]).succeeded();
        assert!(client.read("down.bin") == content);
    }
}

#[test]
fn a_killed_slave_is_left_out_at_once() {
    let mut cluster = Cluster::start(2);
    cluster.write("a.txt", b"hello\n");
    cluster.slaves[0].kill();
    let alive = cluster.slaves[1].address.to_string();
    assert_eq!(slaves_of_clients(&cluster, 3), [alive.as_str(); 3]);
}

#[test]
fn a_slave_that_shuts_down_is_left_out_and_comes_back_with_its_next_start() {
    let mut cluster = Cluster::start(2);
    cluster.write("a.txt", b"hello\n");
    assert!(cluster.slaves[0].process.terminate(PATIENCE).success());
    let alive = cluster.slaves[1].address.to_string();
    assert_eq!(slaves_of_clients(&cluster, 2), [alive.as_str(); 2]);
    cluster.slaves[0].restart();
    cluster.wait_for_slaves(2);
    assert_eq!(
        slaves_of_clients(&cluster, 2)
            .into_iter()
            .collect::<BTreeSet<_>>(),
        addresses(&cluster)
    );
}

#[test]
fn a_silent_slave_is_out_after_three_seconds_and_back_when_it_wakes() {
    let cluster = Cluster::start(2);
    cluster.slaves[0].signal_all(Signal::STOP);
    let stopped = Instant::now();
    cluster.wait_for_slaves(1);
    assert!(
        stopped.elapsed() < Duration::from_secs(6),
        "{:?}",
        stopped.elapsed()
    );
    cluster.slaves[0].signal_all(Signal::CONT);
    cluster.wait_for_slaves(2);
}

#[test]
fn a_killed_master_has_its_slaves_back_within_three_seconds() {
    let mut cluster = Cluster::start(3);
    cluster.write("a.txt", b"hello\n");
    cluster.master().kill();
    cluster.client().run(["get", "a.txt"]).failed(3, "");
    cluster.master().restart();
    let started = Instant::now();
    cluster.wait_for_slaves(3);
    assert!(
        started.elapsed() < Duration::from_secs(3),
        "{:?}",
        started.elapsed()
    );
    slave_of_client(&cluster);
}

#[test]
fn slaves_may_start_before_their_master() {
    let mut cluster = Cluster::start(1);
    cluster.master().kill();
    cluster.slaves[0].restart();
    cluster.master().restart();
    cluster.wait_for_slaves(1);
}

#[test]
fn the_next_master_of_a_list_is_asked_when_the_first_is_away() {
    let cluster = Cluster::start(1);
    cluster.write("a.txt", b"hello\n");
    let nobody = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let client = Client::new(format!("{nobody},{}", cluster.address()));
    client.run(["get", "a.txt"]).succeeded();
    assert_eq!(client.read("a.txt"), b"hello\n");
}

#[test]
fn a_slave_serves_the_clients_of_two_masters() {
    let mut cluster = Setup::new(0).on_localhost().start();
    let arguments = vec!["--state".into(), cluster.state().into(), "--port".into()];
    let second = Server::start(
        "second ftpmaster".to_owned(),
        master_binary(),
        arguments,
        cluster.root(),
    );
    cluster.add_slave(&["--master", &second.address.to_string()]);
    cluster.write("a.txt", b"hello\n");
    cluster.wait_for_slaves(1);
    let client = Client::new(second.address.to_string()).options(["--wait", "20"]);
    client.run(["get", "a.txt"]).succeeded();
    cluster.client().run(["get", "a.txt"]).succeeded();
}

#[test]
fn slaves_shows_addresses_and_states() {
    let mut cluster = Cluster::start(2);
    let client = cluster.client().options(["--json"]);
    let records = client.run(["slaves"]).succeeded().json();
    let shown: BTreeSet<String> = records
        .iter()
        .map(|record| record["address"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(shown, addresses(&cluster));
    assert!(
        records
            .iter()
            .all(|record| record["state"] == "up" && record["sessions"].is_u64())
    );
    cluster.slaves[0].kill();
    let dead = cluster.slaves[0].address.to_string();
    wait_until("the dead slave to be shown as down", PATIENCE, || {
        let records = client.run(["slaves"]).json();
        let mut dead = records
            .iter()
            .filter(|record| record["address"] == dead.as_str());
        dead.all(|record| record["state"] == "down")
    });
}
