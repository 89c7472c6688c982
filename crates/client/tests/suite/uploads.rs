//! One file to the storage: whole, stored once, resumed, whatever happens to slaves and sources.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::time::{Duration, UNIX_EPOCH};

use client::{ClientErrorKind, Conflict, Notice, Status};
use protocol::{ErrorCode, Request};

use crate::setting::{Setting, content, path};
use crate::slave::Slave;

const LARGE: usize = 9 * (1 << 20) + 12_345;

fn source(size: usize, slaves: u8) -> (Setting, Vec<u8>) {
    let setting = Setting::new(slaves);
    let content = content(size);
    fs::write(setting.local("a"), &content).unwrap();
    (setting, content)
}

fn stores(slave: &Slave) -> usize {
    slave.count(|request| matches!(request, Request::Store { .. } | Request::StoreWhole { .. }))
}

#[test]
fn every_size_is_stored_with_its_facts() {
    for size in [0, 1, 57_344, 57_345, 1 << 20, LARGE] {
        let (setting, content) = source(size, 1);
        let mut client = setting.connect().unwrap();
        let put = setting.put(&mut client, Conflict::Refuse).unwrap();
        assert_eq!(
            (put.bytes, put.status, put.resumed_at),
            (size as u64, Status::Done, 0)
        );
        assert!(setting.storage.content("/a").unwrap() == content);
        let again = setting.put(&mut client, Conflict::Refuse).unwrap();
        assert_eq!(again.status, Status::Unchanged);
        assert_eq!(stores(&setting.slaves[0]), 1);
    }
}

#[test]
fn the_next_slave_goes_on_where_one_died() {
    let (setting, content) = source(LARGE, 3);
    setting.slaves[0].set(|faults| faults.die_after_received = Some(3_000_000));
    setting.slaves[1].set(|faults| faults.die_after_received = Some(6_000_000));
    let mut client = setting.connect().unwrap();
    let put = setting.put(&mut client, Conflict::Refuse).unwrap();
    assert!(put.resumed_at >= 6_000_000);
    assert!(setting.storage.content("/a").unwrap() == content);
}

#[test]
fn an_upload_survives_its_client() {
    let (mut setting, content) = source(LARGE, 1);
    setting.options.retries = 0;
    setting.slaves[0].set(|faults| faults.die_after_received = Some(5_000_000));
    let error = setting
        .put(&mut setting.connect().unwrap(), Conflict::Refuse)
        .unwrap_err();
    assert_eq!(error.kind(), ClientErrorKind::NoConnection);
    setting.replace_slaves(1);
    let put = setting
        .put(&mut setting.connect().unwrap(), Conflict::Refuse)
        .unwrap();
    assert!(put.resumed_at >= 5_000_000);
    assert!(setting.storage.content("/a").unwrap() == content);
    let records = setting.state.path().join("uploads");
    assert_eq!(fs::read_dir(records).unwrap().count(), 0);
}

#[test]
fn a_prefix_that_was_damaged_is_not_used() {
    let (mut setting, content) = source(LARGE, 1);
    setting.options.retries = 0;
    setting.slaves[0].set(|faults| faults.die_after_received = Some(5_000_000));
    setting
        .put(&mut setting.connect().unwrap(), Conflict::Refuse)
        .unwrap_err();
    for staged in setting.storage.lock().staged.values_mut() {
        staged[77] ^= 1;
    }
    setting.replace_slaves(1);
    let put = setting
        .put(&mut setting.connect().unwrap(), Conflict::Refuse)
        .unwrap();
    assert_eq!(put.resumed_at, 0);
    assert!(setting.storage.content("/a").unwrap() == content);
}

#[test]
fn an_answer_that_was_lost_is_recognised() {
    for size in [100, LARGE] {
        for conflict in [Conflict::Refuse, Conflict::Overwrite] {
            let (setting, content) = source(size, 2);
            setting.slaves[0].set(|faults| faults.die_before_answer = true);
            let mut client = setting.connect().unwrap();
            let put = setting.put(&mut client, conflict).unwrap();
            assert_eq!(put.status, Status::Done);
            assert_eq!(stores(&setting.slaves[1]), 0, "stored once");
            assert_eq!(setting.storage.lock().confirmed, [path("/a")], "durably");
            assert!(setting.storage.content("/a").unwrap() == content);
        }
    }
}

#[test]
fn content_that_arrived_damaged_is_sent_again_but_not_for_ever() {
    for size in [100, LARGE] {
        let (setting, _) = source(size, 1);
        let mut client = setting.connect().unwrap();
        setting.slaves[0].set(|faults| faults.corrupt = 2);
        setting.put(&mut client, Conflict::Refuse).unwrap();
        assert!(
            setting
                .watcher
                .heard(|notice| matches!(notice, Notice::Damaged { .. }))
        );
        setting.slaves[0].set(|faults| faults.corrupt = 100);
        let error = setting.put(&mut client, Conflict::Overwrite).unwrap_err();
        assert_eq!(error.kind(), ClientErrorKind::NotVerified);
    }
}

/// Waits until the source is older than the coarsest clock: before that nothing is kept of it.
fn settle(setting: &Setting) {
    let changed = fs::metadata(setting.local("a")).unwrap().ctime();
    let now = || UNIX_EPOCH.elapsed().unwrap().as_secs();
    while now() <= u64::try_from(changed).unwrap() + 2 {
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_source_that_was_sent_is_hashed_again_only_where_it_proves_to_be_another() {
    let (setting, content) = source(LARGE, 1);
    settle(&setting);
    let mut client = setting.connect().unwrap();
    let first = setting.put(&mut client, Conflict::Overwrite).unwrap();
    let folder = setting.state.path().join("digests");
    let record = fs::read_dir(folder).unwrap().next().unwrap().unwrap();
    let text = fs::read_to_string(record.path()).unwrap();
    let digest = first.digest.unwrap().to_string();
    assert!(text.contains(&digest));
    let is_reread = || {
        let is = |notice: &Notice| matches!(notice, Notice::Reread { .. });
        setting.watcher.heard(is)
    };

    let again = setting.put(&mut client, Conflict::Overwrite).unwrap();
    assert_eq!(again.digest, first.digest);
    assert!(!is_reread());

    // As if somebody had written into a mapping of it, of which no time tells.
    let other = text.replace(&digest, &"7".repeat(digest.len()));
    fs::write(record.path(), other).unwrap();
    let again = setting.put(&mut client, Conflict::Overwrite).unwrap();
    assert_eq!(again.digest, first.digest);
    assert!(is_reread());
    assert!(setting.storage.content("/a").unwrap() == content);
    assert_eq!(stores(&setting.slaves[0]), 4);
    assert_eq!(fs::read_to_string(record.path()).unwrap(), text);
}

#[test]
fn a_refusal_on_the_way_is_heard_and_the_session_lives() {
    let (setting, _) = source(LARGE, 1);
    setting.slaves[0].set(|faults| faults.refuse_store = Some((1_000_000, ErrorCode::NoSpace)));
    let mut client = setting.connect().unwrap();
    let error = setting.put(&mut client, Conflict::Refuse).unwrap_err();
    assert_eq!(error.to_string(), "no space left on the server");
    assert!(setting.storage.content("/a").is_none());
    client.disk_free().unwrap();
    setting.put(&mut client, Conflict::Refuse).unwrap();
    assert_eq!(setting.master.located.lock().unwrap().len(), 1);
}

#[test]
fn a_source_that_changes_is_not_stored() {
    let (mut setting, _) = source(3_000_000, 1);
    setting.options.limit_rate = Some(3_000_000);
    let mut client = setting.connect().unwrap();
    let changing = File::options()
        .write(true)
        .open(setting.local("a"))
        .unwrap();
    let begun = |setting: &Setting| stores(&setting.slaves[0]) > 0;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !begun(&setting) {
                std::thread::yield_now();
            }
            changing.write_all_at(b"changed", 0).unwrap();
        });
        let error = setting.put(&mut client, Conflict::Refuse).unwrap_err();
        assert_eq!(error.kind(), ClientErrorKind::Remote(ErrorCode::Changed));
        assert_eq!(error.to_string(), "the file changed while it was read");
    });
    assert!(setting.storage.content("/a").is_none());
    client.disk_free().unwrap();
    assert_eq!(setting.master.located.lock().unwrap().len(), 1);
}

#[test]
fn a_name_that_is_taken_is_never_replaced_silently() {
    for size in [100, LARGE] {
        let (setting, content) = source(size, 1);
        let mut client = setting.connect().unwrap();
        setting.storage.put("/a", b"theirs");
        setting.storage.put("/newa", b"theirs too");
        let error = setting.put(&mut client, Conflict::Refuse).unwrap_err();
        assert_eq!(error.word(), "exists");
        let put = setting.put(&mut client, Conflict::StoreBeside).unwrap();
        assert_eq!(put.status, Status::Renamed);
        assert_eq!(put.remote.as_bytes(), b"/newnewa");
        let again = setting.put(&mut client, Conflict::StoreBeside).unwrap();
        assert_eq!(again.status, Status::Unchanged);
        assert_eq!(again.remote.as_bytes(), b"/newnewa");
        assert_eq!(setting.storage.content("/a").unwrap(), b"theirs");
        setting.put(&mut client, Conflict::Overwrite).unwrap();
        assert!(setting.storage.content("/a").unwrap() == content);
    }
}
