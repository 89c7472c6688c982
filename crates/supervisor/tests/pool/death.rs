//! Workers, helper and supervisor that die, hang, or cannot start.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::Test;
use crate::harness::{Client, Service, is_dead, kill, settings, wait_until};
use crate::program::{Boot, Settings};

pub(crate) const TESTS: &[Test] = &[
    (
        "killed_worker_is_replaced_within_a_second",
        killed_worker_is_replaced_within_a_second,
    ),
    (
        "what_a_killed_worker_held_is_given_back_before_its_slot_is_another_s",
        killed_worker_gives_back,
    ),
    (
        "random_kills_leave_the_pool_whole",
        random_kills_leave_the_pool_whole,
    ),
    (
        "worker_that_dies_at_once_is_restarted_with_growing_pauses",
        growing_pauses,
    ),
    (
        "bad_configuration_ends_the_start_with_one_complaint",
        boot_failure,
    ),
    ("missing_program_ends_the_start", missing_program),
    ("stopped_worker_is_killed_and_replaced", stopped_worker),
    ("machine_that_stood_still_kills_nobody", machine_stood_still),
    (
        "workers_leave_when_the_supervisor_is_killed",
        supervisor_killed,
    ),
    ("terminate_drains_and_lets_sessions_finish", drain),
    ("grace_ends_sessions_that_do_not", grace_is_over),
    ("second_signal_ends_at_once", second_signal),
    (
        "terminated_worker_is_replaced_before_its_last_session_ends",
        terminated_worker,
    ),
    ("killed_helper_is_replaced", killed_helper),
    (
        "ctrl_c_leaves_workers_to_the_supervisor",
        workers_ignore_interrupt,
    ),
];

fn killed_worker_is_replaced_within_a_second() {
    let service = Service::start(settings(2, 4));
    let victim = service.ready_pids()[0];
    let begun = Instant::now();
    kill(victim, Signal::KILL);
    service.wait_for_count("ready ", 3);
    assert!(
        begun.elapsed() < Duration::from_secs(1),
        "{:?}",
        begun.elapsed()
    );
    assert!(service.session().hello().is_some());
}

fn killed_worker_gives_back() {
    let service = Service::start(settings(1, 4));
    let victim = service.ready_pids()[0];
    kill(victim, Signal::KILL);
    service.wait_for_count("ready ", 2);
    let heir = service.ready_pids()[1];
    service.wait_for(&format!("departed 0 {victim}"));
    kill(heir, Signal::KILL);
    service.wait_for(&format!("departed 0 {heir}"));
}

fn random_kills_leave_the_pool_whole() {
    let service = Service::start(settings(3, 4));
    service.wait_for_count("serves ", 3);
    for round in 3..13 {
        let victim = *service
            .ready_pids()
            .iter()
            .rfind(|pid| !is_dead(**pid))
            .unwrap();
        let begun = Instant::now();
        kill(victim, Signal::KILL);
        // One that is killed before it has told the supervisor that it is ready counts as one that cannot start.
        service.wait_for_count("serves ", round + 1);
        assert!(
            begun.elapsed() < Duration::from_secs(1),
            "{:?}",
            begun.elapsed()
        );
    }
    assert_eq!(
        service
            .ready_pids()
            .iter()
            .filter(|pid| !is_dead(**pid))
            .count(),
        3
    );
}

fn growing_pauses() {
    let service = Service::start(settings(1, 4));
    std::fs::write(&service.settings.poison, "").unwrap();
    kill(service.ready_pids()[0], Signal::KILL);
    let mut boots = vec![Instant::now()];
    for count in 2..=6 {
        service.wait_for_count("boot ", count);
        boots.push(Instant::now());
    }
    let pauses: Vec<Duration> = boots.windows(2).map(|pair| pair[1] - pair[0]).collect();
    for (pause, least) in pauses.iter().zip([100, 200, 400, 800, 1600]) {
        assert!(*pause >= Duration::from_millis(least - 20), "{pauses:?}");
    }
    assert!(
        service.log().matches("ended: replaced in").count() >= 5,
        "a log line each"
    );
    std::fs::remove_file(&service.settings.poison).unwrap();
    service.wait_for_count("ready ", 2);
}

fn boot_failure() {
    let mut service = Service::launch(Settings {
        worker_boots: Boot::Badly,
        ..settings(4, 1)
    });
    assert!(!service.exit().success());
    assert_eq!(service.wait_for("failed "), "the workers cannot start");
    assert_eq!(service.lines("reason").len(), 1);
    assert!(service.lines("listening").is_empty());
}

fn missing_program() {
    let mut service = Service::launch(Settings {
        program: "/no/such/program".into(),
        ..settings(2, 1)
    });
    assert!(!service.exit().success());
    assert_eq!(service.wait_for("failed "), "cannot start a worker");
}

fn stopped_worker() {
    let service = Service::start(Settings {
        silent_after_ms: 2000,
        ..settings(2, 1)
    });
    let victim = service.ready_pids()[1];
    kill(victim, Signal::STOP);
    service.wait_for_count("ready ", 3);
    assert!(is_dead(victim));
    assert!(!is_dead(service.ready_pids()[0]));
}

fn machine_stood_still() {
    let service = Service::start(Settings {
        silent_after_ms: 2000,
        ..settings(2, 1)
    });
    let workers = service.ready_pids();
    service.signal(Signal::STOP);
    workers.iter().for_each(|pid| kill(*pid, Signal::STOP));
    std::thread::sleep(Duration::from_millis(2500));
    service.signal(Signal::CONT);
    std::thread::sleep(Duration::from_millis(200));
    workers.iter().for_each(|pid| kill(*pid, Signal::CONT));
    assert!(workers.contains(&service.session().hello().unwrap()));
    assert_eq!(service.ready_pids(), workers);
}

fn supervisor_killed() {
    let mut service = Service::start(Settings {
        helper: true,
        ..settings(3, 4)
    });
    let helper: i32 = service.wait_for("helper ").parse().unwrap();
    let mut client = service.session();
    let last = client.hello().unwrap();
    service.signal(Signal::KILL);
    service.exit();
    let others: Vec<i32> = service
        .ready_pids()
        .into_iter()
        .filter(|pid| *pid != last)
        .chain([helper])
        .collect();
    wait_until("idle workers leave", || {
        others.iter().all(|pid| is_dead(*pid)).then_some(())
    });
    assert_eq!(client.hello(), Some(last), "a running session goes on");
    wait_until("the port is free", || {
        TcpListener::bind(service.address()).ok()
    });
    drop(client);
    wait_until("the last worker leaves", || is_dead(last).then_some(()));
}

fn drain() {
    let mut service = Service::start(Settings {
        helper: true,
        ..settings(2, 4)
    });
    let mut client = service.session();
    service.signal(Signal::TERM);
    service.wait_for("stopping");
    wait_until("nobody new is served", || {
        Client::connect(&service.address()).is_err().then_some(())
    });
    assert!(client.hello().is_some());
    drop(client);
    assert!(service.exit().success());
    service.wait_for("ended drained");
    assert!(service.ready_pids().iter().all(|pid| is_dead(*pid)));
}

fn grace_is_over() {
    let mut service = Service::start(Settings {
        grace_ms: 300,
        ..settings(2, 4)
    });
    let mut client = service.session();
    let begun = Instant::now();
    service.signal(Signal::TERM);
    assert!(service.exit().success());
    assert!(begun.elapsed() >= Duration::from_millis(300));
    service.wait_for("ended killed");
    assert!(client.try_hello().is_err());
}

fn second_signal() {
    let mut service = Service::start(settings(2, 4));
    let _client = service.session();
    let begun = Instant::now();
    service.signal(Signal::INT);
    service.wait_for("stopping");
    service.signal(Signal::INT);
    assert!(service.exit().success());
    assert!(begun.elapsed() < Duration::from_secs(5));
    service.wait_for("ended killed");
}

fn terminated_worker() {
    let service = Service::start(settings(1, 4));
    let mut client = service.session();
    let old = client.hello().unwrap();
    kill(old, Signal::TERM);
    service.wait_for_count("ready ", 2);
    assert_eq!(client.hello(), Some(old));
    assert_ne!(service.session().hello(), Some(old));
    drop(client);
    wait_until("it leaves", || is_dead(old).then_some(()));
}

fn killed_helper() {
    let service = Service::start(Settings {
        helper: true,
        ..settings(2, 3)
    });
    service.wait_for("totals 2 0 6");
    let _client = service.session();
    service.wait_for("totals 2 1 5");
    kill(service.wait_for("helper ").parse().unwrap(), Signal::KILL);
    service.wait_for_count("helper ", 2);
    service.wait_for_count("totals 2 1 5", 2);
    let holder = service.session().hello().unwrap();
    kill(holder, Signal::KILL);
    service.wait_for_count("ready ", 3);
}

fn workers_ignore_interrupt() {
    let service = Service::start(settings(2, 1));
    let workers = service.ready_pids();
    for pid in &workers {
        kill(*pid, Signal::INT);
        kill(*pid, Signal::HUP);
    }
    assert!(workers.contains(&service.session().hello().unwrap()));
    assert_eq!(service.lines("boot ").len(), 2);
}
