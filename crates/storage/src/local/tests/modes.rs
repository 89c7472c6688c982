//! Modes that are in the way of whoever stores the file.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use rustix::thread::CapabilitySet;

use super::*;
use crate::local::abandoned::Whereabouts;
use crate::local::staging::Place;

const FOREVER: Duration = Duration::from_secs(1_000_000);

#[test]
fn what_a_writer_left_read_only_is_gone_on_with_and_swept() {
    let served = Served::new();
    for mode in [0o000, 0o444] {
        let mut upload = served.begin(&resumable("/file", 1)).unwrap();
        upload.write_all_at(b"left", 0).unwrap();
        upload.keep();
        let left = served.staged().remove(0);
        fs::set_permissions(&left, fs::Permissions::from_mode(mode)).unwrap();
        let upload = served.begin(&resumable("/file", 1)).unwrap();
        assert_eq!(upload.offset(), 4);
        upload.keep();
        let left = served.staged().remove(0);
        fs::set_permissions(&left, fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(served.storage.sweep(Duration::ZERO, 0).unwrap(), 1);
    }
}

#[test]
fn a_mode_that_lets_nobody_write_does_not_hinder_the_storing() {
    let served = Served::new();
    let kept = !u32::from(served.storage.root.umask);
    for (mode, id) in [(0o444, None), (0o751, None), (0o400, Some(1))] {
        let request = UploadRequest {
            mode,
            ..id.map_or_else(|| upload("/file"), |id| resumable("/file", id))
        };
        served.store(&request, b"content").unwrap();
        let facts = fs::metadata(served.at("file")).unwrap();
        let expected = u32::from(mode) & kept;
        assert_eq!(facts.permissions().mode() & 0o7777, expected, "{mode:o}");
    }
}

/// Does it as an ordinary user would, for whom modes count.
fn without_privileges<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let give_up = || {
        let mut sets = rustix::thread::capabilities(None).unwrap();
        sets.effective = CapabilitySet::empty();
        rustix::thread::set_capabilities(None, sets).unwrap();
    };
    let begun = std::thread::scope(|threads| {
        let work = || {
            give_up();
            work()
        };
        threads.spawn(work).join()
    });
    begun.unwrap()
}

#[test]
fn the_digest_of_a_file_that_not_even_its_owner_may_write_is_kept() {
    let served = Served::new();
    served.store(&upload("/usual"), b"content").unwrap();
    let of = |name: &str| served.storage.stat(&path(name), true).unwrap().digest;
    if of("/usual").is_none() {
        return skipped("no extended attributes here");
    }
    for (name, id) in [("/once", None), ("/resumable", Some(1))] {
        let request = UploadRequest {
            mode: 0o444,
            ..id.map_or_else(|| upload(name), |id| resumable(name, id))
        };
        without_privileges(|| served.store(&request, b"content")).unwrap();
        assert_eq!(of(name), Some(digest(b"content")), "{name}");
        let facts = fs::metadata(served.at(&name[1..])).unwrap();
        assert_eq!(facts.permissions().mode() & 0o7777, 0o444, "{name}");
    }
}

/// As an upload is whose mode is set already, and which is being flushed.
#[test]
fn whoever_looks_at_an_upload_leaves_its_mode_alone() {
    let served = Served::new();
    let request = resumable("/file", 1);
    for mode in [0o000, 0o444] {
        let mut upload = served.begin(&request).unwrap();
        upload.write_all_at(b"content", 0).unwrap();
        let staged = served.staged().remove(0);
        fs::set_permissions(&staged, fs::Permissions::from_mode(mode)).unwrap();
        let staging = served.storage.root.staging.as_ref().unwrap();
        let place = Place {
            folder: Arc::clone(&staging.folder),
            beside_target: false,
        };
        let (whereabouts, swept) = without_privileges(|| {
            let id = request.id.as_ref().unwrap();
            (place.whereabouts(id), place.sweep(FOREVER, 0).unwrap())
        });
        assert!(matches!(whereabouts, Whereabouts::Live), "{mode:o}");
        assert_eq!(swept, 0, "{mode:o}");
        let now = fs::metadata(&staged).unwrap().permissions().mode();
        assert_eq!(now & 0o7777, mode);
        upload.discard();
    }
}
