//! Which sessions of this worker run, and which of them only wait: so that draining ends these at once.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::peer::Peer;

/// The connections of one worker.
#[derive(Debug, Default)]
pub(crate) struct Roster(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    next: u64,
    draining: bool,
    connections: HashMap<u64, (Peer, Activity)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Activity {
    /// Waits for the client's next word.
    Resting,
    /// Answers one.
    Working,
}

/// A connection's line in the roster, for as long as this value lives.
#[derive(Debug)]
pub(crate) struct Entry<'a> {
    roster: &'a Roster,
    key: u64,
}

impl Roster {
    /// Adds a connection, which works until it says otherwise.
    pub(crate) fn enter(&self, peer: Peer) -> Entry<'_> {
        let mut state = self.lock();
        let key = state.next;
        state.next += 1;
        state.connections.insert(key, (peer, Activity::Working));
        Entry { roster: self, key }
    }

    /// Connections that run.
    pub(crate) fn count(&self) -> usize {
        self.lock().connections.len()
    }

    /// From now on nobody rests: those who do see the end of their stream, the others once they have answered.
    pub(crate) fn drain(&self) {
        let mut state = self.lock();
        state.draining = true;
        let resting = state
            .connections
            .values()
            .filter(|(_, activity)| *activity == Activity::Resting);
        resting.for_each(|(peer, _)| peer.stop_reading());
    }

    /// Whether [`Self::drain`] was called.
    pub(crate) fn is_draining(&self) -> bool {
        self.lock().draining
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry<'_> {
    /// Says that this connection now waits for its client; `false`: it must not, the worker drains.
    pub(crate) fn rest(&self) -> bool {
        let mut state = self.roster.lock();
        if !state.draining {
            state.set(self.key, Activity::Resting);
        }
        !state.draining
    }

    /// Says that the client has spoken.
    pub(crate) fn work(&self) {
        self.roster.lock().set(self.key, Activity::Working);
    }
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        self.roster.lock().connections.remove(&self.key);
    }
}

impl State {
    fn set(&mut self, key: u64, activity: Activity) {
        if let Some((_, current)) = self.connections.get_mut(&key) {
            *current = activity;
        }
    }
}
