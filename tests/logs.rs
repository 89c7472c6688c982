//! What the servers write down: events, and what their clients moved and changed.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use protocol::{Condition, Content, Digest, RemotePath, Reply, Request};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{
    Client, Cluster, Setup, Wire, digest_of, random_bytes, staged, wait_for, wait_until,
};

const SOON: Duration = Duration::from_secs(10);

/// The objects of a log, every line one.
fn lines(text: &str) -> Vec<Value> {
    let parse =
        |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    text.lines().map(parse).collect()
}

/// A cluster with a transfer log, and a client that logs in.
struct Watched {
    cluster: Cluster,
    client: Client,
    log: PathBuf,
    _folder: TempDir,
}

impl Watched {
    fn new() -> Self {
        let watched = Self::over(Setup::new(1).account(["ada", "--home", "/ada"], "secret"));
        fs::create_dir(watched.cluster.path("ada")).unwrap();
        watched
    }

    fn over(setup: Setup) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("transfers.log");
        let cluster = setup
            .slave_options(["--transfer-log".into(), log.clone().into_os_string()])
            .start();
        Self {
            client: cluster.client().with_login("ada", "secret"),
            cluster,
            log,
            _folder: folder,
        }
    }

    fn lines(&self) -> Vec<Value> {
        lines(&fs::read_to_string(&self.log).unwrap())
    }
}

#[test]
fn the_transfer_log_says_who_moved_and_changed_what_and_how_it_ended() {
    let watched = Watched::new();
    let client = &watched.client;
    let large = random_bytes(1, 3_000_000);
    client.write("large.bin", &large);
    for name in ["one", "two"] {
        client.write(format!("tree/{name}"), name.as_bytes());
    }
    client.run(["put", "large.bin"]).succeeded();
    client.run(["put", "-r", "tree"]).succeeded();
    for (remote, local) in [("large.bin", "again.bin"), ("tree/one", "one")] {
        client.run(["get", remote, local]).succeeded();
    }
    client
        .run(["mv", "large.bin", "moved\u{202e}.bin"])
        .succeeded();
    client.run(["rm", "-r", "tree"]).succeeded();
    let log = watched.lines();
    for line in &log {
        assert_eq!(line["user"], "ada", "{line}");
        assert_eq!(line["from"], "127.0.0.1", "{line}");
        assert_eq!(line["home"], "/ada", "{line}");
        assert!(
            line["seconds"].is_f64() && line["time"].is_string(),
            "{line}"
        );
    }
    let find = |op: &str, path: &str, result: &str| {
        let is_it = |line: &&Value| {
            (&line["op"], &line["path"], &line["result"])
                == (&op.into(), &path.into(), &result.into())
        };
        log.iter()
            .find(is_it)
            .unwrap_or_else(|| panic!("no {op} {path} {result} in {log:#?}"))
    };
    for op in ["put", "get"] {
        let line = find(op, "/large.bin", "done");
        assert_eq!(line["bytes"], large.len());
        assert_eq!(line["blake3"], digest_of(&large));
    }
    let line = find("get", "/tree/one", "done");
    assert_eq!(line["blake3"], digest_of(b"one"));
    // What a file is has been asked for as well, which is no transfer.
    assert_eq!(log.iter().filter(|line| line["op"] == "get").count(), 2);
    for name in ["one", "two"] {
        let line = find("put", &format!("/tree/{name}"), "done");
        assert_eq!(line["bytes"], name.len());
        assert_eq!(line["blake3"], digest_of(name.as_bytes()));
    }
    assert_eq!(find("mv", "/large.bin", "done")["to"], "/moved\u{202e}.bin");
    find("rm", "/tree", "done");
    let raw = fs::read_to_string(&watched.log).unwrap();
    assert!(!raw.contains('\u{202e}'));
}

#[test]
fn the_transfer_log_tells_of_what_failed_and_of_what_was_lost() {
    const SIZE: usize = 3_000_000;
    let mut watched = Watched::new();
    watched.client.write("large.bin", &random_bytes(1, SIZE));
    let client = &watched.client;
    client.run(["rm", "absent"]).failed(1, "no such file");
    // A client disappears in the middle of a transfer.
    watched.client = watched.client.options(["--limit-rate", "100K"]);
    let mut slow = watched.client.spawn(["put", "large.bin"]);
    let root = watched.cluster.root();
    wait_until("an upload", SOON, || !staged(&root).is_empty());
    slow.kill();
    let of = |result: &str| {
        let line = watched
            .lines()
            .into_iter()
            .find(|line| line["result"] == result)?;
        Some((
            line["op"].clone(),
            line["path"].clone(),
            line["bytes"].as_u64()?,
        ))
    };
    let (op, path, bytes) = wait_for("its line", SOON, || of("lost"));
    assert_eq!((op, path), ("put".into(), "/large.bin".into()));
    assert!(bytes < SIZE as u64);
    let failed = of("not-found");
    assert_eq!(failed, Some(("rm".into(), "/absent".into(), 0)));
}

#[test]
fn what_is_tried_without_the_right_to_it_is_a_line_too() {
    let account = ["ada", "--read-only"];
    let watched = Watched::over(Setup::new(1).account(account, "secret"));
    watched.cluster.write("a", b"content");
    watched.client.write("b", b"content");
    for command in [["rm", "a"], ["put", "b"]] {
        watched.client.run(command).failed(1, "permission denied");
    }
    let said: Vec<Value> = watched
        .lines()
        .into_iter()
        .map(|line| json!([line["op"], line["path"], line["result"]]))
        .collect();
    let refused = |op: &str, path: &str| json!([op, path, "not-permitted"]);
    assert_eq!(said, [refused("rm", "/a"), refused("put", "/b")]);
}

#[test]
fn requests_of_one_number_are_a_line_each() {
    let watched = Watched::over(Setup::new(1).without_master());
    let mut wire = Wire::open(watched.cluster.address());
    let store = |name: &str| Request::StoreWhole {
        path: RemotePath::try_from(name).unwrap(),
        modified_ns: 0,
        mode: 0o640,
        condition: Condition::Absent,
        digest: Digest(*blake3::hash(name.as_bytes()).as_bytes()),
        deferred: true,
        content: Content::new(name.as_bytes().to_vec()).unwrap(),
    };
    wire.send(&store("/first"));
    wire.send_more(&store("/second"));
    wire.send_more(&Request::MakeDirectory {
        path: RemotePath::try_from("/third").unwrap(),
        parents: false,
    });
    wire.send_more(&Request::Flush {});
    for answer in ["the folder's", "the flush's"] {
        while wire.hear::<Reply>().expect(answer).1 != (Reply::Done {}) {}
    }
    let mut said: Vec<Value> = watched
        .lines()
        .into_iter()
        .map(|line| json!([line["path"], line["op"], line["result"], line["blake3"]]))
        .collect();
    said.sort_by_key(Value::to_string);
    let stored = |name: &str| json!([name, "put", "done", digest_of(name.as_bytes())]);
    let made = json!(["/third", "mkdir", "done", null]);
    assert_eq!(said, [stored("/first"), stored("/second"), made]);
}

/// Its source became shorter, say: nothing is stored then.
#[test]
fn an_upload_that_the_client_gives_up_is_not_done() {
    let mut watched = Watched::new();
    let local = watched
        .client
        .write("large.bin", &random_bytes(1, 3_000_000));
    watched.client = watched.client.options(["--limit-rate", "1M"]);
    let mut given_up = watched.client.spawn(["put", "large.bin"]);
    let root = watched.cluster.root();
    wait_until("an upload", SOON, || !staged(&root).is_empty());
    let file = fs::File::options().write(true).open(local).unwrap();
    file.set_len(1).unwrap();
    assert_eq!(given_up.wait_code(SOON), 1, "{}", given_up.stderr());
    let line = wait_for("its line", SOON, || watched.lines().pop());
    assert_eq!(
        (&line["op"], &line["result"]),
        (&"put".into(), &"lost".into())
    );
    assert_eq!(watched.lines().len(), 1);
}

#[test]
fn events_are_objects_where_asked_for_in_every_process() {
    let mut cluster = Setup::new(1)
        .account(["ada"], "secret")
        .master_options(["-v", "--log-format", "json"])
        .slave_options(["-v", "--log-format", "json"])
        .start();
    let client = cluster.client();
    client.with_login("ada\u{9b}", "wrong").run(["ls"]);
    let client = Client::new(cluster.slaves[0].address.to_string());
    client.run(["ls"]).failed(4, "login required");
    cluster.slaves[0].kill();
    cluster.master().process.wait_for_line("left", SOON);
    for (program, said) in [
        ("ftpmaster", cluster.master().process.stderr()),
        ("ftpslave", cluster.slaves[0].process.stderr()),
    ] {
        let events: Vec<&str> = said
            .lines()
            .filter(|line| !line.starts_with(program))
            .collect();
        assert!(!events.is_empty());
        for event in lines(&events.join("\n")) {
            assert_eq!(event["program"], program, "{event}");
            assert!(
                event["message"].is_string() && event["pid"].is_u64(),
                "{event}"
            );
        }
        assert!(
            !said.contains("secret") && !said.contains("wrong"),
            "{said}"
        );
    }
}
