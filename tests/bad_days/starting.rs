//! Servers that cannot start, and clients that find nobody.

use std::ffi::OsString;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use super::MEBIBYTE;
use crate::harness::{
    Client, Cluster, PATIENCE, Process, Session, Setup, master_binary, random_bytes, slave_binary,
    without_privileges,
};

/// Starts a server that cannot start; what it says.
fn complaint(helper: Vec<OsString>, program: &Path, arguments: &[&str]) -> String {
    let state = tempfile::tempdir().unwrap();
    let mut words = helper;
    words.push(program.into());
    let begun = Instant::now();
    let mut command = Command::new(&words[0]);
    command
        .args(&words[1..])
        .args(arguments)
        .arg("--state")
        .arg(state.path().join("state"))
        .current_dir(state.path());
    let mut process = Process::spawn("server", &mut command);
    assert_eq!(process.wait_code(PATIENCE), 1);
    assert!(begun.elapsed() < Duration::from_secs(5));
    let said = process.stderr();
    assert_eq!(said.lines().count(), 1, "{said}");
    said
}

#[test]
fn a_port_in_use_keeps_a_server_from_starting() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let root = tempfile::tempdir().unwrap();
    let root = root.path().to_str().unwrap();
    let said = complaint(
        Vec::new(),
        slave_binary(),
        &["--standalone", "--root", root, &port],
    );
    assert!(
        said.starts_with("ftpslave: cannot listen on 127.0.0.1:"),
        "{said}"
    );
    assert!(said.contains(&port) && said.contains("in use"), "{said}");
    let said = complaint(Vec::new(), master_binary(), &["--port", &port]);
    assert!(said.starts_with("ftpmaster: cannot listen on "), "{said}");
    assert!(said.contains(&port) && said.contains("in use"), "{said}");
}

#[test]
fn a_root_that_is_not_there_or_no_folder_keeps_a_slave_from_starting() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing");
    let file = folder.path().join("file");
    fs::write(&file, "no folder").unwrap();
    for (root, why) in [(missing, "No such file"), (file, "Not a directory")] {
        let root = root.to_str().unwrap();
        let said = complaint(
            Vec::new(),
            slave_binary(),
            &["--standalone", "--root", root, "0"],
        );
        assert!(
            said.starts_with(&format!("ftpslave: cannot serve '{root}'")),
            "{said}"
        );
        assert!(said.to_lowercase().contains(&why.to_lowercase()), "{said}");
    }
}

#[test]
fn a_root_that_cannot_be_read_keeps_a_slave_from_starting() {
    let Some(helper) = without_privileges() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o000)).unwrap();
    let root = folder.path().to_str().unwrap();
    let said = complaint(
        helper,
        slave_binary(),
        &["--standalone", "--root", root, "0"],
    );
    assert!(
        said.starts_with(&format!("ftpslave: cannot serve '{root}'")),
        "{said}"
    );
    assert!(said.to_lowercase().contains("permission denied"), "{said}");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn while_the_master_is_away_transfers_go_on_and_new_clients_hear_it_or_wait() {
    let mut cluster = Cluster::start(2);
    let content = random_bytes(1, 8 * MEBIBYTE);
    cluster.write("a.bin", &content);
    let slow = cluster.client().options(["--limit-rate", "4M"]);
    let mut download = slow.spawn(["get", "a.bin"]);
    slow.wait_for_content("a.bin");
    let mut session = Session::start(&cluster.client());
    cluster.master().process.kill();

    let finished = cluster.client().run(["ls"]);
    finished.failed(3, &cluster.address().to_string());
    assert_eq!(finished.stderr.lines().count(), 1, "{}", finished.stderr);
    let mut waiter = cluster.client().options(["--wait", "30"]).spawn(["ls"]);
    waiter.wait_for_line("waiting", PATIENCE);
    session.ask("ls");
    assert_eq!(download.wait_code(PATIENCE), 0);
    assert_eq!(download.stderr(), "");
    assert!(slow.read("a.bin") == content);

    assert!(waiter.is_running());
    cluster.master().restart();
    let begun = Instant::now();
    cluster.wait_for_slaves(2);
    assert!(
        begun.elapsed() < Duration::from_secs(3),
        "every slave is back within 3 s"
    );
    assert_eq!(waiter.wait_code(PATIENCE), 0);
    session.ask("ls");
    assert_eq!(session.end(), 0);
}

#[test]
fn a_transfer_survives_the_loss_of_master_and_slave_together() {
    let mut cluster = Cluster::start(2);
    let content = random_bytes(2, 8 * MEBIBYTE);
    cluster.write("a.bin", &content);
    let slow = cluster.client().options(["--limit-rate", "4M"]);
    let mut download = slow.spawn(["get", "a.bin"]);
    slow.wait_for_content("a.bin");
    let serving = cluster.serving();
    cluster.master().process.kill();
    cluster.slaves[serving].kill();
    assert_eq!(
        download.wait_code(PATIENCE),
        0,
        "the other slave's ticket is good"
    );
    assert!(slow.read("a.bin") == content);
}

#[test]
fn a_host_where_nobody_listens_is_no_connection() {
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let finished = Client::new(free.to_string()).run(["ls"]);
    finished.failed(3, &free.to_string());
    assert_eq!(finished.stderr.lines().count(), 1, "{}", finished.stderr);
    Client::new("no-such-host.invalid")
        .run(["ls"])
        .failed(3, "no-such-host.invalid");
}

#[test]
fn a_master_without_slaves_says_so_and_who_waits_is_served_when_one_comes() {
    let mut cluster = Setup::new(0).start();
    cluster.client().run(["ls"]).failed(3, "no slave is up");
    let mut waiter = cluster.client().options(["--wait", "30"]).spawn(["ls"]);
    waiter.wait_for_line("waiting", PATIENCE);
    cluster.add_slave(&[]);
    assert_eq!(waiter.wait_code(PATIENCE), 0);
}
