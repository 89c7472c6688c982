//! Who is whom: slaves known twice, slaves of another storage or with another key, and clients without a ticket.

use std::collections::HashMap;
use std::fs;
use std::process::Command;

use rustix::process::Signal;

use protocol::{ErrorCode, RemotePath, Reply, Request, Secret};

use crate::harness::{
    Client, Cluster, PATIENCE, Process, Server, Session, Setup, Wire, offers, port_of, signal_pid,
    slave_binary, stop_pid, tree, wait_for, wait_until,
};

/// The slaves that the master knows, address and state.
fn known(cluster: &Cluster) -> Vec<(String, String)> {
    let answer = cluster.client().run(["--json", "slaves"]);
    answer.succeeded();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let slaves = answer.json();
    slaves
        .iter()
        .map(|slave| (text(&slave["address"]), text(&slave["state"])))
        .collect()
}

#[test]
fn a_slave_that_is_registered_and_on_the_command_line_is_one_entry_and_has_one_turn() {
    let mut cluster = Cluster::start(2);
    let address = cluster.slaves[0].address.to_string();
    cluster.master().add_argument(address);
    cluster.master().restart();
    cluster.wait_for_slaves(2);
    // Time for the probe of the named one to have its say, too.
    cluster
        .master()
        .process
        .wait_for_line("listening on", PATIENCE);
    let mut turns: HashMap<u16, usize> = HashMap::new();
    for _ in 0..12 {
        let offers = offers(cluster.address());
        assert_eq!(offers.len(), 2);
        *turns.entry(port_of(&offers[0])).or_default() += 1;
        assert_eq!(known(&cluster).len(), 2);
    }
    assert!(turns.values().all(|count| *count == 6), "{turns:?}");
}

/// Starts one more slave that registers at the cluster's master, with a root or state of its own.
fn stranger(cluster: &Cluster, root: &str, state: &str) -> Server {
    let place = |name: &str| cluster.root().with_file_name(name);
    for name in [root, state] {
        fs::create_dir_all(place(name)).unwrap();
    }
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    fs::set_permissions(place(state), private).unwrap();
    let arguments = vec![
        "--root".into(),
        place(root).into(),
        "--state".into(),
        place(state).into(),
        "--master".into(),
        cluster.address().to_string().into(),
    ];
    let label = "stranger".to_owned();
    Server::start(label, slave_binary(), arguments, place("home"))
}

#[test]
fn a_slave_of_another_storage_is_refused_with_a_sentence_that_says_how_to_mend_it() {
    let cluster = Cluster::start(1);
    let slave = stranger(&cluster, "other-root", "state");
    let said = slave
        .process
        .wait_for_line("does not take this slave", PATIENCE);
    assert!(
        said.contains("storage") && said.contains("--root"),
        "{said}"
    );
    assert_eq!(known(&cluster).len(), 1);
    let offers = offers(cluster.address());
    assert_eq!(
        offers.iter().map(port_of).collect::<Vec<_>>(),
        [cluster.slaves[0].address.port()]
    );
}

#[test]
fn a_slave_of_another_storage_that_comes_first_is_not_taken_for_those_that_were_there_before_the_master()
 {
    let mut cluster = Setup::new(1).on_localhost().start();
    // Its heartbeats are late: it serves all the same.
    let registrar = wait_for("the registrar", PATIENCE, || cluster.slaves[0].registrar());
    stop_pid(registrar);
    cluster.master().process.kill();
    let slave = stranger(&cluster, "other-root", "state");
    cluster.master().restart();
    let said = slave
        .process
        .wait_for_line("does not take this slave", PATIENCE);
    assert!(said.contains("storage"), "{said}");
    assert_eq!(known(&cluster), []);
    signal_pid(registrar, Signal::CONT);
    cluster.wait_for_slaves(1);
    let port = cluster.slaves[0].address.port();
    assert_eq!(known(&cluster)[0].0, format!("127.0.0.1:{port}"));
}

#[test]
fn another_storage_is_served_at_once_where_nobody_serves_the_old_one_any_more() {
    let mut cluster = Setup::new(1).on_localhost().start();
    cluster.slaves[0].kill();
    cluster.master().restart();
    let slave = stranger(&cluster, "other-root", "state");
    cluster.wait_for_slaves(1);
    let said = slave.process.stderr();
    assert!(!said.contains("does not take"), "{said}");
}

#[test]
fn a_slave_with_another_key_is_refused_with_a_sentence() {
    let cluster = Cluster::start(1);
    let slave = stranger(&cluster, "root", "other-state");
    let said = slave
        .process
        .wait_for_line("does not take this slave", PATIENCE);
    assert!(said.contains("state directory"), "{said}");
    assert_eq!(known(&cluster).len(), 1);
}

#[test]
fn a_named_slave_of_another_storage_is_not_offered() {
    let mut cluster = Setup::new(1).listed().start();
    let other = Setup::new(1).without_master().start();
    let address = other.slaves[0].address.to_string();
    cluster.master().add_argument(address);
    cluster.master().restart();
    cluster.master().process.wait_for_line("storage", PATIENCE);
    wait_until("one slave to be up", PATIENCE, || {
        known(&cluster)
            .iter()
            .filter(|(_, state)| state == "up")
            .count()
            == 1
    });
    let first = offers(cluster.address())[0].clone();
    for offer in offers(cluster.address()) {
        assert_eq!(port_of(&offer), port_of(&first));
    }
}

#[test]
fn a_named_slave_of_another_storage_that_answers_first_is_not_taken_for_the_one_of_before() {
    let mut cluster = Setup::new(1).listed().start();
    cluster.wait_for_slaves(1);
    let ours = cluster.slaves[0].family();
    for pid in &ours {
        stop_pid(*pid);
    }
    let other = Setup::new(1).without_master().start();
    let address = other.slaves[0].address.to_string();
    cluster.master().add_argument(address);
    cluster.master().restart();
    let said = cluster.master().process.wait_for_line("storage", PATIENCE);
    let port = other.slaves[0].address.port().to_string();
    assert!(said.contains(&port), "{said}");
    for pid in ours {
        signal_pid(pid, Signal::CONT);
    }
    let is_up = |(_, state): &(String, String)| state == "up";
    wait_until("the one of before to be up", PATIENCE, || {
        known(&cluster).iter().any(is_up)
    });
    let port = cluster.slaves[0].address.port().to_string();
    for (address, _) in known(&cluster).into_iter().filter(is_up) {
        assert!(address.ends_with(&port), "{address}");
    }
}

#[test]
fn a_registered_slave_serves_nobody_without_a_ticket_of_its_own() {
    let cluster = Cluster::start(2);
    cluster.write("a.bin", b"content");
    let offers = offers(cluster.address());
    let address_of = |index: usize| {
        let slaves = cluster.slaves.iter().map(|slave| slave.address);
        let mut slaves = slaves.filter(|address| address.port() == port_of(&offers[index]));
        slaves.next().unwrap()
    };
    let stat = Request::Stat {
        path: RemotePath::parse(b"/a.bin").unwrap(),
        follow: true,
    };
    let refused_with = |reply: Reply| match reply {
        Reply::Error { code, .. } => code,
        other => panic!("served: {other:?}"),
    };

    let mut without = Wire::open(address_of(0));
    assert!(without.preface.login_required);
    assert_eq!(refused_with(without.ask(&stat)), ErrorCode::LoginRequired);

    let mut elsewhere = Wire::open(address_of(1));
    assert_eq!(
        refused_with(elsewhere.present(&offers[0])),
        ErrorCode::LoginRefused
    );
    assert_eq!(refused_with(elsewhere.ask(&stat)), ErrorCode::LoginRequired);

    let mut stolen = offers[0].clone();
    stolen.secret = Secret([7; 32]);
    let mut thief = Wire::open(address_of(0));
    assert_eq!(
        refused_with(thief.present(&stolen)),
        ErrorCode::LoginRefused
    );

    let mut right = Wire::open(address_of(0));
    assert!(matches!(right.present(&offers[0]), Reply::Welcome { .. }));
    assert!(matches!(right.ask(&stat), Reply::Facts { .. }));

    let finished = Client::new(cluster.slaves[0].address.to_string()).run(["ls"]);
    finished.failed(
        4,
        "login required: this slave serves the clients of its master",
    );
    assert_eq!(finished.stderr.lines().count(), 1, "{}", finished.stderr);
}

/// The port of a dead slave is somebody else's now, who lets everybody in: its storage is not taken for ours.
#[test]
fn a_stranger_at_the_port_of_a_dead_slave_serves_no_client_of_the_master() {
    let mut cluster = Cluster::start(1);
    let client = cluster.client().options(["--retries", "2"]);
    client.write("a.bin", b"content");
    let mut session = Session::start(&client);
    cluster.slaves[0].kill();
    let place = |name: &str| cluster.root().with_file_name(name);
    let root = place("stranger");
    fs::create_dir(&root).unwrap();
    let address = cluster.slaves[0].address;
    let mut command = Command::new(slave_binary());
    command
        .args(["--standalone", "--bind"])
        .arg(address.ip().to_string())
        .arg("--root")
        .arg(&root)
        .arg("--state")
        .arg(place("strange state"))
        .arg(address.port().to_string());
    let stranger = Process::spawn("stranger", &mut command);
    stranger.wait_for_line("listening on", PATIENCE);
    session.process.type_line("put a.bin");
    assert!(session.process.wait_code(PATIENCE) >= 3);
    assert_eq!(tree(&root).len(), 0);
}
