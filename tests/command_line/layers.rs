//! What is typed, what stands in the environment, and what in a file: which of them counts.

use std::process::Command;

use super::with_a_file;
use crate::harness::slave_binary;

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
