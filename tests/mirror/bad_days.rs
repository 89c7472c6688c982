//! What is unreadable, vanishes, dies or fails: nothing is removed on account of it, and the next run goes on.

use rustix::process::Signal;

use super::*;
use crate::harness::{PATIENCE, Process, Proxy, allocated, random_bytes, staged, wait_until};

const MEBIBYTE: usize = 1024 * 1024;

#[test]
fn nothing_is_removed_where_the_source_could_not_be_read() {
    for way in BOTH {
        let Some(pair) = Pair::bound(way) else {
            return;
        };
        write_file(&pair.source("a"), b"a");
        write_file(&pair.source("locked/secret"), b"secret");
        write_file(
            &pair.target("locked/secret"),
            b"what an earlier run brought",
        );
        write_file(&pair.target("locked/deep/more"), b"more");
        write_file(&pair.target("surplus"), b"surplus");
        set_mode(&pair.source("locked"), 0o000);
        let finished = pair.mirror(&["--delete"]);
        set_mode(&pair.source("locked"), 0o755);
        finished.failed(1, "locked': permission denied");
        finished.failed(
            1,
            "locked: the source could not be looked into there, nothing is removed",
        );
        let sum = "mirror: 1 file, 1 B moved, 1 removed, 0 unchanged, 1 failed";
        assert_sum(&finished, sum);
        assert!(pair.target("locked/secret").exists() && pair.target("locked/deep/more").exists());
        assert!(!pair.target("surplus").exists());
        pair.mirror(&["--delete"]).succeeded();
        pair.assert_equal();
    }
}

#[test]
fn nothing_is_removed_where_something_could_not_be_moved() {
    for way in BOTH {
        let Some(pair) = Pair::bound(way) else {
            return;
        };
        write_file(&pair.source("a"), b"a");
        write_file(&pair.source("secret"), b"secret");
        write_file(&pair.target("surplus"), b"surplus");
        set_mode(&pair.source("secret"), 0o000);
        let finished = pair.mirror(&["--delete"]);
        finished.failed(1, "secret': permission denied");
        finished.failed(1, "not everything could be moved, nothing is removed");
        let sum = "mirror: 1 file, 1 B moved, 0 removed, 0 unchanged, 1 failed";
        assert_sum(&finished, sum);
        assert!(pair.target("surplus").exists());
    }
}

#[test]
fn a_source_that_is_not_there_empties_nothing() {
    for way in BOTH {
        let pair = Pair::new(way);
        write_file(&pair.target("a"), b"a");
        let finished = pair.mirror(&["--delete"]);
        finished.failed(1, "tree': no such file");
        assert_eq!(finished.stderr.lines().count(), 1, "{}", finished.stderr);
        let root: PathBuf = pair.source("").components().collect();
        write_file(&root, b"a file now");
        pair.mirror(&["--delete"]).failed(1, "not a directory");
        assert!(pair.target("a").exists());
    }
}

#[test]
fn what_the_target_refuses_fails_alone() {
    for way in BOTH {
        let Some(helper) = without_privileges() else {
            return;
        };
        let pair = match way {
            Way::Up => Pair::of(Setup::new(1).behind(helper), way),
            Way::Down => {
                let mut pair = Pair::new(way);
                pair.client = pair.cluster.client().behind(helper);
                pair
            }
        };
        for name in ["a", "locked/b", "shut/c"] {
            write_file(&pair.source(name), b"content");
        }
        fs::create_dir_all(pair.target("locked")).unwrap();
        write_file(&pair.target("shut/surplus"), b"surplus");
        set_mode(&pair.target("locked"), 0o555);
        set_mode(&pair.target("shut"), 0o000);
        let finished = pair.mirror(&["--delete"]);
        set_mode(&pair.target("locked"), 0o755);
        set_mode(&pair.target("shut"), 0o755);
        finished.failed(1, "permission denied");
        let sum = "mirror: 1 file, 7 B moved, 0 removed, 0 unchanged, 2 failed";
        assert_sum(&finished, sum);
        assert!(pair.target("shut/surplus").exists());
        pair.mirror(&["--delete"]).succeeded();
        pair.assert_equal();
    }
}

/// Small files and a large one.
fn fill(root: &Path) {
    for number in 0..30 {
        let name = format!("folder {}/{number}.bin", number % 3);
        write_file(&root.join(name), &random_bytes(number, 5_000));
    }
    write_file(&root.join("large.bin"), &random_bytes(99, 12 * MEBIBYTE));
}

/// A slow mirror, in the middle of the large file.
fn begin(pair: &Pair) -> Process {
    fill(&pair.source(""));
    // One stream: whoever serves, serves the large file.
    let options = ["--limit-rate", "3M", "--streams", "1"];
    let mut words = options.map(OsString::from).to_vec();
    words.extend(pair.command(&[]));
    let running = pair.client.spawn(words);
    wait_until("the large file to be under way", PATIENCE, || {
        let part = allocated(&pair.target(".large.bin.part"));
        let staged: u64 = staged(&pair.cluster.root())
            .iter()
            .map(|path| allocated(path))
            .sum();
        part + staged > 3 * MEBIBYTE as u64
    });
    running
}

#[test]
fn a_killed_run_continues() {
    for way in BOTH {
        let pair = Pair::new(way);
        begin(&pair).kill();
        let finished = pair.mirror(&["--delete"]);
        let sum = sum_of(finished.succeeded());
        assert!(
            sum.starts_with("mirror: 1 file, ") && sum.ends_with(" 0 removed, 30 unchanged"),
            "{sum}"
        );
        assert!(
            finished.stdout.contains("resumed at"),
            "{}",
            finished.stdout
        );
        pair.assert_equal();
    }
}

#[test]
fn an_interrupted_run_removes_nothing() {
    for way in BOTH {
        let pair = Pair::new(way);
        write_file(&pair.target("surplus"), b"surplus");
        let mut running = begin(&pair);
        running.signal(Signal::INT);
        assert_eq!(running.wait_code(PATIENCE), 130);
        assert!(pair.target("surplus").exists());
    }
}

#[test]
fn a_run_goes_on_with_the_other_slave() {
    for way in BOTH {
        let mut pair = Pair::of(Setup::new(2), way);
        let mut running = begin(&pair);
        let serving = pair.cluster.serving();
        pair.cluster.slaves[serving].kill();
        assert_eq!(running.wait_code(PATIENCE), 0, "{}", running.stderr());
        assert_eq!(running.stderr().lines().count(), 1, "{}", running.stderr());
        pair.assert_equal();
    }
}

/// What passes to the server for a tree that is equal: one listing, whatever the size of the tree.
#[test]
fn an_unchanged_tree_costs_one_listing() {
    for way in BOTH {
        let mut pair = Pair::of(Setup::new(1).without_master(), way);
        for number in 0..1_000 {
            let name = format!("{}/{number}", number % 7);
            write_file(&pair.source(name), &random_bytes(number, 10));
        }
        pair.mirror(&[]).succeeded();
        let proxy = Proxy::before(pair.cluster.address());
        pair.client.move_to(proxy.address.to_string());
        let sum = "mirror: 0 files, 0 B moved, 0 removed, 1,000 unchanged";
        assert_sum(pair.mirror(&["--delete"]).succeeded(), sum);
        let asked = proxy.forwarded(crate::harness::Direction::ToServer);
        assert!(asked < 200, "{asked} bytes of requests");
        assert_eq!(proxy.connections(), 1);
    }
}
