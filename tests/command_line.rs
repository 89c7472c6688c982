//! What is typed, what is printed, and the statuses that scripts rely on.

mod layers;
mod scripts;

use std::fs;
use std::process::Command;

use crate::harness::{Client, Cluster, Setup, master_binary, slave_binary};

fn with_a_file() -> Cluster {
    with_a_file_in(Cluster::start(1))
}

fn with_a_file_in(cluster: Cluster) -> Cluster {
    cluster.write("a.txt", b"hello\n");
    cluster.write("pub/b.txt", b"b");
    cluster
}

#[test]
fn every_program_explains_itself_with_examples() {
    for program in [
        master_binary(),
        slave_binary(),
        std::path::Path::new(env!("CARGO_BIN_EXE_ftpclient")),
    ] {
        let name = program.file_name().unwrap().to_str().unwrap();
        let run = |option| Command::new(program).arg(option).output().unwrap();
        for option in ["-h", "--help"] {
            let output = run(option);
            assert!(output.status.success(), "{name} {option}");
            let text = String::from_utf8(output.stdout).unwrap();
            assert!(
                text.contains(&format!("Usage: {name}")),
                "{name} {option}: {text}"
            );
        }
        let help = String::from_utf8(run("--help").stdout).unwrap();
        assert!(help.to_lowercase().contains("examples"), "{name}: {help}");
        let version = String::from_utf8(run("--version").stdout).unwrap();
        assert_eq!(
            version.trim(),
            format!("{name} {}", env!("CARGO_PKG_VERSION"))
        );
    }
}

#[test]
fn a_wrong_option_is_named_with_status_2() {
    let cluster = Setup::new(0).start();
    let client = cluster.client();
    client
        .run_exactly(["--nonsense", "localhost"])
        .failed(2, "--nonsense");
    client.run_exactly::<&str>([]).failed(2, "HOST");
    for program in [master_binary(), slave_binary()] {
        let output = Command::new(program).arg("--nonsense").output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert!(
            String::from_utf8(output.stderr)
                .unwrap()
                .contains("--nonsense")
        );
    }
}

#[test]
fn an_unknown_command_is_status_2() {
    let cluster = with_a_file();
    cluster.client().run(["fetch", "a.txt"]).failed(2, "fetch");
    cluster.client().run(["get"]).failed(2, "get");
}

#[test]
fn one_shot_list_and_get() {
    let cluster = with_a_file();
    let client = cluster.client();
    assert_eq!(client.run(["ls"]).succeeded().stdout, "a.txt\npub\n");
    client.run(["get", "a.txt"]).succeeded();
    assert_eq!(client.read("a.txt"), b"hello\n");
}

#[test]
fn errors_are_one_line_that_says_what_was_tried_on_what_and_why() {
    let cluster = with_a_file();
    let client = cluster.client();
    client
        .run(["get", "a.bin"])
        .failed_exactly(1, "ftpclient: cannot get '/a.bin': no such file");
    client
        .run(["ls", "nowhere"])
        .failed_exactly(1, "ftpclient: cannot list '/nowhere': no such file");
    client
        .run(["get", "pub"])
        .failed(1, "cannot get '/pub': is a directory");
    client
        .run(["put", "nothing"])
        .failed(1, "cannot put 'nothing': no such file");
}

#[test]
fn a_missing_folder_is_not_told_as_a_missing_file() {
    let cluster = with_a_file();
    let client = cluster.client();
    client.write("mine.txt", b"mine");
    client.run(["get", "a.txt", "no/a.txt"]).failed_exactly(
        1,
        "ftpclient: cannot get '/a.txt' as 'no/a.txt': no such folder",
    );
    client.run(["put", "mine.txt", "no/a.txt"]).failed_exactly(
        1,
        "ftpclient: cannot put 'mine.txt' as '/no/a.txt': no such folder",
    );
}

#[test]
fn an_empty_name_is_not_the_current_folder() {
    let cluster = with_a_file();
    let client = cluster.client();
    for command in [
        "rm -r ''",
        "rm -rf '' nothing",
        "mv '' /c",
        "get -r ''",
        "ls ''",
    ] {
        client
            .run_script(&format!("cd pub\n{command}\n"))
            .failed(2, "a name is empty");
    }
    assert_eq!(client.run(["ls", "pub"]).succeeded().stdout, "b.txt\n");
}

#[test]
fn of_an_option_that_is_given_twice_the_last_counts() {
    let cluster = with_a_file();
    let client = cluster.client();
    let address = cluster.address();
    let (ip, port) = (address.ip().to_string(), address.port().to_string());
    client
        .run_exactly(["-p", "1", "--json", "--json", "-p", &port, &ip, "pwd"])
        .succeeded();
}

#[test]
fn numbers_that_are_none_are_refused_with_those_that_would_do() {
    let client = Client::new("localhost");
    for port in ["x", "0", "65536"] {
        client
            .run_exactly(["-p", port, "localhost", "ls"])
            .failed(2, "'--port <PORT>': write a whole number from 1 to 65535");
    }
}

#[test]
fn an_empty_variable_counts_as_none() {
    let cluster = with_a_file();
    let client = cluster.client();
    let mut command = client.command(["get", "a.txt"]);
    for name in [
        "FTPCLIENT_DIR",
        "FTPCLIENT_JSON",
        "FTPCLIENT_PORT",
        "FTPCLIENT_CONFIG",
    ] {
        command.env(name, "");
    }
    client.finish(command, b"").succeeded();
    assert_eq!(client.read("a.txt"), b"hello\n");
}

#[test]
fn l_and_g_are_short_for_ls_and_get() {
    let cluster = with_a_file();
    let client = cluster.client();
    let host = cluster.address().to_string();
    assert_eq!(
        client.run_exactly(["-l", &host]).succeeded().stdout,
        "a.txt\npub\n"
    );
    assert_eq!(
        client.run_exactly([&host, "-l"]).succeeded().stdout,
        "a.txt\npub\n"
    );
    assert_eq!(
        client.run_exactly([&host, "-l", "pub"]).succeeded().stdout,
        "b.txt\n"
    );
    client.run_exactly([&host, "-g", "a.txt"]).succeeded();
    client.run_exactly(["-g", "pub/b.txt", &host]).succeeded();
    assert_eq!(
        (client.read("a.txt"), client.read("b.txt")),
        (b"hello\n".to_vec(), b"b".to_vec())
    );
    client
        .run_exactly([&host, "-g", "a.bin"])
        .failed_exactly(1, "ftpclient: cannot get '/a.bin': no such file");
}

#[test]
fn c_runs_several_commands() {
    let cluster = with_a_file();
    let client = cluster.client();
    let host = cluster.address().to_string();
    let finished = client.run_exactly(["-c", "cd pub; get b.txt; pwd", &host]);
    assert!(
        finished.succeeded().stdout.ends_with("/pub\n"),
        "{}",
        finished.stdout
    );
    assert_eq!(client.read("b.txt"), b"b");
}

#[test]
fn commands_come_from_stdin_and_the_first_that_fails_ends_the_run() {
    let cluster = with_a_file();
    let client = cluster.client();
    let finished = client.run_script("ls\nget a.txt\nbye\n");
    assert!(
        finished.succeeded().stdout.starts_with("a.txt\npub\n"),
        "{}",
        finished.stdout
    );
    assert_eq!(client.read("a.txt"), b"hello\n");
    let failed = client.run_script("get nothing\npwd\n");
    assert!(!failed.failed(1, "no such file").stdout.contains('/'));
    let client = client.options(["--keep-going"]);
    let failed = client.run_script("get nothing\npwd\n");
    assert_eq!(failed.failed(1, "no such file").stdout, "/\n");
}

#[test]
fn a_bare_number_is_a_port_on_this_machine() {
    let cluster = with_a_file_in(Setup::new(1).on_localhost().start());
    let client = Client::new(cluster.address().port().to_string());
    assert_eq!(client.run(["ls"]).succeeded().stdout, "a.txt\npub\n");
    let port = cluster.address().port().to_string();
    let finished = client.run_exactly(["-p", &port, "localhost", "ls"]);
    assert_eq!(finished.succeeded().stdout, "a.txt\npub\n");
}

#[test]
fn nobody_there_is_status_3() {
    let client = Client::new("no-such-host.invalid");
    client.run(["ls"]).failed(3, "no-such-host.invalid");
}

#[test]
fn downloads_land_in_dir_or_in_the_clients_root() {
    let cluster = with_a_file();
    let client = cluster.client();
    fs::create_dir(client.path("_CLIENTROOT")).unwrap();
    client.run(["get", "a.txt"]).succeeded();
    assert_eq!(client.read("_CLIENTROOT/a.txt"), b"hello\n");
    fs::create_dir(client.path("there")).unwrap();
    let client = client.options(["--dir", "there"]);
    client.run(["get", "a.txt"]).succeeded();
    assert_eq!(client.read("there/a.txt"), b"hello\n");
    client.write("there/up.txt", b"up");
    client.run(["upload", "up.txt"]).succeeded();
    assert_eq!(fs::read(cluster.path("up.txt")).unwrap(), b"up");
}

#[test]
fn the_local_side_has_its_commands() {
    let cluster = with_a_file();
    let client = cluster.client();
    fs::create_dir(client.path("sub")).unwrap();
    let finished = client.run_script("lcd sub\nlpwd\nget a.txt\nlls\n");
    let stdout = &finished.succeeded().stdout;
    assert!(
        stdout.contains("sub\n") && stdout.ends_with("a.txt\n"),
        "{stdout}"
    );
    assert_eq!(client.read("sub/a.txt"), b"hello\n");
}

#[test]
fn a_script_reaches_no_shell() {
    let cluster = with_a_file();
    let client = cluster.client();
    client.run_script("!touch made\n").failed(2, "!");
    client.run(["!touch made"]).failed(2, "!");
    assert!(client.names().is_empty());
}

#[test]
fn help_names_every_command() {
    let cluster = with_a_file();
    let help = cluster.client().run(["help"]).succeeded().stdout.clone();
    for command in [
        "get", "put", "ls", "cd", "pwd", "mkdir", "rm", "rmdir", "mv", "stat", "sum", "cat", "df",
        "lcd", "lpwd", "lls", "slaves", "help", "bye",
    ] {
        assert!(help.contains(command), "{command}: {help}");
    }
    cluster.client().run(["help", "get"]).succeeded();
}

#[test]
fn the_command_line_wins_over_the_environment_which_wins_over_the_file() {
    let cluster = with_a_file();
    let client = cluster.client();
    for folder in ["file", "environment", "line"] {
        fs::create_dir(client.path(folder)).unwrap();
    }
    client.write("client.toml", b"dir = \"file\"\n");
    let client = client.options(["--config", "client.toml"]);
    let get = || client.command(["get", "a.txt"]);
    client.finish(get(), b"").succeeded();
    let mut with_environment = get();
    with_environment.env("FTPCLIENT_DIR", "environment");
    client.finish(with_environment, b"").succeeded();
    let client = client.options(["--dir", "line"]);
    let mut with_both = client.command(["get", "a.txt"]);
    with_both.env("FTPCLIENT_DIR", "environment");
    client.finish(with_both, b"").succeeded();
    for folder in ["file", "environment", "line"] {
        assert_eq!(client.read(format!("{folder}/a.txt")), b"hello\n");
    }
}

#[test]
fn a_closed_pipe_ends_a_listing_quietly() {
    let cluster = Cluster::start(1);
    for n in 0..3000 {
        cluster.write(format!("some-long-name-so-that-the-pipe-fills-{n}"), b"");
    }
    let client = cluster.client();
    let program = env!("CARGO_BIN_EXE_ftpclient");
    let mut shell = Command::new("sh");
    shell
        .args([
            "-c",
            &format!("{program} {} ls | head -n 1", cluster.address()),
        ])
        .current_dir(client.folder());
    let finished = client.finish(shell, b"");
    assert_eq!(finished.succeeded().stderr, "");
}

#[test]
fn master_slaves_shows_who_is_up() {
    let mut cluster = Setup::new(2).on_localhost().start();
    let port = cluster.master().address.port().to_string();
    let output = Command::new(master_binary())
        .args(["--port", &port, "slaves"])
        .output()
        .unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{stdout}");
    for slave in &cluster.slaves {
        assert!(
            stdout.contains(&slave.address.port().to_string()),
            "{stdout}"
        );
    }
}

#[test]
fn make_run_s_script_serves_commands_from_stdin_and_stops_what_it_started() {
    let client = Client::new("unused");
    let programs = std::path::Path::new(env!("CARGO_BIN_EXE_ftpslave"))
        .parent()
        .unwrap();
    fs::create_dir_all(client.path("root/docs")).unwrap();
    fs::create_dir(client.path("mine")).unwrap();
    client.write("root/docs/a.txt", b"hello\n");
    let run = |commands: &str| {
        let mut script = Command::new("sh");
        script
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/run.sh"))
            .env("BIN_DIR", programs)
            .env("RUN_DIR", client.path("run"))
            .env("FTP_ROOT", client.path("root"))
            .env("CLIENT_ROOT", client.path("mine"))
            .env("MASTER_PORT", "0")
            .env("SLAVE_PORTS", "0 0");
        client.finish(script, commands.as_bytes())
    };
    let finished = run("ls\nget docs/a.txt\nslaves\nbye\n");
    assert!(
        finished.succeeded().stdout.starts_with("docs\n"),
        "{}",
        finished.stdout
    );
    assert_eq!(client.read("mine/a.txt"), b"hello\n");
    run("get nothing\n").failed(1, "no such file");
    let root = client.path("root");
    let left = fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    let root = root.to_str().unwrap();
    assert!(
        !left
            .into_iter()
            .any(|line| String::from_utf8_lossy(&line).contains(root)),
        "a server was left"
    );
}
