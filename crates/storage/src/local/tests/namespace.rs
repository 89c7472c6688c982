//! Making, removing and renaming names.

use std::os::unix::fs::symlink;
use std::time::UNIX_EPOCH;

use protocol::Version;

use super::*;
use crate::OpenFile;
use crate::local::LocalFile;

#[test]
fn folders_are_made_one_by_one_or_with_those_above() {
    let served = Served::new();
    served.write("file", b"");
    symlink(".", served.at("link")).unwrap();
    let make = |name: &str, parents| served.storage.make_directory(&path(name), parents);
    assert_eq!(code(make("/a/b/c", false)), ErrorCode::NotFound);
    make("/a/b/c", true).unwrap();
    make("/a/b/c", true).unwrap();
    make("/link", true).unwrap();
    make("/link/d/e", true).unwrap();
    assert!(served.at("d/e").is_dir());
    assert_eq!(code(make("/a", false)), ErrorCode::Exists);
    assert_eq!(code(make("/file", true)), ErrorCode::Exists);
    assert_eq!(code(make("/file/x", true)), ErrorCode::NotDirectory);
    assert_eq!(code(make("/file/x", false)), ErrorCode::NotDirectory);
}

#[test]
fn what_is_seen_from_a_folder_ends_there() {
    let served = Served::new();
    served.write("secret", b"no");
    served.write("home/file", b"yes");
    for (link, target) in [
        ("up", ".."),
        ("out", "../secret"),
        ("absolute", "/etc"),
        ("in", "file"),
    ] {
        symlink(target, served.at("home").join(link)).unwrap();
    }
    symlink("home", served.at("door")).unwrap();
    let beneath = |home: &str| served.storage.beneath(&path(home), None);
    for home in ["/home", "/door"] {
        let seen = beneath(home).unwrap();
        assert_eq!(seen.id(), served.storage.id());
        assert_eq!(seen.stat(&path("/in"), true).unwrap().size, 3);
        assert_eq!(code(seen.stat(&path("/secret"), true)), ErrorCode::NotFound);
        for name in ["/out", "/up", "/absolute", "/up/secret"] {
            assert_eq!(
                code(seen.stat(&path(name), true)),
                ErrorCode::BadLink,
                "{name}"
            );
        }
        assert_eq!(
            code(seen.rename(&path("/file"), &path("/up/x"), false)),
            ErrorCode::BadLink
        );
        assert_eq!(
            code(seen.make_directory(&path("/up/x"), false)),
            ErrorCode::BadLink
        );
        assert_eq!(
            code(seen.remove(&path("/up/secret"), false)),
            ErrorCode::BadLink
        );
        assert_eq!(code(seen.remove(&path("/"), true)), ErrorCode::NotPermitted);
        let stored = seen.store_whole(&upload("/new"), (b"new", &digest(b"new")));
        stored.unwrap();
        assert_eq!(fs::read(served.at("home/new")).unwrap(), b"new");
        seen.remove(&path("/new"), false).unwrap();
        assert_eq!(
            code(seen.store_whole(&upload("/up/x"), (b"x", &digest(b"x")))),
            ErrorCode::BadLink
        );
    }
    // A folder that is held stays the one that it was.
    let seen = beneath("/home").unwrap();
    fs::rename(served.at("home"), served.at("moved")).unwrap();
    served.write("home/other", b"");
    assert_eq!(code(seen.stat(&path("/other"), true)), ErrorCode::NotFound);
    for (home, refusal) in [
        ("/missing", ErrorCode::NotFound),
        ("/secret", ErrorCode::NotDirectory),
        ("/.mini-ftp", ErrorCode::BadName),
        ("/moved/absolute", ErrorCode::BadLink),
    ] {
        assert_eq!(code(beneath(home)), refusal, "{home}");
    }
}

#[test]
fn removing_takes_the_link_and_never_what_it_leads_to() {
    let served = Served::new();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("kept"), b"").unwrap();
    served.write("tree/deep/file", b"");
    symlink(outside.path(), served.at("tree/deep/link")).unwrap();
    symlink("tree", served.at("link")).unwrap();
    let remove = |name: &str, recursive| served.storage.remove(&path(name), recursive);
    assert_eq!(code(remove("/missing", false)), ErrorCode::NotFound);
    assert_eq!(code(remove("/tree", false)), ErrorCode::IsDirectory);
    remove("/link", true).unwrap();
    assert!(served.at("tree/deep/file").exists());
    remove("/tree", true).unwrap();
    assert!(!served.at("tree").exists());
    assert!(outside.path().join("kept").exists());
}

#[test]
fn large_and_deep_trees_are_removed() {
    let served = Served::new();
    for index in 0..3_000 {
        served.write(&format!("tree/{}/{index}", index % 7), b"");
    }
    served.write(&format!("tree/{}file", "d/".repeat(200)), b"");
    served.storage.remove(&path("/tree"), true).unwrap();
    assert!(!served.at("tree").exists());
    served.write(&format!("tree/{}file", "d/".repeat(300)), b"");
    let refused = served.storage.remove(&path("/tree"), true);
    assert_eq!(code(refused), ErrorCode::NameTooLong);
    assert!(served.at("tree").exists());
}

#[test]
fn only_empty_folders_are_removed_as_folders() {
    let served = Served::new();
    served.write("folder/file", b"");
    let remove = |name: &str| served.storage.remove_directory(&path(name));
    assert_eq!(code(remove("/folder")), ErrorCode::NotEmpty);
    assert_eq!(code(remove("/folder/file")), ErrorCode::NotDirectory);
    assert_eq!(code(remove("/missing")), ErrorCode::NotFound);
    fs::remove_file(served.at("folder/file")).unwrap();
    remove("/folder").unwrap();
    assert!(!served.at("folder").exists());
}

#[test]
fn renaming_replaces_only_when_asked() {
    let served = Served::new();
    served.write("a", b"a");
    served.write("b", b"b");
    served.write("folder/file", b"");
    served.write("empty/x", b"");
    fs::remove_file(served.at("empty/x")).unwrap();
    symlink("folder", served.at("link")).unwrap();
    let rename =
        |from: &str, to: &str, replace| served.storage.rename(&path(from), &path(to), replace);
    for (from, to, replace, expected) in [
        ("/a", "/b", false, ErrorCode::Exists),
        ("/a", "/a", false, ErrorCode::Exists),
        ("/missing", "/c", true, ErrorCode::NotFound),
        ("/a", "/missing/c", true, ErrorCode::NotFound),
        ("/a", "/b/c", true, ErrorCode::NotDirectory),
        ("/a", "/folder", true, ErrorCode::IsDirectory),
        ("/folder", "/a", true, ErrorCode::NotDirectory),
        ("/empty", "/folder", true, ErrorCode::NotEmpty),
        ("/folder", "/folder/below", true, ErrorCode::BadRename),
        ("/folder", "/link/below", true, ErrorCode::BadRename),
        ("/folder", "/link/below", false, ErrorCode::BadRename),
    ] {
        assert_eq!(code(rename(from, to, replace)), expected, "{from} {to}");
    }
    rename("/a", "/a", true).unwrap();
    rename("/a", "/b", true).unwrap();
    assert_eq!(fs::read(served.at("b")).unwrap(), b"a");
    assert!(!served.at("a").exists());
    rename("/b", "/folder/b", false).unwrap();
    rename("/folder", "/moved", false).unwrap();
    assert!(served.at("moved/b").exists());
}

#[test]
fn of_two_names_of_one_file_the_old_one_goes() {
    let served = Served::new();
    served.write("a", b"a");
    fs::hard_link(served.at("a"), served.at("b")).unwrap();
    served
        .storage
        .rename(&path("/a"), &path("/b"), true)
        .unwrap();
    assert!(!served.at("a").exists());
    assert_eq!(fs::read(served.at("b")).unwrap(), b"a");
}

#[test]
fn a_file_that_two_move_to_and_fro_is_never_without_a_name() {
    let served = Served::new();
    served.write("a", b"content");
    let moved = |from: &str, to: &str| {
        let (from, to) = (path(from), path(to));
        let rename = || served.storage.rename(&from, &to, true).is_ok();
        (0..4_000).filter(|_| rename()).count()
    };
    let (to, fro) = std::thread::scope(|scope| {
        let to = scope.spawn(|| moved("/a", "/b"));
        (moved("/b", "/a"), to.join().unwrap())
    });
    assert_ne!((to, fro), (0, 0));
    assert_ne!(served.at("a").exists(), served.at("b").exists());
}

#[test]
fn a_time_is_set_and_what_is_known_of_the_content_stays_known() {
    let served = Served::new();
    served.write("a", b"content");
    served.write("folder/x", b"");
    let file = fs::OpenOptions::new().write(true).open(served.at("a"));
    file.unwrap().set_modified(UNIX_EPOCH).unwrap();
    let stat = || served.storage.stat(&path("/a"), true).unwrap();
    let opened = served.storage.open(&path("/a"), None).unwrap();
    opened.remember_digest(&Digest([7; 32]));
    drop(opened);
    let (before, nanoseconds) = (stat(), 1_500_000_000_123_456_789);
    let set = |name: &str, version: Option<&Version>| {
        served.storage.set_time(&path(name), nanoseconds, version)
    };
    set("/a", before.version.as_ref()).unwrap();
    let after = stat();
    assert_eq!(after.modified_ns, nanoseconds);
    assert_eq!(
        (after.size, after.mode, after.digest),
        (before.size, before.mode, before.digest)
    );
    assert_eq!(code(set("/a", before.version.as_ref())), ErrorCode::Changed);
    assert_eq!(code(set("/folder", None)), ErrorCode::IsDirectory);
    assert_eq!(code(set("/missing", None)), ErrorCode::NotFound);
}

#[test]
fn a_time_carries_no_digest_to_a_content_that_came_meanwhile() {
    let served = Served::new();
    served.write("a", b"content");
    let open = || LocalFile::open(&served.storage.root, &path("/a"), None).unwrap();
    let opened = open();
    opened.remember_digest(&Digest([7; 32]));
    served.write("a", b"another content");
    opened.set_time(1_500_000_000_123_456_789).unwrap();
    assert_eq!(open().cached_digest(), None);
}
