//! The answer to a change of names is lost on the way: the client asks again, and is not told that its own work stands in
//! its way.

use std::fs;

use crate::harness::{Client, Cluster, Direction, Fault, Finished, Proxy, Setup};

/// Runs `command` again and again, each time with the connection cut a little later; between two runs, `prepare` makes
/// the files anew. `is_done` says whether the command's work is done.
fn with_lost_answers(
    command: &[&str],
    prepare: impl Fn(&Cluster),
    is_done: impl Fn(&Cluster) -> bool,
) {
    with_lost_answers_to((command, 0), prepare, is_done);
}

/// The same of a command that ends with that status.
fn with_lost_answers_to(
    (command, code): (&[&str], i32),
    prepare: impl Fn(&Cluster),
    is_done: impl Fn(&Cluster) -> bool,
) {
    let cluster = Setup::new(1).without_master().start();
    let proxy = Proxy::before(cluster.slaves[0].address);
    let client = Client::new(proxy.address.to_string());
    for bytes in (57..400).step_by(7) {
        prepare(&cluster);
        proxy.next(Fault::CutAfter {
            direction: Direction::ToClient,
            bytes,
        });
        let finished: Finished = client.run(command.iter().copied());
        assert_eq!(finished.code, code, "cut after {bytes}: {finished:?}");
        assert!(is_done(&cluster), "cut after {bytes}");
    }
}

fn empty(cluster: &Cluster) {
    for entry in fs::read_dir(cluster.root()).unwrap().map(Result::unwrap) {
        if entry.file_name() == ".mini-ftp" {
        } else if entry.file_type().unwrap().is_dir() {
            fs::remove_dir_all(entry.path()).unwrap();
        } else {
            fs::remove_file(entry.path()).unwrap();
        }
    }
}

#[test]
fn rm_whose_answer_is_lost_is_done_once() {
    with_lost_answers(
        &["rm", "a.bin"],
        |cluster| cluster.write("a.bin", b"content"),
        |cluster| !cluster.path("a.bin").exists(),
    );
}

#[test]
fn rm_of_a_tree_whose_answer_is_lost_is_done_once() {
    with_lost_answers(
        &["rm", "-r", "folder"],
        |cluster| cluster.write("folder/a.bin", b"content"),
        |cluster| !cluster.path("folder").exists(),
    );
}

#[test]
fn rmdir_whose_answer_is_lost_is_done_once() {
    with_lost_answers(
        &["rmdir", "folder"],
        |cluster| fs::create_dir(cluster.path("folder")).unwrap(),
        |cluster| !cluster.path("folder").exists(),
    );
}

#[test]
fn mkdir_whose_answer_is_lost_is_done_once() {
    with_lost_answers(&["mkdir", "folder"], empty, |cluster| {
        cluster.path("folder").is_dir()
    });
}

#[test]
fn mv_whose_answer_is_lost_is_done_once() {
    with_lost_answers(
        &["mv", "a.bin", "b.bin"],
        |cluster| {
            empty(cluster);
            cluster.write("a.bin", b"content");
        },
        |cluster| {
            !cluster.path("a.bin").exists()
                && fs::read(cluster.path("b.bin")).is_ok_and(|content| content == b"content")
        },
    );
}

#[test]
fn mv_of_what_is_not_there_is_not_taken_for_done_because_the_other_name_is() {
    for other in ["other.bin", "folder/other.bin"] {
        with_lost_answers_to(
            (&["mv", "nothing", other], 1),
            |cluster| cluster.write(other, b"other"),
            |cluster| fs::read(cluster.path(other)).is_ok_and(|content| content == b"other"),
        );
    }
}

#[test]
fn put_whose_answer_is_lost_is_done_once() {
    let content = vec![7; 100_000];
    let cluster = Setup::new(1).without_master().start();
    let proxy = Proxy::before(cluster.slaves[0].address);
    let client = Client::new(proxy.address.to_string());
    for size in [0, 1000, content.len()] {
        client.write("a.bin", &content[..size]);
        for bytes in (57..400).step_by(11) {
            empty(&cluster);
            proxy.next(Fault::CutAfter {
                direction: Direction::ToClient,
                bytes,
            });
            let finished = client.run(["put", "a.bin"]);
            assert_eq!(finished.code, 0, "cut after {bytes}: {finished:?}");
            assert!(fs::read(cluster.path("a.bin")).unwrap() == content[..size]);
        }
    }
}
