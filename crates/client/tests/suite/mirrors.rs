//! Mirrors with slaves that lie, die and cannot do everything.

use std::collections::BTreeSet;
use std::fs;

use client::{
    Change, ClientErrorKind, Comparison, Mirror, MirrorItem, MirrorRules, MirrorSummary, Notice,
    Outcome, Side,
};
use protocol::{ErrorCode, Request};

use crate::setting::{Setting, content, path};

fn mirror(setting: &Setting, target: Side) -> (MirrorSummary, Vec<MirrorItem>) {
    let mut items = Vec::new();
    let summary = try_mirror(setting, target, &mut items).unwrap();
    (summary, items)
}

fn try_mirror(
    setting: &Setting,
    target: Side,
    items: &mut Vec<MirrorItem>,
) -> Result<MirrorSummary, client::ClientError> {
    let request = Mirror {
        remote: path("/t"),
        local: setting.local("t"),
        target,
        rules: MirrorRules {
            comparison: Comparison::SizeAndTime,
            delete: true,
            update: false,
            dry_run: false,
            includes: &|_, _| true,
        },
    };
    setting
        .connect()?
        .mirror(&request, &mut |item| items.push(item))
}

/// A folder with two files, and locally one too many.
fn setting(slaves: u8) -> Setting {
    let setting = Setting::new(slaves);
    setting.storage.lock().folders.push(path("/t"));
    setting.storage.put("/t/a", b"content");
    setting.storage.put("/t/b", &content(100_000));
    fs::create_dir_all(setting.local("t")).unwrap();
    fs::write(setting.local("t/surplus"), "surplus").unwrap();
    setting
}

#[test]
fn names_of_an_evil_server_do_not_escape() {
    let setting = setting(1);
    fs::write(setting.local("kept"), "kept").unwrap();
    for evil in [
        "..",
        "../kept",
        "../new",
        "/etc/x",
        "a/../../kept",
        "",
        ".",
        "x//y",
        "nul\0",
    ] {
        setting.slaves[0].set(|faults| faults.also_lists = vec![evil]);
        // Such a frame is no frame, or the name is dropped with a line.
        let skipped = |notice: &Notice| matches!(notice, Notice::Skipped { .. });
        match try_mirror(&setting, Side::Local, &mut Vec::new()) {
            Err(error) => assert_eq!(error.kind(), ClientErrorKind::NoConnection, "{evil}"),
            Ok(_) => assert!(setting.notices().iter().any(skipped), "{evil}"),
        }
        assert_eq!(setting.names(), ["kept", "t"]);
        assert_eq!(fs::read(setting.local("kept")).unwrap(), b"kept");
        let names = fs::read_dir(setting.local("t")).unwrap();
        let mut names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        assert!(names.all(|name| ["a", "b", "surplus"].contains(&name.as_str())));
    }
}

/// What is below a file, or in a folder that was never named: each fails by itself, and then nothing is removed.
#[test]
fn a_tree_that_makes_no_sense_fails_name_by_name() {
    let setting = setting(1);
    let senseless = ["a/below a file", "nowhere/x"];
    setting.slaves[0].set(|faults| faults.also_lists = senseless.to_vec());
    let (summary, items) = mirror(&setting, Side::Local);
    assert_eq!((summary.files, summary.removed, summary.failed), (2, 0, 2));
    let failed = items.iter().filter(|item| item.result.is_err());
    let failed: BTreeSet<_> = failed.map(|item| item.remote.clone()).collect();
    assert_eq!(
        failed,
        [path("/t/a/below a file"), path("/t/nowhere/x")].into()
    );
    assert!(setting.local("t/surplus").exists());
}

#[test]
fn a_listing_that_is_cut_short_removes_nothing() {
    let setting = setting(1);
    fs::write(setting.local("t/b"), content(100_000)).unwrap();
    setting.slaves[0].set(|faults| faults.die_after_parts = Some(1));
    let error = try_mirror(&setting, Side::Local, &mut Vec::new()).unwrap_err();
    assert_eq!(error.kind(), ClientErrorKind::NoConnection);
    assert!(setting.local("t/b").exists() && setting.local("t/surplus").exists());
}

#[test]
fn a_mirror_goes_on_through_the_next_slaves() {
    for target in [Side::Local, Side::Remote] {
        let setting = setting(4);
        fs::write(setting.local("t/b"), vec![0; 100_000]).unwrap();
        setting.slaves[0].set(|faults| faults.die_after_parts = Some(1));
        setting.slaves[1].set(|faults| {
            faults.die_after_sent = Some(50_000);
            faults.die_after_received = Some(50_000);
        });
        setting.slaves[2].set(|faults| faults.die_before_answer = true);
        let (summary, _) = mirror(&setting, target);
        assert_eq!((summary.files, summary.removed, summary.failed), (2, 1, 0));
        let is_there = setting.local("t/surplus").exists();
        assert_eq!(is_there, target == Side::Remote);
        assert_eq!(setting.storage.content("/t/surplus").is_some(), is_there);
        assert_eq!(
            setting.storage.content("/t/b"),
            fs::read(setting.local("t/b")).ok()
        );
    }
}

#[test]
fn a_slave_that_sets_no_times_is_sent_the_file() {
    let setting = setting(1);
    setting.slaves[0].set(|faults| {
        faults.unknown = Some(|request| matches!(request, Request::SetTime { .. }));
    });
    fs::write(setting.local("t/a"), b"content").unwrap();
    let (summary, items) = mirror(&setting, Side::Remote);
    assert_eq!(
        (summary.files, summary.times_set, summary.failed),
        (2, 0, 0)
    );
    let moved = |item: &MirrorItem| {
        matches!(
            (item.change, &item.result),
            (Change::Move(7), Ok(Outcome::Moved(_)))
        )
    };
    assert_eq!(items.iter().filter(|item| moved(item)).count(), 2);
    let (summary, _) = mirror(&setting, Side::Remote);
    assert_eq!((summary.files, summary.unchanged), (0, 2));
}

/// Its time is part of a version: to the next slave the file is another one than was listed.
#[test]
fn a_time_whose_answer_is_lost_with_its_slave_is_set_all_the_same() {
    let setting = setting(2);
    fs::write(setting.local("t/a"), b"content").unwrap();
    fs::write(setting.local("t/b"), content(100_000)).unwrap();
    setting.storage.put("/t/gone", b"gone");
    setting.slaves[0].set(|faults| faults.die_before_answer = true);
    let (summary, items) = mirror(&setting, Side::Remote);
    assert_eq!((summary.failed, summary.removed), (0, 1), "{items:?}");
    assert_eq!(setting.storage.content("/t/gone"), None);
    let (summary, _) = mirror(&setting, Side::Remote);
    assert_eq!((summary.files, summary.unchanged), (0, 3));
}

#[test]
fn a_refused_store_keeps_what_would_be_removed() {
    let setting = setting(1);
    fs::write(setting.local("t/c"), content(100_000)).unwrap();
    let refusal = (0, ErrorCode::NotPermitted);
    setting.slaves[0].set(|faults| faults.refuse_store = Some(refusal));
    let (summary, _) = mirror(&setting, Side::Remote);
    assert_eq!((summary.removed, summary.failed), (0, 1));
    assert!(setting.storage.content("/t/a").is_some());
    let kept = |notice: &Notice| matches!(notice, Notice::Kept { name, .. } if name == b"/t");
    assert!(
        setting.notices().iter().any(kept),
        "{:?}",
        setting.notices()
    );
}
