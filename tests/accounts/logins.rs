//! Logins at the master, and what changes them while it runs.

use std::fs;
use std::process::Command;
use std::time::Duration;

use protocol::{ClientPreface, ErrorCode, MasterReply, MasterRequest};
use rustix::process::Signal;

use super::{PASSWORD, is_closed, locate, logged_in, login, set_mode, with_ada};
use crate::harness::{
    Cluster, PATIENCE, Process, Setup, Wire, master_binary, say_and_listen, slave_binary,
    user_command, wait_until,
};

/// Starts a server that listens beyond loopback, or says why not; whether it listens.
fn listens_everywhere(program: &std::path::Path, arguments: &[&str]) -> Result<(), String> {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(program);
    command
        .args(["--bind", "0.0.0.0"])
        .args(arguments)
        .current_dir(folder.path());
    let mut process = Process::spawn("server", &mut command);
    wait_until("a server that listens or ends", PATIENCE, || {
        !process.is_running() || process.stderr().contains("listening on")
    });
    match process.is_running() {
        true => Ok(()),
        false => {
            process.wait_code(PATIENCE);
            Err(process.stderr())
        }
    }
}

fn reload(cluster: &mut Cluster) {
    cluster.master().process.signal(Signal::HUP);
}

#[test]
fn the_right_password_opens_and_everything_else_is_refused_alike() {
    let cluster = with_ada().start();
    cluster.write("a.txt", b"hello\n");
    let client = cluster.client().with_login("ada", PASSWORD);
    client.run(["get", "a.txt"]).succeeded();
    client.write("b.txt", b"mine\n");
    client
        .run_script("put b.txt\nmkdir d\nmv b.txt d/c.txt\nrm d/c.txt\n")
        .succeeded();
    let refused = format!(
        "ftpclient: cannot connect to '{}': login refused",
        cluster.address()
    );
    for (user, password) in [("ada", "wrong"), ("nobody", PASSWORD), ("ada/", PASSWORD)] {
        let stranger = cluster.client().with_login(user, password);
        stranger.run(["get", "a.txt"]).failed_exactly(4, &refused);
        assert!(stranger.names().is_empty());
    }
    let needed = format!(
        "ftpclient: cannot connect to '{}': login required: say who you are with -u NAME",
        cluster.address()
    );
    cluster.client().run(["ls"]).failed_exactly(4, &needed);
    let json = cluster.client().options(["--json"]).run_script("ls\n");
    json.failed(4, "login required");
}

#[test]
fn everybody_has_the_anonymous_rights_beside_the_accounts() {
    let cluster = with_ada()
        .master_options(["--anonymous", "read-only"])
        .start();
    cluster.write("a.txt", b"hello\n");
    let anybody = cluster.client();
    anybody.run(["get", "a.txt"]).succeeded();
    anybody.run(["rm", "a.txt"]).failed(1, "permission denied");
    let stranger = cluster.client().with_login("ada", "wrong");
    stranger.run(["get", "a.txt"]).failed(4, "login refused");
    let ada = cluster.client().with_login("ada", PASSWORD);
    ada.run(["rm", "a.txt"]).succeeded();
}

#[test]
fn who_logs_in_where_nobody_is_known_is_told_so() {
    let cluster = Cluster::start(1);
    let client = cluster.client().with_login("ada", PASSWORD);
    client.run(["ls"]).failed(4, "the server has no accounts");
}

#[test]
fn a_read_only_account_changes_nothing() {
    let cluster = Setup::new(1)
        .account(["eve", "--read-only"], PASSWORD)
        .start();
    cluster.write("a.txt", b"hello\n");
    cluster.write("d/b.txt", b"there\n");
    let client = cluster.client().with_login("eve", PASSWORD);
    client.write("up.txt", b"mine\n");
    client.run(["get", "a.txt"]).succeeded();
    for command in [
        &["put", "up.txt"][..],
        &["put", "-f", "up.txt", "/a.txt"],
        &["put", "-r", "."],
        &["rm", "a.txt"],
        &["rm", "-r", "d"],
        &["rmdir", "d"],
        &["mkdir", "new"],
        &["mv", "a.txt", "b.txt"],
        &["mirror", "-R", ".", "/d"],
    ] {
        client
            .run(command.iter().copied())
            .failed(1, "permission denied");
    }
    assert_eq!(cluster.path("a.txt").metadata().unwrap().len(), 6);
    assert_eq!(fs::read_dir(cluster.path("d")).unwrap().count(), 1);
    assert!(!cluster.path("up.txt").exists() && !cluster.path("new").exists());
}

#[test]
fn an_account_that_is_removed_or_has_another_password_is_out_with_the_reload() {
    let mut cluster = with_ada().start();
    cluster.write("a.txt", b"hello\n");
    let client = cluster.client().with_login("ada", PASSWORD);
    let (mut early, mut late) = (logged_in(&cluster), logged_in(&cluster));
    assert!(matches!(early.ask(&locate()), MasterReply::Located { .. }));

    user_command(&cluster.state(), ["passwd", "ada"], "another").succeeded();
    client.run(["get", "a.txt"]).succeeded(); // nothing changes before the master is told
    reload(&mut cluster);
    wait_until("the old password to be refused", PATIENCE, || {
        client.run(["ls"]).code == 4
    });
    let MasterReply::Error { code, .. } = early.ask(&locate()) else {
        panic!("served by a password that is no more");
    };
    assert_eq!(code, ErrorCode::LoginRequired);
    cluster
        .client()
        .with_login("ada", "another")
        .run(["get", "a.txt"])
        .succeeded();
    assert!(matches!(
        late.ask(&login("ada", "another")),
        MasterReply::Welcome { .. }
    ));

    user_command(&cluster.state(), ["remove", "ada"], "").succeeded();
    reload(&mut cluster);
    let client = cluster.client().with_login("ada", "another");
    wait_until("the account to be gone", PATIENCE, || {
        client.run(["ls"]).code == 4
    });
    let reply: MasterReply = late.ask(&locate());
    assert!(matches!(
        reply,
        MasterReply::Error {
            code: ErrorCode::LoginRequired,
            ..
        }
    ));
    // Nobody is left, and that opens no door.
    cluster.client().run(["ls"]).failed(4, "login required");
}

#[test]
fn the_first_account_closes_a_master_that_was_open() {
    let mut cluster = Cluster::start(1);
    cluster.client().run(["ls"]).succeeded();
    user_command(&cluster.state(), ["add", "ada"], PASSWORD).succeeded();
    reload(&mut cluster);
    let client = cluster.client();
    wait_until("a login to be needed", PATIENCE, || {
        client.run(["ls"]).code == 4
    });
    cluster
        .client()
        .with_login("ada", PASSWORD)
        .run(["ls"])
        .succeeded();
}

#[test]
fn accounts_that_are_gone_or_damaged_change_nothing() {
    let mut cluster = with_ada().start();
    let file = cluster.state().join("users.toml");
    let good = fs::read(&file).unwrap();
    fs::remove_file(&file).unwrap();
    reload(&mut cluster);
    cluster.master().process.wait_for_line("is gone", PATIENCE);
    cluster.client().run(["ls"]).failed(4, "login required");
    fs::write(&file, "[users.Ada]\n").unwrap();
    set_mode(&file, 0o600);
    reload(&mut cluster);
    cluster
        .master()
        .process
        .wait_for_line("users.toml', line 1: ", PATIENCE);
    fs::write(&file, good).unwrap();
    set_mode(&file, 0o644);
    reload(&mut cluster);
    cluster
        .master()
        .process
        .wait_for_line("chmod 600", PATIENCE);
    cluster
        .client()
        .with_login("ada", PASSWORD)
        .run(["ls"])
        .succeeded();
}

#[test]
fn a_server_beyond_loopback_needs_accounts_or_a_word() {
    let state = tempfile::tempdir().unwrap();
    set_mode(state.path(), 0o700);
    let place = state.path().to_str().unwrap();
    let users = state.path().join("users.toml");
    let master = ["--port", "0", "--state", place];
    let said = listens_everywhere(master_binary(), &master).unwrap_err();
    assert!(said.contains("ftpmaster user add"), "{said}");
    let root = tempfile::tempdir().unwrap();
    let root = root.path().to_str().unwrap();
    let slave = ["--standalone", "--state", place, "--root", root];
    let said = listens_everywhere(slave_binary(), &[&slave[..], &["0"]].concat()).unwrap_err();
    assert!(said.contains("--users FILE"), "{said}");
    let with_users = [&slave[..], &["--users", users.to_str().unwrap(), "0"]].concat();
    let said = listens_everywhere(slave_binary(), &with_users).unwrap_err();
    assert!(said.contains("there are no accounts in"), "{said}");

    user_command(state.path(), ["add", "ada"], PASSWORD).succeeded();
    listens_everywhere(master_binary(), &master).unwrap();
    listens_everywhere(slave_binary(), &with_users).unwrap();
    set_mode(&users, 0o640);
    for (program, arguments) in [
        (master_binary(), &master[..]),
        (slave_binary(), &with_users),
    ] {
        let said = listens_everywhere(program, arguments).unwrap_err();
        assert!(
            said.contains("users.toml") && said.contains("chmod 600"),
            "{said}"
        );
    }
}

#[test]
fn a_slave_that_asks_nobody_is_not_handed_out_by_a_master_with_accounts() {
    let slave = Setup::new(1).without_master().on_localhost().start();
    let port = slave.address().port().to_string();
    let mut cluster = Setup::new(0)
        .account(["ada"], PASSWORD)
        .on_localhost()
        .master_options([port])
        .start();
    let line = cluster
        .master()
        .process
        .wait_for_line("is not used", PATIENCE);
    assert!(line.contains("it asks nobody who they are"), "{line}");
    let client = cluster.client().with_login("ada", PASSWORD);
    client.run(["ls"]).failed(3, "no slave is up");
}

#[test]
fn the_third_refused_login_ends_the_connection() {
    let cluster = with_ada().start();
    let mut wire = Wire::open(cluster.address());
    assert!(wire.preface.login_required);
    for _ in 0..3 {
        let reply: MasterReply = wire.ask(&login("ada", "wrong"));
        assert!(matches!(
            reply,
            MasterReply::Error {
                code: ErrorCode::LoginRefused,
                ..
            }
        ));
    }
    is_closed(&mut wire);
    // Who is up is no secret on the master's own machine; where to go is.
    let reply: MasterReply = Wire::open(cluster.address()).ask(&MasterRequest::ListSlaves {});
    assert!(matches!(reply, MasterReply::Slaves { .. }));
    let reply: MasterReply = Wire::open(cluster.address()).ask(&locate());
    assert!(matches!(
        reply,
        MasterReply::Error {
            code: ErrorCode::LoginRequired,
            ..
        }
    ));
}

#[test]
fn who_does_not_log_in_is_shown_out_after_thirty_seconds() {
    let cluster = with_ada().start();
    let (_, took) = say_and_listen(cluster.address(), &ClientPreface::ours().encode());
    let expected = Duration::from_secs(25)..Duration::from_secs(45);
    assert!(expected.contains(&took), "{took:?}");
}

#[test]
fn accounts_are_shown_and_mistakes_are_explained() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let user = |words: &[&str], line: &str| user_command(&state, words.iter().copied(), line);
    user(&["add", "ada", "--home", "/pub", "--quota", "1G"], "one").succeeded();
    user(&["add", "bob", "--read-only", "--quota", "1M"], "two").succeeded();
    user(&["quota", "ada", "10.5GiB"], "").succeeded();
    user(&["quota", "bob", "none"], "").succeeded();
    let shown = user(&["list"], "");
    assert_eq!(
        shown.succeeded().stdout,
        "NAME  RIGHTS                  QUOTA  HOME\nada   read,write,delete    10.5 GiB  /pub\nbob   read                     none  /\n"
    );
    user(&["add", "ada"], "x").failed(1, "ftpmaster user passwd ada");
    user(&["passwd", "eve"], "x").failed_exactly(1, "ftpmaster: there is no account 'eve'");
    user(&["quota", "eve", "1G"], "").failed_exactly(1, "ftpmaster: there is no account 'eve'");
    user(&["quota", "bob", "much"], "").failed(2, "write it like 10M");
    user(&["remove", "eve"], "").failed_exactly(1, "ftpmaster: there is no account 'eve'");
    user(&["add", "eve"], "").failed_exactly(1, "ftpmaster: a password cannot be empty");
    user(&["add", "eve", "secret"], "x").failed(2, "unexpected argument");
    let kept = fs::read_to_string(state.join("users.toml")).unwrap();
    assert!(
        !kept.contains("one") && kept.contains("$argon2id$v=19$m=19456,t=2,p=1$"),
        "{kept}"
    );
}
