//! Tests of `waiting`.

use std::net::TcpListener;

use super::*;
use crate::probe::tests::answer_probe;

const MIB: u64 = 1024 * 1024;

/// Waits for one that listens, to which `sent` bytes were sent long ago.
fn waiting(listener: &TcpListener, sent: u64) -> Waiting {
    let mut waiting = Waiting::new(Interrupt::default(), Duration::from_secs(30));
    waiting.watched = Some(Asked {
        address: listener.local_addr().unwrap(),
        worker: 7,
        key: None,
    });
    waiting.unheard = Some(Unheard {
        ask_at: Instant::now(),
        arrived: sent,
    });
    waiting
}

fn at(arrived: u64) -> Standing {
    Standing {
        arrived,
        unacknowledged: 1,
        round_trip: Duration::ZERO,
    }
}

#[test]
fn what_has_arrived_counts_from_the_last_sign_of_life() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut waiting = waiting(&listener, 0);
    let mut wait = Wait::new(Instant::now());
    waiting.look(&mut wait, at(60 * MIB)).unwrap();
    answer_probe(listener.accept().unwrap().0, Duration::ZERO);
    while waiting.question.is_some() {
        std::thread::yield_now();
        waiting.look(&mut wait, at(60 * MIB)).unwrap();
    }
    let unheard = waiting.unheard.as_mut().unwrap();
    assert_eq!(unheard.arrived, 60 * MIB);
    unheard.ask_at = Instant::now();
    // Less than its kernel may hold, though more than that since the beginning.
    waiting.look(&mut wait, at(70 * MIB)).unwrap();
    assert!(waiting.question.is_some());
    waiting.look(&mut wait, at(125 * MIB)).unwrap();
    assert!(waiting.question.is_none());
}

#[test]
fn a_question_about_silence_is_dropped_once_something_moves() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut waiting = waiting(&listener, 0);
    waiting.unheard = None;
    let mut wait = Wait::new(Instant::now());
    wait.ask_at = Instant::now();
    waiting.look(&mut wait, at(1)).unwrap();
    assert!(waiting.question.is_some());
    waiting.look(&mut wait, at(1)).unwrap();
    assert!(waiting.question.is_some());
    waiting.look(&mut wait, at(2)).unwrap();
    assert!(waiting.question.is_none());
}

#[test]
fn where_nothing_moves_any_more_an_answer_has_no_more_time_than_silence_gives() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut waiting = waiting(&listener, 0);
    let mut wait = Wait::new(Instant::now());
    let far = Standing {
        round_trip: MOST_DELAY,
        ..at(1)
    };
    waiting.look(&mut wait, far).unwrap();
    let question = waiting.question.as_ref().unwrap();
    assert_eq!(question.doubt, Doubt::Unheard);
    wait.ask_at = Instant::now();
    waiting.look(&mut wait, far).unwrap();
    wait.ask_at -= PROBE_LIMIT;
    waiting.look(&mut wait, far).unwrap_err();
    // What moves has its time again.
    let moved = Standing { arrived: 2, ..far };
    waiting.look(&mut wait, moved).unwrap();
    assert!(waiting.question.is_some());
}

#[test]
fn while_more_arrives_an_answer_may_take_as_much_longer_as_the_line_is_long() {
    let far = Duration::from_millis(300);
    assert_eq!(Doubt::Unheard.limit(far), UNHEARD_LIMIT + 4 * far);
    assert_eq!(Doubt::Unheard.limit(100 * far), UNHEARD_LIMIT + MOST_DELAY);
    assert_eq!(Doubt::Silence.limit(far), PROBE_LIMIT);
    // When a segment that opens a connection is sent again (RFC 6298, section 2).
    assert!(Doubt::Unheard.limit(Duration::ZERO) > Duration::from_secs(1));
}
