//! What is there is checked, never believed: whatever became of it meanwhile, the right content is stored.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use rustix::process::Signal;

use super::{Job, MEBIBYTE, SIZE, Way};
use crate::harness::{PATIENCE, Setup, staged};

const PART: &str = ".a.bin.part";

/// A download that was broken off, and what it left.
fn broken_off(way: Way) -> Job {
    let job = Job::new(Setup::new(1), way);
    let mut transfer = job.begin();
    transfer.signal(Signal::INT);
    assert_eq!(transfer.wait_code(PATIENCE), 130);
    job
}

/// Writes a part as the client does: with the mark by which it knows its own.
fn write_part(path: &Path, content: &[u8]) {
    crate::harness::write_file(path, content);
    fs::set_permissions(path, fs::Permissions::from_mode(0o1600)).unwrap();
}

fn flip(path: &Path, offset: usize) {
    let mut content = fs::read(path).unwrap();
    content[offset] ^= 0x01;
    fs::write(path, content).unwrap();
}

/// Tries again with `damage` done to the part that the interrupted download left.
fn finish_with(job: &Job, part: &[u8], damage: impl FnOnce(&Path)) -> u64 {
    let path = job.client.path(PART);
    fs::remove_file(job.target()).ok();
    write_part(&path, part);
    damage(&path);
    job.finish()
}

#[test]
fn a_part_that_was_damaged_meanwhile_is_mended() {
    let job = broken_off(Way::Get);
    let part = job.client.read(PART);
    let block = MEBIBYTE as u64;
    assert!(
        finish_with(&job, &part, |_| {}) >= 2 * block,
        "an unharmed part"
    );
    let damaged = |offset| finish_with(&job, &part, |path| flip(path, offset));
    assert!(damaged(0) < 2 * block);
    assert!(
        damaged(2 * MEBIBYTE - 1) >= block,
        "the blocks before the damaged one count"
    );
    damaged(3 * MEBIBYTE);
    damaged(SIZE - 1);
    finish_with(&job, &part, |path| {
        fs::write(path, vec![0; part.len()]).unwrap();
    });
    finish_with(&job, &part, |path| {
        let mut zeroed = part.clone();
        zeroed[..SIZE].fill(0);
        fs::write(path, zeroed).unwrap();
    });
}

#[test]
fn a_part_that_lost_its_end_or_was_cut_anywhere_is_mended() {
    let job = broken_off(Way::Get);
    let part = job.client.read(PART);
    let lengths = [
        0,
        1,
        1000,
        MEBIBYTE,
        2 * MEBIBYTE + 1,
        SIZE - 1,
        SIZE,
        SIZE + 1,
        part.len() - 1,
    ];
    for length in lengths {
        finish_with(&job, &part[..length], |_| {});
    }
    for offset in [SIZE, SIZE + 8, SIZE + 20, part.len() - 1] {
        finish_with(&job, &part, |path| flip(path, offset));
    }
    let longer = [part.as_slice(), &[7; 1000]].concat();
    finish_with(&job, &longer, |_| {});
}

#[test]
fn a_part_of_another_version_or_another_file_is_not_used() {
    let mut job = broken_off(Way::Get);
    let part = job.client.read(PART);
    job.change_source(crate::harness::random_bytes(2, SIZE));
    assert_eq!(finish_with(&job, &part, |_| {}), 0);
    job.change_source(crate::harness::random_bytes(3, SIZE / 2));
    assert_eq!(finish_with(&job, &part, |_| {}), 0);
    // The same version of the content under another name.
    fs::rename(job.cluster.path("a.bin"), job.cluster.path("b.bin")).unwrap();
    job.change_source(crate::harness::random_bytes(4, SIZE));
    assert_eq!(finish_with(&job, &part, |_| {}), 0);
}

#[test]
fn a_part_that_is_complete_needs_only_its_name() {
    let job = broken_off(Way::Get);
    let mut part = job.client.read(PART);
    part[..SIZE].copy_from_slice(&job.content);
    assert_eq!(finish_with(&job, &part, |_| {}), SIZE as u64);
}

#[test]
fn a_link_in_the_place_of_a_part_is_not_followed() {
    let job = broken_off(Way::Get);
    let theirs = job.client.folder().with_file_name("theirs");
    fs::write(&theirs, "theirs").unwrap();
    fs::remove_file(job.client.path(PART)).unwrap();
    symlink(&theirs, job.client.path(PART)).unwrap();
    let finished = job.client.run(["get", "a.bin"]);
    assert!(finished.code <= 1, "{finished:?}");
    assert_eq!(fs::read(&theirs).unwrap(), b"theirs");
}

#[test]
fn a_staged_upload_that_was_damaged_meanwhile_is_mended() {
    for damage in [
        (|path: &Path| flip(path, 0)) as fn(&Path),
        |path| flip(path, 2 * MEBIBYTE),
        |path| {
            fs::File::options()
                .write(true)
                .open(path)
                .unwrap()
                .set_len(MEBIBYTE as u64 + 5)
                .unwrap();
        },
        |path| fs::write(path, "").unwrap(),
        |path| fs::write(path, vec![7; SIZE]).unwrap(),
        |path| fs::write(path, vec![7; SIZE + 1]).unwrap(),
        |path| fs::remove_file(path).unwrap(),
    ] {
        let job = broken_off(Way::Put);
        let left = staged(&job.cluster.root());
        assert_eq!(left.len(), 1, "{left:?}");
        damage(&left[0]);
        job.finish();
    }
}

/// A killed client leaves parts of every kind, and somebody else's file may have the name of one.
#[test]
fn a_part_without_its_end_is_used_again_and_a_file_that_is_no_part_is_left_alone() {
    let cluster = Setup::new(1).start();
    cluster.write("a.bin", b"content");
    cluster.write("t/b.bin", b"content");
    let client = cluster.client();
    for (command, name) in [
        (vec!["get", "a.bin"], "a.bin"),
        (vec!["get", "-r", "t"], "t/b.bin"),
    ] {
        let target = client.path(name);
        let hidden = format!(".{}.part", target.file_name().unwrap().to_string_lossy());
        let part = target.with_file_name(&hidden);
        crate::harness::write_file(&part, b"somebody's");
        for option in [None, Some("-f")] {
            let mut command = command.clone();
            command.splice(1..1, option);
            let said = format!("'{hidden}' is in the way and no partial download");
            client.run(command).failed(1, &said);
            assert_eq!(fs::read(&part).unwrap(), b"somebody's");
            assert!(!target.exists());
        }
        write_part(&part, b"conten");
        client.run(command).succeeded();
        assert_eq!(fs::read(&target).unwrap(), b"content");
        assert_eq!(
            fs::metadata(&target).unwrap().permissions().mode() & 0o1000,
            0
        );
        assert!(!part.exists());
    }
}
