//! SIGHUP: new workers for old ones, without a client that notices.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::{count_lines, kill};
use crate::harness::{
    Cluster, PATIENCE, Server, Session, Setup, is_alive, master_binary, offers, random_bytes,
    slave_binary, wait_for, wait_until,
};

/// Sends SIGHUP and waits until the slave has said that all of it is new.
fn reload(slave: &Server) {
    let before = count_lines(&slave.process, "listening on");
    slave.process.signal(Signal::HUP);
    wait_until("the reload to be over", PATIENCE, || {
        count_lines(&slave.process, "listening on") > before
    });
}

#[test]
fn hangup_replaces_the_workers_without_refusing_a_client() {
    let cluster = Setup::new(1).without_master().workers(2).start();
    cluster.write("a.bin", &random_bytes(1, 100_000));
    let slave = &cluster.slaves[0];
    let (over, served) = (AtomicBool::new(false), AtomicUsize::new(0));
    let hammer = || {
        // Without retries: a client that is refused says so.
        let client = cluster.client().options(["--retries", "0"]);
        while !over.load(SeqCst) {
            client.run(["get", "-f", "a.bin"]).succeeded();
            served.fetch_add(1, SeqCst);
        }
    };
    thread::scope(|threads| {
        let hammers: Vec<_> = (0..2)
            .map(|_| {
                thread::Builder::new()
                    .spawn_scoped(threads, hammer)
                    .unwrap()
            })
            .collect();
        for _ in 0..5 {
            let old: HashSet<u32> = slave.workers().into_iter().collect();
            let before = served.load(SeqCst);
            reload(slave);
            wait_until("clients meanwhile", PATIENCE, || {
                served.load(SeqCst) > before + 4
                    || hammers.iter().any(|hammer| hammer.is_finished())
            });
            wait_until("the old workers to be gone", PATIENCE, || {
                slave.workers().len() == 2 && !slave.workers().iter().any(|pid| old.contains(pid))
            });
        }
        over.store(true, SeqCst);
    });
}

/// Runs `disturb` while clients come and go through the master; fails the test if one of them is not served.
fn while_clients_come(cluster: &mut Cluster, disturb: impl FnOnce(&mut Cluster)) {
    cluster.write("a.bin", &random_bytes(1, 100_000));
    let over = AtomicBool::new(false);
    let clients = [cluster.client(), cluster.client()];
    thread::scope(|threads| {
        for client in &clients {
            let hammer = || {
                while !over.load(SeqCst) {
                    client.run(["get", "-f", "a.bin"]).succeeded();
                }
            };
            thread::Builder::new()
                .spawn_scoped(threads, hammer)
                .unwrap();
        }
        disturb(cluster);
        over.store(true, SeqCst);
    });
}

#[test]
fn a_slave_that_is_reloaded_again_and_again_is_never_down() {
    let cluster = Cluster::start(1);
    let slave = &cluster.slaves[0];
    let over = AtomicBool::new(false);
    thread::scope(|threads| {
        let ask = || {
            let mut asked = 0;
            while !over.load(SeqCst) {
                assert_eq!(offers(cluster.address()).len(), 1, "after {asked} answers");
                asked += 1;
            }
            asked
        };
        let asking = thread::Builder::new().spawn_scoped(threads, ask).unwrap();
        for _ in 0..5 {
            let old = slave.registrar().unwrap();
            reload(slave);
            wait_until("the registrar to be replaced", PATIENCE, || {
                !is_alive(old) || asking.is_finished()
            });
        }
        over.store(true, SeqCst);
        assert!(asking.join().unwrap() > 0);
    });
    assert!(!slave.process.stderr().contains("does not take this slave"));
}

#[test]
fn slaves_may_be_started_again_one_after_another_while_clients_come() {
    while_clients_come(&mut Cluster::start(2), |cluster| {
        for slave in [0, 1, 0, 1] {
            cluster.slaves[slave].process.terminate(PATIENCE);
            cluster.slaves[slave].restart();
            cluster.wait_for_slaves(2);
        }
    });
}

#[test]
fn workers_may_be_killed_again_and_again_while_clients_come() {
    while_clients_come(&mut Cluster::start(2), |cluster| {
        for round in 0..20 {
            let slave = &cluster.slaves[round % 2];
            let workers = wait_for("a worker to kill", PATIENCE, || {
                Some(slave.workers()).filter(|workers| !workers.is_empty())
            });
            kill(workers[round % workers.len()]);
            thread::sleep(Duration::from_millis(100)); // the rhythm of the killing, nothing that is waited for
        }
    });
}

#[test]
fn a_transfer_goes_on_in_its_old_worker_after_a_hangup() {
    let cluster = Setup::new(1).without_master().workers(2).start();
    let content = random_bytes(2, 8 * 1024 * 1024);
    cluster.write("big.bin", &content);
    let slave = &cluster.slaves[0];
    let client = cluster
        .client()
        .options(["--limit-rate", "4M", "--retries", "0"]);
    let mut download = client.spawn(["get", "big.bin"]);
    client.wait_for_content("big.bin");
    let old = slave.workers();
    reload(slave);
    assert!(download.is_running());
    assert_eq!(download.wait_code(PATIENCE), 0);
    assert_eq!(download.stderr(), "");
    assert!(client.read("big.bin") == content);
    wait_until("the old workers to be gone", PATIENCE, || {
        !slave.workers().iter().any(|pid| old.contains(pid))
    });
}

#[test]
fn an_idle_session_does_not_notice_a_hangup_and_its_old_worker_leaves_with_it() {
    let cluster = Setup::new(1).without_master().workers(2).start();
    let slave = &cluster.slaves[0];
    let mut session = Session::start(&cluster.client());
    let connection = session.connection_to(slave.address);
    reload(slave);
    session.ask("ls");
    assert_eq!(session.connection_to(slave.address), connection);
    assert_eq!(slave.workers().len(), 3, "an old one and two new ones");
    assert_eq!(session.end(), 0);
    assert_eq!(session.process.stderr(), "");
    wait_until("the old worker to be gone", PATIENCE, || {
        slave.workers().len() == 2
    });
}

#[test]
fn a_shutdown_ends_the_idle_sessions_of_old_workers_too() {
    let mut cluster = Setup::new(1).without_master().workers(2).start();
    let _session = Session::start(&cluster.client());
    reload(&cluster.slaves[0]);
    let begun = Instant::now();
    cluster.slaves[0].process.terminate(PATIENCE);
    assert!(
        begun.elapsed() < Duration::from_secs(3),
        "not the whole grace"
    );
}

/// A slave with a configuration, and the file of that.
fn configured(configuration: &str) -> (Cluster, PathBuf) {
    let mut cluster = Setup::new(0).without_master().start();
    let file = cluster.root().with_file_name("slave.toml");
    fs::write(&file, configuration).unwrap();
    let root = cluster.root();
    let arguments = [
        "--config",
        file.to_str().unwrap(),
        "--standalone",
        "--root",
        root.to_str().unwrap(),
    ];
    let home = root.with_file_name("home");
    let mut arguments: Vec<OsString> = arguments.iter().map(Into::into).collect();
    arguments.extend(["--state".into(), cluster.state().into()]);
    let binary = slave_binary();
    cluster.slaves.push(Server::start(
        "ftpslave".to_owned(),
        binary,
        arguments,
        home,
    ));
    (cluster, file)
}

#[test]
fn hangup_takes_over_a_changed_configuration_and_keeps_the_old_one_where_the_new_is_wrong() {
    let (cluster, file) = configured("workers = 2\nsessions = 1\n");
    let slave = &cluster.slaves[0];
    assert_eq!(slave.workers().len(), 2);

    fs::write(&file, "workers = 3\nsessions = 1\n").unwrap();
    reload(slave);
    wait_until("three workers", PATIENCE, || slave.workers().len() == 3);
    let mut sessions: Vec<Session> = (0..3).map(|_| Session::start(&cluster.client())).collect();
    cluster.client().run(["ls"]).failed(3, "busy");

    fs::write(&file, "workers = 'many'\n").unwrap();
    slave.process.signal(Signal::HUP);
    slave
        .process
        .wait_for_line("the old configuration stays", PATIENCE);
    for session in &mut sessions {
        session.ask("ls");
    }
    assert_eq!(slave.workers().len(), 3);
}

#[test]
fn the_service_manager_hears_that_a_reload_is_over_however_it_ends() {
    for (program, options) in [
        (slave_binary(), &["--standalone", "--root", "root"] as &[_]),
        (master_binary(), &["--port"]),
    ] {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("root")).unwrap();
        let manager = UnixDatagram::bind(folder.path().join("manager")).unwrap();
        manager.set_read_timeout(Some(PATIENCE)).unwrap();
        let file = folder.path().join("it.toml");
        fs::write(&file, "").unwrap();
        let socket = folder.path().join("manager");
        let mut arguments: Vec<OsString> = vec![
            format!("NOTIFY_SOCKET={}", socket.display()).into(),
            program.into(),
            "--config".into(),
            file.clone().into(),
            "--state".into(),
            folder.path().join("state").into(),
        ];
        arguments.extend(options.iter().map(Into::into));
        let home = folder.path().to_owned();
        let server = Server::start("server".to_owned(), Path::new("env"), arguments, home);
        let wait_for = |state: &str| {
            let mut heard = [0; 512];
            while let Ok(length) = manager.recv(&mut heard) {
                if heard[..length].starts_with(state.as_bytes()) {
                    return;
                }
            }
            panic!("{state} never came");
        };
        wait_for("READY=1");
        for settings in ["max-connections = 'many'", ""] {
            fs::write(&file, settings).unwrap();
            server.process.signal(Signal::HUP);
            wait_for("RELOADING=1");
            wait_for("READY=1");
        }
    }
}

#[test]
fn hangup_takes_over_a_changed_grace_and_says_what_it_does_not_take_over() {
    let (mut cluster, file) = configured("grace = 1\n");
    cluster.write("big.bin", &random_bytes(3, 12 * 1024 * 1024));
    fs::write(&file, "grace = 30\nbind = '127.0.0.9'\n").unwrap();
    reload(&cluster.slaves[0]);
    let said = cluster.slaves[0].process.stderr();
    let sentence =
        "another address, port or state directory counts when the slave is started again";
    assert!(said.contains(sentence), "{said}");
    let client = cluster
        .client()
        .options(["--limit-rate", "4M", "--retries", "0"]);
    let mut download = client.spawn(["get", "big.bin"]);
    client.wait_for_content("big.bin");
    cluster.slaves[0].process.terminate(PATIENCE);
    assert_eq!(download.wait_code(PATIENCE), 0, "{}", download.stderr());
}
