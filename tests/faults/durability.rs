//! What is answered as done is flushed first, whoever did it: another one may have died before it could.

use std::fs;
use std::path::Path;
use std::time::UNIX_EPOCH;

use protocol::{ErrorCode, RemotePath, Reply, Request};

use crate::harness::{
    Cluster, Node, PATIENCE, Setup, Wire, done_as_superuser, random_bytes, skipped, tamper,
    trace_into, tree, with_calls_that,
};

/// Something that is asked for, what is there before, and how many folders are to be flushed for it.
struct Deed {
    request: Request,
    prepare: fn(&Cluster),
    flushes: u32,
}

fn path(text: &str) -> RemotePath {
    RemotePath::try_from(text).unwrap()
}

fn make(name: &str, parents: bool) -> Request {
    Request::MakeDirectory {
        path: path(name),
        parents,
    }
}

fn remove(name: &str, recursive: bool) -> Request {
    Request::Remove {
        path: path(name),
        recursive,
    }
}

fn rename(from: &str) -> Request {
    Request::Rename {
        from: path(from),
        to: path("/there/new"),
        replace: true,
    }
}

fn nothing(_cluster: &Cluster) {}

fn a_file(cluster: &Cluster) {
    cluster.write("file", b"content");
}

fn a_tree(cluster: &Cluster) {
    cluster.write("tree/below/file", b"content");
}

/// What was done before is told by these answers, which a client that lost the first one takes for a success.
fn done_before() -> [(Deed, Option<ErrorCode>); 6] {
    let deed = |request, flushes| Deed {
        request,
        prepare: nothing,
        flushes,
    };
    let gone = Some(ErrorCode::NotFound);
    [
        (deed(make("/there", false), 1), Some(ErrorCode::Exists)),
        (deed(make("/there", true), 1), None),
        (deed(remove("/gone", false), 1), gone),
        (deed(remove("/gone", true), 1), gone),
        (
            deed(
                Request::RemoveDirectory {
                    path: path("/gone"),
                },
                1,
            ),
            gone,
        ),
        (deed(rename("/gone"), 2), gone),
    ]
}

fn done_now() -> [Deed; 5] {
    let deed = |request, prepare, flushes| Deed {
        request,
        prepare,
        flushes,
    };
    [
        deed(make("/new/with/parents", true), nothing, 3),
        deed(remove("/file", false), a_file, 1),
        deed(remove("/tree", true), a_tree, 1),
        deed(rename("/file"), a_file, 2),
        deed(rename("/tree"), a_tree, 2),
    ]
}

#[test]
fn nothing_is_answered_as_done_before_each_folder_is_flushed() {
    if done_as_superuser() {
        return;
    }
    let cluster = Setup::new(1).without_master().workers(1).start();
    let worker = cluster.slaves[0].workers()[0];
    let mut wire = Wire::open(cluster.address());
    let before = done_before().map(|(deed, _)| deed);
    for deed in before.into_iter().chain(done_now()) {
        for flush in 1..=deed.flushes {
            for entry in fs::read_dir(cluster.root()).unwrap().flatten() {
                if entry.file_name() != ".mini-ftp" {
                    let path = entry.path();
                    fs::remove_dir_all(&path)
                        .or_else(|_| fs::remove_file(path))
                        .unwrap();
                }
            }
            fs::create_dir(cluster.path("there")).unwrap();
            (deed.prepare)(&cluster);
            let what = format!("error=EIO:when={flush}");
            let Some(mut strace) = tamper(worker, "fsync", &what) else {
                return;
            };
            let answer = wire.ask(&deed.request);
            strace.terminate(PATIENCE);
            let is_refused = matches!(
                answer,
                Reply::Error {
                    code: ErrorCode::Internal,
                    ..
                }
            );
            assert!(is_refused, "{:?}, flush {flush}: {answer:?}", deed.request);
        }
    }
    for (deed, code) in done_before() {
        let said = match wire.ask(&deed.request) {
            Reply::Error { code, .. } => Some(code),
            Reply::Done {} => None,
            other => panic!("{other:?}"),
        };
        assert_eq!(said, code, "{:?}", deed.request);
    }
}

#[test]
fn what_is_there_already_is_flushed_before_a_put_is_well() {
    if done_as_superuser() {
        return;
    }
    let cluster = Setup::new(1).without_master().workers(1).start();
    let worker = cluster.slaves[0].workers()[0];
    let client = cluster.client();
    client.write("a.bin", b"content");
    cluster.write("a.bin", b"content");
    for flush in 1..=2 {
        let what = format!("error=EIO:when={flush}");
        let Some(mut strace) = tamper(worker, "fsync", &what) else {
            return;
        };
        let refused = client.run(["put", "a.bin"]);
        strace.terminate(PATIENCE);
        assert_eq!(refused.code, 1, "{refused:?}");
    }
    let left = client.run(["--json", "put", "a.bin"]);
    assert_eq!(left.succeeded().json()[0]["status"], "unchanged");
}

#[test]
fn what_a_tree_finds_in_place_is_flushed_before_it_is_well() {
    if done_as_superuser() {
        return;
    }
    let cluster = Setup::new(1).without_master().workers(1).start();
    let worker = cluster.slaves[0].workers()[0];
    let client = cluster.client();
    for name in ["tree/a", "tree/b/c"] {
        client.write(name, name.as_bytes());
    }
    client.run(["put", "-r", "tree"]).succeeded();
    for command in [&["put", "-r", "tree"][..], &["mirror", "-R", "tree"]] {
        let Some(mut strace) = tamper(worker, "syncfs", "error=EIO:when=1") else {
            return;
        };
        let refused = client.run(command.iter().copied());
        strace.terminate(PATIENCE);
        assert_eq!(refused.code, 1, "{refused:?}");
        client.run(command.iter().copied()).succeeded();
    }
}

#[test]
fn what_a_download_finds_in_place_is_flushed_before_it_is_well() {
    let cluster = Setup::new(1).without_master().start();
    let mut client = cluster.client();
    for name in ["a.bin", "tree/a"] {
        cluster.write(name, name.as_bytes());
    }
    client.run(["get", "a.bin"]).succeeded();
    client.run(["mirror", "tree"]).succeeded();
    for (words, call, when) in [
        (["get", "a.bin"], "fsync", 1),
        (["get", "a.bin"], "fsync", 2),
        (["mirror", "tree"], "syncfs", 1),
    ] {
        let Some(strace) = with_calls_that(call, &format!("error=EIO:when={when}")) else {
            return;
        };
        client = client.behind(strace);
        let refused = client.run(words);
        assert_eq!(refused.code, 1, "{words:?}, {call} {when}: {refused:?}");
        client = client.behind(Vec::new());
        client.run(words).succeeded();
    }
}

#[test]
fn a_mirror_that_has_set_times_alone_makes_all_of_it_durable() {
    if done_as_superuser() {
        return;
    }
    let cluster = Setup::new(1).without_master().workers(1).start();
    let client = cluster.client();
    client.write("tree/a", b"content");
    client.run(["put", "-r", "tree"]).succeeded();
    let stored = fs::File::options().write(true).open(cluster.path("tree/a"));
    stored.unwrap().set_modified(UNIX_EPOCH).unwrap();
    let worker = cluster.slaves[0].workers()[0];
    let Some(mut strace) = tamper(worker, "syncfs", "error=EIO:when=1") else {
        return;
    };
    let refused = client.run(["mirror", "-R", "tree"]);
    strace.terminate(PATIENCE);
    assert_eq!(refused.code, 1, "{refused:?}");
}

#[test]
fn what_cannot_be_flushed_is_neither_stored_nor_said_to_be() {
    if done_as_superuser() {
        return;
    }
    let cluster = Setup::new(1).without_master().workers(1).start();
    let worker = cluster.slaves[0].workers()[0];
    let client = cluster.client().options(["--streams", "1"]);
    client.write("small", &random_bytes(1, 1_000));
    client.write("large", &random_bytes(2, 300_000));
    for number in 0..10 {
        client.write(format!("tree/{number}"), &random_bytes(number, 1_000));
    }
    let log = Path::new("/dev/null");
    let fsync = ["-e", "trace=fsync", "-e", "inject=fsync:error=EIO:when=1"];
    // Many are flushed together; where that fails, each is flushed apart. The first flush is that of the new folder.
    let all = [
        "-e",
        "trace=fsync,syncfs",
        "-e",
        "inject=syncfs:error=EIO:when=1+",
        "-e",
        "inject=fsync:error=EIO:when=2+",
    ];
    for (failures, command) in [
        (&fsync[..], &["put", "small"][..]),
        (&fsync, &["put", "large"]),
        (&all, &["put", "-r", "tree"]),
    ] {
        let mut strace = match trace_into(worker, log, failures) {
            Ok(strace) => strace,
            Err(reason) => return skipped(reason),
        };
        let refused = client.run(command.iter().copied());
        strace.terminate(PATIENCE);
        assert_eq!(refused.code, 1, "{refused:?}");
        let stored = tree(&cluster.root());
        let is_file = |node: &Node| matches!(node, Node::File(_));
        assert!(!stored.values().any(is_file), "{stored:?}");
    }
    assert!(cluster.path("tree").is_dir());
    let Some(mut strace) = tamper(worker, "syncfs", "error=EIO:when=1+") else {
        return;
    };
    client.run(["put", "-r", "tree"]).succeeded();
    strace.terminate(PATIENCE);
    assert_eq!(tree(&cluster.path("tree")).len(), 10);
}
