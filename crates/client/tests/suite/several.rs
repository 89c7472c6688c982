//! Names that are named one by one: looked at, removed and moved many at a time, going on through any slave.

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;

use client::{Client, ClientError, Conflict, Status, Transferred, Upload};
use protocol::{EntryKind, ErrorCode, RemotePath, Request};

use crate::setting::{Setting, content, path};
use crate::storage::digest;

/// More than a slave lets be under way at once.
const MANY: usize = 40;

/// A file that is moved for itself.
const LARGE: usize = 9 * (1 << 20);

fn names() -> impl Iterator<Item = String> {
    (0..MANY).map(|number| format!("f{number:02}"))
}

fn paths() -> Vec<RemotePath> {
    names().map(|name| path(&format!("/d/{name}"))).collect()
}

fn served(slaves: u8) -> Setting {
    let setting = Setting::new(slaves);
    setting.storage.lock().folders.push(path("/d"));
    for (name, size) in names().zip(1..) {
        setting.storage.put(&format!("/d/{name}"), &content(size));
    }
    setting
}

fn is_missing<T>(ended: &Result<T, ClientError>) -> bool {
    matches!(ended, Err(error) if error.word() == ErrorCode::NotFound.word())
}

#[test]
fn names_are_looked_at_many_at_a_time() {
    let setting = served(1);
    let mut client = setting.connect().unwrap();
    let mut paths = paths();
    paths.insert(1, path("/d/missing"));
    paths.push(path("/d"));
    // Whoever waits for one answer before the next question waits for ever.
    setting.slaves[0].set(|faults| faults.keep_answers = 12);
    let looked = client.stat_each(&paths, true).unwrap();
    assert_eq!(looked.len(), paths.len());
    assert!(is_missing(&looked[1]));
    assert_eq!(looked[0].as_ref().unwrap().size, 1);
    assert_eq!(looked[MANY].as_ref().unwrap().size, MANY as u64);
    let folder = looked.last().unwrap().as_ref().unwrap();
    assert_eq!(folder.kind, EntryKind::Directory);
    assert!(client.stat_each(&[], true).unwrap().is_empty());
}

#[test]
fn names_that_a_lost_slave_has_removed_are_removed() {
    let setting = served(2);
    let mut client = setting.connect().unwrap();
    let mut paths = paths();
    paths.insert(0, path("/d/missing"));
    paths.push(path("/d/missing too"));
    setting.slaves[0].set(|faults| faults.die_before_answer = true);
    let mut removed = Vec::new();
    client
        .remove_each(&paths, false, &mut |ended| {
            removed.push(ended);
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(removed.len(), paths.len());
    let missing = removed.iter().filter(|ended| is_missing(ended)).count();
    assert_eq!(missing, 2, "{removed:?}");
    assert!(is_missing(&removed[0]) && is_missing(removed.last().unwrap()));
    assert!(setting.storage.lock().files.is_empty());
    for slave in &setting.slaves {
        assert!(slave.count(|request| matches!(request, Request::Remove { .. })) > 0);
    }
}

#[test]
fn names_are_removed_many_at_a_time() {
    let setting = served(1);
    let folders: Vec<_> = names().map(|name| path(&format!("/e{name}"))).collect();
    setting.storage.lock().folders.extend(folders.clone());
    let mut client = setting.connect().unwrap();
    let keep = || setting.slaves[0].set(|faults| faults.keep_answers = 12);
    keep();
    let ended = &mut |ended: Result<(), ClientError>| {
        ended.unwrap();
        ControlFlow::Continue(())
    };
    client.remove_each(&paths(), false, ended).unwrap();
    keep();
    client.remove_each_directory(&folders, ended).unwrap();
    let storage = setting.storage.lock();
    assert!(storage.files.is_empty());
    assert_eq!(storage.folders, [path("/d")]);
}

#[test]
fn digests_are_asked_for_many_at_a_time_until_that_is_enough() {
    let setting = served(1);
    let mut client = setting.connect().unwrap();
    let mut paths = paths();
    paths.insert(1, path("/d/missing"));
    let keep = || setting.slaves[0].set(|faults| faults.keep_answers = 12);
    keep();
    let mut sums = Vec::new();
    let all = client.checksum_each(&paths, &mut |sum| {
        sums.push(sum);
        ControlFlow::Continue(())
    });
    all.unwrap();
    assert_eq!(sums.len(), paths.len());
    assert!(is_missing(&sums[1]));
    let last = sums.last().unwrap().as_ref().unwrap();
    assert_eq!(last.size, MANY as u64);
    assert_eq!(last.digest, digest(&content(MANY)));

    keep();
    let mut enough = 0;
    let some = client.checksum_each(&paths, &mut |_| {
        enough += 1;
        match enough {
            3 => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    });
    some.unwrap();
    assert_eq!(enough, 3);
    // Answers that nobody waits for are not taken for those of another question.
    assert!(client.stat(&path("/d"), false).unwrap().kind == EntryKind::Directory);
}

type Ended = BTreeMap<String, Result<Transferred, ClientError>>;

fn get(setting: &Setting, client: &mut Client) -> Ended {
    let looked = client.stat_each(&paths(), true).unwrap();
    let files = paths()
        .into_iter()
        .zip(looked.into_iter().map(Result::unwrap));
    let into = (setting.folder.path(), Conflict::Refuse);
    let mut ended = Ended::new();
    client
        .download_files(files.collect(), into, &mut |item| {
            let name = item.remote.name().unwrap().to_vec();
            let before = ended.insert(String::from_utf8(name).unwrap(), item.result);
            assert!(before.is_none(), "told twice: {before:?}");
        })
        .unwrap();
    ended
}

fn status(ended: &Ended, name: &str) -> Option<Status> {
    ended[name].as_ref().ok().map(|done| done.status)
}

#[test]
fn files_of_a_folder_come_together_through_the_slaves_that_there_are() {
    let setting = served(3);
    setting.storage.put("/d/f07", &content(LARGE));
    fs::write(setting.local("f03"), content(4)).unwrap();
    fs::write(setting.local("f04"), "other").unwrap();
    setting.slaves[0].set(|faults| faults.die_after_sent = Some(100));
    let mut client = setting.connect().unwrap();
    let ended = get(&setting, &mut client);
    assert_eq!(ended.len(), MANY);
    assert_eq!(status(&ended, "f03"), Some(Status::Unchanged));
    assert_eq!(
        ended["f04"].as_ref().unwrap_err().word(),
        ErrorCode::Exists.word()
    );
    for (name, size) in names().zip(1..) {
        let expected = match name.as_str() {
            "f04" => b"other".to_vec(),
            "f07" => content(LARGE),
            _ => content(size),
        };
        assert!(
            fs::read(setting.local(&name)).unwrap() == expected,
            "{name}"
        );
    }
    assert_eq!(setting.names().len(), MANY);
}

#[test]
fn files_are_stored_together_through_the_slaves_that_there_are() {
    let setting = Setting::new(3);
    setting
        .storage
        .lock()
        .folders
        .extend([path("/d"), path("/d/f05")]);
    setting.storage.put("/d/f03", &content(4));
    setting.storage.put("/d/f04", b"other");
    for (name, size) in names().zip(1..) {
        let size = if name == "f07" { LARGE } else { size };
        fs::write(setting.local(&name), content(size)).unwrap();
    }
    fs::remove_file(setting.local("f06")).unwrap();
    setting.slaves[0].set(|faults| faults.die_after_stored = Some(5));
    let mut client = setting.connect().unwrap();
    let put = |client: &mut Client, conflict| {
        let files: Vec<_> = names()
            .map(|name| Upload {
                local: setting.local(&name),
                remote: path(&format!("/d/{name}")),
                conflict,
            })
            .collect();
        let mut ended = Ended::new();
        client
            .upload_files(&files, &mut |item| {
                let name = item.local.file_name().unwrap().to_str().unwrap().to_owned();
                let before = ended.insert(name, item.result);
                assert!(before.is_none(), "told twice: {before:?}");
            })
            .unwrap();
        ended
    };
    let ended = put(&mut client, Conflict::Refuse);
    assert_eq!(ended.len(), MANY);
    assert_eq!(status(&ended, "f03"), Some(Status::Unchanged));
    assert_eq!(status(&ended, "f02"), Some(Status::Done));
    for (name, code) in [
        ("f04", ErrorCode::Exists),
        ("f05", ErrorCode::IsDirectory),
        ("f06", ErrorCode::NotFound),
    ] {
        assert_eq!(
            ended[name].as_ref().unwrap_err().word(),
            code.word(),
            "{name}"
        );
    }
    assert_eq!(setting.storage.content("/d/f04").unwrap(), b"other");
    let ended = put(&mut client, Conflict::Overwrite);
    assert_eq!(status(&ended, "f04"), Some(Status::Done));
    for (name, size) in names().zip(1..) {
        let stored = setting.storage.content(&format!("/d/{name}"));
        match name.as_str() {
            "f05" | "f06" => {}
            "f07" => assert!(stored.unwrap() == content(LARGE)),
            _ => assert!(stored.unwrap() == content(size), "{name}"),
        }
    }
}
