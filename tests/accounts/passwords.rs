//! Where a password comes from, and where it never goes.

use std::ffi::OsString;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;

use protocol::{ClientPreface, Role, ServerPreface};

use super::{PASSWORD, set_mode, with_ada};
use crate::harness::{
    AT_ITS_TERMINAL, Client, Cluster, PATIENCE, Terminal, descendants, user_command,
};

/// A person who is asked at the terminal.
fn person(cluster: &Cluster) -> Client {
    let words = AT_ITS_TERMINAL.map(Into::into).to_vec();
    cluster.client().behind(words).options(["-u", "ada"])
}

#[test]
fn it_is_typed_unseen_and_only_once() {
    let mut cluster = with_ada().start();
    cluster.write("a.txt", b"hello\n");
    let client = person(&cluster);
    let mut terminal = Terminal::start(client.command::<OsString>([]));
    let mut shown = terminal.wait_for(&format!("Password for ada at {}: ", cluster.address()));
    terminal.type_text(&format!("{PASSWORD}\r"));
    shown += &terminal.wait_for("/> ");
    // Another slave, and the master is asked again: not the person.
    cluster.slaves[0].kill();
    cluster.add_slave(&[]);
    terminal.type_text("get a.txt\r");
    shown += &terminal.wait_for("verified");
    shown += &terminal.wait_for("/> ");
    terminal.type_text("\u{4}");
    let (code, rest) = terminal.finish();
    shown += &rest;
    assert_eq!(code, 0, "{shown}");
    assert_eq!(shown.matches("Password").count(), 1, "{shown}");
    assert!(!shown.contains("canary"), "{shown}");
}

#[test]
fn a_wrong_one_ends_the_client_and_ctrl_c_does_too() {
    let cluster = with_ada().start();
    let client = person(&cluster);
    let mut terminal = Terminal::start(client.command(["ls"]));
    terminal.wait_for("Password");
    terminal.type_text("wrong\r");
    let (code, shown) = terminal.finish();
    assert!(
        code == 4 && shown.contains("login refused"),
        "{code} {shown}"
    );
    let mut terminal = Terminal::start(client.command(["ls"]));
    terminal.wait_for("Password");
    terminal.type_text("half\u{3}");
    let (code, shown) = terminal.finish();
    assert!(code == 130 && !shown.contains("half"), "{code} {shown}");
    let mut terminal = Terminal::start(client.command(["ls"]));
    terminal.wait_for("Password");
    terminal.type_text("\u{4}");
    assert_eq!(terminal.finish().0, 4);
}

#[test]
fn nobody_is_asked_without_a_terminal() {
    let cluster = with_ada().start();
    let client = cluster.client().options(["-u", "ada"]);
    let finished = client.run_script("ls\n");
    finished.failed(4, "no password for 'ada', and no terminal to ask at");
    assert!(
        !finished.stderr.contains("Password for"),
        "{}",
        finished.stderr
    );
}

#[test]
fn variable_and_netrc_give_it_too_and_the_file_counts_most() {
    let cluster = with_ada().start();
    let client = cluster.client().options(["-u", "ada"]);
    let with_variable = |client: &Client, password: &str| {
        let mut command = client.command(["ls"]);
        command.env("FTPCLIENT_PASSWORD", password);
        client.finish(command, b"")
    };
    with_variable(&client, PASSWORD).succeeded();
    with_variable(&client, "wrong").failed(4, "login refused");
    let from_file = cluster.client().with_login("ada", PASSWORD);
    with_variable(&from_file, "wrong").succeeded();

    let netrc = client.home().join(".netrc");
    let host = cluster.address().ip();
    fs::create_dir_all(client.home()).unwrap();
    let entry = |host: &str| format!("machine {host} login ada password \"{PASSWORD}\"\n");
    fs::write(&netrc, entry(&host.to_string())).unwrap();
    set_mode(&netrc, 0o600);
    client.run(["ls"]).succeeded();
    with_variable(&client, "wrong").failed(4, "login refused");
    set_mode(&netrc, 0o640);
    client.run(["ls"]).failed(4, "chmod 600");
    set_mode(&netrc, 0o600);
    fs::write(&netrc, entry("another.example")).unwrap();
    client.run(["ls"]).failed(4, "no password for 'ada'");
}

#[test]
fn a_file_that_others_can_open_is_refused() {
    let cluster = with_ada().start();
    let client = cluster.client().with_login("ada", PASSWORD);
    let file = client.home().join("password");
    for mode in [0o640, 0o604, 0o660] {
        set_mode(&file, mode);
        client
            .run(["ls"])
            .failed(4, "holds a password but is open to others");
    }
    set_mode(&file, 0o600);
    client.run(["ls"]).succeeded();
    fs::write(&file, "\n").unwrap();
    client.run(["ls"]).failed(4, "login required");
    fs::remove_file(&file).unwrap();
    client.run(["ls"]).failed(4, "cannot read");
    let alone = cluster.client().options(["--password-file", "x"]);
    alone.run(["ls"]).failed(2, "--user");
}

#[test]
fn a_password_file_goes_with_a_user_from_the_configuration_file() {
    let cluster = with_ada().start();
    let client = cluster.client();
    let password = client.write("password", format!("{PASSWORD}\n").as_bytes());
    set_mode(&password, 0o600);
    client.write("client.toml", b"user = 'ada'\n");
    let ls = |options: &[&str]| {
        let mut command = client.command::<&str>([]);
        command.args(options).arg("ls");
        command
    };
    let typed = ["--config=client.toml", "--password-file=password"];
    client.finish(ls(&typed), b"").succeeded();
    let mut with_variable = ls(&typed[..1]);
    with_variable.env("FTPCLIENT_PASSWORD_FILE", "password");
    client.finish(with_variable, b"").succeeded();
    client.finish(ls(&typed[1..]), b"").failed(2, "--user NAME");
    let mut for_nobody = ls(&[]);
    for_nobody.env("FTPCLIENT_PASSWORD_FILE", "password");
    client.finish(for_nobody, b"").failed(4, "login required");
}

#[test]
fn it_does_not_leave_this_machine_in_the_clear() {
    let cluster = with_ada().on_localhost().start();
    let client = cluster.client().with_login("ada", PASSWORD);
    client.run(["ls"]).succeeded();
    // The kernel takes this address for this machine, but it is not a loopback address.
    let mut elsewhere = client.options(["--tls", "never"]);
    elsewhere.move_to(format!("0.0.0.0:{}", cluster.address().port()));
    let refused = elsewhere.run(["ls"]);
    refused.failed(4, "a password is not sent in the clear to another machine");
}

#[test]
fn a_slave_that_takes_no_logins_never_hears_it() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = thread::Builder::new().spawn(move || {
        let preface = ServerPreface {
            version: 1,
            oldest: 1,
            newest: 1,
            role: Role::Slave,
            login_required: true,
            features: 0,
            worker: 0,
            window_requests: 256,
            window_answer_bytes: 1 << 20,
        };
        let (mut stream, _) = listener.accept().unwrap();
        let mut heard = vec![0; ClientPreface::LENGTH];
        stream.read_exact(&mut heard).unwrap();
        stream.write_all(b"220 mini-ftp ready\r\n").unwrap();
        stream.write_all(&preface.encode()).unwrap();
        stream.read_to_end(&mut heard).ok();
        heard
    });
    let client = Client::new(address.to_string()).with_login("ada", PASSWORD);
    client.run(["ls"]).failed(4, "login required");
    let heard = server.unwrap().join().unwrap();
    assert!(!String::from_utf8_lossy(&heard).contains("canary"));
}

#[test]
fn it_is_shown_nowhere() {
    let setup = with_ada().master_options(["-vv"]).slave_options(["-vv"]);
    let mut cluster = setup.start();
    cluster.write("a.txt", b"hello\n");
    let mut said = Vec::new();
    let client = cluster
        .client()
        .options(["-vv", "--json"])
        .with_login("ada", PASSWORD);
    let mut session = client.spawn::<&str>([]);
    session.type_line("get a.txt");
    session.wait_for_output("\"done\"", PATIENCE);
    let pids = [session.pid(), cluster.master().pid()];
    let family = descendants(cluster.slaves[0].pid());
    for pid in pids.into_iter().chain(family) {
        said.extend(fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default());
    }
    session.close_stdin();
    assert_eq!(session.wait_code(PATIENCE), 0);
    said.extend(session.stdout().bytes().chain(session.stderr().bytes()));
    // A wrong one is somebody's right one elsewhere; and people type it where the name belongs.
    for (user, password) in [
        ("ada", "canary of another place"),
        ("canary typed as a name", "x"),
    ] {
        let finished = cluster
            .client()
            .options(["-vv"])
            .with_login(user, password)
            .run(["ls"]);
        said.extend(finished.failed(4, "login refused").stderr.bytes());
    }
    let added = user_command(&cluster.state(), ["-vv", "add", "bob"], "canary of bob");
    said.extend(added.succeeded().stderr.bytes().chain(added.stdout.bytes()));
    let master = cluster.master().process.stderr();
    assert!(master.contains("ada logs in"), "{master}");
    said.extend(master.bytes());
    said.extend(cluster.slaves[0].process.stderr().bytes());
    for file in fs::read_dir(cluster.state()).unwrap() {
        said.extend(fs::read(file.unwrap().path()).unwrap_or_default());
    }
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(!said.contains("canary"), "{said}");
}

#[test]
fn the_operator_types_a_new_one_twice() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let ask = |words: &[&str]| {
        let mut command = std::process::Command::new(AT_ITS_TERMINAL[0]);
        command
            .arg(AT_ITS_TERMINAL[1])
            .arg(env!("CARGO_BIN_EXE_ftpmaster"));
        command.arg("--state").arg(&state).arg("user").args(words);
        Terminal::start(command)
    };
    let mut terminal = ask(&["add", "ada"]);
    terminal.wait_for("New password for ada: ");
    terminal.type_text(&format!("{PASSWORD}\r"));
    terminal.wait_for("The same again: ");
    terminal.type_text("another\r");
    let (code, shown) = terminal.finish();
    assert!(
        code == 1 && shown.contains("the two passwords differ"),
        "{shown}"
    );
    assert!(!state.join("users.toml").exists());
    let mut terminal = ask(&["add", "ada"]);
    let mut shown = String::new();
    for prompt in ["New password for ada: ", "The same again: "] {
        shown += &terminal.wait_for(prompt);
        terminal.type_text(&format!("{PASSWORD}\r"));
    }
    let (code, rest) = terminal.finish();
    assert!(
        code == 0 && !(shown + &rest).contains("canary"),
        "{code} {rest}"
    );
    assert!(state.join("users.toml").exists());
}
