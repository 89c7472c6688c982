//! What is typed, what stands in the environment, and what in a file: which of them counts.

use std::process::Command;

use super::with_a_file;
use crate::harness::{master_binary, slave_binary, user_command};

#[test]
fn what_is_typed_of_q_and_v_wins_over_the_environment() {
    let cluster = with_a_file();
    let client = cluster.client();
    client.write("client.toml", b"verbose = 2\n");
    let is_quiet = |(variable, value): (&str, &str), option: &str| {
        let mut command = client.command::<&str>([]);
        command.arg(option).args(["get", "-f", "a.txt"]);
        command.env(variable, value);
        let finished = client.finish(command, b"");
        finished.succeeded().stdout.is_empty()
    };
    assert!(!is_quiet(("FTPCLIENT_QUIET", "1"), "-v"));
    assert!(!is_quiet(("FTPCLIENT_QUIET", "0"), "-v"));
    assert!(is_quiet(("FTPCLIENT_VERBOSE", "2"), "-q"));
    assert!(is_quiet(("FTPCLIENT_QUIET", "1"), "--config=client.toml"));
    let root = client.path("nowhere");
    let output = Command::new(slave_binary())
        .args(["-q", "--root"])
        .args([root.as_os_str(), "0".as_ref()])
        .env("FTPSLAVE_VERBOSE", "1")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "no wrong usage: {output:?}");
}

#[test]
fn whose_account_is_meant_is_typed() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    user_command(&state, ["add", "ada"], "a password").succeeded();
    let file = folder.path().join("master.toml");
    std::fs::write(&file, "user = 'ada'\n").unwrap();
    let mut command = Command::new(master_binary());
    command.args(["--config".as_ref(), file.as_os_str()]);
    command.args(["--state".as_ref(), state.as_os_str()]);
    command
        .args(["user", "remove"])
        .env("FTPMASTER_USER", "ada");
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let listed = user_command(&state, ["list"], "");
    assert!(listed.succeeded().stdout.contains("ada"));
}

#[test]
fn times_and_ports_that_cannot_be_are_refused_in_words() {
    let cluster = with_a_file();
    for wrong in [
        "--wait=-1",
        "--wait=1e19",
        "--timeout=nan",
        "--timeout=1e20",
    ] {
        let client = cluster.client();
        client
            .options([wrong])
            .run(["ls"])
            .failed(2, "write seconds, like 5 or 0.5");
    }
    for wrong in ["--master=localhost:0", "--advertise=localhost:0"] {
        let mut command = Command::new(slave_binary());
        let output = command.args([wrong, "0"]).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("write 1 to 65535"));
    }
}
