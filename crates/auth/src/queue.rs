//! Costly work for strangers: so much at once, so much waiting, and no more.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Lets a number of callers work at once and others wait; further ones are turned away.
#[derive(Debug)]
pub(crate) struct Queue {
    at_once: usize,
    waiting: usize,
    load: Mutex<Load>,
    freed: Condvar,
}

#[derive(Debug, Default)]
struct Load {
    working: usize,
    waiting: usize,
}

/// Leave to work, until it is dropped: by a panic too.
#[derive(Debug)]
pub(crate) struct Turn<'a>(&'a Queue);

impl Queue {
    pub(crate) fn new(at_once: usize, waiting: usize) -> Self {
        Self {
            at_once: at_once.max(1),
            waiting,
            load: Mutex::default(),
            freed: Condvar::new(),
        }
    }

    /// Waits for leave to work; `None` at once where too many wait already.
    pub(crate) fn enter(&self) -> Option<Turn<'_>> {
        let mut load = self.lock();
        if load.working >= self.at_once {
            if load.waiting >= self.waiting {
                return None;
            }
            load.waiting += 1;
            while load.working >= self.at_once {
                load = self
                    .freed
                    .wait(load)
                    .unwrap_or_else(PoisonError::into_inner);
            }
            load.waiting -= 1;
        }
        load.working += 1;
        Some(Turn(self))
    }

    /// Two counters, sound whoever panicked.
    fn lock(&self) -> MutexGuard<'_, Load> {
        self.load.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.lock().working -= 1;
        self.0.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;
    use std::time::Duration;

    use super::*;

    #[test]
    fn so_many_work_at_once_and_all_who_wait_get_their_turn() {
        let queue = Queue::new(2, 100);
        let (working, most, done) = (
            AtomicUsize::new(0),
            AtomicUsize::new(0),
            AtomicUsize::new(0),
        );
        thread::scope(|scope| {
            for _ in 0..20 {
                scope.spawn(|| {
                    let _turn = queue.enter().unwrap();
                    let now = working.fetch_add(1, Ordering::SeqCst) + 1;
                    most.fetch_max(now, Ordering::SeqCst);
                    thread::sleep(Duration::from_millis(2));
                    working.fetch_sub(1, Ordering::SeqCst);
                    done.fetch_add(1, Ordering::SeqCst);
                });
            }
        });
        assert_eq!((most.into_inner(), done.into_inner()), (2, 20));
    }

    #[test]
    fn who_finds_the_queue_full_is_turned_away_at_once() {
        let queue = Queue::new(1, 1);
        thread::scope(|scope| {
            let turn = queue.enter().unwrap();
            let waiter = scope.spawn(|| queue.enter().is_some());
            while queue.lock().waiting == 0 {
                thread::yield_now();
            }
            let third = scope.spawn(|| queue.enter().is_none());
            while !third.is_finished() && queue.lock().waiting < 2 {
                thread::yield_now();
            }
            let is_turned_away = third.is_finished();
            drop(turn);
            assert!(is_turned_away && third.join().unwrap());
            assert!(waiter.join().unwrap());
        });
        assert!(queue.enter().is_some());
    }

    #[test]
    fn a_panic_gives_the_turn_back() {
        let queue = Queue::new(1, 0);
        let panicked = thread::scope(|scope| {
            let worker = scope.spawn(|| {
                let _turn = queue.enter();
                panic!("on purpose");
            });
            worker.join().is_err()
        });
        assert!(panicked && queue.enter().is_some());
    }
}
