//! Tests of `gate`.

use std::panic::{AssertUnwindSafe, catch_unwind};

use sys::shared_memory::SharedWords;

use super::*;
use crate::memory::{WORDS, give_back, prepare};

/// The gates of two processes over the same memory.
fn gates(limits: Limits) -> [Arc<Gate>; 2] {
    gates_of(limits)
}

fn gates_of<const COUNT: usize>(limits: Limits) -> [Arc<Gate>; COUNT] {
    let words = Arc::new(SharedWords::create(WORDS).unwrap().0);
    prepare(words.words()).unwrap();
    let gate = |slot| Gate::new(Arc::<SharedWords>::clone(&words), slot, limits);
    std::array::from_fn(|slot| Arc::new(gate(slot)))
}

fn limits() -> Limits {
    Limits {
        connections: 20,
        per_source: 5,
        per_user: 3,
        pending: "8:100:8".parse().unwrap(),
        ..Limits::default()
    }
}

fn enter(gate: &Arc<Gate>, ip: &str) -> Result<Visit, Limit> {
    gate.enter(ip.parse().unwrap())
}

/// Visits from there until one is refused, in one process and the other by turns; why it was.
fn fill(gates: &[Arc<Gate>; 2], ip: &str) -> (Vec<Visit>, Limit) {
    let mut visits = Vec::new();
    for gate in gates.iter().cycle().take(1000) {
        match enter(gate, ip) {
            Ok(visit) => visits.push(visit),
            Err(limit) => return (visits, limit),
        }
    }
    panic!("never refused");
}

fn hits(gate: &Gate, limit: Limit) -> u64 {
    gate.memory().counters.read(limit)
}

#[test]
fn one_source_has_so_many_connections_over_all_processes() {
    let gates = gates(limits());
    let (mut inside, limit) = fill(&gates, "10.0.0.1");
    assert_eq!((inside.len(), limit), (5, Limit::PerSource));
    assert_eq!(hits(&gates[0], Limit::PerSource), 1);
    assert!(enter(&gates[0], "::ffff:10.0.0.1").is_err());
    assert!(enter(&gates[0], "10.0.0.2").is_ok());
    inside.pop();
    assert!(enter(&gates[0], "10.0.0.1").is_ok());
    let (inside, limit) = fill(&gates, "2001:db8::1");
    assert_eq!((inside.len(), limit), (5, Limit::PerSource));
    assert!(enter(&gates[1], "2001:db8::ffff:2").is_err());
    assert!(enter(&gates[1], "2001:db8:0:1::1").is_ok());
}

#[test]
fn the_limits_alone_refuse_however_many_processes_there_are() {
    let limits = Limits {
        per_source: 300,
        per_user: 300,
        ..Limits::default()
    };
    let gates: [_; 200] = gates_of(limits);
    let arrive = |gate| {
        let mut visit = enter(gate, "10.0.0.1").unwrap();
        visit.begin("ada").unwrap();
        (visit, enter(gate, "127.0.0.1").unwrap())
    };
    let inside: Vec<_> = gates.iter().map(arrive).collect();
    assert_eq!(gates[0].memory().tally.count(EVERYBODY), 400);
    drop(inside);
    assert_eq!(gates[0].memory().tally.count(EVERYBODY), 0);
}

#[test]
fn one_network_has_so_many_connections_that_have_not_begun() {
    let gates = gates(limits());
    let (mut first, _) = fill(&gates, "10.0.0.1");
    let (_second, limit) = fill(&gates, "10.0.0.2");
    assert_eq!(limit, Limit::Pending);
    assert!(enter(&gates[0], "10.0.1.1").is_ok());
    first[0].begin("").unwrap();
    assert!(enter(&gates[1], "10.0.0.3").is_ok());
}

#[test]
fn all_together_are_so_many_and_this_machine_counts_for_the_whole_alone() {
    let gates = gates(limits());
    let (inside, limit) = fill(&gates, "127.0.0.1");
    assert_eq!((inside.len(), limit), (20, Limit::Connections));
    assert!(matches!(
        enter(&gates[0], "10.0.0.1"),
        Err(Limit::Connections)
    ));
    drop(inside);
    let mut sessions: Vec<_> = (0..20).map(|_| enter(&gates[0], "::1").unwrap()).collect();
    assert!(sessions.iter_mut().all(|visit| visit.begin("ada").is_ok()));
}

#[test]
fn one_user_has_so_many_sessions_wherever_they_come_from() {
    let gates = gates(limits());
    let log_in = |number: u8, user: &str| {
        let mut visit = enter(&gates[usize::from(number % 2)], &format!("10.0.{number}.1"))?;
        visit.begin(user)?;
        Ok(visit)
    };
    let mut sessions: Vec<Visit> = (0..3)
        .map(|number| log_in(number, "ada").unwrap())
        .collect();
    let refused: Result<Visit, Limit> = log_in(4, "ada");
    assert_eq!(refused.err(), Some(Limit::PerUser));
    assert!(log_in(4, "bob").is_ok() && log_in(5, "").is_ok());
    // As somebody else now.
    sessions[0].begin("bob").unwrap();
    assert!(log_in(6, "ada").is_ok());
}

#[test]
fn nothing_stays_behind_and_a_killed_process_gives_back_what_it_held() {
    let gates = gates(limits());
    let (mut inside, _) = fill(&gates, "10.0.0.1");
    for visit in inside.iter_mut().take(3) {
        visit.begin("ada").unwrap();
    }
    // Nobody drops what a killed process held.
    for visit in inside.drain(..) {
        if visit.gate.slot == 0 {
            std::mem::forget(visit);
        }
    }
    give_back(gates[0].words.words(), 0);
    let memory = gates[1].memory();
    let (inside, _) = fill(&gates, "10.0.0.1");
    assert_eq!(inside.len(), 5);
    drop(inside);
    assert!(
        memory
            .tally
            .entries
            .iter()
            .all(|[_, word]| word.load(Relaxed) == 0)
    );
}

#[test]
fn who_misbehaves_is_shut_out_of_all_processes_and_this_machine_is_not() {
    let gates = gates(limits());
    let offend = |ip| {
        let visit = enter(&gates[0], ip).unwrap();
        assert!(!visit.is_shut_out());
        for _ in 0..4 {
            visit.offend(Offence::AuthFailed);
        }
        visit.is_shut_out()
    };
    assert!(offend("10.0.0.1") && !offend("127.0.0.1"));
    assert!(matches!(enter(&gates[1], "10.0.0.1"), Err(Limit::Penalty)));
    assert!(enter(&gates[1], "10.0.0.2").is_ok());
    let [lenient, _] = self::gates(Limits {
        penalties: false,
        ..limits()
    });
    let visit = enter(&lenient, "10.0.0.1").unwrap();
    (0..4).for_each(|_| visit.offend(Offence::AuthFailed));
    assert!(!visit.is_shut_out() && enter(&lenient, "10.0.0.1").is_ok());
}

#[test]
fn who_comes_to_no_login_is_shut_out_in_time_and_who_rests_is_not() {
    let gate = &gates(limits())[0];
    let ends_until_shut_out = |ip: &str, stage, limit| {
        let ends = (0..20).take_while(|_| {
            enter(gate, ip).is_ok_and(|visit| {
                visit.end(stage, limit);
                true
            })
        });
        ends.count()
    };
    // Penalties run off while the test runs.
    let silent = ends_until_shut_out("10.0.1.1", Stage::Arrived, None);
    assert!((12..=14).contains(&silent), "{silent}");
    assert_eq!(
        ends_until_shut_out("10.0.2.1", Stage::Arrived, Some(Limit::FirstByte)),
        2
    );
    assert_eq!(
        ends_until_shut_out("10.0.3.1", Stage::Outside, Some(Limit::Login)),
        2
    );
    assert_eq!(ends_until_shut_out("10.0.4.1", Stage::Outside, None), 20);
    assert_eq!(
        ends_until_shut_out("10.0.5.1", Stage::Inside, Some(Limit::Idle)),
        20
    );
    assert_eq!(
        [Limit::FirstByte, Limit::Login, Limit::Idle].map(|limit| hits(gate, limit)),
        [2, 2, 20]
    );
}

#[test]
fn who_has_left_may_end_as_it_likes() {
    let gate = &gates(limits())[0];
    for _ in 0..20 {
        let mut visit = enter(gate, "10.0.0.1").unwrap();
        visit.leave();
        visit.end(Stage::Outside, Some(Limit::Login));
    }
    assert_eq!(hits(gate, Limit::Login), 0);
}

#[test]
fn a_session_that_breaks_down_costs_its_source() {
    let gates = gates(limits());
    let visit = enter(&gates[0], "10.0.0.1").unwrap();
    catch_unwind(AssertUnwindSafe(move || {
        let _visit = visit;
        panic!("the session breaks");
    }))
    .unwrap_err();
    assert!(matches!(enter(&gates[1], "10.0.0.1"), Err(Limit::Penalty)));
}
