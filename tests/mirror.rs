//! `mirror`: one tree made equal to another, in both directions by the same tests.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::harness::{Client, Cluster, Finished, Setup, tree, without_privileges, write_file};

mod bad_days;
mod rules;

/// Which of the two trees changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Down,
    Up,
}

const BOTH: [Way; 2] = [Way::Down, Way::Up];

/// A server, a client, and a folder `tree` at each.
struct Pair {
    cluster: Cluster,
    client: Client,
    way: Way,
}

impl Pair {
    fn new(way: Way) -> Self {
        Self::of(Setup::new(1), way)
    }

    fn of(setup: Setup, way: Way) -> Self {
        let cluster = setup.start();
        let client = cluster.client();
        Self {
            cluster,
            client,
            way,
        }
    }

    /// Whoever reads the source is bound by permission bits; `None` where the machine cannot do that.
    fn bound(way: Way) -> Option<Self> {
        let helper = without_privileges()?;
        Some(match way {
            Way::Down => Self::of(Setup::new(1).behind(helper), way),
            Way::Up => {
                let mut pair = Self::new(way);
                pair.client = pair.cluster.client().behind(helper);
                pair
            }
        })
    }

    fn source(&self, name: impl AsRef<Path>) -> PathBuf {
        let root = match self.way {
            Way::Down => self.cluster.path("tree"),
            Way::Up => self.client.path("tree"),
        };
        root.join(name)
    }

    fn target(&self, name: impl AsRef<Path>) -> PathBuf {
        let root = match self.way {
            Way::Down => self.client.path("tree"),
            Way::Up => self.cluster.path("tree"),
        };
        root.join(name)
    }

    fn command(&self, options: &[&str]) -> Vec<OsString> {
        let mut words = vec!["mirror"];
        if self.way == Way::Up {
            words.push("-R");
        }
        words.extend(options);
        words.push("tree");
        words.into_iter().map(OsString::from).collect()
    }

    fn mirror(&self, options: &[&str]) -> Finished {
        self.client.run(self.command(options))
    }

    #[track_caller]
    fn assert_equal(&self) {
        assert_eq!(facts(&self.source("")), facts(&self.target("")));
    }
}

/// Kind, content and time of every name; a folder's time is nobody's.
fn facts(root: &Path) -> BTreeMap<PathBuf, String> {
    let describe = |(path, node): (PathBuf, _)| {
        let found = fs::symlink_metadata(root.join(&path)).unwrap();
        let time = if found.is_dir() {
            (0, 0)
        } else {
            (found.mtime(), found.mtime_nsec())
        };
        (path, format!("{node:?} {time:?}"))
    };
    tree(root).into_iter().map(describe).collect()
}

/// The last line that the client has printed, less how long it took.
fn sum_of(finished: &Finished) -> String {
    let line = finished.stdout.lines().last().unwrap_or_default();
    line.rsplit_once(" in ")
        .map_or(line, |(sum, _)| sum)
        .to_owned()
}

#[track_caller]
fn assert_sum(finished: &Finished, sum: &str) {
    assert_eq!(
        sum_of(finished),
        sum,
        "{}{}",
        finished.stdout,
        finished.stderr
    );
}

/// Sets a modification time, so many seconds behind a moment of long ago.
fn set_time(path: &Path, seconds: u64) {
    let time = UNIX_EPOCH + Duration::new(1_000_000_000 + seconds, 123_456_789);
    set_exact_time(path, time);
}

fn set_exact_time(path: &Path, time: SystemTime) {
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    file.set_modified(time).unwrap();
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Files of every kind of size, some of them deep, one with a name that is no text, and a folder with nothing in it.
fn fill(root: &Path) {
    let odd = OsStr::from_bytes(b"caf\xe9 \n/\xff.bin");
    for (name, size) in [
        (OsStr::new("empty"), 0),
        (OsStr::new("small.txt"), 5_000),
        (OsStr::new("folder/middling"), 300_000),
        (OsStr::new("folder/deeper/large.bin"), 9_000_000),
        (odd, 10),
    ] {
        let path = root.join(name);
        write_file(&path, &crate::harness::random_bytes(size as u64, size));
        set_time(&path, size as u64);
    }
    set_mode(&root.join("small.txt"), 0o640);
    fs::create_dir_all(root.join("folder/nothing")).unwrap();
}

#[test]
fn a_tree_becomes_equal_and_a_second_run_moves_nothing() {
    for way in BOTH {
        let pair = Pair::new(way);
        fill(&pair.source(""));
        let first = pair.mirror(&[]);
        assert_sum(
            first.succeeded(),
            "mirror: 5 files, 8.9 MiB moved, 0 removed, 0 unchanged",
        );
        pair.assert_equal();
        let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(
            mode(pair.target("small.txt")),
            mode(pair.source("small.txt"))
        );
        let second = pair.mirror(&["--delete"]);
        let nothing = "mirror: 0 files, 0 B moved, 0 removed, 5 unchanged";
        assert_sum(second.succeeded(), nothing);
        assert_eq!(second.stdout.lines().count(), 1);
    }
}

#[test]
fn only_what_differs_moves_and_only_what_is_too_many_goes() {
    for way in BOTH {
        let pair = Pair::new(way);
        fill(&pair.source(""));
        pair.mirror(&[]).succeeded();
        write_file(&pair.source("folder/new"), b"new");
        write_file(&pair.source("small.txt"), b"changed");
        fs::remove_file(pair.source("empty")).unwrap();
        write_file(&pair.target("mine/deep/mine"), b"mine");
        let sum = "mirror: 2 files, 10 B moved, 0 removed, 3 unchanged";
        assert_sum(pair.mirror(&[]).succeeded(), sum);
        assert!(pair.target("empty").exists() && pair.target("mine/deep/mine").exists());
        let finished = pair.mirror(&["--delete"]);
        let sum = "mirror: 0 files, 0 B moved, 4 removed, 5 unchanged";
        assert_sum(finished.succeeded(), sum);
        assert!(finished.stdout.contains("tree/mine/deep/mine: removed\n"));
        pair.assert_equal();
    }
}

#[test]
fn a_time_alone_is_set_and_nothing_moves() {
    for way in BOTH {
        let pair = Pair::new(way);
        fill(&pair.source(""));
        pair.mirror(&[]).succeeded();
        set_time(&pair.target("small.txt"), 77);
        set_time(&pair.source("folder/deeper/large.bin"), 78);
        let finished = pair.mirror(&[]);
        let sum = "mirror: 0 files, 0 B moved, 0 removed, 3 unchanged, 2 times set";
        assert_sum(finished.succeeded(), sum);
        pair.assert_equal();
    }
}

#[test]
fn whole_seconds_are_the_same_as_the_moment_that_they_were_cut_from() {
    for way in BOTH {
        let pair = Pair::new(way);
        fill(&pair.source(""));
        pair.mirror(&[]).succeeded();
        let second = UNIX_EPOCH + Duration::from_secs(1_000_000_000 + 5_000);
        set_exact_time(&pair.target("small.txt"), second);
        let sum = "mirror: 0 files, 0 B moved, 0 removed, 5 unchanged";
        assert_sum(pair.mirror(&[]).succeeded(), sum);
    }
}

#[test]
fn a_dry_run_tells_all_and_changes_nothing() {
    for way in BOTH {
        let pair = Pair::new(way);
        fill(&pair.source(""));
        write_file(&pair.target("old/file"), b"old");
        write_file(&pair.target("empty/file"), b"in the way");
        write_file(
            &pair.target("small.txt"),
            &fs::read(pair.source("small.txt")).unwrap(),
        );
        let before = facts(&pair.target(""));
        let finished = pair.mirror(&["--dry-run", "--delete"]);
        assert_sum(
            finished.succeeded(),
            "mirror (dry run): 4 files, 8.9 MiB to move, 4 to remove, 0 unchanged, 1 times to set",
        );
        let verb = match way {
            Way::Down => "get",
            Way::Up => "put",
        };
        for line in [
            "would remove tree/empty/file",
            "would remove tree/empty/",
            "would make tree/folder/deeper/",
            &format!("would {verb} tree/folder/middling (293.0 KiB)"),
            "would set the time of tree/small.txt",
            "would remove tree/old/",
        ] {
            assert!(
                finished.stdout.contains(&format!("{line}\n")),
                "{line}: {}",
                finished.stdout
            );
        }
        assert_eq!(facts(&pair.target("")), before);
        // And what was told is what then happens.
        let sum = "mirror: 4 files, 8.9 MiB moved, 4 removed, 0 unchanged, 1 times set";
        assert_sum(pair.mirror(&["--delete"]).succeeded(), sum);
        pair.assert_equal();
    }
}

#[test]
fn a_dry_run_makes_no_target() {
    for way in BOTH {
        let pair = Pair::new(way);
        fill(&pair.source(""));
        pair.mirror(&["--dry-run"]).succeeded();
        assert!(!pair.target("").exists());
    }
}

#[test]
fn scripts_see_an_object_for_each_change_and_one_for_all() {
    for way in BOTH {
        let mut pair = Pair::new(way);
        pair.client = pair.cluster.client().options(["--json"]);
        write_file(&pair.source("a"), b"content");
        write_file(&pair.target("old"), b"old");
        let verb = match way {
            Way::Down => "mirror-get",
            Way::Up => "mirror-put",
        };
        let planned = pair.mirror(&["--delete", "--dry-run"]).json();
        let seen = |object: &serde_json::Value, key| object[key].as_str().unwrap().to_owned();
        let ops: Vec<_> = planned
            .iter()
            .map(|object| (seen(object, "op"), seen(object, "status")))
            .collect();
        let all = [
            (verb, "planned"),
            ("mirror-remove", "planned"),
            ("mirror", "planned"),
        ];
        assert_eq!(
            ops,
            all.map(|(op, status)| (op.to_owned(), status.to_owned()))
        );
        let done = pair.mirror(&["--delete"]).json();
        assert_eq!(seen(&done[0], "op"), verb);
        assert_eq!(done[0]["remote"], "/tree/a");
        assert_eq!(done[0]["verified"], true);
        assert_eq!(done[1]["remote"], "/tree/old");
        assert_eq!(done[1]["type"], "file");
        assert_eq!(
            (&done[2]["files"], &done[2]["removed"]),
            (&1.into(), &1.into())
        );
        assert_eq!(done[2]["status"], "done");
    }
}

#[test]
fn names_are_taken_as_they_are_typed_or_from_the_source() {
    let cluster = Cluster::start(1);
    cluster.write("pub/src/a", b"a");
    let client = cluster.client();
    client.run(["mirror", "pub/src"]).succeeded();
    assert_eq!(client.read("src/a"), b"a");
    // No folder is added, whatever is there.
    client.run(["mirror", "/pub/src", "src/"]).succeeded();
    client.run(["mirror", "pub/s*", "other/deep"]).succeeded();
    assert_eq!(client.read("other/deep/a"), b"a");
    assert!(!client.path("src/src").exists());
    client
        .run_script("cd pub\nlcd other\nmirror -R deep\nmirror -R deep up/there\n")
        .succeeded();
    assert_eq!(fs::read(cluster.path("pub/deep/a")).unwrap(), b"a");
    assert_eq!(fs::read(cluster.path("pub/up/there/a")).unwrap(), b"a");
    let all = cluster.client();
    all.run(["mirror", "/"]).succeeded();
    assert_eq!(tree(&all.folder()), tree(&cluster.root()));
    client
        .run(["mirror", "--recursive", "pub"])
        .failed(2, "unknown option '--recursive'");
    client
        .run(["mirror", "pub/src/a"])
        .failed(1, "cannot mirror '/pub/src/a': not a directory");
    client
        .run(["mirror", "-R", "src/a"])
        .failed(1, "not a directory");
}
