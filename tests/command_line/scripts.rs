//! What scripts rely on: commands that come one after the other, and what becomes of them.

use std::fs;
use std::process::Stdio;

use super::with_a_file;

#[test]
fn a_closed_pipe_hides_neither_a_failure_nor_what_was_left_undone() {
    let cluster = with_a_file();
    cluster.write("big.bin", &[7; 1 << 20]);
    let client = cluster.client();
    client.write("mine.txt", b"mine");
    // Each listing shows only at the next one that nobody reads it.
    for (options, commands, script, code) in [
        ("", "ls; ls", "", 0),
        ("", "ls; ls; bye", "", 0),
        ("", "ls; ls; put mine.txt", "", 1),
        ("--keep-going", "ls; ls; put mine.txt", "", 1),
        ("--keep-going", "get missing; ls; ls", "", 1),
        ("", "cat big.bin", "", 0),
        ("", "cat missing big.bin", "", 1),
        ("", "", "ls\nls\n# no more\n", 0),
        ("", "", "ls\nls\nput mine.txt\n", 1),
    ] {
        let mut command = client.command::<&str>([]);
        command.args(options.split_whitespace());
        if !commands.is_empty() {
            command.args(["-c", commands]);
        }
        client.write("script", script.as_bytes());
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let ended = command
            .stdin(fs::File::open(client.path("script")).unwrap())
            .stdout(writer)
            .stderr(Stdio::null())
            .status()
            .unwrap();
        assert_eq!(ended.code(), Some(code), "{options} {commands}{script}");
        assert!(!cluster.path("mine.txt").exists(), "{commands}{script}");
    }
}

#[test]
fn a_script_with_the_line_ends_of_windows_means_the_same() {
    let cluster = with_a_file();
    let finished = cluster
        .client()
        .run_script("mkdir new\r\n\r\n# all\r\nls\r\n");
    assert_eq!(finished.succeeded().stdout, "a.txt\nnew\npub\n");
}
