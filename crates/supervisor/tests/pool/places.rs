//! Who serves whom: places, overflow, connections that wait, descriptors.

use std::collections::BTreeSet;
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, prlimit};

use crate::Test;
use crate::harness::{Client, Service, kill, settings, wait_until};
use crate::program::Settings;

pub(crate) const TESTS: &[Test] = &[
    ("as_many_clients_as_workers_land_on_one_each", one_each),
    ("one_client_too_many_hears_busy_until_a_place_is_free", busy),
    ("silent_connections_take_no_place", silent_connections),
    ("dead_workers_sessions_are_not_counted", dead_sessions),
    (
        "worker_far_ahead_of_one_that_hangs_serves_everybody",
        ahead_of_a_hanging_one,
    ),
    (
        "accept_goes_on_when_descriptors_are_back",
        descriptors_run_out,
    ),
    (
        "worker_holds_the_descriptors_it_was_given_and_no_more",
        descriptors_of_a_worker,
    ),
];

fn one_each() {
    let service = Service::start(Settings {
        helper: true,
        ..settings(6, 1)
    });
    let seen = |totals: &str| {
        wait_until(totals, || {
            service
                .lines("totals ")
                .last()
                .filter(|last| *last == totals)
                .map(|_| ())
        });
    };
    for _ in 0..5 {
        // A place is given back a moment after its client has gone: the next round waits for all of them.
        seen("6 0 6");
        let mut clients: Vec<Client> = (0..6).map(|_| service.connect()).collect();
        let pids: BTreeSet<i32> = clients
            .iter_mut()
            .map(|client| client.hello().unwrap())
            .collect();
        assert_eq!(pids.len(), 6);
        seen("6 6 0");
    }
}

fn busy() {
    let service = Service::start(settings(3, 1));
    let mut clients: Vec<Client> = (0..3).map(|_| service.session()).collect();
    for _ in 0..10 {
        assert_eq!(service.connect().hello(), None);
    }
    let freed = clients.pop().unwrap().hello();
    let next = wait_until("the freed place is given", || service.connect().hello());
    assert_eq!(Some(next), freed);
    assert!(clients.iter_mut().all(|client| client.hello().is_some()));
}

fn silent_connections() {
    let service = Service::start(settings(2, 1));
    let mut silent: Vec<Client> = (0..20).map(|_| service.connect()).collect();
    assert!(silent[0].hears_nothing_for(Duration::from_millis(100)));
    assert!(service.connect().hello().is_some());
}

fn dead_sessions() {
    let service = Service::start(settings(1, 2));
    let mut clients: Vec<Client> = (0..2).map(|_| service.session()).collect();
    assert_eq!(service.connect().hello(), None);
    kill(clients[0].hello().unwrap(), Signal::KILL);
    service.wait_for_count("ready ", 2);
    let _both: Vec<Client> = (0..2).map(|_| service.session()).collect();
}

fn ahead_of_a_hanging_one() {
    let service = Service::start(Settings {
        silent_after_ms: 60_000,
        ..settings(2, 400)
    });
    let [hangs, serves] = service.ready_pids()[..] else {
        panic!("two workers");
    };
    kill(hangs, Signal::STOP);
    let mut clients: Vec<Client> = (0..200).map(|_| service.connect()).collect();
    for client in &mut clients {
        assert_eq!(client.hello(), Some(serves));
    }
    kill(hangs, Signal::CONT);
}

fn descriptors_run_out() {
    let service = Service::start(settings(1, 100));
    let pid = service.ready_pids()[0];
    let process = Pid::from_raw(pid);
    let normal = getrlimit(Resource::Nofile);
    let none_left = Rlimit {
        current: Some(3),
        maximum: normal.maximum,
    };
    prlimit(process, Resource::Nofile, none_left).unwrap();
    let before = processor_ticks(pid);
    let mut client = service.connect();
    assert!(client.hears_nothing_for(Duration::from_millis(500)));
    assert!(
        processor_ticks(pid) - before < 15,
        "accepting is tried again without a pause"
    );
    prlimit(process, Resource::Nofile, normal).unwrap();
    assert_eq!(client.hello(), Some(pid));
    let complaints = service.log().matches("accepting pauses").count();
    assert!(complaints <= 2, "{complaints} lines");
}

fn descriptors_of_a_worker() {
    let service = Service::start(settings(2, 4));
    let pid = service.ready_pids()[0];
    // Streams 0, 1, 2; lifeline, scoreboard (mapped, its descriptor closed), listener; two ends of the waker, the
    // signal handler's copy of one.
    let at_first = open_descriptors(pid);
    assert!(at_first.len() <= 8, "{at_first:?}");
    for _ in 0..200 {
        wait_until("a session that just ended has left its place", || {
            service.connect().hello()
        });
    }
    wait_until("sessions leave nothing behind", || {
        (open_descriptors(pid).len() == at_first.len()).then_some(())
    });
}

fn open_descriptors(pid: i32) -> Vec<String> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let target = |entry: std::fs::DirEntry| std::fs::read_link(entry.path()).unwrap_or_default();
    entries
        .map(|entry| target(entry.unwrap()).display().to_string())
        .collect()
}

/// User and system time in clock ticks: fields 14 and 15 of /proc/PID/stat.
fn processor_ticks(pid: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields = status.rsplit(')').next().unwrap().split_whitespace();
    fields
        .skip(11)
        .take(2)
        .map(|field| field.parse::<u64>().unwrap())
        .sum()
}
