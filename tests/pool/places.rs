//! One client for each process: who gets a place, and what becomes of one more.

use std::collections::HashSet;
use std::time::Duration;

use crate::harness::{Client, PATIENCE, Session, Setup, owner_of_connection, peers_of, wait_until};

/// A master, a slave with one place and a slave with two.
fn one_place_and_two() -> crate::harness::Cluster {
    let mut cluster = Setup::new(0).start();
    cluster.add_slave(&["--workers", "1", "--sessions", "1"]);
    cluster.add_slave(&["--workers", "2", "--sessions", "1"]);
    cluster.wait_for_slaves(2);
    cluster
}

#[test]
fn workers_with_one_session_each_serve_one_client_each_and_one_more_hears_busy() {
    let cluster = Setup::new(1)
        .observable()
        .without_master()
        .workers(3)
        .sessions(1)
        .start();
    let (slave, client) = (&cluster.slaves[0], cluster.client());
    let mut sessions: Vec<Session> = (0..3).map(|_| Session::start(&client)).collect();

    let workers = slave.workers();
    let owners: HashSet<u32> = sessions
        .iter()
        .map(|session| session.connection_to(slave.address).unwrap())
        .map(|peer| owner_of_connection(slave.address, peer, &workers).unwrap())
        .collect();
    assert_eq!(workers.len(), 3);
    assert_eq!(owners, workers.into_iter().collect());

    client.run(["ls"]).failed(3, "busy");
    for session in &mut sessions {
        session.ask("ls");
    }
    assert_eq!(sessions[0].end(), 0);
    client.run(["ls"]).succeeded();
}

#[test]
fn who_finds_a_slave_full_goes_to_the_other_one_and_hears_busy_when_all_are_full() {
    let cluster = one_place_and_two();
    let client = cluster.client();
    let mut sessions: Vec<Session> = (0..3).map(|_| Session::start(&client)).collect();
    let served = |slave: usize| peers_of(cluster.slaves[slave].address).len();
    wait_until("all places to be taken", PATIENCE, || {
        (served(0), served(1)) == (1, 2)
    });
    client.run(["ls"]).failed(3, "busy");
    for session in &mut sessions {
        session.ask("ls");
        assert_eq!(session.end(), 0);
        assert_eq!(session.process.stderr(), "", "nobody lost a slave");
    }
}

#[test]
fn who_waits_for_a_place_gets_the_next_free_one() {
    let cluster = Setup::new(1).workers(1).sessions(1).start();
    let mut held = Session::start(&cluster.client());
    let waiting = cluster.client().options(["--wait", "30"]);
    let mut waiter = waiting.spawn(["ls"]);
    waiter.wait_for_line("busy", PATIENCE);
    assert!(waiter.is_running());
    held.ask("ls");
    assert_eq!(held.end(), 0);
    assert_eq!(waiter.wait_code(PATIENCE), 0);
}

#[test]
fn who_waits_in_vain_for_a_place_is_told_so_when_the_time_is_over() {
    let cluster = Setup::new(1).workers(1).sessions(1).start();
    let _held = Session::start(&cluster.client());
    let begun = std::time::Instant::now();
    let waiting = cluster.client().options(["--wait", "1"]);
    waiting.run(["ls"]).failed(3, "busy");
    assert!(begun.elapsed() >= Duration::from_secs(1));
}

#[test]
fn a_connection_that_says_nothing_takes_no_place() {
    let cluster = Setup::new(1)
        .without_master()
        .workers(1)
        .sessions(1)
        .start();
    let address = cluster.slaves[0].address;
    let silent: Vec<_> = (0..20)
        .map(|_| std::net::TcpStream::connect(address).unwrap())
        .collect();
    wait_until("all connections to be there", PATIENCE, || {
        peers_of(address).len() == silent.len()
    });
    cluster.client().run(["ls"]).succeeded();
    drop(silent);
}

#[test]
fn a_pool_serves_many_clients_at_once() {
    let cluster = Setup::new(1).workers(2).start();
    let client = Client::new(cluster.address().to_string());
    let mut sessions: Vec<Session> = (0..12).map(|_| Session::begin(&client)).collect();
    for session in &mut sessions {
        session.ask("ls");
    }
    // On a busy machine a client may just be asking, on a second connection, whether its slave is still there.
    wait_until("a connection for each session", PATIENCE, || {
        peers_of(cluster.slaves[0].address).len() == 12
    });
    for session in &mut sessions {
        assert_eq!(session.end(), 0);
    }
}
