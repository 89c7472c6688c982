//! Whole trees, both ways: pipelined, going on through any slave, each name told once.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use client::{
    Client, ClientErrorKind, Conflict, Download, Interrupt, Notice, Status, TreeItem, TreeSummary,
    Upload,
};
use protocol::ErrorCode;

use crate::faults::Overflow;
use crate::setting::{Setting, content, path};

const LARGE: usize = 9 * (1 << 20) + 12_345;

type Items = BTreeMap<Vec<u8>, TreeItem>;

fn get(setting: &Setting, client: &mut Client, conflict: Conflict) -> (TreeSummary, Items) {
    let request = Download {
        remote: path("/t"),
        local: setting.local("t"),
        conflict,
    };
    let mut items = Items::new();
    let summary = client
        .download_tree(&request, &mut |item| {
            let before = items.insert(item.remote.as_bytes().to_vec(), item);
            assert!(before.is_none(), "told twice: {before:?}");
        })
        .unwrap();
    (summary, items)
}

fn put(setting: &Setting, client: &mut Client, conflict: Conflict) -> (TreeSummary, Items) {
    let request = Upload {
        remote: path("/t"),
        local: setting.local("t"),
        conflict,
    };
    let mut items = Items::new();
    let summary = client
        .upload_tree(&request, &mut |item| {
            let before = items.insert(item.local.as_os_str().as_encoded_bytes().to_vec(), item);
            assert!(before.is_none(), "told twice: {before:?}");
        })
        .unwrap();
    (summary, items)
}

/// Sizes of the files that every tree here has.
fn sizes() -> impl Iterator<Item = (String, usize)> {
    (0..300)
        .map(|number| (format!("d{}/f{number}", number % 3), number * 37))
        .chain([
            ("middle".to_owned(), 3_000_000),
            ("large".to_owned(), LARGE),
        ])
}

fn served(slaves: u8) -> Setting {
    let setting = Setting::new(slaves);
    {
        let mut storage = setting.storage.lock();
        storage.folders.push(path("/t"));
        storage
            .folders
            .extend((0..3).map(|number| path(&format!("/t/d{number}"))));
        storage.folders.push(path("/t/empty"));
    }
    for (name, size) in sizes() {
        setting.storage.put(&format!("/t/{name}"), &content(size));
    }
    setting
}

fn assert_local(setting: &Setting) {
    for (name, size) in sizes() {
        let file = setting.local("t").join(&name);
        assert!(fs::read(&file).unwrap() == content(size), "{name}");
    }
    assert_no_parts(&setting.local("t"));
}

fn assert_no_parts(folder: &Path) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            assert_no_parts(&entry.path());
        } else {
            assert!(
                !entry.file_name().to_string_lossy().ends_with(".part"),
                "{entry:?}"
            );
        }
    }
}

#[test]
fn a_tree_arrives_and_is_left_alone_the_second_time() {
    let setting = served(1);
    let mut client = setting.connect().unwrap();
    let (summary, items) = get(&setting, &mut client, Conflict::Refuse);
    assert_eq!((summary.files, summary.failed, items.len()), (302, 0, 302));
    assert_local(&setting);
    assert!(setting.local("t/empty").is_dir());
    let (summary, items) = get(&setting, &mut client, Conflict::Refuse);
    assert_eq!(summary.files, 302);
    let is_unchanged = |item: &TreeItem| item.result.as_ref().unwrap().status == Status::Unchanged;
    assert!(items.values().all(is_unchanged));
}

#[test]
fn a_tree_goes_on_through_the_next_slaves() {
    let setting = served(3);
    setting.slaves[0].set(|faults| faults.die_after_sent = Some(5_000));
    setting.slaves[1].set(|faults| faults.die_after_sent = Some(1_500_000));
    setting.slaves[2].set(|faults| faults.flip = Some(2_000_000));
    let mut client = setting.connect().unwrap();
    let (summary, _) = get(&setting, &mut client, Conflict::Refuse);
    assert_eq!((summary.files, summary.failed), (302, 0));
    assert_local(&setting);
    assert!(
        setting
            .watcher
            .heard(|notice| matches!(notice, Notice::SlaveLost { .. }))
    );
    assert!(
        setting
            .watcher
            .heard(|notice| matches!(notice, Notice::Damaged { .. }))
    );
}

fn is_skipped(notice: &Notice) -> bool {
    matches!(notice, Notice::Skipped { .. })
}

#[test]
fn a_slave_that_lets_nobody_in_is_a_stream_less() {
    for code in [
        ErrorCode::TicketExpired,
        ErrorCode::LoginRefused,
        ErrorCode::NotFound,
    ] {
        let (fetched, stored) = (served(2), local_tree(2));
        for setting in [&fetched, &stored] {
            let mut client = setting.connect().unwrap();
            for slave in &setting.slaves {
                if Some(slave.address) != client.slave() {
                    slave.set(|faults| faults.refuse_tickets = Some(code));
                }
            }
            let (summary, items) = match std::ptr::eq(setting, &fetched) {
                true => get(setting, &mut client, Conflict::Refuse),
                false => put(setting, &mut client, Conflict::Refuse),
            };
            assert_eq!((summary.files, summary.failed), (302, 0), "{items:?}");
            assert!(setting.notices().iter().all(is_skipped), "{code:?}");
        }
        assert_local(&fetched);
        assert_stored(&stored);
    }
}

#[test]
fn one_name_that_fails_does_not_hold_the_others_up() {
    let setting = served(1);
    let mut client = setting.connect().unwrap();
    fs::create_dir_all(setting.local("t/d0/f3")).unwrap();
    fs::write(setting.local("t/d0/f6"), "mine").unwrap();
    fs::write(setting.local("t/middle"), content(2_999_999)).unwrap();
    symlink("/", setting.local("t/d1")).unwrap();
    let (summary, items) = get(&setting, &mut client, Conflict::Refuse);
    let code = |name: &str| items[name.as_bytes()].result.as_ref().unwrap_err().word();
    assert_eq!(code("/t/d0/f3"), ErrorCode::IsDirectory.word());
    assert_eq!(code("/t/d0/f6"), ErrorCode::Exists.word());
    assert_eq!(code("/t/middle"), ErrorCode::Exists.word());
    assert_eq!(code("/t/d1"), ErrorCode::NotDirectory.word());
    assert_eq!(code("/t/d1/f1"), ErrorCode::NotDirectory.word());
    assert_eq!(summary.files, 302 - 3 - 100);
    let (summary, items) = get(&setting, &mut client, Conflict::StoreBeside);
    assert_eq!(
        items[b"/t/d0/f6".as_slice()]
            .result
            .as_ref()
            .unwrap()
            .status,
        Status::Renamed
    );
    assert_eq!(
        fs::read(setting.local("t/d0/newf6")).unwrap(),
        content(6 * 37)
    );
    assert_eq!(summary.files, 302 - 1 - 100);
}

#[test]
fn a_tree_is_stored_and_left_alone_the_second_time() {
    let setting = local_tree(1);
    let mut client = setting.connect().unwrap();
    let (summary, _) = put(&setting, &mut client, Conflict::Refuse);
    assert_eq!((summary.files, summary.failed), (302, 0));
    assert_stored(&setting);
    assert!(setting.watcher.heard(is_skipped));
    let (summary, items) = put(&setting, &mut client, Conflict::Refuse);
    assert_eq!(summary.files, 302);
    let is_unchanged = |item: &TreeItem| item.result.as_ref().unwrap().status == Status::Unchanged;
    assert!(items.values().all(is_unchanged));
}

#[test]
fn a_tree_is_stored_through_the_next_slaves() {
    let setting = local_tree(4);
    setting.slaves[0].set(|faults| faults.die_before_answer = true);
    setting.slaves[1].set(|faults| faults.die_after_received = Some(1_000_000));
    setting.slaves[2].set(|faults| faults.corrupt = 2);
    let mut client = setting.connect().unwrap();
    let (summary, items) = put(&setting, &mut client, Conflict::Refuse);
    assert_eq!((summary.files, summary.failed), (302, 0), "{items:?}");
    assert_stored(&setting);
}

#[test]
fn a_file_of_a_tree_whose_answer_was_lost_is_recognised_and_made_durable() {
    let setting = local_tree(2);
    setting.slaves[0].set(|faults| faults.die_after_stored = Some(1));
    let mut client = setting.connect().unwrap();
    let (summary, items) = put(&setting, &mut client, Conflict::Refuse);
    assert_eq!((summary.files, summary.failed), (302, 0), "{items:?}");
    assert_stored(&setting);
    assert_eq!(setting.storage.lock().confirmed.len(), 1);
}

#[test]
fn names_that_are_taken_there_are_not_replaced() {
    let setting = local_tree(1);
    let mut client = setting.connect().unwrap();
    setting.storage.lock().folders.push(path("/t"));
    setting.storage.put("/t/d0/f6", b"theirs");
    setting.storage.put("/t/d0/f9", &vec![1; 9 * 37]);
    setting.storage.put("/t/d0/newf9", b"theirs");
    let (summary, items) = put(&setting, &mut client, Conflict::Refuse);
    assert_eq!((summary.files, summary.failed), (300, 2));
    let f6 = setting.local("t/d0/f6");
    let item = &items[f6.as_os_str().as_encoded_bytes()];
    assert_eq!(item.result.as_ref().unwrap_err().word(), "exists");
    let (summary, _) = put(&setting, &mut client, Conflict::StoreBeside);
    assert_eq!((summary.files, summary.failed), (302, 0));
    assert_eq!(setting.storage.content("/t/d0/f6").unwrap(), b"theirs");
    assert_eq!(
        setting.storage.content("/t/d0/newf6").unwrap(),
        content(6 * 37)
    );
    assert_eq!(
        setting.storage.content("/t/d0/newnewf9").unwrap(),
        content(9 * 37)
    );
    let (summary, _) = put(&setting, &mut client, Conflict::Overwrite);
    assert_eq!(summary.files, 302);
    assert_eq!(
        setting.storage.content("/t/d0/f6").unwrap(),
        content(6 * 37)
    );
}

#[test]
fn what_is_stored_beside_is_stored_so_once() {
    let (fetched, stored) = (served(2), local_tree(2));
    fs::create_dir_all(fetched.local("t/d0")).unwrap();
    for name in ["t/d0/f6", "t/d0/newf6"] {
        fs::write(fetched.local(name), "mine").unwrap();
    }
    stored.storage.lock().folders.push(path("/t"));
    stored.storage.put("/t/d0/f6", b"theirs");
    for expected in [Status::Renamed, Status::Unchanged] {
        let mut client = fetched.connect().unwrap();
        let (summary, items) = get(&fetched, &mut client, Conflict::StoreBeside);
        assert_eq!((summary.files, summary.failed), (302, 0));
        let got = items[b"/t/d0/f6".as_slice()].result.as_ref().unwrap();
        assert_eq!(got.status, expected);
        assert_eq!(got.local, fetched.local("t/d0/newnewf6"));
        let mut client = stored.connect().unwrap();
        let (summary, items) = put(&stored, &mut client, Conflict::StoreBeside);
        assert_eq!((summary.files, summary.failed), (302, 0));
        let local = stored.local("t/d0/f6");
        let put = items[local.as_os_str().as_encoded_bytes()].result.as_ref();
        let put = put.unwrap();
        assert_eq!((put.status, &put.remote), (expected, &path("/t/d0/newf6")));
    }
    let names = fs::read_dir(fetched.local("t/d0")).unwrap().count();
    assert_eq!(names, 100 + 2);
    assert_eq!(stored.storage.content("/t/d0/newnewf6"), None);
}

fn local_tree(slaves: u8) -> Setting {
    let setting = Setting::new(slaves);
    for number in 0..3 {
        fs::create_dir_all(setting.local("t").join(format!("d{number}"))).unwrap();
    }
    for (name, size) in sizes() {
        fs::write(setting.local("t").join(name), content(size)).unwrap();
    }
    symlink("..", setting.local("t/up")).unwrap();
    setting
}

fn assert_stored(setting: &Setting) {
    for (name, size) in sizes() {
        let stored = setting.storage.content(&format!("/t/{name}")).unwrap();
        assert!(stored == content(size), "{name}");
    }
}

/// What a slave short of descriptors says, or one that shuts down: another one makes the folder.
#[test]
fn a_folder_that_a_slave_refuses_for_now_is_made_by_the_next() {
    let setting = local_tree(2);
    for slave in &setting.slaves {
        slave.set(|faults| faults.refuse_folder = Some(ErrorCode::Busy));
    }
    fs::create_dir(setting.local("t/nothing in it")).unwrap();
    let mut client = setting.connect().unwrap();
    let (summary, _) = put(&setting, &mut client, Conflict::Refuse);
    assert_eq!((summary.files, summary.failed), (302, 0));
    assert_stored(&setting);
    let folders = setting.storage.lock().folders.clone();
    for name in ["/t", "/t/d0", "/t/d1", "/t/d2", "/t/nothing in it"] {
        assert!(folders.contains(&path(name)), "{name}");
    }
}

#[test]
fn a_folder_that_cannot_be_made_holds_up_nothing() {
    let setting = local_tree(1);
    setting.slaves[0].set(|faults| faults.refuse_folder = Some(ErrorCode::NotPermitted));
    let mut client = setting.connect().unwrap();
    let (summary, items) = put(&setting, &mut client, Conflict::Replace);
    assert_eq!((summary.files, summary.failed), (302, 1));
    let failed: Vec<_> = items.values().filter(|item| item.result.is_err()).collect();
    assert_eq!(failed[0].remote, path("/t"), "the first that is asked for");
    assert_stored(&setting);
}

#[test]
fn a_tree_of_more_files_than_may_wait_is_sent() {
    let setting = Setting::new(1);
    for number in 0..9000 {
        let folder = setting.local("t").join(format!("d{}", number % 3));
        if number < 3 {
            fs::create_dir_all(&folder).unwrap();
        }
        fs::write(folder.join(format!("f{number}")), "").unwrap();
    }
    let mut client = setting.connect().unwrap();
    let (summary, _) = put(&setting, &mut client, Conflict::Replace);
    assert_eq!((summary.files, summary.failed), (9000, 0));
    for number in [0, 1, 2, 8999] {
        let name = format!("/t/d{}/f{number}", number % 3);
        assert_eq!(setting.storage.content(&name).unwrap(), b"", "{name}");
    }
}

#[test]
fn what_a_slave_answers_with_nonsense_is_sent_to_the_next() {
    let setting = local_tree(2);
    for slave in &setting.slaves {
        slave.set(|faults| faults.nonsense = 1);
    }
    let mut client = setting.connect().unwrap();
    let (summary, items) = put(&setting, &mut client, Conflict::Refuse);
    let failed: Vec<_> = items.values().filter(|item| item.result.is_err()).collect();
    assert_eq!((summary.files, summary.failed), (302, 0), "{failed:?}");
    assert_stored(&setting);
}

#[test]
fn a_small_file_takes_no_more_than_was_announced() {
    let setting = served(1);
    setting.slaves[0].set(|faults| faults.overflow = Overflow::Once(1000));
    let mut client = setting.connect().unwrap();
    let (summary, _) = get(&setting, &mut client, Conflict::Refuse);
    assert_eq!(summary.failed, 0);
    setting.slaves[0].set(|faults| match faults.overflow {
        Overflow::Sent(pieces) => assert!(pieces < 1000),
        other => panic!("{other:?}"),
    });
}

#[test]
fn a_folder_that_no_request_could_name_costs_that_name_alone() {
    let setting = served(1);
    let deep = ["d".repeat(255).as_str(); 16].join("/")[..4093].to_owned();
    setting.slaves[0].set(|faults| faults.cannot_read = vec![deep]);
    let mut client = setting.connect().unwrap();
    let (summary, items) = get(&setting, &mut client, Conflict::Refuse);
    assert_eq!(summary.failed, 1);
    assert_eq!(items.len(), sizes().count() + 1);
}

#[test]
fn a_small_file_that_is_broken_off_leaves_nothing() {
    let mut setting = served(1);
    setting.options.limit_rate = Some(4_000_000);
    let interrupt = Interrupt::default();
    let mut client = setting.connect_with(interrupt.clone()).unwrap();
    let request = Download {
        remote: path("/t"),
        local: setting.local("t"),
        conflict: Conflict::Refuse,
    };
    // What an earlier try has left goes on being used, and can be watched; a file without a name leaves nothing anyway.
    let part = setting.local("t/.middle.part");
    fs::create_dir(setting.local("t")).unwrap();
    fs::write(&part, "").unwrap();
    fs::set_permissions(&part, fs::Permissions::from_mode(0o1600)).unwrap();
    let error = std::thread::scope(|threads| {
        threads.spawn(|| {
            while !fs::metadata(&part).is_ok_and(|facts| facts.len() > 1_000_000) {
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
            interrupt.set();
        });
        client.download_tree(&request, &mut |_| {}).unwrap_err()
    });
    assert_eq!(error.kind(), ClientErrorKind::Interrupted);
    // The large one, which is fetched meanwhile, is gone on with the next time.
    fs::remove_file(setting.local("t/.large.part")).ok();
    assert_no_parts(&setting.local("t"));
}
