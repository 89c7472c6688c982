//! Small files, which come whole: with what is known of them, and again and again.

use std::fs::File;
use std::os::unix::fs::symlink;
use std::time::{Duration, SystemTime};

use protocol::{ErrorCode, Reply, Request};

use super::{Wire, alone, code_of, digest, path, retrieve};
use crate::harness::{PATIENCE, Setup, open_descriptors, random_bytes, wait_until};

#[test]
fn a_small_file_comes_whole_with_what_is_known_of_it_and_of_anything_else_that_alone() {
    let cluster = alone();
    let content = random_bytes(4, 65_536);
    for (name, length) in [("empty", 0), ("small", 5), ("most", 65_536)] {
        cluster.write(name, &content[..length]);
    }
    cluster.write("large", &random_bytes(5, 65_537));
    std::fs::create_dir(cluster.path("folder")).unwrap();
    for (link, target) in [("link", "small"), ("up", "folder")] {
        symlink(target, cluster.path(link)).unwrap();
    }
    let whole = |name: &str, most| Request::RetrieveWhole {
        path: path(name),
        most,
    };
    let mut wire = Wire::open(cluster.address());
    for (name, most, length) in [
        ("/empty", 0, 0),
        ("/small", 5, 5),
        ("/link", u32::MAX, 5),
        ("/most", u32::MAX, 65_536),
    ] {
        let fetched = wire.fetch(&whole(name, most));
        let facts = wire.ask(&Request::Stat {
            path: path(name),
            follow: true,
        });
        let Reply::Facts { entry } = facts else {
            panic!("{facts:?}");
        };
        let announced = Reply::Content {
            version: entry.version.unwrap(),
            size: length as u64,
            modified_ns: entry.modified_ns,
            mode: entry.mode,
            offset: 0,
            length: length as u64,
        };
        assert_eq!(fetched.announced, announced, "{name}");
        assert!(fetched.content == content[..length], "{name}");
        let digest = Some(digest(&content[..length]));
        assert_eq!(fetched.end, Reply::ContentEnd { digest }, "{name}");
    }
    for (name, most) in [
        ("/small", 4),
        ("/large", u32::MAX),
        ("/folder", 9),
        ("/up", 9),
    ] {
        let facts = Request::Stat {
            path: path(name),
            follow: true,
        };
        assert_eq!(wire.ask(&whole(name, most)), wire.ask(&facts), "{name}");
    }
    let missing = wire.ask(&whole("/missing", 9));
    assert_eq!(code_of(&missing), ErrorCode::NotFound);
}

#[test]
fn a_small_file_that_is_fetched_again_and_again_is_told_as_it_is() {
    let cluster = Setup::new(1)
        .observable()
        .without_master()
        .workers(1)
        .start();
    let mut wire = Wire::open(cluster.address());
    let long_ago = SystemTime::now() - Duration::from_secs(3600);
    for content in [b"before", b"behind"] {
        // The same file, of the same length and, as far as that can be put back, of the same time.
        cluster.write("small", content);
        let file = File::options().write(true).open(cluster.path("small"));
        file.unwrap().set_modified(long_ago).unwrap();
        // What has changed just now is not remembered.
        std::thread::sleep(Duration::from_millis(30));
        for _ in 0..4 {
            let fetched = wire.fetch(&retrieve("/small", 0));
            let digest = Some(digest(content));
            assert_eq!(fetched.content, content);
            assert_eq!(fetched.end, Reply::ContentEnd { digest });
        }
    }
    let worker = cluster.slaves[0].workers()[0];
    wait_until("the file to be closed", PATIENCE, || {
        !open_descriptors(worker).contains(&cluster.path("small"))
    });
    assert!(!open_descriptors(worker).is_empty());
}
