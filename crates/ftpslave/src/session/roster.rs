//! Which sessions of this worker run, and which of them only wait, so that draining ends these at once; or are busy, so that
//! their clients hear of it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::busy::Errand;
use super::peer::Peer;
use crate::revoked::Holder;

/// The connections of one worker.
#[derive(Debug, Default)]
pub(crate) struct Roster {
    draining: AtomicBool,
    connections: Mutex<Connections>,
}

#[derive(Debug, Default)]
struct Connections {
    next: u64,
    lines: HashMap<u64, Line>,
}

#[derive(Debug)]
struct Line {
    peer: Peer,
    /// Waits for the client's next word, rather than answering one.
    resting: Arc<AtomicBool>,
    errand: Arc<Errand>,
    held: Arc<Held>,
}

/// By which ticket a session runs; empty before it begins, and where none is needed.
#[derive(Debug, Default)]
pub(super) struct Held(Mutex<Option<Holder>>);

impl Held {
    pub(super) fn set(&self, holder: Option<Holder>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = holder;
    }

    fn get(&self) -> Option<Holder> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection's line in the roster, for as long as this value lives.
#[derive(Debug)]
pub(crate) struct Entry<'a> {
    roster: &'a Roster,
    key: u64,
    resting: Arc<AtomicBool>,
    errand: Arc<Errand>,
    held: Arc<Held>,
}

impl Roster {
    /// Adds a connection, which works until it says otherwise.
    pub(crate) fn enter(&self, peer: Peer) -> Entry<'_> {
        let resting = Arc::new(AtomicBool::new(false));
        let errand = Arc::<Errand>::default();
        let held = Arc::<Held>::default();
        let line = Line {
            peer,
            resting: Arc::clone(&resting),
            errand: Arc::clone(&errand),
            held: Arc::clone(&held),
        };
        let mut connections = self.connections();
        let key = connections.next;
        connections.next += 1;
        connections.lines.insert(key, line);
        Entry {
            roster: self,
            key,
            resting,
            errand,
            held,
        }
    }

    /// Has clients that wait for long work hear that we are alive; to be called every quarter of a second. Waits for nobody.
    pub(crate) fn show_life(&self) {
        for line in self.connections().lines.values() {
            line.errand.show_life(&line.peer);
        }
    }

    /// Connections that run.
    pub(crate) fn count(&self) -> usize {
        self.connections().lines.len()
    }

    /// From now on nobody rests: those who do see the end of their stream, the others once they have answered.
    pub(crate) fn drain(&self) {
        // In this order, and the other way round in `Entry::rest`: one of the two sees the other's word.
        self.draining.store(true, SeqCst);
        let connections = self.connections();
        let resting = connections
            .lines
            .values()
            .filter(|line| line.resting.load(SeqCst));
        resting.for_each(|line| line.peer.stop_reading());
    }

    /// Ends the sessions by tickets that are not to be served any longer, whatever they are doing.
    pub(crate) fn cut_off(&self, is_over: impl Fn(&Holder) -> bool) {
        for line in self.connections().lines.values() {
            if line.held.get().as_ref().is_some_and(&is_over) {
                line.peer.cut_off();
            }
        }
    }

    /// Whether [`Self::drain`] was called.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(SeqCst)
    }

    fn connections(&self) -> MutexGuard<'_, Connections> {
        self.connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry<'_> {
    /// Says that this connection now waits for its client; `false`: it must not, the worker drains.
    pub(crate) fn rest(&self) -> bool {
        self.resting.store(true, SeqCst);
        !self.roster.is_draining()
    }

    /// Where the session's long work is done.
    pub(super) fn errand(&self) -> Arc<Errand> {
        Arc::clone(&self.errand)
    }

    /// Where the session says by which ticket it runs.
    pub(super) fn held(&self) -> Arc<Held> {
        Arc::clone(&self.held)
    }

    /// Says that the client has spoken.
    pub(crate) fn work(&self) {
        self.resting.store(false, SeqCst);
    }
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        self.roster.connections().lines.remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::super::peer::tests::connected;
    use super::*;

    #[test]
    fn who_rests_awake_when_the_worker_drains_sees_the_end() {
        let (_client, mut peer) = connected();
        let roster = Roster::default();
        let entry = roster.enter(peer.clone());
        assert!(entry.rest());
        let silence = peer.read_awake(&mut [0]).unwrap_err();
        assert_eq!(silence.kind(), std::io::ErrorKind::WouldBlock);
        roster.drain();
        // On a busy machine it is not waited for awake at once again.
        let read = || peer.read_awake(&mut [0]).ok();
        assert_eq!(std::iter::repeat_with(read).find_map(|read| read), Some(0));
    }

    #[test]
    fn whose_ticket_is_over_is_cut_off_and_nobody_else() {
        let roster = Roster::default();
        let lines = [
            Some(Holder::new("ada", 1, 1)),
            Some(Holder::new("bob", 1, 1)),
            None,
        ]
        .map(|holder| {
            let (client, peer) = connected();
            let entry = roster.enter(peer.clone());
            entry.held().set(holder);
            (client, peer, entry)
        });
        roster.cut_off(|holder| *holder == Holder::new("ada", 1, 1));
        let [(mut ada, peer, _), (_bob, bob, _), (_nobody, nobody, _)] = lines;
        assert_eq!(ada.read(&mut [0]).unwrap(), 0);
        assert!(peer.is_gone());
        assert!(!bob.is_gone() && !nobody.is_gone());
    }

    #[test]
    fn who_works_when_the_worker_drains_may_answer_but_not_rest_again() {
        let (mut client, mut peer) = connected();
        let roster = Roster::default();
        let entry = roster.enter(peer.clone());
        assert!(entry.rest());
        entry.work();
        roster.drain();
        std::io::Write::write_all(&mut client, b"x").unwrap();
        assert_eq!(peer.read(&mut [0]).unwrap(), 1);
        assert!(!entry.rest());
    }
}
