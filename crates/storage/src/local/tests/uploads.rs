//! Uploads: staged, verified, durable, renamed; resumed; swept.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::time::Duration;

use super::*;

const FOREVER: Duration = Duration::from_secs(1_000_000);

#[test]
fn a_stored_file_has_content_time_mode_and_digest() {
    let served = Served::new();
    let request = UploadRequest {
        mode: 0o7777,
        size: Some(7),
        ..upload("/file")
    };
    let stored = served.store(&request, b"content").unwrap();
    assert_eq!(stored.digest, digest(b"content"));
    assert_eq!(fs::read(served.at("file")).unwrap(), b"content");
    let facts = fs::metadata(served.at("file")).unwrap();
    assert_eq!(
        (facts.mtime(), facts.mtime_nsec()),
        (1_700_000_000, 123_456_789)
    );
    let expected = 0o777 & !u32::from(served.storage.root.umask);
    assert_eq!(facts.permissions().mode() & 0o7777, expected);
    let entry = served.storage.stat(&path("/file"), true).unwrap();
    assert_eq!(entry.version, Some(stored.version));
    if entry.digest.is_none() {
        skipped("no extended attributes here");
    } else {
        assert_eq!(entry.digest, Some(digest(b"content")));
    }
    assert!(served.staged().is_empty());
}

#[test]
fn nothing_is_visible_before_the_commit() {
    let served = Served::new();
    served.write("file", b"old");
    let mut upload = served.begin(&resumable("/file", 1)).unwrap();
    upload.write_all_at(b"new", 0).unwrap();
    assert_eq!(served.names("/", ListOptions::default()), [b"file"]);
    assert_eq!(fs::read(served.at("file")).unwrap(), b"old");
    let staged = served.staged();
    let mode = fs::metadata(&staged[0]).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    upload.commit(&received(b"new")).unwrap();
    assert_eq!(fs::read(served.at("file")).unwrap(), b"new");
    assert!(served.staged().is_empty());
}

#[test]
fn a_wrong_digest_or_length_is_never_published() {
    let served = Served::new();
    for wrong in [
        Received {
            announced: digest(b"other"),
            ..received(b"new")
        },
        Received {
            length: 4,
            ..received(b"new")
        },
    ] {
        let mut upload = served.begin(&resumable("/file", 1)).unwrap();
        upload.write_all_at(b"new", 0).unwrap();
        assert_eq!(code(upload.commit(&wrong)), ErrorCode::Corrupt);
        assert!(served.staged().is_empty());
        assert!(!served.at("file").exists());
    }
    let lie = served
        .storage
        .store_whole(&upload("/file"), (b"new", &digest(b"other")));
    assert_eq!(code(lie), ErrorCode::Corrupt);
}

#[test]
fn targets_that_cannot_be_files_are_refused_at_once() {
    let served = Served::new();
    served.write("folder/file", b"");
    symlink("folder", served.at("to-folder")).unwrap();
    for (target, expected) in [
        ("/folder", ErrorCode::IsDirectory),
        ("/to-folder", ErrorCode::IsDirectory),
        ("/missing/file", ErrorCode::NotFound),
        ("/folder/file/x", ErrorCode::NotDirectory),
    ] {
        assert_eq!(code(served.begin(&upload(target))), expected, "{target}");
    }
    let huge = UploadRequest {
        size: Some(u64::MAX / 2),
        ..upload("/huge")
    };
    assert_eq!(code(served.begin(&huge)), ErrorCode::NoSpace);
    assert!(served.staged().is_empty());
}

#[test]
fn a_link_is_replaced_and_never_written_through() {
    let served = Served::new();
    let outside = tempfile::NamedTempFile::new().unwrap();
    symlink(outside.path(), served.at("link")).unwrap();
    served.store(&upload("/link"), b"content").unwrap();
    assert_eq!(fs::read(outside.path()).unwrap(), b"");
    assert!(served.at("link").symlink_metadata().unwrap().is_file());
}

#[test]
fn conditions_hold_when_the_name_is_given() {
    let served = Served::new();
    let absent = UploadRequest {
        condition: Condition::Absent,
        ..upload("/file")
    };
    let late = served.stage(&absent, b"late");
    let first = served.store(&absent, b"first").unwrap();
    assert_eq!(code(served.begin(&absent)), ErrorCode::Exists);
    let late = served.storage.commit_batch(vec![late]);
    assert_eq!(code(late.into_iter().next().unwrap()), ErrorCode::Exists);
    let matches = UploadRequest {
        condition: Condition::Matches(first.version),
        ..upload("/file")
    };
    let race = served.stage(&matches, b"race");
    served.store(&matches, b"second").unwrap();
    assert_eq!(code(served.store(&matches, b"third")), ErrorCode::Changed);
    let race = served.storage.commit_batch(vec![race]);
    assert_eq!(code(race.into_iter().next().unwrap()), ErrorCode::Changed);
    let gone = UploadRequest {
        path: path("/gone"),
        ..matches
    };
    assert_eq!(code(served.begin(&gone)), ErrorCode::Changed);
    assert_eq!(fs::read(served.at("file")).unwrap(), b"second");
    assert!(served.staged().is_empty());
}

#[test]
fn of_two_uploads_to_one_free_name_exactly_one_wins() {
    let served = Served::new();
    for round in 0..50 {
        let request = UploadRequest {
            condition: Condition::Absent,
            ..upload(&format!("/{round}"))
        };
        let wins: usize = std::thread::scope(|scope| {
            let racers: Vec<_> = [b"one".as_slice(), b"two"]
                .map(|content| scope.spawn(|| served.store(&request, content)))
                .into_iter()
                .collect();
            let results = racers.into_iter().map(|racer| racer.join().unwrap());
            results
                .filter(|result| match result {
                    Ok(_) => true,
                    Err(error) => {
                        assert_eq!(error.code(), ErrorCode::Exists);
                        false
                    }
                })
                .count()
        });
        assert_eq!(wins, 1);
    }
    assert!(served.staged().is_empty());
}

#[test]
fn an_interrupted_upload_goes_on_where_it_stopped() {
    let served = Served::new();
    let content: Vec<u8> = (0..2_500_000_u32)
        .map(|index| (index % 249) as u8)
        .collect();
    let request = resumable("/file", 1);
    for stop in [0, 1, 1_000_000, 2_000_000] {
        let mut upload = served.begin(&request).unwrap();
        let start = usize::try_from(upload.offset()).unwrap();
        assert_eq!(upload.hashed().digest(), digest(&content[..start]));
        upload
            .write_all_at(&content[start..stop], start as u64)
            .unwrap();
        upload.keep();
        assert_eq!(served.staged().len(), usize::from(stop > 0));
    }
    let mut upload = served.begin(&request).unwrap();
    assert_eq!(upload.offset(), 2_000_000);
    upload
        .write_all_at(&content[2_000_000..], 2_000_000)
        .unwrap();
    upload.commit(&received(&content)).unwrap();
    assert_eq!(fs::read(served.at("file")).unwrap(), content);
    assert!(served.staged().is_empty());
}

#[test]
fn a_prefix_of_another_content_is_given_up() {
    let served = Served::new();
    let mut upload = served.begin(&resumable("/file", 1)).unwrap();
    upload.write_all_at(b"longer than the other", 0).unwrap();
    drop(upload);
    let mut upload = served.begin(&resumable("/file", 1)).unwrap();
    assert_eq!(upload.hashed().digest(), digest(b"longer than the other"));
    upload.restart().unwrap();
    assert_eq!((upload.offset(), upload.hashed().length), (0, 0));
    upload.write_all_at(b"other", 0).unwrap();
    upload.commit(&received(b"other")).unwrap();
    assert_eq!(fs::read(served.at("file")).unwrap(), b"other");
}

#[test]
fn a_fresh_start_removes_what_an_earlier_try_left() {
    let served = Served::new();
    let mut upload = served.begin(&resumable("/file", 1)).unwrap();
    upload.write_all_at(b"left", 0).unwrap();
    drop(upload);
    let fresh = UploadRequest {
        resume: false,
        ..resumable("/file", 1)
    };
    let upload = served.begin(&fresh).unwrap();
    assert_eq!((upload.offset(), served.staged().len()), (0, 1));
    upload.discard();
    assert!(served.staged().is_empty());
}

#[test]
fn a_writer_that_slept_cannot_publish_what_another_took_over() {
    let served = Served::new();
    let mut asleep = served.begin(&resumable("/file", 1)).unwrap();
    asleep.write_all_at(b"half", 0).unwrap();
    let mut awake = served.begin(&resumable("/file", 1)).unwrap();
    assert_eq!(awake.offset(), 4);
    asleep.write_all_at(b"HALF and more", 0).unwrap();
    let slept = asleep.commit(&received(b"HALF and more"));
    assert_eq!(code(slept), ErrorCode::Superseded);
    awake.write_all_at(b" and half", 4).unwrap();
    awake.commit(&received(b"half and half")).unwrap();
    assert_eq!(fs::read(served.at("file")).unwrap(), b"half and half");
    assert!(served.staged().is_empty());
}

#[test]
fn writers_that_race_for_one_upload_never_mix() {
    let served = Served::new();
    let request = resumable("/file", 1);
    std::thread::scope(|scope| {
        for writer in 1..=4_u8 {
            let (served, request) = (&served, &request);
            scope.spawn(move || {
                let content = [writer; 200_000];
                for _ in 0..25 {
                    let mut upload = served.begin(request).unwrap();
                    upload.restart().unwrap();
                    upload.write_all_at(&content[..100_000], 0).unwrap();
                    upload.write_all_at(&content[100_000..], 100_000).unwrap();
                    match upload.commit(&received(&content)) {
                        Ok(stored) => assert_eq!(stored.digest, digest(&content)),
                        Err(error) => assert_eq!(error.code(), ErrorCode::Superseded),
                    }
                    if let Ok(found) = fs::read(served.at("file")) {
                        assert_eq!(found.len(), 200_000);
                        assert!(found.iter().all(|byte| *byte == found[0]));
                    }
                }
            });
        }
    });
    let last = served.begin(&request).unwrap();
    last.discard();
    assert!(served.staged().is_empty());
}

#[test]
fn taking_over_can_be_stopped_and_loses_nothing() {
    let served = Served::new();
    let mut first = served.begin(&resumable("/file", 1)).unwrap();
    first.write_all_at(&[1; 3_000_000], 0).unwrap();
    let request = resumable("/file", 1);
    let stopped = served
        .storage
        .begin_upload(&request, &mut |_| ControlFlow::Break(()));
    assert_eq!(code(stopped), ErrorCode::Timeout);
    first.commit(&received(&[1; 3_000_000])).unwrap();
    assert!(served.staged().is_empty());
}

#[test]
fn who_comes_while_another_takes_over_goes_on_with_all_that_is_there() {
    let served = Served::new();
    let request = resumable("/file", 1);
    let content = vec![1; 3_000_000];
    let mut first = served.begin(&request).unwrap();
    first.write_all_at(&content, 0).unwrap();
    let mut third = None;
    let mut come_between = |_| {
        third.get_or_insert_with(|| served.begin(&request).unwrap());
        ControlFlow::Continue(())
    };
    let second = served.storage.begin_upload(&request, &mut come_between);
    let (second, third) = (second.unwrap(), third.unwrap());
    assert_eq!((second.offset(), third.offset()), (3_000_000, 3_000_000));
    assert_eq!(served.staged().len(), 1);
    for superseded in [first, third] {
        let late = superseded.commit(&received(&content));
        assert_eq!(code(late), ErrorCode::Superseded);
    }
    second.commit(&received(&content)).unwrap();
    assert!(served.staged().is_empty());
}

#[test]
fn uploads_that_cannot_be_resumed_leave_nothing() {
    let served = Served::new();
    let mut upload = served.begin(&upload("/file")).unwrap();
    upload.write_all_at(b"bytes", 0).unwrap();
    drop(upload);
    assert!(served.staged().is_empty());
}

#[test]
fn a_batch_publishes_all_but_the_failed() {
    let served = Served::new();
    fs::create_dir(served.at("folder")).unwrap();
    for count in [3_usize, 40] {
        let staged: Vec<PendingCommit> = (0..count)
            .map(|index| {
                let folder = if index % 2 == 0 { "" } else { "/folder" };
                let request = upload(&format!("{folder}/{count}-{index}"));
                let content = index.to_string().into_bytes();
                let mut pending = served.stage(&request, &content);
                if index == 1 {
                    pending.received.announced = digest(b"another");
                }
                pending
            })
            .collect();
        assert!(served.staged().is_empty(), "they have no names yet");
        let is_there = |index| served.at(&format!("{count}-{index}")).exists();
        assert!(!(0..count).any(is_there));
        let results = served.storage.commit_batch(staged);
        assert_eq!(results.len(), count);
        for (index, result) in results.into_iter().enumerate() {
            let folder = if index % 2 == 0 { "" } else { "folder/" };
            let file = served.at(&format!("{folder}{count}-{index}"));
            if index == 1 {
                assert_eq!(code(result), ErrorCode::Corrupt);
                assert!(!file.exists());
            } else {
                result.unwrap();
                assert_eq!(fs::read(file).unwrap(), index.to_string().into_bytes());
            }
        }
        assert!(served.staged().is_empty());
    }
}

#[test]
fn a_batch_replaces_what_it_may_and_leaves_no_interim_name() {
    let served = Served::new();
    served.write("file", b"old");
    fs::create_dir(served.at("folder")).unwrap();
    let stage = |target: &str, condition| {
        let request = UploadRequest {
            condition,
            ..upload(target)
        };
        served.stage(&request, b"new")
    };
    let old = served.storage.stat(&path("/file"), false).unwrap().version;
    let batch = vec![
        stage("/file", Condition::Any),
        stage("/file", Condition::Matches(old.unwrap())),
        stage("/taken", Condition::Any),
        stage("/free", Condition::Absent),
        stage("/free", Condition::Any),
    ];
    fs::create_dir(served.at("taken")).unwrap();
    let results = served.storage.commit_batch(batch);
    let codes: Vec<_> = results
        .into_iter()
        .map(|result| result.err().map(|error| error.code()))
        .collect();
    let refused = [Some(ErrorCode::Changed), Some(ErrorCode::IsDirectory)];
    assert_eq!(codes, [None, refused[0], refused[1], None, None]);
    assert_eq!(fs::read(served.at("file")).unwrap(), b"new");
    assert_eq!(fs::read(served.at("free")).unwrap(), b"new");
    assert!(served.staged().is_empty());
}

#[test]
fn uploads_that_follow_one_another_into_a_folder_are_each_looked_at_when_they_are_named() {
    let served = Served::new();
    for folder in ["one", "other", "gone"] {
        fs::create_dir(served.at(folder)).unwrap();
    }
    served.write("one/taken", b"old");
    let mut at_hand = AtHand::default();
    let mut stage = |target: &str| {
        let request = UploadRequest {
            condition: Condition::Absent,
            ..upload(target)
        };
        let whole = (b"new".as_slice(), &digest(b"new"));
        served.storage.stage_whole(&request, whole, &mut at_hand)
    };
    let batch: Vec<_> = ["/one/a", "/one/taken", "/other/a", "/gone/a", "/gone/b"]
        .into_iter()
        .map(|target| stage(target).unwrap())
        .collect();
    assert_eq!(code(stage("/gone/.mini-ftp")), ErrorCode::BadName);
    assert_eq!(code(stage("/missing/a")), ErrorCode::NotFound);
    fs::remove_dir(served.at("gone")).unwrap();
    let results = served.storage.commit_batch(batch);
    let codes: Vec<_> = results
        .into_iter()
        .map(|result| result.err().map(|error| error.code()))
        .collect();
    let gone = Some(ErrorCode::NotFound);
    assert_eq!(codes, [None, Some(ErrorCode::Exists), None, gone, gone]);
    assert_eq!(fs::read(served.at("one/taken")).unwrap(), b"old");
    for stored in ["one/a", "other/a"] {
        assert_eq!(fs::read(served.at(stored)).unwrap(), b"new", "{stored}");
    }
}

#[test]
fn the_sweep_takes_abandoned_uploads_alone() {
    let served = Served::new();
    let begin = |id| {
        let mut upload = served.begin(&resumable("/file", id)).unwrap();
        upload.write_all_at(&[id; 10_000], 0).unwrap();
        upload
    };
    let writing = begin(1);
    begin(2).keep();
    begin(3).keep();
    let sweep = |age, bytes| served.storage.sweep(age, bytes).unwrap();
    assert_eq!(sweep(FOREVER, u64::MAX), 0);
    // What is being written takes none of the room, and the last one may take more than there is.
    assert_eq!(sweep(FOREVER, 25_000), 0);
    assert_eq!(sweep(FOREVER, 20_000), 1);
    assert_eq!(sweep(FOREVER, 0), 0);
    assert_eq!(served.staged().len(), 2);
    assert_eq!(
        served.begin(&resumable("/file", 3)).unwrap().offset(),
        10_000
    );
    assert_eq!(sweep(Duration::ZERO, u64::MAX), 1);
    assert_eq!(sweep(Duration::ZERO, 0), 0);
    writing.commit(&received(&[1; 10_000])).unwrap();
    fs::write(served.at(".mini-ftp/staging/once-0"), b"of a killed worker").unwrap();
    let mut once = served.begin(&upload("/once")).unwrap();
    once.write_all_at(b"alive", 0).unwrap();
    assert_eq!(sweep(FOREVER, u64::MAX), 1);
    once.commit(&received(b"alive")).unwrap();
}

#[test]
fn a_sweep_removes_nothing_that_is_just_beginning() {
    let served = Served::new();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                served.storage.sweep(Duration::ZERO, 0).unwrap();
            }
        });
        for round in 0..300_u32 {
            let content = round.to_string().into_bytes();
            let request = if round % 2 == 0 {
                upload("/file")
            } else {
                resumable("/file", 1)
            };
            let stored = served.store(&request, &content).map(|stored| stored.digest);
            if stored.as_ref().ok() != Some(&digest(&content)) {
                done.store(true, std::sync::atomic::Ordering::Relaxed);
                panic!("{stored:?}");
            }
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

/// A mount that goes with the test.
struct Mount(PathBuf);

impl Mount {
    /// `None`, said aloud, where mounting is not allowed.
    fn tmpfs(target: PathBuf, size: &str) -> Option<Self> {
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", size, "tmpfs"])
            .arg(&target)
            .status();
        if !mounted.is_ok_and(|status| status.success()) {
            skipped("mounting is not allowed here");
            return None;
        }
        Some(Self(target))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let status = std::process::Command::new("umount")
            .arg("-l")
            .arg(&self.0)
            .status();
        assert!(status.is_ok_and(|status| status.success()));
    }
}

/// A storage with room for 4 MiB; `None`, said aloud, where mounting is not allowed.
fn on_a_small_disk() -> Option<(Mount, Served)> {
    let folder = tempfile::tempdir().unwrap();
    let mount = Mount::tmpfs(folder.path().to_path_buf(), "size=4m")?;
    let storage = LocalDirectory::open(folder.path()).unwrap();
    Some((mount, Served { folder, storage }))
}

#[test]
fn a_full_disk_is_told_and_leaves_the_old_file() {
    if testing::done_as_superuser() {
        return;
    }
    let Some((_mount, served)) = on_a_small_disk() else {
        return;
    };
    served.store(&upload("/file"), b"old").unwrap();
    let known = UploadRequest {
        size: Some(5_000_000),
        ..upload("/file")
    };
    assert_eq!(code(served.begin(&known)), ErrorCode::NoSpace);
    let mut unknown = served.begin(&upload("/file")).unwrap();
    let written = (0..5).try_for_each(|block| unknown.write_all_at(&[1; 1 << 20], block << 20));
    assert_eq!(code(written), ErrorCode::NoSpace);
    drop(unknown);
    assert_eq!(fs::read(served.at("file")).unwrap(), b"old");
    served.store(&upload("/file"), &[2; 3_000_000]).unwrap();
    drop(served.storage);
}

#[test]
fn an_upload_is_gone_on_with_where_the_rest_of_it_fits() {
    if testing::done_as_superuser() {
        return;
    }
    let Some((_mount, served)) = on_a_small_disk() else {
        return;
    };
    let request = UploadRequest {
        size: Some(3_000_000),
        ..resumable("/file", 1)
    };
    let content = vec![1; 3_000_000];
    let mut half = served.begin(&request).unwrap();
    half.write_all_at(&content[..2_000_000], 0).unwrap();
    half.keep();
    served.write("other", &[2; 1_000_000]);
    let more = |size| UploadRequest {
        size: Some(size),
        ..request.clone()
    };
    assert_eq!(code(served.begin(&more(4_000_000))), ErrorCode::NoSpace);
    let mut rest = served.begin(&request).unwrap();
    assert_eq!(rest.offset(), 2_000_000);
    rest.write_all_at(&content[2_000_000..], 2_000_000).unwrap();
    rest.commit(&received(&content)).unwrap();
    drop(served.storage);
}

#[test]
fn a_folder_on_another_mount_stages_beside_the_target() {
    if testing::done_as_superuser() {
        return;
    }
    let served = Served::new();
    fs::create_dir(served.at("other")).unwrap();
    let Some(_mount) = Mount::tmpfs(served.at("other"), "size=4m") else {
        return;
    };
    let mut first = served.begin(&resumable("/other/file", 1)).unwrap();
    first.write_all_at(b"half", 0).unwrap();
    assert!(served.staged().is_empty());
    let hidden = fs::read_dir(served.at("other"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    assert!(
        hidden
            .file_name()
            .to_str()
            .unwrap()
            .starts_with(".mini-ftp.01")
    );
    assert!(served.names("/other", ListOptions::default()).is_empty());
    drop(first);
    let mut second = served.begin(&resumable("/other/file", 1)).unwrap();
    assert_eq!(second.offset(), 4);
    second.write_all_at(b" done", 4).unwrap();
    second.commit(&received(b"half done")).unwrap();
    assert_eq!(fs::read(served.at("other/file")).unwrap(), b"half done");
    assert_eq!(fs::read_dir(served.at("other")).unwrap().count(), 1);
    let moved = served
        .storage
        .rename(&path("/other/file"), &path("/file"), false);
    assert_eq!(code(moved), ErrorCode::BadRename);
}

#[test]
fn a_root_on_a_read_only_mount_is_served_for_reading() {
    if testing::done_as_superuser() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let Some(mount) = Mount::tmpfs(folder.path().to_path_buf(), "size=4m") else {
        return;
    };
    fs::write(mount.0.join("file"), b"content").unwrap();
    let remounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "remount,ro", "tmpfs"])
        .arg(&mount.0)
        .status();
    assert!(remounted.unwrap().success());
    let storage = LocalDirectory::open(folder.path()).unwrap();
    assert_eq!(
        storage.id(),
        LocalDirectory::open(folder.path()).unwrap().id()
    );
    assert!(!storage.is_writable());
    let file = storage.open(&path("/file"), None).unwrap();
    let found = file.digest(&mut no_progress()).unwrap();
    assert_eq!(found, Some(digest(b"content")));
    let refused = storage.begin_upload(&upload("/new"), &mut no_progress());
    assert_eq!(code(refused), ErrorCode::ReadOnly);
    assert_eq!(
        code(storage.make_directory(&path("/new"), false)),
        ErrorCode::ReadOnly
    );
    assert_eq!(
        code(storage.remove(&path("/file"), false)),
        ErrorCode::ReadOnly
    );
}

#[test]
fn what_nobody_waits_for_any_more_replaces_nothing() {
    let served = Served::new();
    served.store(&upload("/file"), b"newer").unwrap();
    let given_up = |request: UploadRequest| UploadRequest {
        wanted: StillWanted::new(|| false),
        ..request
    };
    let once = served.store(&given_up(upload("/file")), b"older");
    assert_eq!(code(once), ErrorCode::Superseded);
    assert!(served.staged().is_empty());
    let kept = served.store(&given_up(resumable("/file", 1)), b"older");
    assert_eq!(code(kept), ErrorCode::Superseded);
    assert_eq!(served.staged().len(), 1);
    assert_eq!(fs::read(served.at("file")).unwrap(), b"newer");
}
