//! Who serves: redirects, busy and dead slaves, tickets, failover between commands.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use client::{ClientErrorKind, Listing, Notice};
use protocol::{ErrorCode, Request};

use crate::setting::{Setting, path};
use crate::slave::Slave;

#[test]
fn the_slave_whose_turn_it_is_serves() {
    let setting = Setting::new(2);
    let mut client = setting.connect().unwrap();
    assert_eq!(client.slave(), Some(setting.slaves[0].address));
    assert_eq!(client.disk_free().unwrap().total, 2);
    assert_eq!(setting.master.located.lock().unwrap().len(), 1);
}

#[test]
fn a_standalone_slave_needs_no_master() {
    let setting = Setting::new(0);
    let slave = Slave::start(&setting.storage, 9, false);
    let mut client = setting.connect_to(&[slave.address]).unwrap();
    assert_eq!(client.disk_free().unwrap().available, 1);
    let error = client.slaves().unwrap_err();
    assert_eq!(error.kind(), ClientErrorKind::NotAMaster);
}

#[test]
fn a_dead_master_is_passed_over() {
    let setting = Setting::new(1);
    let dead = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    setting.connect_to(&[dead, setting.master.address]).unwrap();
    let error = setting.connect_to(&[dead]).unwrap_err();
    assert_eq!(error.kind(), ClientErrorKind::NoConnection);
    assert_eq!(error.to_string(), format!("{dead}: connection refused"));
}

#[test]
fn dead_and_busy_slaves_are_passed_over_and_told() {
    let setting = Setting::new(3);
    setting.slaves[0].die();
    setting.slaves[1].set(|faults| faults.busy = true);
    let client = setting.connect().unwrap();
    assert_eq!(client.slave(), Some(setting.slaves[2].address));
}

#[test]
fn no_slave_and_only_busy_ones_are_told_apart() {
    let none = Setting::new(0).connect().unwrap_err();
    assert_eq!(none.kind(), ClientErrorKind::NoConnection);
    assert_eq!(none.to_string(), "no slave is up");
    let setting = Setting::new(2);
    for slave in &setting.slaves {
        slave.set(|faults| faults.busy = true);
    }
    let busy = setting.connect().unwrap_err();
    assert_eq!(busy.kind(), ClientErrorKind::Busy);
    assert_eq!(busy.to_string(), "every slave is busy");
    setting.slaves.iter().for_each(Slave::die);
    let down = setting.connect().unwrap_err();
    assert_eq!(down.kind(), ClientErrorKind::NoConnection);
    assert!(down.to_string().starts_with("no slave is up ("), "{down}");
}

#[test]
fn waiting_ends_when_a_place_is_free() {
    let mut setting = Setting::new(1);
    setting.options.wait = Duration::from_secs(30);
    setting.slaves[0].set(|faults| faults.busy = true);
    let faults = std::sync::Arc::clone(&setting.slaves[0].faults);
    let watcher = std::sync::Arc::clone(&setting.watcher);
    let freeing = std::thread::Builder::new()
        .spawn(move || {
            while !watcher.heard(|notice| matches!(notice, Notice::Waiting { .. })) {
                std::thread::yield_now();
            }
            faults.lock().unwrap().busy = false;
        })
        .unwrap();
    setting.connect().unwrap();
    freeing.join().unwrap();
}

#[test]
fn waiting_ends_in_time() {
    let mut setting = Setting::new(0);
    setting.options.wait = Duration::from_millis(300);
    let start = Instant::now();
    assert!(setting.connect().is_err());
    assert!(start.elapsed() >= Duration::from_millis(300));
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_slave_lost_between_commands_is_replaced_and_told() {
    let setting = Setting::new(2);
    let mut client = setting.connect().unwrap();
    setting.slaves[0].die();
    client.disk_free().unwrap();
    let next = setting.slaves[1].address;
    assert_eq!(client.slave(), Some(next));
    let notices = setting.notices();
    let [
        Notice::SlaveLost {
            slave, next: told, ..
        },
    ] = notices.as_slice()
    else {
        panic!("{notices:?}");
    };
    assert_eq!((*slave, *told), (setting.slaves[0].address, Some(next)));
    // The offers at hand were enough.
    assert_eq!(setting.master.located.lock().unwrap().len(), 1);
}

#[test]
fn when_all_are_lost_the_master_hears_who_was_tried_and_it_ends() {
    let setting = Setting::new(2);
    let mut client = setting.connect().unwrap();
    setting.slaves.iter().for_each(Slave::die);
    let error = client.disk_free().unwrap_err();
    assert_eq!(error.kind(), ClientErrorKind::NoConnection);
    let located = setting.master.located.lock().unwrap();
    let (tried, _) = located.last().unwrap();
    assert!(setting.slaves.iter().all(|slave| tried.contains(&slave.id)));
}

#[test]
fn an_expired_ticket_is_replaced_by_a_new_one() {
    let setting = Setting::new(2);
    setting.slaves[0].set(|faults| faults.refuse_tickets = Some(ErrorCode::TicketExpired));
    let client = setting.connect().unwrap();
    assert_eq!(client.slave(), Some(setting.slaves[1].address));
    setting.slaves[1].set(|faults| faults.refuse_tickets = Some(ErrorCode::LoginRefused));
    let error = setting.connect().unwrap_err();
    assert_eq!(error.kind(), ClientErrorKind::LoginRefused);
}

#[test]
fn tickets_are_renewed_at_half_their_life_without_taking_a_turn() {
    let setting = Setting::with_ticket_life(2, 2);
    let mut client = setting.connect().unwrap();
    let start = Instant::now();
    let renewed = || {
        let located = setting.master.located.lock().unwrap();
        located.iter().filter(|(_, renew)| *renew).count()
    };
    while renewed() < 2 {
        assert!(start.elapsed() < Duration::from_secs(20));
        std::thread::yield_now();
    }
    // The first tickets are over by now: what was renewed serves.
    setting.slaves[0].die();
    client.disk_free().unwrap();
    let located = setting.master.located.lock().unwrap();
    assert_eq!(located.iter().filter(|(_, renew)| !*renew).count(), 1);
}

#[test]
fn an_answer_that_was_lost_is_recognised() {
    let setting = Setting::new(4);
    let mut client = setting.connect().unwrap();
    setting.storage.put("/a", b"1");
    setting.storage.put("/b", b"2");
    setting.slaves[0].set(|faults| faults.die_before_answer = true);
    client.remove(&path("/a"), false).unwrap();
    setting.slaves[1].set(|faults| faults.die_before_answer = true);
    client.rename(&path("/b"), &path("/c"), false).unwrap();
    assert_eq!(setting.storage.content("/c").unwrap(), b"2");
    let error = client.remove(&path("/a"), false).unwrap_err();
    assert_eq!(error.word(), "not-found");
    let error = client.rename(&path("/b"), &path("/c"), false).unwrap_err();
    assert_eq!(error.word(), "not-found");
}

#[test]
fn a_listing_begun_again_tells_no_name_twice() {
    let setting = Setting::new(2);
    for name in ["/a", "/b", "/c", "/d"] {
        setting.storage.put(name, b"");
    }
    setting.slaves[0].set(|faults| faults.die_after_parts = Some(2));
    let mut client = setting.connect().unwrap();
    let mut names = Vec::new();
    client
        .list(&path("/"), Listing::default(), &mut |entry| {
            names.push(entry.name);
        })
        .unwrap();
    names.sort();
    assert_eq!(names, [b"a", b"b", b"c", b"d"]);
    assert_eq!(
        setting.slaves[1].count(|request| matches!(request, Request::List { .. })),
        1
    );
}
