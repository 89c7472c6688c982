//! A small file whose content comes with the answer to what it is.

use std::fs;
use std::os::unix::fs::MetadataExt;

use client::{Client, ClientErrorKind, Conflict, Notice, Status};
use protocol::{EntryKind, ErrorCode, Request};

use crate::setting::{Setting, content, path};
use crate::storage::digest;

const MOST: usize = 64 * 1024;

fn served(size: usize, slaves: u8) -> (Setting, Client, Vec<u8>) {
    let setting = Setting::new(slaves);
    let content = content(size);
    setting.storage.put("/a", &content);
    let client = setting.connect().unwrap();
    (setting, client, content)
}

/// What `/a` is, asked for by whoever is about to download it.
fn size(client: &mut Client) -> u64 {
    let found = client.stat_to_download(&[path("/a")]).unwrap();
    let entry = found[0].as_ref().unwrap();
    assert_eq!(entry.kind, EntryKind::File);
    entry.size
}

/// What the slaves have been asked.
fn asked(setting: &Setting) -> Vec<&'static str> {
    let logs = setting.slaves.iter().map(|slave| slave.log.lock().unwrap());
    let word = |request: &Request| match request {
        Request::RetrieveWhole { .. } => "whole",
        Request::Retrieve { .. } => "content",
        Request::Stat { .. } => "facts",
        Request::Checksum { .. } => "digest",
        _ => "else",
    };
    logs.flat_map(|log| log.iter().map(word).collect::<Vec<_>>())
        .filter(|word| *word != "else")
        .collect()
}

#[test]
fn a_small_file_is_asked_for_once() {
    for length in [0, 1, 1000, MOST] {
        let (setting, mut client, content) = served(length, 1);
        assert_eq!(size(&mut client), length as u64);
        let got = setting.get(&mut client, Conflict::Refuse).unwrap();
        assert!(fs::read(setting.local("a")).unwrap() == content);
        assert_eq!(setting.names(), ["a"]);
        assert_eq!((got.bytes, got.status), (length as u64, Status::Done));
        assert_eq!((got.digest, got.verified), (Some(digest(&content)), true));
        assert_eq!((got.slave, got.resumed_at), (client.slave(), 0));
        let facts = fs::metadata(setting.local("a")).unwrap();
        assert_eq!(facts.mtime(), 1_700_000_000);
        assert_eq!(facts.mode() & 0o727, 0o600);
        let last = setting.progress().pop().unwrap();
        assert_eq!((last.bytes, last.total), (length as u64, length as u64));
        assert_eq!(asked(&setting), ["whole"]);
    }
}

#[test]
fn a_larger_one_comes_as_ever() {
    let (setting, mut client, content) = served(MOST + 1, 1);
    assert_eq!(size(&mut client), content.len() as u64);
    setting.get(&mut client, Conflict::Refuse).unwrap();
    assert!(fs::read(setting.local("a")).unwrap() == content);
    assert_eq!(asked(&setting), ["whole", "content"]);
}

#[test]
fn several_names_are_looked_at_alone() {
    let (setting, mut client, _) = served(5, 1);
    let found = client.stat_to_download(&[path("/a"), path("/missing")]);
    let found = found.unwrap();
    assert_eq!(found[0].as_ref().unwrap().size, 5);
    let kind = ClientErrorKind::Remote(ErrorCode::NotFound);
    assert_eq!(found[1].as_ref().unwrap_err().kind(), kind);
    assert_eq!(asked(&setting), ["facts", "facts"]);
    let missing = client.stat_to_download(&[path("/missing")]).unwrap();
    assert_eq!(missing[0].as_ref().unwrap_err().kind(), kind);
}

#[test]
fn what_arrives_damaged_is_fetched_in_the_way_that_mends_it() {
    let (setting, mut client, content) = served(3000, 1);
    setting.slaves[0].set(|faults| faults.flip = Some(2000));
    size(&mut client);
    let got = setting.get(&mut client, Conflict::Refuse).unwrap();
    assert!(fs::read(setting.local("a")).unwrap() == content);
    assert!(got.verified);
    assert_eq!(asked(&setting), ["whole", "content"]);
    assert!(setting.notices().is_empty());
}

#[test]
fn without_verification_nothing_is_compared() {
    let setting = {
        let (mut setting, _, _) = served(3000, 1);
        setting.options.verify = false;
        setting
    };
    let mut client = setting.connect().unwrap();
    size(&mut client);
    let got = setting.get(&mut client, Conflict::Refuse).unwrap();
    assert_eq!((got.digest, got.verified), (None, false));
    assert_eq!(asked(&setting), ["whole"]);
}

#[test]
fn a_slave_that_dies_over_it_is_replaced() {
    let (setting, mut client, content) = served(MOST, 2);
    for slave in &setting.slaves {
        if Some(slave.address) == client.slave() {
            slave.set(|faults| faults.die_after_sent = Some(0));
        }
    }
    assert_eq!(size(&mut client), MOST as u64);
    setting.get(&mut client, Conflict::Refuse).unwrap();
    assert!(fs::read(setting.local("a")).unwrap() == content);
    let is_loss = |notice: &Notice| matches!(notice, Notice::SlaveLost { .. });
    assert!(setting.watcher.heard(is_loss));
    assert_eq!(asked(&setting), ["whole", "whole"]);
}

#[test]
fn a_file_that_changes_meanwhile_is_looked_at_again() {
    let (setting, mut client, _) = served(3000, 1);
    let changed = Some((0, b"changed".to_vec()));
    setting.slaves[0].set(|faults| faults.change_after_sent = changed);
    assert_eq!(size(&mut client), 7);
    setting.get(&mut client, Conflict::Refuse).unwrap();
    assert_eq!(fs::read(setting.local("a")).unwrap(), b"changed");
    assert_eq!(asked(&setting), ["whole", "facts", "content"]);
}

#[test]
fn a_slave_that_does_not_know_the_question_is_asked_as_ever() {
    let (setting, mut client, content) = served(3000, 1);
    setting.slaves[0].set(|faults| {
        faults.unknown = Some(|request| matches!(request, Request::RetrieveWhole { .. }));
    });
    assert_eq!(size(&mut client), 3000);
    setting.get(&mut client, Conflict::Refuse).unwrap();
    assert!(fs::read(setting.local("a")).unwrap() == content);
    assert_eq!(asked(&setting), ["whole", "facts", "content"]);
}

#[test]
fn it_takes_the_place_of_what_an_earlier_try_has_left() {
    let (setting, mut client, content) = served(3000, 1);
    let part = setting.local(".a.part");
    fs::write(&part, "").unwrap();
    size(&mut client);
    setting.get(&mut client, Conflict::Refuse).unwrap();
    assert!(fs::read(setting.local("a")).unwrap() == content);
    assert_eq!(setting.names(), ["a"]);
}

#[test]
fn where_a_file_is_there_already_it_is_compared_as_ever() {
    let (setting, mut client, content) = served(3000, 1);
    for (local, expected) in [
        (&content[..], Ok(Status::Unchanged)),
        (b"other", Err(ClientErrorKind::Remote(ErrorCode::Exists))),
    ] {
        fs::write(setting.local("a"), local).unwrap();
        size(&mut client);
        let got = setting.get(&mut client, Conflict::Refuse);
        let got = got.map(|got| got.status).map_err(|error| error.kind());
        assert_eq!(got, expected);
        assert_eq!(fs::read(setting.local("a")).unwrap(), local);
    }
    size(&mut client);
    let got = setting.get(&mut client, Conflict::Overwrite).unwrap();
    assert_eq!(got.status, Status::Done);
    assert!(fs::read(setting.local("a")).unwrap() == content);
}

#[test]
fn what_was_asked_for_another_name_is_not_taken_for_this_one() {
    let (setting, mut client, content) = served(3000, 1);
    setting.storage.put("/b", b"another");
    client.stat_to_download(&[path("/b")]).unwrap();
    setting.get(&mut client, Conflict::Refuse).unwrap();
    assert!(fs::read(setting.local("a")).unwrap() == content);
}
