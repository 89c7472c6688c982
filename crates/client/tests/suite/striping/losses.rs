//! Slaves that are lost while they serve a part of a large file.

use std::time::{Duration, Instant};

use client::{ClientErrorKind, Conflict, Notice};
use protocol::Request;

use super::{MIB, REST, asked, assert_whole, served};
use crate::faults::Kept;
use crate::master::Offered;
use crate::setting::Setting;
use crate::slave::Slave;

pub(super) fn lost(setting: &Setting) -> Vec<Notice> {
    let is_loss = |notice: &Notice| matches!(notice, Notice::SlaveLost { .. });
    setting.notices().into_iter().filter(is_loss).collect()
}

#[test]
fn the_blocks_of_a_dead_slave_go_to_the_others() {
    for dead in 0..3 {
        let (setting, content) = served(3);
        setting.slaves[dead].set(|faults| faults.die_after_sent = Some(9 * MIB));
        let mut client = setting.connect().unwrap();
        setting.get(&mut client, Conflict::Refuse).unwrap();
        assert_whole(&setting, &content);
        let lost = lost(&setting);
        let [Notice::SlaveLost { slave, next, .. }] = &lost[..] else {
            panic!("{lost:?}");
        };
        assert_eq!(*slave, setting.slaves[dead].address);
        assert!(next.is_some_and(|next| next != *slave));
        client.disk_free().unwrap();
    }
}

#[test]
fn when_all_are_lost_but_one_that_one_goes_on() {
    let (setting, content) = served(3);
    setting.slaves[0].set(|faults| faults.die_after_sent = Some(6 * MIB));
    setting.slaves[2].set(|faults| faults.die_after_sent = Some(12 * MIB));
    setting
        .get(&mut setting.connect().unwrap(), Conflict::Refuse)
        .unwrap();
    assert_whole(&setting, &content);
    assert_eq!(lost(&setting).len(), 2);
}

#[test]
fn a_slave_that_hangs_is_not_waited_for() {
    let (setting, content) = served(3);
    let get = || {
        let start = Instant::now();
        setting
            .get(&mut setting.connect().unwrap(), Conflict::Overwrite)
            .unwrap();
        start.elapsed()
    };
    let healthy = get();
    setting.slaves[1].set(|faults| faults.hang_after_sent = Some(9 * MIB));
    let took = get();
    // Less than it would take to notice that it hangs, however slow this machine is.
    assert!(took < healthy * 2 + Duration::from_secs(3), "{took:?}");
    assert_whole(&setting, &content);
    assert!(lost(&setting).len() <= 1);
}

/// The session on which the digest was asked for is open still, and answers no more than the stream did.
#[test]
fn a_slave_that_hangs_is_lost_once() {
    let (mut setting, content) = served(2);
    setting.options.limit_rate = Some(4 * MIB);
    let mut client = setting.connect().unwrap();
    for slave in &setting.slaves {
        if Some(slave.address) == client.slave() {
            slave.set(|faults| faults.hang_after_sent = Some(3 * MIB));
        }
    }
    setting.get(&mut client, Conflict::Refuse).unwrap();
    assert_whole(&setting, &content);
    assert_eq!(lost(&setting).len(), 1, "{:?}", lost(&setting));
}

/// Its streams notice one after another, and each of those that are left is as dead as the first.
#[test]
fn a_slave_with_several_streams_is_lost_once_and_another_goes_on() {
    let (mut setting, content) = served(2);
    setting.options.streams = Some(6);
    let mut client = setting.connect().unwrap();
    let is_first = |slave: &&Slave| Some(slave.address) == client.slave();
    let dead = setting.slaves.iter().find(is_first).unwrap();
    dead.set(|faults| faults.die_after_sent = Some(9 * MIB));
    setting.get(&mut client, Conflict::Refuse).unwrap();
    assert_whole(&setting, &content);
    let lost = lost(&setting);
    let [Notice::SlaveLost { slave, next, .. }] = &lost[..] else {
        panic!("{lost:?}");
    };
    assert_eq!(*slave, dead.address);
    assert!(next.is_some_and(|next| next != *slave), "{lost:?}");
}

#[test]
fn the_loss_of_all_streams_of_all_slaves_is_told_once_for_each() {
    let (mut setting, _) = served(2);
    setting.options.streams = Some(6);
    for (slave, after) in setting.slaves.iter().zip([6, 12]) {
        slave.set(|faults| faults.die_after_sent = Some(after * MIB));
    }
    let mut client = setting.connect().unwrap();
    let error = setting.get(&mut client, Conflict::Refuse).unwrap_err();
    assert_eq!(error.kind(), ClientErrorKind::NoConnection);
    let mut lost: Vec<_> = lost(&setting)
        .iter()
        .map(|notice| match notice {
            Notice::SlaveLost { slave, next, .. } if Some(*slave) != *next => *slave,
            other => panic!("{other:?}"),
        })
        .collect();
    lost.sort();
    let mut all: Vec<_> = setting.slaves.iter().map(|slave| slave.address).collect();
    all.sort();
    assert_eq!(lost, all);
}

/// Part of a block is thrown away with its stream, so it is no progress that would have it tried for ever.
#[test]
fn a_block_that_never_comes_whole_is_given_up() {
    let (mut setting, _) = served(2);
    setting.options.retries = 2;
    for slave in &setting.slaves {
        slave.set(|faults| faults.cut_at = Some(20 * MIB + 500_000));
    }
    let mut client = setting.connect().unwrap();
    let error = setting.get(&mut client, Conflict::Refuse).unwrap_err();
    assert_eq!(error.kind(), ClientErrorKind::NoConnection, "{error}");
}

/// Another has the content by then, and the digest too.
#[test]
fn a_slave_that_does_not_answer_for_the_digest_is_asked_once() {
    let (mut setting, content) = served(2);
    setting.options.timeout = Duration::from_secs(2);
    let mut client = setting.connect().unwrap();
    let is_first = |slave: &&Slave| Some(slave.address) == client.slave();
    let mute = setting.slaves.iter().find(is_first).unwrap();
    mute.set(|faults| faults.kept = Kept::Silent);
    setting.get(&mut client, Conflict::Refuse).unwrap();
    assert_whole(&setting, &content);
    let asked = |slave: &Slave| slave.count(|request| matches!(request, Request::Checksum { .. }));
    let asked: Vec<_> = setting.slaves.iter().map(asked).collect();
    assert_eq!(asked, [1, 1]);
    assert!(lost(&setting).is_empty());
}

#[test]
fn a_new_slave_is_asked_for_when_one_is_lost() {
    let (mut setting, content) = served(2);
    setting.slaves[1].set(|faults| faults.die_after_sent = Some(5 * MIB));
    let third = Slave::start(&setting.storage, 3, true);
    third.set(|faults| faults.rest = REST);
    let offer = Offered::in_clear(&third);
    let mut client = setting.connect().unwrap();
    setting.master.offers.lock().unwrap().push(offer);
    setting.slaves[0].set(|faults| faults.rest = REST * 5);
    let got = setting.get(&mut client, Conflict::Refuse).unwrap();
    setting.slaves.push(third);
    assert_whole(&setting, &content);
    assert!(asked(&setting.slaves[2]) > 0);
    assert!(got.slaves.contains(&setting.slaves[2].address));
    let located = setting.master.located.lock().unwrap().clone();
    assert_eq!(located.iter().filter(|(_, renew)| !renew).count(), 1);
}
