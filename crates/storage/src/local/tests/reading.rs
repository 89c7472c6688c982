//! Facts, listings, reading, digests.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};

use protocol::limits::{BLOCK, MAX_DEPTH, MAX_PATH};
use rustix::fs::{CWD, FileType, Mode};
use transfer::Source;
use transfer::block_tree;

use super::*;

const FACTS: ListOptions = ListOptions {
    recursive: false,
    facts: true,
};
const TREE: ListOptions = ListOptions {
    recursive: true,
    facts: false,
};

#[test]
fn facts_about_every_kind() {
    let served = Served::new();
    served.write("folder/file", b"12345");
    symlink("folder/file", served.at("inside")).unwrap();
    symlink("/etc/passwd", served.at("outside")).unwrap();
    symlink("../..", served.at("folder/above")).unwrap();
    symlink("circle", served.at("circle")).unwrap();
    let stat = |name: &str, follow| served.storage.stat(&path(name), follow);
    let file = stat("/folder/file", false).unwrap();
    assert_eq!((file.kind, file.size), (EntryKind::File, 5));
    assert!(file.version.is_some() && file.name.is_empty());
    let folder = stat("/folder", true).unwrap();
    assert_eq!((folder.kind, folder.version), (EntryKind::Directory, None));
    assert_eq!(stat("/inside", false).unwrap().kind, EntryKind::Link);
    assert_eq!(stat("/inside", true).unwrap().version, file.version);
    assert_eq!(stat("/outside", false).unwrap().kind, EntryKind::Link);
    for (name, expected) in [
        ("/outside", ErrorCode::BadLink),
        ("/folder/above", ErrorCode::BadLink),
        ("/folder/above/etc", ErrorCode::BadLink),
        ("/circle", ErrorCode::BadLink),
        ("/missing", ErrorCode::NotFound),
        ("/missing/file", ErrorCode::NotFound),
        ("/folder/file/x", ErrorCode::NotDirectory),
    ] {
        assert_eq!(code(stat(name, true)), expected, "{name}");
    }
}

#[test]
fn only_regular_files_open_and_a_pipe_does_not_hang() {
    let served = Served::new();
    served.write("folder/file", b"content");
    symlink("folder/file", served.at("inside")).unwrap();
    symlink("/etc/passwd", served.at("outside")).unwrap();
    let mode = Mode::RWXU;
    rustix::fs::mknodat(CWD, served.at("pipe"), FileType::Fifo, mode, 0).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(served.at("socket")).unwrap();
    let open = |name: &str| served.storage.open(&path(name), None);
    assert_eq!(code(open("/folder")), ErrorCode::IsDirectory);
    assert_eq!(code(open("/")), ErrorCode::IsDirectory);
    assert_eq!(code(open("/pipe")), ErrorCode::NotRegular);
    assert_eq!(code(open("/socket")), ErrorCode::NotRegular);
    assert_eq!(code(open("/outside")), ErrorCode::BadLink);
    assert_eq!(code(open("/missing")), ErrorCode::NotFound);
    let file = open("/inside").unwrap();
    let mut buffer = [0; 16];
    assert_eq!(file.read_at(&mut buffer, 3).unwrap(), 4);
    assert_eq!(&buffer[..4], b"tent");
    assert!(matches!(
        file.source(0).unwrap(),
        Source::File { length: 7, .. }
    ));
}

#[test]
fn whatever_is_done_to_a_file_touches_it() {
    type Deed = fn(&Served);
    let deeds: [(&str, Deed); 5] = [
        ("written", |served| served.write("file", b"CONTENT")),
        ("replaced", |served| {
            fs::rename(served.at("other"), served.at("file")).unwrap();
        }),
        ("removed", |served| {
            fs::remove_file(served.at("file")).unwrap();
        }),
        ("renamed", |served| {
            fs::rename(served.at("file"), served.at("moved")).unwrap();
        }),
        ("hidden", |served| {
            let mode = fs::Permissions::from_mode(0o0);
            fs::set_permissions(served.at("file"), mode).unwrap();
        }),
    ];
    for (what, deed) in deeds {
        let served = Served::new();
        served.write("file", b"content");
        served.write("other", b"another");
        let open = || served.storage.open(&path("/file"), None).unwrap();
        assert!(!open().has_settled());
        while !open().has_settled() {}
        let file = open();
        file.read_at(&mut [0; 7], 0).unwrap();
        assert!(file.untouched().unwrap(), "not yet {what}");
        deed(&served);
        assert!(!file.untouched().unwrap(), "{what}");
    }
}

#[test]
fn another_version_is_refused_and_changes_are_noticed() {
    let served = Served::new();
    served.write("file", b"first");
    let file = served.storage.open(&path("/file"), None).unwrap();
    let version = file.version().clone();
    assert!(file.unchanged().unwrap());
    served.write("file", b"second one");
    assert!(!file.unchanged().unwrap());
    assert_eq!(
        code(served.storage.open(&path("/file"), Some(&version))),
        ErrorCode::Changed
    );
    assert_eq!(code(file.digest(&mut no_progress())), ErrorCode::Changed);
    let again = served.storage.open(&path("/file"), None).unwrap();
    assert_ne!(*again.version(), version);
}

/// Makes a file old enough for its digest to be kept.
fn settle(served: &Served, name: &str) {
    let file = fs::File::options()
        .write(true)
        .open(served.at(name))
        .unwrap();
    let hour = std::time::Duration::from_secs(3600);
    file.set_modified(std::time::SystemTime::now() - hour)
        .unwrap();
}

#[test]
fn digests_are_kept_only_for_what_they_were_computed_for() {
    let served = Served::new();
    served.write("file", b"content");
    let young = served.storage.open(&path("/file"), None).unwrap();
    young.digest(&mut no_progress()).unwrap();
    settle(&served, "file");
    let file = served.storage.open(&path("/file"), None).unwrap();
    assert_eq!(file.cached_digest(), None);
    assert_eq!(
        file.digest(&mut no_progress()).unwrap(),
        Some(digest(b"content"))
    );
    if file.cached_digest().is_none() {
        skipped("no extended attributes here");
        return;
    }
    assert!(file.unchanged().unwrap());
    let known = served.storage.stat(&path("/file"), true).unwrap();
    assert_eq!(known.digest, Some(digest(b"content")));
    fs::copy(served.at("file"), served.at("copy")).unwrap();
    served.write("file", b"another");
    let changed = served.storage.open(&path("/file"), None).unwrap();
    assert_eq!(changed.cached_digest(), None);
    // Whatever is kept, the disk can be asked.
    changed.remember_digest(&digest(b"content"));
    let anew = changed.digest_anew(&mut no_progress()).unwrap();
    assert_eq!(anew, Some(digest(b"another")));
}

/// What is written while it is hashed could have the very time that its digest would be believed for.
#[test]
fn the_digest_of_what_was_young_when_its_hashing_began_is_not_kept() {
    let served = Served::new();
    served.write("file", b"content");
    let open = || served.storage.open(&path("/file"), None).unwrap();
    let young = open();
    let mut grow_old = |_| {
        while !open().content_settles_in().is_zero() {}
        ControlFlow::Continue(())
    };
    let hashed = young.digest(&mut grow_old).unwrap();
    assert_eq!(hashed, Some(digest(b"content")));
    assert_eq!(open().cached_digest(), None);
}

#[test]
fn a_large_file_is_hashed_once_it_has_settled_and_its_digest_kept() {
    let served = Served::new();
    served.write("known", b"content");
    settle(&served, "known");
    let open = |name| served.storage.open(&path(name), None).unwrap();
    open("/known").digest(&mut no_progress()).unwrap();
    if open("/known").cached_digest().is_none() {
        return skipped("no extended attributes here");
    }
    let file = fs::File::create(served.at("large")).unwrap();
    file.set_len(64 << 20).unwrap();
    let hashed = open("/large").digest(&mut no_progress()).unwrap();
    assert_eq!(open("/large").cached_digest(), hashed);
}

#[test]
fn hashing_can_be_watched_and_stopped() {
    let served = Served::new();
    let content = vec![7; 3 * 1024 * 1024 + 1];
    served.write("file", &content);
    let file = served.storage.open(&path("/file"), None).unwrap();
    let mut seen = Vec::new();
    let mut watch = |done| {
        seen.push(done);
        if done > BLOCK {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    };
    assert_eq!(file.digest(&mut watch).unwrap(), None);
    assert_eq!(seen, [BLOCK, 2 * BLOCK]);
}

#[test]
fn blocks_merge_into_the_digest_of_the_whole() {
    let served = Served::new();
    for length in [0, 1, 1024 * 1024, 1024 * 1024 + 1, 5_000_000] {
        let content: Vec<u8> = (0..length).map(|index: u32| (index % 251) as u8).collect();
        served.write("file", &content);
        let file = served.storage.open(&path("/file"), None).unwrap();
        let mut blocks = Vec::new();
        file.blocks(0, u64::MAX, &mut |index, digest| {
            assert_eq!(index, blocks.len() as u64);
            blocks.push(digest);
            ControlFlow::Continue(())
        })
        .unwrap();
        let whole = block_tree::merge(&blocks, content.len() as u64);
        assert_eq!(whole, Some(digest(&content)));
        let mut last = None;
        file.blocks(
            block_tree::block_count(content.len() as u64) - u64::from(length > 0),
            9,
            &mut |_, digest| {
                last = Some(digest);
                ControlFlow::Continue(())
            },
        )
        .unwrap();
        assert_eq!(last, blocks.last().copied());
    }
}

#[test]
fn any_name_that_is_no_path_works() {
    let served = Served::new();
    let long = "x".repeat(255);
    for name in [
        b"\xff\xfe\n\x1b[31m".as_slice(),
        b"-rf",
        "\u{202e}txt".as_bytes(),
        long.as_bytes(),
    ] {
        let file = RemotePath::root().join(name).unwrap();
        let request = UploadRequest {
            path: file.clone(),
            ..upload("/x")
        };
        served.store(&request, b"content").unwrap();
        assert_eq!(served.storage.stat(&file, false).unwrap().size, 7);
        let on_disk = served.folder.path().join(std::ffi::OsStr::from_bytes(name));
        assert_eq!(fs::read(on_disk).unwrap(), b"content");
        assert!(served.names("/", FACTS).contains(&name.to_vec()));
    }
}

#[test]
fn listings_tell_facts_only_when_asked() {
    let served = Served::new();
    served.write("file", b"12345");
    for options in [FACTS, ListOptions::default()] {
        served
            .storage
            .list(&path("/"), options, &mut |found| {
                let Found::Entry(entry) = found else {
                    panic!("unreadable")
                };
                assert_eq!(entry.kind, EntryKind::File);
                assert_eq!(entry.size, if options.facts { 5 } else { 0 });
                assert_eq!(entry.version.is_some(), options.facts);
                ControlFlow::Continue(())
            })
            .unwrap();
    }
    let list = |name: &str| {
        let visit = &mut |_| ControlFlow::Continue(());
        served.storage.list(&path(name), FACTS, visit)
    };
    assert_eq!(code(list("/file")), ErrorCode::NotDirectory);
    assert_eq!(code(list("/missing")), ErrorCode::NotFound);
}

#[test]
fn in_a_large_folder_each_name_has_its_own_facts() {
    let served = Served::new();
    for number in 0..2_000 {
        let content = vec![0; number];
        served.write(&format!("many/{number}"), &content);
    }
    let mut seen = BTreeSet::new();
    let visit = &mut |found| {
        let Found::Entry(entry) = found else {
            panic!("unreadable")
        };
        let name = str::from_utf8(&entry.name).unwrap();
        assert_eq!(name.parse(), Ok(entry.size));
        assert!(seen.insert(entry.size));
        ControlFlow::Continue(())
    };
    served.storage.list(&path("/many"), FACTS, visit).unwrap();
    assert_eq!(seen.len(), 2_000);
}

#[test]
fn trees_name_folders_first_and_follow_no_links() {
    let served = Served::new();
    served.write("a/b/c", b"");
    served.write("a/d", b"");
    symlink("..", served.at("a/up")).unwrap();
    let mut order = Vec::new();
    served
        .storage
        .list(&path("/"), TREE, &mut |found| {
            let Found::Entry(entry) = found else {
                panic!("unreadable")
            };
            order.push(entry.name);
            ControlFlow::Continue(())
        })
        .unwrap();
    let place = |name: &str| {
        order
            .iter()
            .position(|seen| seen == name.as_bytes())
            .unwrap()
    };
    assert!(place("a") < place("a/b") && place("a/b") < place("a/b/c"));
    assert_eq!(order.len(), 5);
    let mut seen = 0;
    let stop = &mut |_| {
        seen += 1;
        ControlFlow::Break(())
    };
    served.storage.list(&path("/"), TREE, stop).unwrap();
    assert_eq!(seen, 1);
}

#[test]
fn what_lies_too_deep_is_named_and_passed_over() {
    let served = Served::new();
    served.write(&format!("{}file", "d/".repeat(MAX_DEPTH + 3)), b"");
    served.write("other", b"");
    let names = served.names("/", TREE);
    assert!(names.contains(&b"other".to_vec()));
    let deepest = "d/".repeat(MAX_DEPTH + 1);
    let unreadable = format!("!{}", deepest.trim_end_matches('/'));
    assert!(names.contains(&unreadable.into_bytes()));
    assert_eq!(names.len(), MAX_DEPTH + 3);
}

#[test]
fn names_that_no_request_could_have_are_told_of_once_and_passed_over() {
    let served = Served::new();
    let folder = format!(
        "{}{}",
        format!("{}/", "d".repeat(255)).repeat(15),
        "d".repeat(200)
    );
    served.write("other", b"");
    fs::create_dir_all(served.at(&folder)).unwrap();
    let opened = fs::File::open(served.at(&folder)).unwrap();
    let most = MAX_PATH - format!("/{folder}/").len();
    for length in [most, most + 1, 255] {
        let mode = Mode::from_raw_mode(0o700);
        rustix::fs::mkdirat(&opened, "n".repeat(length), mode).unwrap();
    }
    let told = |listed: &str, shown: &str| {
        let names = served.names(listed, TREE);
        let longest = names.iter().filter(|name| !name.starts_with(b"!"));
        let longest = longest.map(Vec::len).max();
        assert_eq!(longest, Some(shown.len() + most));
        let unreadable = format!("!{shown}")
            .trim_end_matches('/')
            .as_bytes()
            .to_vec();
        assert_eq!(names.iter().filter(|&name| *name == unreadable).count(), 1);
        names
    };
    assert!(told("/", &format!("{folder}/")).contains(&b"other".to_vec()));
    told(&format!("/{folder}"), "");
}

#[test]
fn a_folder_that_cannot_be_read_is_named_and_passed_over() {
    let served = Served::new();
    served.write("closed/file", b"");
    served.write("open/file", b"");
    let closed = fs::Permissions::from_mode(0o000);
    let before = fs::metadata(served.at("closed")).unwrap().permissions();
    fs::set_permissions(served.at("closed"), closed).unwrap();
    let names = served.names("/", TREE);
    fs::set_permissions(served.at("closed"), before).unwrap();
    if rustix::process::geteuid().is_root() {
        skipped("nothing is unreadable to root");
        return;
    }
    assert!(names.contains(&b"!closed".to_vec()));
    assert!(names.contains(&b"open/file".to_vec()));
}

#[test]
fn a_hundred_thousand_names_come_once_each_and_with_their_own_facts() {
    const NAMES: usize = 100_000;
    let modes = [0o400, 0o500, 0o600, 0o700];
    let mode = |index: usize| modes[index / 3 % 4];
    let served = Served::new();
    for index in 0..NAMES {
        let name = served.at(&format!("{index:06}"));
        let mode = Mode::from_raw_mode(u32::from(mode(index)));
        rustix::fs::mknodat(CWD, name, FileType::RegularFile, mode, 0).unwrap();
    }
    for facts in [false, true] {
        let options = ListOptions {
            facts,
            ..ListOptions::default()
        };
        let mut seen = vec![false; NAMES];
        let mut see = |found| {
            let Found::Entry(entry) = found else {
                panic!("unreadable")
            };
            let index: usize = str::from_utf8(&entry.name).unwrap().parse().unwrap();
            assert!(!std::mem::replace(&mut seen[index], true));
            assert_eq!(entry.mode, if facts { mode(index) } else { 0 });
            ControlFlow::Continue(())
        };
        served.storage.list(&path("/"), options, &mut see).unwrap();
        assert!(seen.into_iter().all(|seen| seen));
    }
}
