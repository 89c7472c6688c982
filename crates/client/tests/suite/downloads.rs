//! One file from the storage: whole, verified, resumed, whatever happens to slaves, bytes and versions.

use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::time::{Duration, Instant};

use client::{ClientErrorKind, Conflict, Notice, Status};
use protocol::{ErrorCode, Request};

use crate::faults::Overflow;
use crate::setting::{Setting, content, path};

const MIB: u64 = 1 << 20;
const LARGE: usize = 9 * (1 << 20) + 12_345;

fn served(size: usize, slaves: u8) -> (Setting, Vec<u8>) {
    let setting = Setting::new(slaves);
    let content = content(size);
    setting.storage.put("/a", &content);
    (setting, content)
}

fn offsets(setting: &Setting, slave: usize) -> Vec<u64> {
    let log = setting.slaves[slave].log.lock().unwrap();
    log.iter()
        .filter_map(|request| match request {
            Request::Retrieve { offset, .. } => Some(*offset),
            _ => None,
        })
        .collect()
}

#[test]
fn every_size_arrives_with_its_facts() {
    for size in [
        0,
        1,
        1000,
        MIB as usize - 1,
        MIB as usize,
        MIB as usize + 1,
        LARGE,
    ] {
        let (setting, content) = served(size, 1);
        let mut client = setting.connect().unwrap();
        let got = setting.get(&mut client, Conflict::Refuse).unwrap();
        assert_eq!(
            (got.bytes, got.verified, got.status),
            (size as u64, true, Status::Done)
        );
        assert_eq!(got.digest, Some(crate::storage::digest(&content)));
        assert!(fs::read(setting.local("a")).unwrap() == content);
        let facts = fs::metadata(setting.local("a")).unwrap();
        assert_eq!(
            (facts.mtime(), facts.mtime_nsec()),
            (1_700_000_000, 123_456_789)
        );
        assert_eq!(facts.permissions().mode() & 0o727, 0o600);
        assert_eq!(setting.names(), ["a"]);
    }
}

#[test]
fn the_next_slave_goes_on_where_one_died() {
    let (setting, content) = served(LARGE, 3);
    setting.slaves[0].set(|faults| faults.die_after_sent = Some(3_000_000));
    setting.slaves[1].set(|faults| faults.die_after_sent = Some(5_000_000));
    let mut client = setting.connect().unwrap();
    setting.get(&mut client, Conflict::Refuse).unwrap();
    assert!(fs::read(setting.local("a")).unwrap() == content);
    assert_eq!(offsets(&setting, 1), [3_000_000]);
    assert_eq!(offsets(&setting, 2), [5_000_000]);
    let lost = |notice: &Notice| matches!(notice, Notice::SlaveLost { next: Some(_), .. });
    assert_eq!(
        setting
            .notices()
            .iter()
            .filter(|notice| lost(notice))
            .count(),
        2
    );
}

#[test]
fn a_slave_that_hangs_is_left_within_five_seconds() {
    let (setting, content) = served(LARGE, 2);
    setting.slaves[0].set(|faults| faults.hang_after_sent = Some(2_000_000));
    let mut client = setting.connect().unwrap();
    let start = Instant::now();
    setting.get(&mut client, Conflict::Refuse).unwrap();
    assert!(start.elapsed() < Duration::from_secs(6));
    assert!(fs::read(setting.local("a")).unwrap() == content);
}

#[test]
fn what_an_earlier_client_received_is_checked_and_used() {
    let (mut setting, content) = served(LARGE, 1);
    setting.options.retries = 0;
    setting.slaves[0].set(|faults| faults.die_after_sent = Some(5_500_000));
    let error = setting
        .get(&mut setting.connect().unwrap(), Conflict::Refuse)
        .unwrap_err();
    assert_eq!(error.kind(), ClientErrorKind::NoConnection);
    assert_eq!(setting.names(), [".a.part"]);
    // One of the five blocks that are there is damaged meanwhile.
    let mut part = fs::read(setting.local(".a.part")).unwrap();
    part[3 * MIB as usize] ^= 1;
    fs::write(setting.local(".a.part"), part).unwrap();
    setting.replace_slaves(1);
    let got = setting
        .get(&mut setting.connect().unwrap(), Conflict::Refuse)
        .unwrap();
    assert_eq!(got.resumed_at, 3 * MIB);
    assert_eq!(offsets(&setting, 0), [3 * MIB]);
    assert!(fs::read(setting.local("a")).unwrap() == content);
    assert_eq!(setting.names(), ["a"]);
}

#[test]
fn a_part_of_another_version_is_not_used() {
    let (mut setting, _) = served(LARGE, 1);
    setting.options.retries = 0;
    setting.slaves[0].set(|faults| faults.die_after_sent = Some(5_500_000));
    setting
        .get(&mut setting.connect().unwrap(), Conflict::Refuse)
        .unwrap_err();
    let other = vec![7; 4_000_000];
    setting.storage.put("/a", &other);
    setting.replace_slaves(1);
    let got = setting
        .get(&mut setting.connect().unwrap(), Conflict::Refuse)
        .unwrap();
    assert_eq!(got.resumed_at, 0);
    assert!(fs::read(setting.local("a")).unwrap() == other);
    assert!(
        setting
            .watcher
            .heard(|notice| matches!(notice, Notice::Restarted { .. }))
    );
}

#[test]
fn a_file_that_changes_on_the_way_is_begun_again() {
    let (setting, _) = served(LARGE, 1);
    let other = content(LARGE / 2);
    let replacement = other.clone();
    setting.slaves[0].set(move |faults| faults.change_after_sent = Some((4_000_000, replacement)));
    let mut client = setting.connect().unwrap();
    setting.get(&mut client, Conflict::Refuse).unwrap();
    assert!(fs::read(setting.local("a")).unwrap() == other);
    assert!(
        setting
            .watcher
            .heard(|notice| matches!(notice, Notice::Restarted { .. }))
    );
}

#[test]
fn a_flipped_bit_costs_one_block() {
    for size in [500_000, LARGE] {
        let (setting, content) = served(size, 1);
        setting.slaves[0].set(|faults| faults.flip = Some(size as u64 - 200_000));
        let mut client = setting.connect().unwrap();
        let got = setting.get(&mut client, Conflict::Refuse).unwrap();
        assert!(got.verified);
        assert!(fs::read(setting.local("a")).unwrap() == content);
        let damaged = Notice::Damaged {
            remote: path("/a"),
            blocks: 1,
            slave: Some(setting.slaves[0].address),
        };
        assert!(setting.watcher.heard(|notice| *notice == damaged));
    }
}

#[test]
fn bits_that_flip_every_time_are_never_a_success() {
    let (setting, _) = served(3_000_000, 1);
    setting.slaves[0].set(|faults| {
        faults.flip = Some(2_500_000);
        faults.flip_always = true;
    });
    let mut client = setting.connect().unwrap();
    let error = setting.get(&mut client, Conflict::Refuse).unwrap_err();
    assert_eq!(error.kind(), ClientErrorKind::NotVerified);
    assert_eq!(setting.names(), [".a.part"]);
}

#[test]
fn without_verification_no_digest_is_asked() {
    let (mut setting, content) = served(LARGE, 2);
    setting.options.verify = false;
    setting.slaves[0].set(|faults| faults.die_after_sent = Some(3_000_000));
    let mut client = setting.connect().unwrap();
    let got = setting.get(&mut client, Conflict::Refuse).unwrap();
    assert!(!got.verified && got.digest.is_none());
    assert!(fs::read(setting.local("a")).unwrap() == content);
    let asked = |request: &Request| matches!(request, Request::Retrieve { digest: true, .. });
    assert_eq!(setting.slaves[1].count(asked), 0);
}

#[test]
fn what_is_there_is_compared_before_anything_is_done() {
    let (setting, content) = served(LARGE, 1);
    let mut client = setting.connect().unwrap();
    fs::write(setting.local("a"), &content).unwrap();
    for conflict in [Conflict::Refuse, Conflict::StoreBeside] {
        let got = setting.get(&mut client, conflict).unwrap();
        assert_eq!(got.status, Status::Unchanged);
    }
    assert!(offsets(&setting, 0).is_empty());
    fs::write(setting.local("a"), "mine").unwrap();
    let error = setting.get(&mut client, Conflict::Refuse).unwrap_err();
    assert_eq!(
        (error.word(), error.to_string().as_str()),
        ("exists", "exists")
    );
    fs::write(setting.local("newa"), "mine too").unwrap();
    let got = setting.get(&mut client, Conflict::StoreBeside).unwrap();
    assert_eq!(
        (got.status, got.local),
        (Status::Renamed, setting.local("newnewa"))
    );
    assert_eq!(fs::read(setting.local("a")).unwrap(), b"mine");
    let got = setting.get(&mut client, Conflict::Overwrite).unwrap();
    assert_eq!(got.status, Status::Done);
    assert!(fs::read(setting.local("a")).unwrap() == content);
    assert_eq!(setting.names(), ["a", "newa", "newnewa"]);
}

#[test]
fn what_is_in_the_way_is_never_written_through() {
    let (setting, content) = served(1000, 1);
    let mut client = setting.connect().unwrap();
    let theirs = setting.state.path().join("theirs");
    fs::write(&theirs, "theirs").unwrap();
    symlink(&theirs, setting.local("a")).unwrap();
    assert!(
        setting
            .get(&mut client, Conflict::Refuse)
            .unwrap_err()
            .word()
            == "exists"
    );
    setting.get(&mut client, Conflict::Overwrite).unwrap();
    assert_eq!(fs::read(&theirs).unwrap(), b"theirs");
    assert_eq!(fs::read(setting.local("a")).unwrap(), content);
    fs::remove_file(setting.local("a")).unwrap();
    fs::create_dir(setting.local("a")).unwrap();
    let error = setting.get(&mut client, Conflict::Overwrite).unwrap_err();
    assert_eq!(
        error.kind(),
        ClientErrorKind::Local(std::io::ErrorKind::IsADirectory)
    );
}

#[test]
fn a_link_to_a_device_or_pipe_is_not_replaced() {
    let (setting, _) = served(1000, 1);
    let mut client = setting.connect().unwrap();
    let (_reader, writer) = std::io::pipe().unwrap();
    let pipe = format!("/proc/self/fd/{}", writer.as_raw_fd());
    for target in ["/dev/null", &pipe] {
        symlink(target, setting.local("a")).unwrap();
        for conflict in [Conflict::Refuse, Conflict::Overwrite] {
            let error = setting.get(&mut client, conflict).unwrap_err();
            assert_eq!(error.to_string(), "not a regular file", "{target}");
            assert_eq!(error.word(), ErrorCode::NotRegular.word());
        }
        assert!(setting.local("a").is_symlink(), "{target}");
        assert_eq!(setting.names(), ["a"]);
        fs::remove_file(setting.local("a")).unwrap();
    }
    // One that leads nowhere is no more than a name.
    symlink("nowhere", setting.local("a")).unwrap();
    setting.get(&mut client, Conflict::Overwrite).unwrap();
}

#[test]
fn a_file_that_is_not_there_leaves_nothing_behind() {
    let setting = Setting::new(1);
    let mut client = setting.connect().unwrap();
    let error = setting.get(&mut client, Conflict::Refuse).unwrap_err();
    assert_eq!(error.to_string(), "no such file or folder");
    assert!(setting.names().is_empty());
    // The session is as good as before.
    client.disk_free().unwrap();
    assert_eq!(setting.master.located.lock().unwrap().len(), 1);
}

#[test]
fn two_clients_at_once_do_not_mix() {
    let (setting, content) = served(LARGE, 1);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut client = setting.connect().unwrap();
                setting.get(&mut client, Conflict::Refuse).unwrap();
            });
        }
    });
    assert!(fs::read(setting.local("a")).unwrap() == content);
    assert_eq!(setting.names(), ["a"]);
}

#[test]
fn cat_writes_every_byte_once() {
    let (setting, content) = served(LARGE, 2);
    setting.slaves[0].set(|faults| faults.die_after_sent = Some(3_000_000));
    let mut client = setting.connect().unwrap();
    let mut output = Vec::new();
    let got = client.cat(&path("/a"), &mut output).unwrap();
    assert!(output == content && got.verified);
    setting.slaves[1].set(|faults| faults.flip = Some(1_000));
    let error = client.cat(&path("/a"), &mut Vec::new()).unwrap_err();
    assert_eq!(error.kind(), ClientErrorKind::NotVerified);
    setting.slaves[1].set(|faults| faults.change_after_sent = Some((200_000, Vec::new())));
    let mut output = Vec::new();
    let error = client.cat(&path("/a"), &mut output).unwrap_err();
    assert_eq!(error.kind(), ClientErrorKind::Remote(ErrorCode::Changed));
    assert!(content.starts_with(&output), "no padding is written");
}

#[test]
fn cat_writes_nothing_behind_what_was_announced() {
    let (setting, content) = served(10, 2);
    setting.slaves[0].set(|faults| faults.overflow = Overflow::Once(20));
    let mut client = setting.connect().unwrap();
    let mut output = Vec::new();
    let got = client.cat(&path("/a"), &mut output).unwrap();
    assert!(output == content && got.verified);
}

#[test]
fn a_rate_limit_is_kept() {
    let (mut setting, content) = served(600_000, 1);
    setting.options.limit_rate = Some(600_000);
    let mut client = setting.connect().unwrap();
    let start = Instant::now();
    setting.get(&mut client, Conflict::Refuse).unwrap();
    assert!(start.elapsed() >= Duration::from_millis(850));
    assert!(fs::read(setting.local("a")).unwrap() == content);
}
