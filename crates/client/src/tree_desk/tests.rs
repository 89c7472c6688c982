use std::sync::Arc;

use super::*;
use crate::{Interrupt, Options, Silent};

fn context() -> Context {
    Context::new(Options::default(), Arc::new(Silent), Interrupt::default())
}

/// A desk at which all is.
fn whole<T>(supply: VecDeque<T>) -> Desk<VecDeque<T>> {
    let desk = Desk::new(supply);
    desk.finish();
    desk
}

#[test]
fn what_is_given_back_goes_first_and_nothing_is_over_before_it_is_done() {
    let desk = Desk::new(VecDeque::from([1, 2]));
    assert_eq!(desk.take().unwrap(), Some(1));
    assert_eq!(desk.take().unwrap(), Some(2));
    assert_eq!(desk.wait(&context()).unwrap(), Outlook::NotYet);
    desk.give_back([1]);
    desk.add(|queue| queue.push_back(3)).unwrap();
    desk.finish();
    assert_eq!(desk.take().unwrap(), Some(1));
    assert_eq!(desk.wait(&context()).unwrap(), Outlook::Work);
    assert_eq!(desk.take().unwrap(), Some(3));
    assert_eq!(desk.take().unwrap(), None);
    desk.done();
    desk.done();
    assert!(!desk.is_closed());
    desk.done();
    assert_eq!(desk.wait(&context()).unwrap(), Outlook::Over);
}

#[test]
fn more_is_waited_for_only_while_it_can_come() {
    let desk = Desk::new(VecDeque::from([1]));
    assert!(desk.wait_for_more(&context()).unwrap());
    assert_eq!(desk.take().unwrap(), Some(1));
    std::thread::scope(|threads| {
        let waiting = threads.spawn(|| {
            loop {
                if desk.wait_for_more(&context()).unwrap() {
                    break;
                }
            }
        });
        desk.add(|queue| queue.push_back(2)).unwrap();
        waiting.join().unwrap();
    });
    assert_eq!(desk.take().unwrap(), Some(2));
    desk.finish();
    let begun = Instant::now();
    assert!(!desk.wait_for_more(&context()).unwrap());
    assert!(begun.elapsed() < PATIENCE, "two under way bring no more");
    desk.give_back([2]);
    assert!(desk.wait_for_more(&context()).unwrap());
}

#[test]
fn a_full_supply_is_waited_for_until_it_is_taken_from() {
    let desk = whole(VecDeque::from([1, 2]));
    std::thread::scope(|threads| {
        threads.spawn(|| {
            desk.take().unwrap();
            desk.done_with(|queue| queue.clear());
        });
        desk.wait_while(&context(), |queue| !queue.is_empty())
            .unwrap();
    });
    assert!(desk.is_closed());
    desk.fail(ClientError::interrupted());
    assert!(desk.wait_while(&context(), |_| true).is_err());
}

#[test]
fn whoever_waits_is_known_and_told_of_what_comes() {
    let desk = Desk::new(VecDeque::new());
    std::thread::scope(|threads| {
        let waiting = threads.spawn(|| {
            loop {
                match desk.wait(&context()).unwrap() {
                    Outlook::NotYet => {}
                    outlook => break outlook,
                }
            }
        });
        while desk.lock().waiting == 0 {
            std::thread::yield_now();
        }
        desk.add(|queue| queue.push_back(1)).unwrap();
        assert_eq!(waiting.join().unwrap(), Outlook::Work);
    });
    assert_eq!(desk.lock().waiting, 0);
}

#[test]
fn what_is_under_way_is_waited_for_after_a_failure_too() {
    let desk = whole(VecDeque::from([1, 2, 3]));
    desk.join();
    desk.wait_until_settled(&context()).unwrap();
    desk.take().unwrap();
    desk.take().unwrap();
    std::thread::scope(|threads| {
        threads.spawn(|| {
            desk.fail(ClientError::interrupted());
            desk.done();
            desk.give_back([2]);
        });
        desk.wait_until_settled(&context()).unwrap();
    });
    assert_eq!(desk.lock().returned, [2]);
    let context = context();
    context.interrupt.set();
    desk.wait_until_settled(&context).unwrap();
    desk.lock().under_way = 1;
    assert!(desk.wait_until_settled(&context).is_err());
    desk.leave();
    desk.wait_until_settled(&context).unwrap();
}

#[test]
fn a_failure_is_told_to_all_and_the_first_counts() {
    let desk = whole(VecDeque::from([1]));
    let full = || ClientError::from(std::io::Error::from(std::io::ErrorKind::StorageFull));
    desk.fail(full());
    desk.fail(ClientError::interrupted());
    assert!(desk.is_closed());
    for error in [
        desk.take().unwrap_err(),
        desk.wait(&context()).unwrap_err(),
        desk.add(|_| ()).unwrap_err(),
    ] {
        assert_eq!(error, full());
    }
}
