//! What a person at a terminal sees and is asked.

use std::ffi::OsString;

use crate::harness::{
    AT_ITS_TERMINAL, Client, Cluster, PATIENCE, Terminal, random_bytes, wait_until,
};

fn person(cluster: &Cluster) -> Client {
    cluster
        .client()
        .behind(AT_ITS_TERMINAL.map(Into::into).to_vec())
}

fn session(client: &Client) -> Terminal {
    let mut terminal = Terminal::start(client.command::<OsString>([]));
    terminal.wait_for("/> ");
    terminal
}

fn one_shot(client: &Client, words: &[&str]) -> Terminal {
    Terminal::start(client.command(words.iter().copied()))
}

#[test]
fn a_session_greets_prompts_and_ends_at_ctrl_d() {
    let cluster = Cluster::start(1);
    cluster.write("pub/a.txt", b"hello\n");
    let client = person(&cluster);
    let mut terminal = Terminal::start(client.command::<OsString>([]));
    let greeting = terminal.wait_for("/> ");
    let slave = cluster.slaves[0].address.to_string();
    assert!(greeting.contains(&slave), "{greeting}");
    terminal.type_text("cd pub\r");
    terminal.wait_for("/pub> ");
    terminal.type_text("nonsense\r");
    terminal.wait_for("unknown command 'nonsense'");
    terminal.wait_for("/pub> ");
    terminal.type_text("\u{4}");
    assert_eq!(terminal.finish().0, 0);
}

#[test]
fn a_line_that_is_no_text_is_left_out_and_the_session_goes_on() {
    let cluster = Cluster::start(1);
    cluster.write("a.txt", b"hello\n");
    let client = person(&cluster);
    let mut terminal = session(&client);
    terminal.type_bytes(b"rm \xe9 a.txt\r");
    terminal.wait_for("no UTF-8");
    terminal.wait_for("/> ");
    terminal.type_text("cat a.txt\r");
    terminal.wait_for("hello");
    terminal.type_text("bye\r");
    assert_eq!(terminal.finish().0, 0);
}

#[test]
fn a_master_without_slaves_is_asked_about_them_in_a_session_and_a_script() {
    let cluster = Cluster::start(0);
    let client = person(&cluster);
    let mut terminal = Terminal::start(client.command::<OsString>([]));
    terminal.wait_for("no slave is up");
    terminal.wait_for("/> ");
    terminal.type_text("slaves\r");
    terminal.wait_for("ADDRESS");
    terminal.type_text("bye\r");
    assert_eq!(terminal.finish().0, 0);
    let client = cluster.client();
    let listed = client.run_script("# those that it knows\nslaves\n");
    assert!(listed.succeeded().stdout.starts_with("ADDRESS"));
    client
        .run_script("slaves\nls\n")
        .failed(3, "no slave is up");
    client.run_script("").failed(3, "no slave is up");
}

#[test]
fn a_quiet_session_does_not_greet() {
    let cluster = Cluster::start(1);
    let client = person(&cluster).options(["-q"]);
    let mut terminal = Terminal::start(client.command::<OsString>([]));
    let shown = terminal.wait_for("/> ");
    assert!(!shown.contains("Connected"), "{shown}");
}

#[test]
fn lines_typed_ahead_are_run_one_after_the_other() {
    let cluster = Cluster::start(1);
    cluster.write("a.txt", b"hello\n");
    let client = person(&cluster);
    let mut terminal = session(&client);
    terminal.type_text("pwd\rget a.txt\r!echo 'to'gether\rbye\r");
    terminal.wait_for("together");
    assert_eq!(terminal.finish().0, 0);
    assert_eq!(client.read("a.txt"), b"hello\n");
}

#[test]
fn names_that_would_play_with_the_screen_are_escaped() {
    let cluster = Cluster::start(1);
    cluster.write("a\u{1b}[31m\n\u{202e}b", b"x");
    let client = person(&cluster);
    for words in [
        &["ls"] as &[_],
        &["ls", "-l"],
        &["sum", "a*"],
        &["stat", "a*"],
        &["get", "a*"],
    ] {
        let (code, shown) = one_shot(&client, words).finish();
        assert_eq!(code, 0, "{shown}");
        assert!(
            shown.contains(r"a\x1b[31m\n\u{202e}b"),
            "{words:?}: {shown:?}"
        );
        assert!(!shown.contains("\u{1b}[31m"), "{words:?}: {shown:?}");
    }
}

#[test]
fn json_plays_with_no_screen_and_says_the_same() {
    let cluster = Cluster::start(1);
    let name = "a\u{9b}31m\u{7f}\u{202e}b";
    cluster.write(name, b"x");
    let client = person(&cluster).options(["--json"]);
    let in_a_pipe = cluster.client().options(["--json"]);
    for words in [
        &["ls"] as &[_],
        &["sum", "a*"],
        &["stat", "a*"],
        &["get", "-f", "a*"],
        &["mirror", "--dry-run", "/", "copy"],
    ] {
        let (code, shown) = one_shot(&client, words).finish();
        assert_eq!(code, 0, "{shown}");
        assert!(
            shown.contains(r"a\u009b31m\u007f\u202eb"),
            "{words:?}: {shown:?}"
        );
        assert!(
            !shown.contains(['\u{9b}', '\u{7f}', '\u{202e}']),
            "{shown:?}"
        );
        let shown = shown.lines().next().unwrap();
        let shown: serde_json::Value = serde_json::from_str(shown).unwrap();
        assert!(shown.to_string().contains(name), "{shown}");
        let piped = in_a_pipe.run(words.iter().copied());
        assert!(piped.succeeded().stdout.contains(name), "{words:?}");
    }
}

#[test]
fn a_person_is_asked_before_a_file_is_overwritten() {
    let cluster = Cluster::start(1);
    cluster.write("photo.jpg", b"theirs");
    let client = person(&cluster);
    let answer = |typed: &str, code: i32| {
        client.write("photo.jpg", b"mine");
        let mut terminal = one_shot(&client, &["get", "photo.jpg"]);
        terminal.wait_for("'photo.jpg' exists. Overwrite it?");
        terminal.type_text(typed);
        assert_eq!(terminal.finish().0, code, "{typed:?}");
        client.read("photo.jpg")
    };
    assert_eq!(answer("n\r", 1), b"mine");
    assert_eq!(answer("\r", 1), b"mine");
    assert_eq!(answer("\u{3}", 130), b"mine");
    assert_eq!(answer("perhaps\rn\r", 1), b"mine");
    assert_eq!(answer("rename\r", 0), b"mine");
    assert_eq!(client.read("newphoto.jpg"), b"theirs");
    assert_eq!(answer("y\r", 0), b"theirs");
}

#[test]
fn a_script_s_json_is_asked_nothing() {
    let cluster = Cluster::start(1);
    cluster.write("photo.jpg", b"theirs");
    let client = person(&cluster).options(["--json"]);
    client.write("photo.jpg", b"mine");
    let (code, shown) = one_shot(&client, &["get", "photo.jpg"]).finish();
    assert!(code == 1 && !shown.contains("Overwrite"), "{shown}");
    assert_eq!(client.read("photo.jpg"), b"mine");
}

#[test]
fn ctrl_c_ends_the_running_command_and_not_the_session() {
    let cluster = Cluster::start(1);
    let content = random_bytes(31, 16 << 20);
    cluster.write("big.bin", &content);
    let client = person(&cluster).options(["--limit-rate", "4M"]);
    let mut terminal = session(&client);
    terminal.type_text("get big.bin\r");
    client.wait_for_content("big.bin");
    terminal.type_text("\u{3}");
    terminal.wait_for("cannot get '/big.bin': interrupted");
    terminal.wait_for("/> ");
    let part = client.path(".big.bin.part");
    wait_until("what was received to be kept", PATIENCE, || part.exists());
    terminal.type_text("bye\r");
    assert_eq!(terminal.finish().0, 0);
}

/// At a terminal that takes no more than lines, with results in a file of theirs.
fn plain_person(cluster: &Cluster) -> Client {
    let into_a_file = [
        "env",
        "TERM=dumb",
        "sh",
        "-c",
        r#"exec "$@" > results"#,
        "sh",
    ];
    let words = AT_ITS_TERMINAL.into_iter().chain(into_a_file);
    cluster.client().behind(words.map(Into::into).collect())
}

#[test]
fn a_plain_terminal_is_prompted_and_results_in_a_file_are_nothing_else() {
    let cluster = Cluster::start(1);
    cluster.write("pub/a.txt", b"hello\n");
    let client = plain_person(&cluster).options(["--json"]);
    let mut terminal = session(&client);
    terminal.type_text("\u{3}");
    terminal.wait_for("/> ");
    terminal.type_text("ls\r");
    terminal.wait_for("/> ");
    terminal.type_text("cd pub\rls\r");
    terminal.wait_for("/pub> ");
    terminal.wait_for("/pub> ");
    terminal.type_text("\u{4}");
    assert_eq!(terminal.finish().0, 0);
    let results = String::from_utf8(client.read("results")).unwrap();
    let names = results.lines().map(|line| {
        let record: serde_json::Value = serde_json::from_str(line).unwrap();
        record["name"].as_str().unwrap().to_owned()
    });
    assert_eq!(names.collect::<Vec<_>>(), ["pub", "a.txt"], "{results}");
}

#[test]
fn a_question_is_asked_and_answered_at_a_plain_terminal() {
    let cluster = Cluster::start(1);
    cluster.write("photo.jpg", b"theirs");
    let client = plain_person(&cluster);
    client.write("photo.jpg", b"mine");
    let mut terminal = session(&client);
    for (typed, then) in [
        ("\u{3}", "interrupted"),
        ("\u{4}", "exists"),
        ("n\r", "exists"),
    ] {
        terminal.type_text("get photo.jpg\r");
        terminal.wait_for("'photo.jpg' exists. Overwrite it?");
        terminal.type_text(typed);
        terminal.wait_for(&format!("cannot get '/photo.jpg': {then}"));
        terminal.wait_for("/> ");
    }
    assert_eq!(client.read("photo.jpg"), b"mine");
    terminal.type_text("get photo.jpg\r");
    terminal.wait_for("'photo.jpg' exists. Overwrite it?");
    terminal.type_text("y\r");
    terminal.wait_for("/> ");
    terminal.type_text("bye\r");
    assert_eq!(terminal.finish().0, 0);
    assert_eq!(client.read("photo.jpg"), b"theirs");
    let results = String::from_utf8(client.read("results")).unwrap();
    assert_eq!(results.lines().count(), 1, "{results}");
    assert!(results.starts_with("photo.jpg: "), "{results}");
    client.write("photo.jpg", b"mine");
    let mut terminal = one_shot(&client, &["get", "photo.jpg"]);
    terminal.wait_for("'photo.jpg' exists. Overwrite it?");
    terminal.type_text("\u{3}");
    assert_eq!(terminal.finish().0, 130);
    assert_eq!(client.read("photo.jpg"), b"mine");
}
