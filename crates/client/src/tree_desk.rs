//! What the streams of one tree have in common: the files that wait, how many are under way, whether that was all. Each
//! stream comes here for the next file, and gives back what its slave did not answer.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::context::Context;
use crate::tree_share::Share;
use crate::{ClientError, Result};

pub(crate) use crate::tree_share::Left;

/// How long a stream waits for work before it is told that there is none yet.
const PATIENCE: Duration = Duration::from_millis(100);

/// How long a wait lasts, at most, before it looks at the interrupt flag.
const GLANCE: Duration = Duration::from_millis(20);

/// Where files come from.
pub(crate) trait Supply {
    type Item;

    /// The next one; `None` where there is none now.
    fn next(&mut self) -> Result<Option<Self::Item>>;

    fn left(&self) -> Left;

    /// Whether there is a next one now.
    fn is_ready(&self) -> bool {
        self.left().files > 0
    }
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

    /// Whether nothing waits any more, nor will: what is left is under way.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.lock().is_exhausted()
    }

    /// What made it impossible to go on, if anything.
    pub(crate) fn check(&self) -> Result<()> {
        self.lock().check()
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

    /// Waits for as long as that is so of the supply. Fails where the work has failed.
    pub(crate) fn wait_while(&self, context: &Context, is_so: impl Fn(&S) -> bool) -> Result<()> {
        let mut state = self.lock();
        loop {
            context.check()?;
            state.check()?;
            if !is_so(&state.supply) {
                return Ok(());
            }
            state = self.pause(state);
        }
    }

    /// Waits a while for something to do, where something can still come; whether it did. What others have under way does not
    /// count.
    pub(crate) fn wait_for_more(&self, context: &Context) -> Result<bool> {
        let end = Instant::now() + PATIENCE;
        let mut state = self.lock();
        loop {
            context.check()?;
            state.check()?;
            if state.is_ready() {
                return Ok(true);
            }
            let is_all = state.is_listed && state.supply.left().files == 0;
            if is_all || Instant::now() >= end {
                return Ok(false);
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

    /// Waits until nothing is under way with any stream: all that was taken has ended or was given back, whether the work has
    /// failed or not.
    pub(crate) fn wait_until_settled(&self, context: &Context) -> Result<()> {
        let mut state = self.lock();
        while state.under_way > 0 && state.streams > 0 {
            context.check()?;
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

    /// What has ended is what others waited for, as `settle` tells the supply.
    pub(crate) fn done_with(&self, settle: impl FnOnce(&mut S)) {
        let mut state = self.lock();
        state.under_way = state.under_way.saturating_sub(1);
        settle(&mut state.supply);
        drop(state);
        self.changed.notify_all();
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
            if state.is_ready() {
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

    fn is_exhausted(&self) -> bool {
        self.is_listed && self.returned.is_empty() && self.supply.left().files == 0
    }

    fn is_ready(&self) -> bool {
        !self.returned.is_empty() || self.supply.is_ready()
    }

    fn is_over(&self) -> bool {
        self.under_way == 0 && self.is_exhausted()
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
mod tests;
