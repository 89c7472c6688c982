//! A worker's own places: connections that wait to begin a session, sessions that sit in one.
//!
//! Both are guards. Whatever way a session ends, also by a panic, its place is given back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

use crate::scoreboard::Scoreboard;
use crate::slot::{Slot, SlotState};
use crate::wake::Waker;

/// How many more clients a worker has than another one before it stands back. Fewer would make workers that serve short
/// sessions, some dozens at once, wait for each other for nothing.
const LEAD: u64 = 64;

/// The places of one worker. Clones speak of the same places.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    board: Arc<Scoreboard>,
    slot: usize,
    waker: Waker,
    /// Whether the main thread waits for one to be given back.
    watched: Arc<AtomicBool>,
}

/// An accepted connection that has not begun a session: it takes no place, but others know that it is there.
#[derive(Debug)]
pub struct Admission {
    places: Places,
}

/// A place, taken for as long as this value lives.
#[derive(Debug)]
pub struct Place {
    places: Places,
}

/// What a worker does about the next connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gate {
    /// Leave it to another worker.
    Shut,
    /// Take it.
    Open,
    /// Take it, only to say that everybody is full.
    Busy,
}

impl Places {
    pub(crate) fn new(board: Arc<Scoreboard>, slot: usize, waker: Waker) -> Self {
        Self {
            board,
            slot,
            waker,
            watched: Arc::default(),
        }
    }

    /// Whether what is given back from now on wakes the main thread. While it watches the door it need not hear of it:
    /// it asks for the [`Self::gate`] whenever somebody comes.
    pub(crate) fn watch(&self, watched: bool) {
        self.watched.store(watched, SeqCst);
    }

    /// Counts a connection that was just accepted.
    pub(crate) fn admit(&self) -> Admission {
        if let Some(slot) = self.slot() {
            slot.pending.fetch_add(1, SeqCst);
        }
        Admission {
            places: self.clone(),
        }
    }

    /// Who accepts when. The worker that filled up last keeps its gate open, so a connection never waits for nobody.
    pub(crate) fn gate(&self) -> Gate {
        let Some(slot) = self.slot() else {
            return Gate::Shut;
        };
        if slot.state() != SlotState::Ready {
            return Gate::Shut;
        }
        let free = slot.places().saturating_sub(slot.sessions.load(SeqCst));
        if free == 0 {
            return if self.board.is_full() {
                Gate::Busy
            } else {
                Gate::Shut
            };
        }
        if slot.pending.load(SeqCst) >= free && self.board.others_have_room(self.slot) {
            return Gate::Shut;
        }
        Gate::Open
    }

    /// This worker has so many more clients than another that the next one is better served there.
    pub(crate) fn is_ahead(&self) -> bool {
        self.slot()
            .and_then(|slot| slot.clients().checked_sub(LEAD))
            .is_some_and(|clients| self.board.another_has_at_most(self.slot, clients))
    }

    /// Nobody sits here and nobody waits to.
    pub(crate) fn is_empty(&self) -> bool {
        self.slot().is_none_or(|slot| slot.clients() == 0)
    }

    fn slot(&self) -> Option<Slot<'_>> {
        self.board.slot(self.slot)
    }
}

impl Admission {
    /// Begins a session: takes a place. `None`: the places went to others meanwhile, answer "busy".
    #[must_use]
    pub fn begin(self) -> Option<Place> {
        let slot = self.places.slot()?;
        let limit = slot.places();
        let taken = slot
            .sessions
            .fetch_update(SeqCst, SeqCst, |taken| (taken < limit).then_some(taken + 1));
        taken.ok().map(|_| Place {
            places: self.places.clone(),
        })
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        give_back(&self.places, |slot| slot.pending);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        give_back(&self.places, |slot| slot.sessions);
    }
}

fn give_back(places: &Places, count: impl for<'a> Fn(Slot<'a>) -> &'a AtomicU64) {
    if let Some(slot) = places.slot() {
        // Never below zero: a wrapped count would close the worker for ever.
        let given = count(slot).fetch_update(SeqCst, SeqCst, |taken| taken.checked_sub(1));
        debug_assert!(given.is_ok(), "a place is given back once");
    }
    if places.watched.load(SeqCst) {
        places.waker.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wake;

    fn pool(workers: usize, places: u64) -> Vec<Places> {
        let (board, _memory) = Scoreboard::create(workers, 0).unwrap();
        let board = Arc::new(board);
        (0..workers)
            .map(|_| {
                let slot = board.claim(SlotState::Starting, 1).unwrap();
                board.slot(slot).unwrap().open(places);
                Places::new(Arc::clone(&board), slot, wake::pair().unwrap().0)
            })
            .collect()
    }

    #[test]
    fn places_run_out_and_come_back() {
        let worker = &pool(1, 2)[0];
        let first = worker.admit().begin().unwrap();
        let second = worker.admit().begin().unwrap();
        assert!(worker.admit().begin().is_none());
        assert_eq!(worker.gate(), Gate::Busy);
        drop(first);
        assert_eq!(worker.gate(), Gate::Open);
        assert!(!worker.is_empty());
        drop(second);
        assert!(worker.is_empty());
    }

    #[test]
    fn connections_spread_one_each_when_each_has_one_place() {
        let workers = pool(4, 1);
        let mut admitted = Vec::new();
        for worker in &workers {
            assert_eq!(worker.gate(), Gate::Open);
            admitted.push(worker.admit());
            let others_open = workers
                .iter()
                .filter(|other| other.gate() == Gate::Open)
                .count();
            // Once nobody has room beyond what waits, everybody with a free place is open again.
            assert_eq!(
                others_open,
                if admitted.len() < 4 {
                    4 - admitted.len()
                } else {
                    4
                }
            );
        }
        let sitting: Vec<Place> = admitted
            .into_iter()
            .map(|admission| admission.begin().unwrap())
            .collect();
        assert!(workers.iter().all(|worker| worker.gate() == Gate::Busy));
        drop(sitting);
        assert!(workers.iter().all(|worker| worker.gate() == Gate::Open));
    }

    #[test]
    fn a_full_worker_leaves_clients_to_the_one_with_room() {
        let workers = pool(2, 1);
        let _sitting = workers[0].admit().begin().unwrap();
        assert_eq!(
            (workers[0].gate(), workers[1].gate()),
            (Gate::Shut, Gate::Open)
        );
    }

    #[test]
    fn a_worker_is_ahead_of_another_that_has_room_and_lives() {
        let workers = pool(2, LEAD + 1);
        let mut sitting: Vec<Place> = (1..LEAD)
            .map(|_| workers[0].admit().begin().unwrap())
            .collect();
        assert!(!workers[0].is_ahead());
        let waiting = workers[0].admit();
        assert!(workers[0].is_ahead(), "who waits for a session counts");
        assert!(!workers[1].is_ahead());
        sitting.extend(waiting.begin());
        let there = workers[1].admit().begin();
        assert!(!workers[0].is_ahead());
        drop(there);
        assert!(workers[0].is_ahead());
        workers[1].slot().unwrap().fall_silent();
        assert!(!workers[0].is_ahead());
    }

    #[test]
    fn a_panic_gives_the_place_back() {
        let worker = pool(1, 1).remove(0);
        let place = worker.admit().begin().unwrap();
        let session = std::thread::Builder::new().spawn(move || {
            let _place = place;
            panic!("the session breaks");
        });
        assert!(session.unwrap().join().is_err());
        assert!(worker.is_empty());
    }

    #[test]
    fn many_threads_never_take_more_than_there_is() {
        let worker = pool(1, 3).remove(0);
        let most = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..500 {
                        let place = worker.admit().begin();
                        most.fetch_max(worker.slot().unwrap().sessions.load(SeqCst), SeqCst);
                        drop(place);
                    }
                });
            }
        });
        assert!(worker.is_empty());
        assert!((1..=3).contains(&most.load(SeqCst)));
    }
}
