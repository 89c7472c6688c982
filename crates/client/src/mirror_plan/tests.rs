//! The planning step: a table of both trees and what is to be done, and that doing it makes them equal.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

const EVERYTHING: &(dyn Fn(&[u8], EntryKind) -> bool + Sync) = &|_, _| true;

const PLAIN: MirrorRules<'_> = MirrorRules {
    comparison: Comparison::SizeAndTime,
    delete: false,
    update: false,
    dry_run: false,
    includes: EVERYTHING,
};

const DELETE: MirrorRules<'_> = MirrorRules {
    delete: true,
    ..PLAIN
};

fn entry(kind: EntryKind, size: u64, seconds: i64) -> Entry {
    Entry {
        name: Vec::new(),
        kind,
        size,
        modified_ns: seconds * 1_000_000_001,
        mode: 0o644,
        version: None,
        digest: None,
    }
}

/// `a/` is a folder, `a@` a link, `a=` a special file, `a:5` a file of 5 bytes, `a:5+1` a second later; `a!` cannot be read.
fn tree(names: &str) -> Tree {
    let mut tree = Tree::default();
    for name in names.split_whitespace() {
        if let Some(path) = name.strip_suffix('!') {
            let why = ErrorCode::NotPermitted.into();
            tree.unreadable.insert(path.into(), why);
            continue;
        }
        let (path, entry) = match name.split_once(':') {
            None => {
                let (path, kind) = name.split_at(name.len() - 1);
                let kind = match kind {
                    "/" => EntryKind::Directory,
                    "@" => EntryKind::Link,
                    "=" => EntryKind::Other,
                    _ => panic!("what is {name}?"),
                };
                (path, entry(kind, 0, 1))
            }
            Some((path, facts)) => {
                let (size, later) = facts.split_once('+').unwrap_or((facts, "0"));
                let seconds = 1 + later.parse::<i64>().unwrap();
                let size = size.parse().unwrap();
                (path, entry(EntryKind::File, size, seconds))
            }
        };
        tree.names.insert(path.into(), entry);
    }
    tree
}

/// The changes in one line each, in the order in which they are made.
fn told(source: &str, target: &str, rules: &MirrorRules<'_>) -> String {
    let changes = plan(&tree(source), &tree(target), rules);
    let mut words = Vec::new();
    let mut tell = |what: &str, path: &[u8]| {
        words.push(format!("{what} {}", String::from_utf8_lossy(path)));
    };
    let Changes {
        clear,
        folders,
        files,
        doubtful,
        remove,
        failed,
        skipped,
        kept,
        unchanged,
        newer,
    } = changes;
    failed.iter().for_each(|(path, _)| tell("fail", path));
    skipped.iter().for_each(|(path, _)| tell("skip", path));
    kept.iter().for_each(|path| tell("keep", path));
    clear.iter().for_each(|(path, _)| tell("clear", path));
    folders.iter().for_each(|path| tell("make", path));
    files.iter().for_each(|path| tell("move", path));
    doubtful.iter().for_each(|path| tell("compare", path));
    remove.iter().for_each(|(path, _)| tell("remove", path));
    if unchanged > 0 {
        words.push(format!("{unchanged} same"));
    }
    if newer > 0 {
        words.push(format!("{newer} newer"));
    }
    words.join(", ")
}

#[test]
fn the_table() {
    for (source, target, expected) in [
        ("", "", ""),
        ("a:1", "", "move a"),
        ("d/ d/a:1", "", "make d, move d/a"),
        ("a:1", "a:1", "1 same"),
        ("a:1", "a:2", "move a"),
        ("a:1", "a:1+5", "compare a"),
        ("a:1+5", "a:1", "compare a"),
        // What the source does not have stays.
        ("a:1", "a:1 b:1 d/ d/c:1", "1 same"),
        // Kinds that differ; a link is replaced by a rename.
        ("a:1", "a/", "fail a"),
        ("a/ a/b:1", "a:1", "fail a"),
        ("a:1", "a=", "fail a"),
        ("a:1", "a@", "move a"),
        ("a/ a/b:1", "a@", "fail a"),
        // What is not moved.
        (
            "a@ b= .x.part:1 .mini-ftp/ .mini-ftp/x:1",
            "",
            "skip .mini-ftp, skip .x.part, skip a, skip b",
        ),
        (
            ".part:1 ..part:1 a.part:1 .mini-ftpx:1",
            "",
            "move ..part, move .mini-ftpx, move .part, move a.part",
        ),
        // What cannot be read, on either side.
        ("d/ d! a:1", "d/ d/b:1", "fail d, move a"),
        ("d/ d/a:1", "d/ d!", "fail d"),
        ("a:1", "a!", "fail a"),
        ("", "d/ d!", ""),
    ] {
        assert_eq!(
            told(source, target, &PLAIN),
            expected,
            "{source} | {target}"
        );
    }
}

#[test]
fn the_table_of_removing() {
    for (source, target, expected) in [
        (
            "",
            "a:1 d/ d/b:1 l@ s=",
            "remove s, remove l, remove d/b, remove d, remove a",
        ),
        (
            "a:1",
            "a:1 d/ d/e/ d/e/f:1",
            "remove d/e/f, remove d/e, remove d, 1 same",
        ),
        // Whatever is in the way makes way, what is in it first.
        (
            "a:1",
            "a/ a/b/ a/b/c:1",
            "clear a/b/c, clear a/b, clear a, move a",
        ),
        ("a/ a/b:1", "a:1", "clear a, make a, move a/b"),
        ("a/", "a@", "clear a, make a"),
        ("a:1", "a=", "clear a, move a"),
        // A listing problem of the source switches removing off below it, and nowhere else.
        (
            "d/ d!",
            "d/ d/a:1 d/e/ d/e/f:1 g:1",
            "fail d, keep d, remove g",
        ),
        ("d! ", "d/ d/a:1 g:1", "fail d, keep d, remove g"),
        (
            "d/ d/e/ d/e!",
            "d/ d/a:1 d/e/ d/e/f:1",
            "fail d/e, keep d/e, remove d/a",
        ),
        ("d/ d!", "d/", "fail d"),
        ("a:1 d!", "a:1", "fail d, 1 same"),
        // What the source has, but cannot be moved, is no surplus.
        ("d@", "d/ d/a:1", "skip d"),
        ("s=", "s:1", "skip s"),
        // The suite's own names, and the folders that they are in.
        (
            "",
            "d/ d/.a.part:1 d/b:1 .mini-ftp.1:1 .mini-ftp/ .mini-ftp/x:1",
            "remove d/b",
        ),
        ("d:1", "d/ d/.a.part:1 d/b:1", "fail d"),
        // What cannot be listed cannot be removed.
        ("", "d/ d/e/ d/e! d/a:1", "fail d/e, remove d/a"),
        ("d:1", "d/ d!", "fail d"),
    ] {
        assert_eq!(
            told(source, target, &DELETE),
            expected,
            "{source} | {target}"
        );
    }
}

#[test]
fn what_the_rules_leave_out_is_neither_moved_nor_removed() {
    let includes = |path: &[u8], kind| {
        let name = path.rsplit(|&byte| byte == b'/').next().unwrap();
        name != b"x" && (kind != EntryKind::Directory || name != b"cache")
    };
    let rules = MirrorRules {
        includes: &includes,
        ..DELETE
    };
    for (source, target, expected) in [
        ("x:1 x!", "", ""),
        ("cache/ cache/a:1 cache/d/ cache/d!", "", ""),
        ("cache:1", "", "move cache"),
        ("", "x:1 cache/ cache/a:1 d/ d/x:1 d/b:1", "remove d/b"),
        ("d:1", "d/ d/x:1", "fail d"),
        ("cache:1", "cache/ cache/a:1", "fail cache"),
        ("cache/ cache/a:1", "cache:1", ""),
        ("x/ x/a:1", "x/ x! x/b:1", ""),
    ] {
        assert_eq!(
            told(source, target, &rules),
            expected,
            "{source} | {target}"
        );
    }
}

#[test]
fn newer_targets_stay_and_contents_are_compared_where_asked() {
    let update = MirrorRules {
        update: true,
        ..PLAIN
    };
    let source = "a:1 b:1+9 c:1 d:2";
    let target = "a:2+9 b:2 c:1+9 d:2";
    assert_eq!(told(source, target, &update), "move b, 1 same, 2 newer");
    let content = MirrorRules {
        comparison: Comparison::Content,
        ..PLAIN
    };
    assert_eq!(
        told(source, target, &content),
        "move a, move b, compare c, compare d"
    );
}

#[test]
fn times_are_the_same_as_far_as_both_sides_keep_them() {
    const SECOND: i64 = 1_000_000_000;
    let now = 1_700_000_000 * SECOND;
    for (one, other, expected) in [
        (now + 123_456_789, now + 123_456_789, true),
        (now + 123_456_789, now + 123_456_788, false),
        // Whole seconds, cut or rounded.
        (now + 123_456_789, now, true),
        (now + 623_456_789, now + SECOND, true),
        (now + 123_456_789, now - SECOND, false),
        (now, now + SECOND, false),
        // Microseconds, and the 100 ns of some file systems.
        (now + 123_456_789, now + 123_456_000, true),
        (now + 123_456_789, now + 123_455_000, false),
        (now + 123_456_789, now + 123_456_700, true),
        (-1, -SECOND, true),
        (-1, 0, true),
        (i64::MIN, i64::MAX, false),
    ] {
        assert_eq!(is_same_time(one, other), expected, "{one} {other}");
        assert_eq!(is_same_time(other, one), expected, "{other} {one}");
    }
}

/// What a name is, as far as content goes.
type Content = (EntryKind, u64, i64);

fn contents(tree: &Tree) -> BTreeMap<Vec<u8>, Content> {
    let content = |entry: &Entry| (entry.kind, entry.size, entry.modified_ns);
    let names = tree.names.iter();
    names
        .map(|(path, entry)| (path.clone(), content(entry)))
        .collect()
}

/// Makes the changes as the file systems would: nothing is made without its folder, no folder removed that is not empty.
fn apply(changes: &Changes, source: &Tree, target: &Tree) -> Tree {
    let mut result = target.clone();
    let remove = |result: &mut Tree, path: &Vec<u8>| {
        assert_eq!(result.below(path).count(), 0, "{path:?} is not empty");
        assert!(result.names.remove(path).is_some(), "{path:?} is not there");
    };
    let make = |result: &mut Tree, path: &Vec<u8>| {
        let folder = result.names.get(parent(path)).map(|entry| entry.kind);
        assert!(parent(path).is_empty() || folder == Some(EntryKind::Directory));
        let there = result
            .names
            .insert(path.clone(), source.names[path].clone());
        let kind = source.names[path].kind;
        assert!(there.is_none_or(|there| there.kind == kind || there.kind == EntryKind::Link));
    };
    changes
        .clear
        .iter()
        .for_each(|(path, _)| remove(&mut result, path));
    changes
        .folders
        .iter()
        .for_each(|path| make(&mut result, path));
    let moved = changes.files.iter().chain(&changes.doubtful);
    moved.for_each(|path| make(&mut result, path));
    changes
        .remove
        .iter()
        .for_each(|(path, _)| remove(&mut result, path));
    result
}

fn any_tree() -> impl Strategy<Value = Tree> {
    let name = "[abx]";
    let path = prop::collection::vec(name, 1..4).prop_map(|names| names.join("/"));
    let leaf = (path, 0..6_u8, 0..3_i64);
    prop::collection::vec(leaf, 0..12).prop_map(|leaves| {
        let mut tree = Tree::default();
        for (path, kind, seconds) in leaves {
            let path = path.into_bytes();
            let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
            let above: Vec<&[u8]> = ends.map(|(end, _)| &path[..end]).collect();
            let is_taken = |path: &&[u8]| {
                let there = tree.names.get(*path);
                there.is_some_and(|there| there.kind != EntryKind::Directory)
            };
            if above.iter().any(is_taken) || tree.names.contains_key(&path) {
                continue;
            }
            for folder in above {
                let made = entry(EntryKind::Directory, 0, 0);
                tree.names.entry(folder.to_vec()).or_insert(made);
            }
            let kind = match kind {
                0 => EntryKind::Directory,
                1 => EntryKind::Link,
                _ => EntryKind::File,
            };
            let size = u64::from(kind == EntryKind::File);
            tree.names.insert(path, entry(kind, size, seconds));
        }
        tree
    })
}

fn is_at_or_below(path: &[u8], folders: &BTreeSet<Vec<u8>>) -> bool {
    std::iter::successors(Some(path), |path| Some(parent(path)))
        .take_while(|path| !path.is_empty())
        .any(|path| folders.contains(path))
}

fn no_x(path: &[u8], _: EntryKind) -> bool {
    path.rsplit(|&byte| byte == b'/').next() != Some(b"x")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Where nothing fails, the target becomes the source, less links and what is left out; what is left out stays.
    #[test]
    fn applying_the_plan_gives_the_source(source in any_tree(), target in any_tree()) {
        let rules = MirrorRules { includes: &no_x, ..DELETE };
        let changes = plan(&source, &target, &rules);
        let result = contents(&apply(&changes, &source, &target));
        let (source, target) = (contents(&source), contents(&target));
        let failed: BTreeSet<Vec<u8>> = changes.failed.iter().map(|(path, _)| path.clone()).collect();
        let links: BTreeSet<Vec<u8>> = source.iter()
            .filter(|(_, content)| content.0 == EntryKind::Link)
            .map(|(path, _)| path.clone()).collect();
        let left_out = |path: &[u8]| path.split(|&byte| byte == b'/').any(|name| name == b"x");
        let stays: BTreeSet<Vec<u8>> = target.keys()
            .filter(|path| left_out(path) || is_at_or_below(path, &links) || is_at_or_below(path, &failed))
            .cloned().collect();
        for path in &stays {
            prop_assert_eq!(result.get(path), target.get(path), "{:?} stays", path);
        }
        for (path, content) in &source {
            let is_expected = !left_out(path) && !links.contains(path) && !is_at_or_below(path, &failed);
            if is_expected && content.0 == EntryKind::File {
                prop_assert_eq!(result.get(path), Some(content), "{:?}", path);
            } else if is_expected {
                prop_assert_eq!(result.get(path).map(|found| found.0), Some(EntryKind::Directory));
            }
        }
        for path in result.keys() {
            let holds = |path: &Vec<u8>| stays.iter().any(|stays| stays.starts_with(&[path.as_slice(), b"/"].concat()));
            prop_assert!(source.contains_key(path) || stays.contains(path) || holds(path), "{:?} is too many", path);
        }
    }

    #[test]
    fn a_second_run_moves_nothing(source in any_tree(), target in any_tree(), delete: bool) {
        let rules = MirrorRules { includes: &no_x, delete, ..PLAIN };
        let changes = plan(&source, &target, &rules);
        let result = apply(&changes, &source, &target);
        let again = plan(&source, &result, &rules);
        prop_assert_eq!((again.clear, again.folders, again.files), Default::default());
        prop_assert_eq!((again.doubtful, again.remove), Default::default());
        prop_assert_eq!(again.failed, changes.failed);
    }

    /// Without leave to remove, everything that is there stays, but for contents that are replaced.
    #[test]
    fn nothing_is_removed_unless_asked(source in any_tree(), target in any_tree()) {
        let changes = plan(&source, &target, &PLAIN);
        prop_assert_eq!((&changes.clear, &changes.remove), (&Vec::new(), &Vec::new()));
        let result = apply(&changes, &source, &target);
        for (path, entry) in &target.names {
            let kind = result.names.get(path).map(|entry| entry.kind);
            prop_assert!(kind == Some(entry.kind) || entry.kind == EntryKind::Link);
        }
    }
}
