//! Files that change under those who read them, and uploads that meet at one name.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::thread::{self, sleep};
use std::time::Duration;

use super::ledger::State;
use super::schedule::{Event, Kind};
use super::{Storm, Struck, whole};
use crate::harness::{Choices, random_bytes, write_file};

/// Everybody stores there.
pub(super) const SHARED: [&str; 4] = ["/shared/a", "/shared/b", "/shared/c", "/shared/d"];
/// Somebody on the server's side changes these.
pub(super) const EDITED: [&str; 3] = ["/edited/a", "/edited/b", "/edited/c"];
/// Bits flip in these. Nobody fetches them but whoever waits for the complaint.
pub(super) const ROTTEN: [&str; 2] = ["/rotten/large", "/rotten/small"];

pub(super) fn strike(storm: &Storm<'_>, event: &Event) -> Struck {
    let helpers = whole(&storm.helpers);
    let [one, two] = &*helpers;
    let mut choices = Choices(event.dice);
    if event.kind == Kind::UploadTwice {
        let name = choices.one_of(&SHARED);
        let seeds = [choices.next(), choices.next()];
        let length = 1 + choices.below(2_000_000) as usize;
        let put = |person, seed| storm.put(person, name, (seed, length), &[]).is_done();
        let done = thread::scope(|threads| {
            let other = thread::Builder::new().spawn_scoped(threads, || put(two, seeds[1]));
            let other = other.unwrap();
            [put(one, seeds[0]), other.join().unwrap_or(false)]
        });
        return Ok(u64::from(done == [true; 2]));
    }
    let name = choices.one_of(&EDITED);
    if storm.ledger.certain(name) == Some(State::Absent) {
        replace(storm, name, &mut choices);
    }
    let is_read = thread::scope(|threads| {
        let read = || drop(storm.get(one, name, &["--limit-rate", "1M"]));
        thread::Builder::new().spawn_scoped(threads, read).unwrap();
        sleep(Duration::from_millis(50 + choices.below(600)));
        let is_read = one.is_fetching(name);
        match event.kind {
            Kind::EditWhileRead => edit(storm, name, &mut choices),
            Kind::TruncateWhileRead => truncate(storm, name, &mut choices),
            Kind::ReplaceWhileRead => replace(storm, name, &mut choices),
            _ => change(storm, (name, State::Absent), |path| {
                fs::remove_file(path).ok(); // a full disk may have kept it from being made
            }),
        }
        is_read
    });
    Ok(u64::from(is_read))
}

/// A new version, in one step, and not through the servers.
pub(super) fn replace(storm: &Storm<'_>, name: &str, choices: &mut Choices) {
    let content = random_bytes(choices.next(), 200_000 + choices.below(1_500_000) as usize);
    // On the disk, where there is room: a full one is another event.
    let new = storm.world.beside_root("replacement");
    if fs::write(&new, &content).is_err() {
        fs::remove_file(&new).ok();
        return;
    }
    change(storm, (name, State::of(&content)), |path| {
        fs::rename(&new, path).unwrap();
    });
}

/// One byte after the other is another one: each of the states is what the file was at a time, a mixture of them is not.
fn edit(storm: &Storm<'_>, name: &str, choices: &mut Choices) {
    let path = storm.world.path(name);
    let Ok(mut content) = fs::read(&path) else {
        return;
    };
    let file = File::options().write(true).open(&path).unwrap();
    for _ in 0..12 {
        if content.is_empty() {
            return;
        }
        let offset = choices.below(content.len() as u64);
        content[offset as usize] ^= 0x55;
        let byte = [content[offset as usize]];
        change(storm, (name, State::of(&content)), |_| {
            file.write_all_at(&byte, offset).unwrap();
        });
        sleep(Duration::from_millis(choices.below(40)));
    }
}

fn truncate(storm: &Storm<'_>, name: &str, choices: &mut Choices) {
    let Ok(content) = fs::read(storm.world.path(name)) else {
        return;
    };
    let length = choices.below(1 + content.len() as u64);
    let state = State::of(&content[..length as usize]);
    change(storm, (name, state), |path| {
        let file = File::options().write(true).open(path).unwrap();
        file.set_len(length).unwrap();
    });
}

fn change(storm: &Storm<'_>, (name, state): (&str, State), act: impl FnOnce(&Path)) {
    let entry = storm.ledger.begin([(name.to_owned(), state)]);
    act(&storm.world.path(name));
    storm.ledger.end(&entry, true);
}

/// The folders and files that are there before the storm.
pub(super) fn lay_out(storm: &Storm<'_>) {
    for folder in ["shared", "edited", "rotten"] {
        fs::create_dir(storm.world.root().join(folder)).unwrap();
    }
    for (index, name) in EDITED.into_iter().enumerate() {
        let content = random_bytes(index as u64, 400_000);
        change(storm, (name, State::of(&content)), |path| {
            write_file(path, &content);
        });
    }
    let helpers = whole(&storm.helpers);
    let [person, _] = &*helpers;
    for (name, length) in ROTTEN.into_iter().zip([1_500_000, 5_000]) {
        let ran = storm.put(person, name, (1, length), &[]);
        assert!(ran.is_done(), "before the storm: {ran:?}");
    }
}
