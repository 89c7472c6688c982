//! Costly work for strangers: so much at once, so much waiting, and whose turn it is.
//!
//! Everybody waits in the lane of whom they come from. Lanes take turns, so a crowd in one holds up nobody in another; and
//! lanes from which the last login was refused stand behind those of which nothing is known, and these behind those from
//! which it succeeded. One turn in four goes to the last in this order, so nobody waits for ever. Where too many wait, those
//! of the worst and longest lane are sent away.

use std::cmp::Reverse;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Every so many turns, the last in the order is the first.
const LAST_FIRST: u64 = 4;

/// Lets a number of callers work at once and others wait; further ones are turned away.
#[derive(Debug)]
pub(crate) struct Queue {
    at_once: usize,
    most_waiting: usize,
    load: Mutex<Load>,
}

/// What is known of a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Standing {
    /// The last login was refused.
    Bad,
    /// Nothing.
    Unknown,
    /// The last login succeeded.
    Good,
}

/// Who wants a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) lane: u64,
    pub(crate) standing: Standing,
}

#[derive(Debug, Default)]
struct Load {
    working: usize,
    /// In the order in which they came; empty unless all who may work do.
    waiting: Vec<Waiting>,
    turns: u64,
    /// The round that is being served. Each lane has one turn in a round.
    round: u64,
}

#[derive(Debug)]
struct Waiting {
    claim: Claim,
    /// In which it has its turn.
    round: u64,
    /// Told whether the turn has come, or will not.
    call: SyncSender<bool>,
}

/// Leave to work, until it is dropped: by a panic too.
#[derive(Debug)]
pub(crate) struct Turn<'a>(&'a Queue);

impl Queue {
    pub(crate) fn new(at_once: usize, most_waiting: usize) -> Self {
        Self {
            at_once: at_once.max(1),
            most_waiting,
            load: Mutex::default(),
        }
    }

    /// Waits for leave to work. `None`: too many wait who go before; at once, or when better ones came meanwhile.
    pub(crate) fn enter(&self, claim: Claim) -> Option<Turn<'_>> {
        let mut load = self.lock();
        if load.working < self.at_once {
            load.working += 1;
            return Some(Turn(self));
        }
        if load.waiting.len() >= self.most_waiting {
            let sent_away = load.worse_than(claim)?;
            load.waiting.remove(sent_away).tell(false);
        }
        let (call, called) = sync_channel(1);
        let round = load.last_round(claim.lane).unwrap_or(load.round) + 1;
        load.waiting.push(Waiting { claim, round, call });
        drop(load);
        called.recv().unwrap_or(false).then(|| Turn(self))
    }

    /// Whether nobody works, and so nobody waits.
    pub(crate) fn is_idle(&self) -> bool {
        self.lock().working == 0
    }

    /// Sound whoever panicked: nothing is half done while this is held.
    fn lock(&self) -> MutexGuard<'_, Load> {
        self.load.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Load {
    /// The round of the last who waits in a lane.
    fn last_round(&self, lane: u64) -> Option<u64> {
        let waiting = self.waiting.iter().rev();
        waiting
            .filter(|waiting| waiting.claim.lane == lane)
            .map(|waiting| waiting.round)
            .next()
    }

    fn length(&self, lane: u64) -> usize {
        self.waiting
            .iter()
            .filter(|waiting| waiting.claim.lane == lane)
            .count()
    }

    /// Who must leave for a newcomer: the last of the longest of the worst lanes, if that is worse than the newcomer's.
    fn worse_than(&self, newcomer: Claim) -> Option<usize> {
        let rank = |claim: Claim, length| (Reverse(claim.standing), length);
        let ranked = self.waiting.iter().enumerate().map(|(index, waiting)| {
            let length = self.length(waiting.claim.lane);
            (rank(waiting.claim, length), index)
        });
        let (worst, index) = ranked.max()?;
        let own = rank(newcomer, self.length(newcomer.lane) + 1);
        (worst > own).then_some(index)
    }

    /// Whose turn it is now.
    fn next(&mut self) -> Option<Waiting> {
        self.turns += 1;
        let last_first = self.turns.is_multiple_of(LAST_FIRST);
        let ranked = self.waiting.iter().enumerate().map(|(index, waiting)| {
            let standing = waiting.claim.standing;
            let (best, worst) = if last_first {
                (None, Some(standing))
            } else {
                (Some(Reverse(standing)), None)
            };
            (best, worst, waiting.round, index)
        });
        let (.., round, index) = ranked.min()?;
        self.round = self.round.max(round);
        Some(self.waiting.remove(index))
    }
}

impl Waiting {
    fn tell(self, comes: bool) {
        // There is room for one word, and it waits for that.
        self.call.try_send(comes).unwrap_or_default();
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut load = self.0.lock();
        match load.next() {
            Some(next) => next.tell(true),
            None => load.working -= 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;
    use std::time::Duration;

    use super::*;

    const fn claim(lane: u64, standing: Standing) -> Claim {
        Claim { lane, standing }
    }

    const SOMEBODY: Claim = claim(1, Standing::Unknown);

    /// The lanes in the order in which they have their turns, and those that are sent away, when all come while one works.
    fn order(most_waiting: usize, claims: &[Claim]) -> (Vec<u64>, Vec<u64>) {
        let queue = Queue::new(1, most_waiting);
        let (served, refused) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
        thread::scope(|scope| {
            let first = queue.enter(SOMEBODY).unwrap();
            for (number, claim) in claims.iter().enumerate() {
                let (queue, served, refused) = (&queue, &served, &refused);
                scope.spawn(move || match queue.enter(*claim) {
                    Some(_turn) => served.lock().unwrap().push(claim.lane),
                    None => refused.lock().unwrap().push(claim.lane),
                });
                while queue.lock().waiting.len() + refused.lock().unwrap().len() <= number {
                    thread::yield_now();
                }
            }
            drop(first);
        });
        (served.into_inner().unwrap(), refused.into_inner().unwrap())
    }

    #[test]
    fn so_many_work_at_once_and_all_who_wait_get_their_turn() {
        let queue = Queue::new(2, 100);
        let (working, most, done) = (
            AtomicUsize::new(0),
            AtomicUsize::new(0),
            AtomicUsize::new(0),
        );
        thread::scope(|scope| {
            for lane in 0..20 {
                let (queue, working, most, done) = (&queue, &working, &most, &done);
                scope.spawn(move || {
                    let _turn = queue.enter(claim(lane % 3, Standing::Unknown)).unwrap();
                    let now = working.fetch_add(1, Ordering::SeqCst) + 1;
                    most.fetch_max(now, Ordering::SeqCst);
                    thread::sleep(Duration::from_millis(2));
                    working.fetch_sub(1, Ordering::SeqCst);
                    done.fetch_add(1, Ordering::SeqCst);
                });
            }
        });
        assert_eq!((most.into_inner(), done.into_inner()), (2, 20));
        assert_eq!(queue.lock().working, 0);
    }

    #[test]
    fn a_crowd_in_one_lane_holds_up_nobody_in_another() {
        let crowd = [claim(7, Standing::Unknown); 6];
        let others = [claim(8, Standing::Unknown), claim(9, Standing::Unknown)];
        let (served, refused) = order(100, &[&crowd[..], &others].concat());
        assert_eq!((served, refused), (vec![7, 8, 9, 7, 7, 7, 7, 7], vec![]));
    }

    #[test]
    fn whose_last_login_was_refused_waits_behind_the_others_but_not_for_ever() {
        let bad: Vec<Claim> = (10..13).map(|lane| claim(lane, Standing::Bad)).collect();
        let unknown: Vec<Claim> = (20..23)
            .map(|lane| claim(lane, Standing::Unknown))
            .collect();
        let good: Vec<Claim> = (30..33).map(|lane| claim(lane, Standing::Good)).collect();
        let (served, _) = order(100, &[bad, unknown, good].concat());
        assert_eq!(served, [30, 31, 32, 10, 20, 21, 22, 11, 12]);
    }

    #[test]
    fn who_finds_the_queue_full_is_turned_away_at_once() {
        let (served, refused) = order(2, &[2, 3, 4].map(|lane| claim(lane, Standing::Unknown)));
        assert_eq!((served, refused), (vec![2, 3], vec![4]));
        let (served, refused) = order(0, &[claim(2, Standing::Good)]);
        assert_eq!((served, refused), (vec![], vec![2]));
    }

    #[test]
    fn where_too_many_wait_the_worst_and_longest_lane_makes_room() {
        // A crowd of unknown ones fills the queue; a single one comes.
        let crowd = [claim(7, Standing::Unknown); 4];
        let (served, refused) = order(4, &[&crowd[..], &[claim(8, Standing::Unknown)]].concat());
        assert_eq!((served, refused), (vec![7, 8, 7, 7], vec![7]));
        // Many bad ones, each with a lane of its own.
        let bad: Vec<Claim> = (10..14).map(|lane| claim(lane, Standing::Bad)).collect();
        let (served, refused) = order(4, &[&bad[..], &[claim(8, Standing::Unknown)]].concat());
        assert_eq!((served, refused), (vec![8, 10, 11, 12], vec![13]));
        // Nobody makes room for one that is worse.
        let good: Vec<Claim> = (10..14).map(|lane| claim(lane, Standing::Good)).collect();
        let (_, refused) = order(4, &[&good[..], &[claim(8, Standing::Bad)]].concat());
        assert_eq!(refused, [8]);
    }

    #[test]
    fn a_panic_gives_the_turn_back() {
        let queue = Queue::new(1, 0);
        let panicked = thread::scope(|scope| {
            let worker = scope.spawn(|| {
                let _turn = queue.enter(SOMEBODY);
                panic!("on purpose");
            });
            worker.join().is_err()
        });
        assert!(panicked && queue.enter(SOMEBODY).is_some());
    }
}
