//! Accounts of a slave that stands alone.

use std::fs;

use protocol::{ErrorCode, FEATURE_LOGIN, RemotePath, Reply, Request, Secretive, Text};
use rustix::process::Signal;
use tempfile::TempDir;

use super::{PASSWORD, is_closed, set_mode};
use crate::harness::{Cluster, PATIENCE, Setup, Wire, random_bytes, user_command, wait_until};

/// A slave that stands alone, with the account `ada`; and the folder with its accounts.
fn alone(words: &[&str]) -> (Cluster, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    set_mode(folder.path(), 0o700);
    let words = ["add", "ada"].iter().chain(words).copied();
    user_command(folder.path(), words, PASSWORD).succeeded();
    let users = folder.path().join("users.toml");
    let cluster = Setup::new(1)
        .without_master()
        .slave_options(["--users".into(), users.into_os_string()])
        .start();
    (cluster, folder)
}

fn login(user: &str, password: &str) -> Request {
    Request::Login {
        user: Text::new(user),
        password: Secretive::new(password.as_bytes()).unwrap(),
    }
}

fn list() -> Request {
    Request::List {
        path: RemotePath::root(),
        recursive: false,
        facts: false,
    }
}

#[test]
fn it_checks_logins_itself_over_every_connection() {
    let (cluster, _folder) = alone(&[]);
    for number in 0..200 {
        cluster.write(format!("tree/{number}"), &random_bytes(number, 1000));
    }
    let client = cluster.client().with_login("ada", PASSWORD);
    client.run(["get", "-r", "--", "tree"]).succeeded();
    let several = cluster
        .client()
        .options(["--streams", "4"])
        .with_login("ada", PASSWORD);
    several.run(["get", "-r", "tree"]).succeeded();
    assert_eq!(fs::read_dir(several.path("tree")).unwrap().count(), 200);
    cluster
        .client()
        .with_login("ada", "wrong")
        .run(["ls"])
        .failed(4, "login refused");
    cluster
        .client()
        .with_login("eve", PASSWORD)
        .run(["ls"])
        .failed(4, "login refused");
    cluster
        .client()
        .run(["ls"])
        .failed(4, "login required: say who you are with -u NAME");
}

#[test]
fn rights_and_home_count_there_too() {
    let (cluster, _folder) = alone(&["--read-only", "--home", "/pub"]);
    cluster.write("secret.txt", b"no\n");
    cluster.write("pub/a.txt", b"yes\n");
    let client = cluster.client().with_login("ada", PASSWORD);
    assert_eq!(client.run(["ls"]).succeeded().stdout, "a.txt\n");
    client
        .run(["get", "../secret.txt"])
        .failed(1, "no such file");
    client.run(["rm", "a.txt"]).failed(1, "permission denied");
}

#[test]
fn a_request_before_the_login_and_the_third_refusal_end_the_connection() {
    let (cluster, _folder) = alone(&[]);
    let mut wire = Wire::open(cluster.address());
    assert!(wire.preface.login_required && wire.preface.features == FEATURE_LOGIN);
    for _ in 0..3 {
        let reply: Reply = wire.ask(&login("ada", "wrong"));
        assert!(matches!(
            reply,
            Reply::Error {
                code: ErrorCode::LoginRefused,
                ..
            }
        ));
    }
    is_closed(&mut wire);
    let mut wire = Wire::open(cluster.address());
    let reply: Reply = wire.ask(&list());
    assert!(matches!(
        reply,
        Reply::Error {
            code: ErrorCode::LoginRequired,
            ..
        }
    ));
    is_closed(&mut wire);
    // A session is somebody's, and stays theirs.
    let mut wire = Wire::open(cluster.address());
    let reply: Reply = wire.ask(&login("ada", PASSWORD));
    assert!(matches!(reply, Reply::Welcome { .. }));
    let reply: Reply = wire.ask(&login("ada", PASSWORD));
    assert!(matches!(
        reply,
        Reply::Error {
            code: ErrorCode::LoginRefused,
            ..
        }
    ));
    let reply: Reply = wire.ask(&list());
    assert!(matches!(reply, Reply::Entries { .. }));
}

#[test]
fn a_slave_of_a_master_takes_no_login() {
    let cluster = Cluster::start(1);
    let mut wire = Wire::open(cluster.slaves[0].address);
    assert_eq!(wire.preface.features, 0);
    let reply: Reply = wire.ask(&login("ada", PASSWORD));
    assert!(matches!(
        reply,
        Reply::Error {
            code: ErrorCode::Unsupported,
            ..
        }
    ));
}

#[test]
fn changed_accounts_count_from_the_reload_on() {
    let (cluster, folder) = alone(&[]);
    let client = cluster.client().with_login("ada", PASSWORD);
    let enter = |name: &str| {
        let mut wire = Wire::open(cluster.address());
        let reply: Reply = wire.ask(&login(name, PASSWORD));
        assert!(matches!(reply, Reply::Welcome { .. }), "{reply:?}");
        wire
    };
    user_command(folder.path(), ["add", "eve"], PASSWORD).succeeded();
    cluster.slaves[0].process.signal(Signal::HUP);
    let eve = || cluster.client().with_login("eve", PASSWORD);
    wait_until("another account", PATIENCE, || eve().run(["ls"]).code == 0);
    let (mut gone, mut stays) = (enter("ada"), enter("eve"));
    let mut late = Wire::open(cluster.address());
    user_command(folder.path(), ["remove", "ada"], "").succeeded();
    user_command(folder.path(), ["add", "bob"], "new").succeeded();
    client.run(["ls"]).succeeded();
    cluster.slaves[0].process.signal(Signal::HUP);
    wait_until("the account to be gone", PATIENCE, || {
        client.run(["ls"]).code == 4
    });
    // Who was there before is out as well, or cannot come in; others notice nothing.
    is_closed(&mut gone);
    let reply: Reply = late.ask(&login("ada", PASSWORD));
    assert!(matches!(
        reply,
        Reply::Error {
            code: ErrorCode::LoginRefused,
            ..
        }
    ));
    let reply: Reply = stays.ask(&list());
    assert!(matches!(reply, Reply::Entries { .. }));
    cluster
        .client()
        .with_login("bob", "new")
        .run(["ls"])
        .succeeded();
}
