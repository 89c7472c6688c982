//! What the streams of one tree have in common: the files that wait, how many are under way, whether that was all. Each
//! stream comes here for the next file, and gives back what its slave did not answer.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::context::Context;
use crate::{ClientError, Result};

/// How long a stream waits for work before it is told that there is none yet.
const PATIENCE: Duration = Duration::from_millis(100);

/// How long a wait lasts, at most, before it looks at the interrupt flag.
const GLANCE: Duration = Duration::from_millis(20);

/// So many files any stream may have under way: a slave that gets them one by one spends its time waiting.
const FEW: Share = Share {
    files: 32,
    bytes: 256 * 1024,
};

/// More bytes need not be under way on any line.
const MUCH: u64 = 16 * 1024 * 1024;

/// Where files come from.
pub(crate) trait Supply {
    type Item;

    /// The next one; `None` where there is none now.
    fn next(&mut self) -> Result<Option<Self::Item>>;

    fn left(&self) -> Left;
}

/// What waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Left {
    pub(crate) files: usize,
    pub(crate) bytes: u64,
}

/// How much one stream may have under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Share {
    files: usize,
    bytes: u64,
}

/// What there is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outlook {
    /// Something waits.
    Work,
    /// More may come.
    NotYet,
    /// All has ended one way or another.
    Over,
}

/// The desk.
pub(crate) struct Desk<S: Supply> {
    state: Mutex<State<S>>,
    changed: Condvar,
}

struct State<S: Supply> {
    supply: S,
    /// Given back: goes first.
    returned: VecDeque<S::Item>,
    under_way: usize,
    /// Nothing more will be added.
    is_listed: bool,
    streams: u32,
    /// How many wait for a change: telling nobody of one is a system call too.
    waiting: u32,
    failure: Option<ClientError>,
}

impl<S: Supply> Desk<S> {
    /// A desk to which more may be added until [`finish`](Self::finish).
    pub(crate) fn new(supply: S) -> Self {
        Self {
            state: Mutex::new(State {
                supply,
                returned: VecDeque::new(),
                under_way: 0,
                is_listed: false,
                streams: 0,
                waiting: 0,
                failure: None,
            }),
            changed: Condvar::new(),
        }
    }

    /// A desk at which all is.
    pub(crate) fn whole(supply: S) -> Self {
        let desk = Self::new(supply);
        desk.finish();
        desk
    }

    /// Adds to what waits, and says how much that is. Fails where the work has failed.
    pub(crate) fn add(&self, add: impl FnOnce(&mut S)) -> Result<Left> {
        let mut state = self.lock();
        state.check()?;
        add(&mut state.supply);
        let (left, is_awaited) = (state.supply.left(), state.waiting > 0);
        drop(state);
        if is_awaited {
            self.changed.notify_one();
        }
        Ok(left)
    }

    pub(crate) fn left(&self) -> Left {
        self.lock().supply.left()
    }

    /// Nothing more will be added.
    pub(crate) fn finish(&self) {
        self.lock().is_listed = true;
        self.changed.notify_all();
    }

    /// Nothing can go on: whoever comes to the desk hears so.
    pub(crate) fn fail(&self, error: ClientError) {
        self.lock().failure.get_or_insert(error);
        self.changed.notify_all();
    }

    /// Whether nothing is left to do, or to be done.
    pub(crate) fn is_closed(&self) -> bool {
        let state = self.lock();
        state.failure.is_some() || state.is_over()
    }

    /// A stream begins.
    pub(crate) fn join(&self) {
        self.lock().streams += 1;
    }

    /// A stream has ended.
    pub(crate) fn leave(&self) {
        let mut state = self.lock();
        state.streams = state.streams.saturating_sub(1);
        drop(state);
        self.changed.notify_all();
    }

    pub(crate) fn streams(&self) -> u32 {
        self.lock().streams
    }

    /// Waits until fewer than so many streams are at work, or nothing is left to do.
    pub(crate) fn wait_for_place(&self, context: &Context, streams: u32) -> Result<()> {
        let mut state = self.lock();
        loop {
            context.check()?;
            state.check()?;
            if state.streams < streams || state.is_over() {
                return Ok(());
            }
            state = self.pause(state);
        }
    }

    /// Waits until every stream has ended.
    pub(crate) fn wait_until_left(&self, context: &Context) -> Result<()> {
        let mut state = self.lock();
        while state.streams > 0 {
            context.check()?;
            state.check()?;
            state = self.pause(state);
        }
        Ok(())
    }

    /// How much one stream may have under way now: half of its share of what is left, so that a slow one ends with few.
    pub(crate) fn share(&self) -> Share {
        let state = self.lock();
        Share::of(state.supply.left(), state.streams)
    }

    /// Takes a file, to be ended by [`done`](Self::done) or [`give_back`](Self::give_back).
    pub(crate) fn take(&self) -> Result<Option<S::Item>> {
        let mut state = self.lock();
        state.check()?;
        let item = match state.returned.pop_front() {
            None => state.supply.next()?,
            returned => returned,
        };
        state.under_way += usize::from(item.is_some());
        Ok(item)
    }

    /// A file has ended, one way or another.
    pub(crate) fn done(&self) {
        let mut state = self.lock();
        state.under_way = state.under_way.saturating_sub(1);
        if state.is_over() {
            drop(state);
            self.changed.notify_all();
        }
    }

    /// Files that others are to take over.
    pub(crate) fn give_back(&self, items: impl IntoIterator<Item = S::Item>) {
        let mut state = self.lock();
        let before = state.returned.len();
        state.returned.extend(items);
        let count = state.returned.len() - before;
        state.under_way = state.under_way.saturating_sub(count);
        drop(state);
        self.changed.notify_all();
    }

    /// Waits until there is something to do, all is done, or for a while.
    pub(crate) fn wait(&self, context: &Context) -> Result<Outlook> {
        let end = Instant::now() + PATIENCE;
        let mut state = self.lock();
        loop {
            context.check()?;
            state.check()?;
            if state.supply.left().files > 0 || !state.returned.is_empty() {
                return Ok(Outlook::Work);
            }
            if state.is_over() {
                return Ok(Outlook::Over);
            }
            if Instant::now() >= end {
                return Ok(Outlook::NotYet);
            }
            state = self.pause(state);
        }
    }

    fn pause<'d>(&'d self, mut state: MutexGuard<'d, State<S>>) -> MutexGuard<'d, State<S>> {
        state.waiting += 1;
        let waited = self.changed.wait_timeout(state, GLANCE);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner).0;
        state.waiting -= 1;
        state
    }

    /// Every change leaves the state sound, so it is so even after a panic elsewhere.
    fn lock(&self) -> MutexGuard<'_, State<S>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Supply> State<S> {
    fn check(&self) -> Result<()> {
        self.failure.clone().map_or(Ok(()), Err)
    }

    fn is_over(&self) -> bool {
        self.is_listed
            && self.under_way == 0
            && self.returned.is_empty()
            && self.supply.left().files == 0
    }
}

impl Share {
    fn of(left: Left, streams: u32) -> Self {
        if streams <= 1 {
            return Self {
                files: usize::MAX,
                bytes: u64::MAX,
            };
        }
        let parts = 2 * streams;
        Self {
            files: (left.files / usize::try_from(parts).unwrap_or(usize::MAX)).max(FEW.files),
            bytes: (left.bytes / u64::from(parts)).clamp(FEW.bytes, MUCH),
        }
    }

    /// Whether it holds another file behind so many, of so many bytes.
    pub(crate) const fn has_room(&self, files: usize, bytes: u64) -> bool {
        files == 0 || (files < self.files && bytes < self.bytes)
    }
}

impl<T> Supply for VecDeque<T> {
    type Item = T;

    fn next(&mut self) -> Result<Option<T>> {
        Ok(self.pop_front())
    }

    fn left(&self) -> Left {
        Left {
            files: self.len(),
            bytes: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{Interrupt, Options, Silent};

    fn context() -> Context {
        Context::new(Options::default(), Arc::new(Silent), Interrupt::default())
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
    fn a_failure_is_told_to_all_and_the_first_counts() {
        let desk = Desk::whole(VecDeque::from([1]));
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

    #[test]
    fn shares_become_small_towards_the_end_and_one_stream_has_all() {
        let left = Left {
            files: 1000,
            bytes: 100 * 1024 * 1024,
        };
        let many = Share::of(left, 3);
        assert!(many.has_room(165, 0) && !many.has_room(166, 0));
        assert!(many.has_room(1, MUCH - 1) && !many.has_room(1, MUCH));
        let few = Share::of(Left::default(), 3);
        assert!(few.has_room(31, 0) && !few.has_room(32, 0));
        assert!(few.has_room(0, u64::MAX) && !few.has_room(1, FEW.bytes));
        assert!(Share::of(left, 1).has_room(100_000, u64::MAX - 1));
    }
}
