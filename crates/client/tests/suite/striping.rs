//! One large file from several slaves at once, whatever happens to any of them.

mod losses;

use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::time::{Duration, Instant};

use client::{ClientErrorKind, Conflict, Interrupt, Notice, Observer, Progress, Status, Target};
use protocol::{ErrorCode, Request};
use rustix::fs::FallocateFlags;

use crate::faults::Kept;
use crate::master::Master;
use crate::setting::{Setting, content, path};
use crate::slave::Slave;
use crate::storage::{Storage, digest};
use losses::lost;

const MIB: u64 = 1 << 20;
const BLOCK: usize = 1 << 20;
const LARGE: usize = 40 * BLOCK + 12_345;

/// Slow enough for all slaves to take part.
const REST: Duration = Duration::from_millis(1);

fn served(slaves: u8) -> (Setting, Vec<u8>) {
    let storage = Storage::default();
    let content = content(LARGE);
    storage.put("/a", &content);
    let storages = vec![storage.clone(); slaves.into()];
    (over(storage, &storages), content)
}

fn over(storage: Storage, storages: &[Storage]) -> Setting {
    let mut setting = Setting::over(storage, storages, 600);
    setting.options.streams = Some(u32::try_from(storages.len()).unwrap());
    for slave in &setting.slaves {
        slave.set(|faults| faults.rest = REST);
    }
    setting
}

/// What a slave was asked for, bytes.
fn asked(slave: &Slave) -> u64 {
    let log = slave.log.lock().unwrap();
    log.iter()
        .filter_map(|request| match request {
            Request::Retrieve { length, .. } => Some(*length),
            _ => None,
        })
        .sum()
}

fn asked_of_all(setting: &Setting) -> u64 {
    setting.slaves.iter().map(asked).sum()
}

#[track_caller]
fn assert_whole(setting: &Setting, content: &[u8]) {
    assert!(fs::read(setting.local("a")).unwrap() == content);
    assert_eq!(setting.names(), ["a"]);
}

#[test]
fn every_slave_serves_a_part() {
    let (setting, content) = served(3);
    let mut client = setting.connect().unwrap();
    let got = setting.get(&mut client, Conflict::Refuse).unwrap();
    assert_whole(&setting, &content);
    assert_eq!((got.bytes, got.resumed_at), (LARGE as u64, 0));
    assert_eq!((got.digest, got.verified), (Some(digest(&content)), true));
    assert_eq!(got.status, Status::Done);
    let mut slaves = got.slaves.clone();
    assert_eq!(got.slave, slaves.first().copied());
    slaves.sort();
    let mut all: Vec<_> = setting.slaves.iter().map(|slave| slave.address).collect();
    all.sort();
    assert_eq!(slaves, all);
    for slave in &setting.slaves {
        assert!(asked(slave) > 4 * MIB);
    }
    assert!(asked_of_all(&setting) < LARGE as u64 + 8 * MIB);
    assert_eq!(
        fs::metadata(setting.local("a")).unwrap().mtime(),
        1_700_000_000
    );
    assert!(setting.notices().is_empty());
    // Nobody took more than one turn, and the client is as good as before.
    let located = setting.master.located.lock().unwrap().clone();
    assert_eq!(located.iter().filter(|(_, renew)| !renew).count(), 1);
    client.disk_free().unwrap();
}

#[test]
fn progress_adds_up() {
    let (setting, _) = served(3);
    setting
        .get(&mut setting.connect().unwrap(), Conflict::Refuse)
        .unwrap();
    let told = setting.progress();
    assert!(told.is_sorted_by_key(|progress| progress.bytes), "{told:?}");
    let last = told.last().unwrap();
    assert_eq!((last.bytes, last.total), (LARGE as u64, LARGE as u64));
}

#[test]
fn a_slow_slave_ends_up_with_little() {
    let (setting, content) = served(3);
    setting.slaves[1].set(|faults| faults.rest = REST * 200);
    setting
        .get(&mut setting.connect().unwrap(), Conflict::Refuse)
        .unwrap();
    assert_whole(&setting, &content);
    assert!(asked(&setting.slaves[1]) <= 6 * MIB);
    assert!(asked_of_all(&setting) <= LARGE as u64 + 6 * MIB);
    assert!(setting.notices().is_empty());
}

#[test]
fn one_stream_is_the_classic_way_and_the_default_on_one_machine() {
    for streams in [Some(1), None] {
        let (mut setting, content) = served(3);
        setting.options.streams = streams;
        let got = setting
            .get(&mut setting.connect().unwrap(), Conflict::Refuse)
            .unwrap();
        assert_whole(&setting, &content);
        assert!(got.slaves.is_empty());
        let busy = setting.slaves.iter().filter(|slave| asked(slave) > 0);
        assert_eq!(busy.count(), 1);
    }
}

#[test]
fn a_slave_that_stands_alone_serves_all_streams() {
    let (mut setting, content) = served(1);
    setting.slaves = vec![Slave::start(&setting.storage, 9, false)];
    setting.options.streams = Some(4);
    let mut client = setting.connect_to(&[setting.slaves[0].address]).unwrap();
    let got = setting.get(&mut client, Conflict::Refuse).unwrap();
    assert_whole(&setting, &content);
    assert_eq!(got.slave, Some(setting.slaves[0].address));
    assert!(got.slaves.is_empty());
}

#[test]
fn no_memory_is_set_aside_for_a_size_that_is_only_claimed() {
    let (setting, content) = served(2);
    let mut client = setting.connect().unwrap();
    for slave in &setting.slaves {
        slave.set(|faults| faults.claimed_size = Some(1 << 62));
    }
    setting.get(&mut client, Conflict::Refuse).unwrap();
    assert_whole(&setting, &content);
}

#[test]
fn further_streams_ask_with_their_first_words() {
    let (mut setting, content) = served(1);
    setting.options.streams = Some(4);
    let mut client = setting.connect().unwrap();
    setting.slaves[0].set(|faults| {
        faults.questions_ahead = Some(0);
        faults.rest = Duration::from_millis(5);
    });
    setting.get(&mut client, Conflict::Refuse).unwrap();
    assert_whole(&setting, &content);
    let heard = setting.slaves[0].faults.lock().unwrap().questions_ahead;
    // The streams beside the first one, and the question for the digest.
    assert_eq!(heard, Some(4));
}

#[test]
fn a_slave_with_another_version_is_not_used() {
    let (storage, other) = (Storage::default(), Storage::default());
    let content = content(LARGE);
    storage.put("/a", &content);
    other.put("/a", b"older");
    other.put("/a", &content);
    let setting = over(storage.clone(), &[storage.clone(), other, storage]);
    let got = setting
        .get(&mut setting.connect().unwrap(), Conflict::Refuse)
        .unwrap();
    assert_whole(&setting, &content);
    assert_eq!(got.slaves.len(), 2);
    assert!(!got.slaves.contains(&setting.slaves[1].address));
    assert!(setting.notices().is_empty());
}

/// The same version, another content: the disk of that slave lies.
#[test]
fn the_slave_with_wrong_blocks_is_named_and_the_others_serve_them() {
    for wrong in 0..3 {
        let (storage, other) = (Storage::default(), Storage::default());
        let content = content(LARGE);
        storage.put("/a", &content);
        let mut bent = content.clone();
        (0..LARGE).step_by(BLOCK).for_each(|at| bent[at] ^= 1);
        other.put("/a", &bent);
        let mut storages = vec![storage.clone(); 3];
        storages[wrong] = other;
        let setting = over(storage, &storages);
        let got = setting
            .get(&mut setting.connect().unwrap(), Conflict::Refuse)
            .unwrap();
        assert_whole(&setting, &content);
        assert_eq!(got.digest, Some(digest(&content)));
        let notices = setting.notices();
        let [
            Notice::Damaged {
                remote,
                blocks,
                slave,
            },
        ] = &notices[..]
        else {
            panic!("{notices:?}");
        };
        assert_eq!(*remote, path("/a"));
        assert!(*blocks > 0);
        assert_eq!(*slave, Some(setting.slaves[wrong].address));
    }
}

#[test]
fn a_flipped_bit_costs_one_block() {
    let (setting, content) = served(2);
    for slave in &setting.slaves {
        slave.set(|faults| faults.flip = Some(20 * MIB + 5));
    }
    setting
        .get(&mut setting.connect().unwrap(), Conflict::Refuse)
        .unwrap();
    assert_whole(&setting, &content);
    let damaged = |notice: &Notice| {
        matches!(
            notice,
            Notice::Damaged {
                slave: Some(_),
                blocks: 1,
                ..
            }
        )
    };
    assert!(setting.watcher.heard(damaged));
}

#[test]
fn bits_that_flip_every_time_are_never_a_success() {
    let (setting, _) = served(2);
    for slave in &setting.slaves {
        slave.set(|faults| {
            faults.flip = Some(20 * MIB);
            faults.flip_always = true;
        });
    }
    let error = setting
        .get(&mut setting.connect().unwrap(), Conflict::Refuse)
        .unwrap_err();
    assert_eq!(error.kind(), ClientErrorKind::NotVerified);
    assert_eq!(setting.names(), [".a.part"]);
}

#[test]
fn a_file_that_changes_on_the_way_is_begun_again() {
    let (setting, _) = served(3);
    let other = content(LARGE + 3 * BLOCK)[BLOCK..].to_vec();
    let replacement = other.clone();
    setting.slaves[2].set(move |faults| faults.change_after_sent = Some((8 * MIB, replacement)));
    setting
        .get(&mut setting.connect().unwrap(), Conflict::Refuse)
        .unwrap();
    assert_whole(&setting, &other);
    let restarted = |notice: &Notice| matches!(notice, Notice::Restarted { .. });
    assert!(setting.watcher.heard(restarted));
    assert!(lost(&setting).is_empty());
}

#[test]
fn a_file_that_is_gone_is_an_error_of_that_name() {
    let (setting, _) = served(3);
    let mut client = setting.connect().unwrap();
    client.stat(&path("/a"), true).unwrap();
    setting.storage.lock().files.clear();
    let error = setting.get(&mut client, Conflict::Refuse).unwrap_err();
    assert_eq!(error.kind(), ClientErrorKind::Remote(ErrorCode::NotFound));
}

/// Lets a first client fetch some blocks here and there, and nothing more.
fn broken_off(verify: bool) -> (Setting, Vec<u8>) {
    let (mut setting, content) = served(3);
    setting.options.retries = 0;
    setting.options.verify = verify;
    for (slave, end) in setting.slaves.iter().zip([10, 14, 18]) {
        slave.set(|faults| faults.die_after_sent = Some(end * MIB));
    }
    let error = setting
        .get(&mut setting.connect().unwrap(), Conflict::Refuse)
        .unwrap_err();
    assert_eq!(error.kind(), ClientErrorKind::NoConnection);
    assert_eq!(setting.names(), [".a.part"]);
    // A slave that hung, say, has left a hole.
    let part = fs::File::options()
        .write(true)
        .open(setting.local(".a.part"))
        .unwrap();
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    rustix::fs::fallocate(&part, flags, 3 * MIB, MIB).unwrap();
    setting.replace_slaves(3);
    (setting, content)
}

/// Bytes of the part that are there.
fn kept(setting: &Setting) -> u64 {
    fs::metadata(setting.local(".a.part")).unwrap().blocks() * 512
}

#[test]
fn only_what_is_missing_is_fetched_again() {
    // Also by a client that uses one stream: the blocks are where they are.
    for streams in [Some(3), Some(1), None] {
        let (mut setting, content) = broken_off(true);
        setting.options.streams = streams;
        let kept = kept(&setting);
        assert!(kept > 4 * MIB);
        let got = setting
            .get(&mut setting.connect().unwrap(), Conflict::Refuse)
            .unwrap();
        assert_whole(&setting, &content);
        assert!(
            got.resumed_at > kept - 2 * MIB,
            "{} of {kept}",
            got.resumed_at
        );
        let fetched = asked_of_all(&setting);
        assert!(fetched >= LARGE as u64 - got.resumed_at);
        assert!(
            fetched <= LARGE as u64 - got.resumed_at + 6 * MIB,
            "{streams:?} {fetched} {}",
            got.resumed_at
        );
    }
}

/// Only the digest that was kept with the file knows better, and so does another slave.
#[test]
fn where_the_only_slave_that_is_asked_contradicts_itself_another_is_asked() {
    let (mut setting, content) = broken_off(true);
    let (other, mut bent) = (Storage::default(), content.clone());
    (0..LARGE).step_by(BLOCK).for_each(|at| bent[at] ^= 1);
    other.put("/a", &bent);
    setting.slaves = vec![
        Slave::start(&other, 201, true),
        Slave::start(&setting.storage, 202, true),
    ];
    setting.slaves[0].set(|faults| faults.kept = Kept::Other(digest(&content)));
    setting.master = Master::start(&setting.slaves, 600);
    setting.options.streams = Some(1);
    setting.options.retries = 3;
    let mut client = setting.connect().unwrap();
    assert_eq!(client.slave(), Some(setting.slaves[0].address));
    let got = setting.get(&mut client, Conflict::Refuse).unwrap();
    assert_whole(&setting, &content);
    assert!(got.verified);
    assert!(asked(&setting.slaves[1]) > 0);
}

#[test]
fn what_was_damaged_meanwhile_is_fetched_again() {
    for verify in [true, false] {
        let (setting, content) = broken_off(verify);
        let part = fs::File::options()
            .write(true)
            .open(setting.local(".a.part"))
            .unwrap();
        part.write_all_at(b"bent", 2 * MIB).unwrap();
        part.write_all_at(&[0; BLOCK], 30 * MIB).unwrap();
        let got = setting
            .get(&mut setting.connect().unwrap(), Conflict::Refuse)
            .unwrap();
        assert_whole(&setting, &content);
        assert_eq!(got.verified, verify);
        assert!(got.resumed_at > 3 * MIB);
        let damaged = |notice: &Notice| matches!(notice, Notice::Damaged { .. });
        assert!(!setting.watcher.heard(damaged), "no slave is to blame");
    }
}

#[test]
fn a_part_of_another_version_is_not_used() {
    let (setting, _) = broken_off(true);
    let other = content(LARGE + BLOCK)[BLOCK..].to_vec();
    setting.storage.put("/a", &other);
    let got = setting
        .get(&mut setting.connect().unwrap(), Conflict::Refuse)
        .unwrap();
    assert_whole(&setting, &other);
    assert_eq!(got.resumed_at, 0);
}

#[test]
fn without_verification_no_digest_is_asked() {
    let (mut setting, content) = served(3);
    setting.options.verify = false;
    setting.slaves[0].set(|faults| faults.die_after_sent = Some(9 * MIB));
    let got = setting
        .get(&mut setting.connect().unwrap(), Conflict::Refuse)
        .unwrap();
    assert!(!got.verified && got.digest.is_none());
    assert_whole(&setting, &content);
    let costly =
        |request: &Request| matches!(request, Request::Checksum { .. } | Request::Blocks { .. });
    for slave in &setting.slaves {
        assert_eq!(slave.count(costly), 0);
    }
}

#[test]
fn an_interrupt_keeps_what_has_come() {
    let (mut setting, content) = served(3);
    for slave in &setting.slaves {
        slave.set(|faults| faults.rest = REST * 10);
    }
    let interrupt = Interrupt::default();
    let master = setting.master.address;
    let target = Target {
        host: master.ip().to_string(),
        port: master.port(),
    };
    let observer = std::sync::Arc::clone(&setting.watcher);
    let options = setting.options.clone();
    let mut client =
        client::Client::connect(&[target], options, observer, interrupt.clone()).unwrap();
    let error = std::thread::scope(|scope| {
        let running = scope.spawn(|| setting.get(&mut client, Conflict::Refuse));
        let part = setting.local(".a.part");
        while !fs::metadata(&part).is_ok_and(|facts| facts.blocks() * 512 > 5 * MIB) {
            std::thread::sleep(REST);
        }
        interrupt.set();
        running.join().unwrap().unwrap_err()
    });
    assert_eq!(error.kind(), ClientErrorKind::Interrupted);
    assert!(setting.notices().is_empty());
    setting.replace_slaves(3);
    let got = setting
        .get(&mut setting.connect().unwrap(), Conflict::Refuse)
        .unwrap();
    assert!(got.resumed_at >= 4 * MIB);
    assert_whole(&setting, &content);
}

/// Interrupts when all has come: what an earlier try has left may still be hashed then, which can take long.
struct AtTheEnd(Interrupt);

impl Observer for AtTheEnd {
    fn notice(&self, _: &Notice) {}

    fn progress(&self, progress: &Progress) {
        if progress.bytes == progress.total {
            self.0.set();
        }
    }
}

#[test]
fn an_interrupt_is_heard_when_all_has_come_and_is_only_being_hashed() {
    let (setting, _) = broken_off(true);
    let interrupt = Interrupt::default();
    let master = setting.master.address;
    let target = Target {
        host: master.ip().to_string(),
        port: master.port(),
    };
    let observer = std::sync::Arc::new(AtTheEnd(interrupt.clone()));
    let options = setting.options.clone();
    let mut client = client::Client::connect(&[target], options, observer, interrupt).unwrap();
    let error = setting.get(&mut client, Conflict::Refuse).unwrap_err();
    assert_eq!(error.kind(), ClientErrorKind::Interrupted);
    assert_eq!(setting.names(), [".a.part"]);
}

#[test]
fn a_rate_limit_holds_for_all_streams_together() {
    let (mut setting, content) = served(3);
    setting.options.limit_rate = Some(40 * MIB);
    let start = Instant::now();
    setting
        .get(&mut setting.connect().unwrap(), Conflict::Refuse)
        .unwrap();
    assert!(start.elapsed() >= Duration::from_millis(900));
    assert_whole(&setting, &content);
}
