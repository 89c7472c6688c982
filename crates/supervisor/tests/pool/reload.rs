//! SIGHUP: new workers for new clients, old ones until their last session, and nobody refused.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rustix::process::Signal;

use crate::Test;
use crate::harness::{Client, Service, is_dead, settings, wait_until};
use crate::program::{Boot, Settings};

pub(crate) const TESTS: &[Test] = &[
    ("reload_refuses_no_client", reload_refuses_no_client),
    ("old_worker_ends_with_its_last_session", old_worker_stays),
    ("broken_edition_changes_nothing", broken_edition),
    ("missing_program_changes_nothing", missing_program),
    ("reload_changes_the_number_of_workers", number_of_workers),
    ("helper_is_replaced_too", helper_replaced),
    ("useless_settings_change_nothing", useless_settings),
];

fn reload_refuses_no_client() {
    let mut service = Service::start(settings(3, 1000));
    let address = service.address();
    let (stop, served, failed) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !stop.load(Ordering::SeqCst) {
                    let answer =
                        Client::connect(&address).and_then(|mut client| client.try_hello());
                    let count = if matches!(answer, Ok(Some(_))) {
                        &served
                    } else {
                        &failed
                    };
                    count.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        for round in 1..=4 {
            service.reload(|settings| settings.places += 1);
            service.wait_for_count("reloaded", round);
        }
        stop.store(true, Ordering::SeqCst);
    });
    assert_eq!(failed.load(Ordering::SeqCst), 0);
    assert!(served.load(Ordering::SeqCst) > 20);
    let old = service.ready_pids();
    assert_eq!(old.len(), 15);
    wait_until("old workers leave", || {
        old[..12].iter().all(|pid| is_dead(*pid)).then_some(())
    });
}

fn old_worker_stays() {
    let mut service = Service::start(settings(1, 4));
    let mut client = service.session();
    let old = client.hello();
    for round in 1..=3 {
        service.reload(|_| {});
        service.wait_for_count("reloaded", round);
        assert_eq!(client.hello(), old);
        assert_ne!(service.session().hello(), old);
    }
    drop(client);
    wait_until("the old worker leaves", || {
        is_dead(old.unwrap()).then_some(())
    });
    assert_eq!(
        service
            .lines("ready ")
            .iter()
            .filter(|line| line.ends_with(" 4"))
            .count(),
        1
    );
}

fn broken_edition() {
    let mut service = Service::start(settings(2, 4));
    let workers = service.ready_pids();
    service.reload(|settings| settings.worker_boots = Boot::Badly);
    wait_until("it is given up", || {
        service.log().contains("cannot reload").then_some(())
    });
    service.wait_for_count("reason", 1);
    assert_eq!(service.lines("reason").len(), 1);
    assert!(workers.contains(&service.session().hello().unwrap()));
    service.wait_for_count("kept", 1);
    assert!(service.lines("reloaded").is_empty());
    service.reload(|settings| settings.worker_boots = Boot::Well);
    service.wait_for("reloaded");
    assert!(!workers.contains(&service.session().hello().unwrap()));
}

fn missing_program() {
    let mut service = Service::start(settings(2, 4));
    let workers = service.ready_pids();
    service.reload(|settings| settings.program = "/no/such/program".into());
    wait_until("it is given up", || {
        service.log().contains("cannot reload").then_some(())
    });
    service.wait_for_count("kept", 1);
    assert!(workers.contains(&service.session().hello().unwrap()));
    assert_eq!(service.ready_pids(), workers);
}

fn number_of_workers() {
    let mut service = Service::start(Settings {
        helper: true,
        ..settings(1, 1)
    });
    service.wait_for("totals 1 0 1");
    service.reload(|settings| settings.workers = 4);
    service.wait_for("totals 4 0 4");
    service.reload(|settings| settings.workers = 2);
    service.wait_for("totals 2 0 2");
    let alive = || {
        service
            .ready_pids()
            .into_iter()
            .filter(|pid| !is_dead(*pid))
            .count()
    };
    wait_until("two workers are left", || (alive() == 2).then_some(()));
}

fn helper_replaced() {
    let mut service = Service::start(Settings {
        helper: true,
        ..settings(1, 1)
    });
    let old: i32 = service.wait_for("helper ").parse().unwrap();
    service.reload(|_| {});
    service.wait_for_count("helper ", 2);
    wait_until("the old helper leaves", || is_dead(old).then_some(()));
    service.reload(|settings| settings.helper = false);
    let last: i32 = service
        .wait_for_count("helper ", 2)
        .pop()
        .unwrap()
        .parse()
        .unwrap();
    wait_until("no helper is left", || is_dead(last).then_some(()));
    service.signal(Signal::TERM);
    assert!(service.exit().success());
}

fn useless_settings() {
    let mut service = Service::start(settings(1, 1));
    std::fs::write(service.settings_path(), "nonsense").unwrap();
    service.signal(Signal::HUP);
    wait_until("it is read", || {
        service.log().contains("reloading").then_some(())
    });
    assert!(service.session().hello().is_some());
    service.reload(|_| {});
    service.wait_for("reloaded");
}
