//! The table in shared memory through which the processes of a pool see each other: who lives, who has a free place.
//!
//! Layout (words of 64 bits): a header record of eight words, then one record of eight words, a cache line, per slot, then
//! the program's own words. A slot is written by its owner; the supervisor claims it before the owner lives and clears it when the owner is
//! dead. So there is no lock that a killed process could leave behind, and no count that outlives it.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use sys::shared_memory::SharedWords;

use crate::slot::{self, RECORD, Slot, SlotState, SlotStatus};

/// "pool" and the version of this layout: a new binary must not read an old supervisor's table differently.
const LAYOUT: u64 = 0x706f_6f6c_0000_0002;

/// Sums over all workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Workers that serve.
    pub workers: u64,
    /// Sessions running, those of draining workers included.
    pub sessions: u64,
    /// Places of the workers that serve.
    pub places: u64,
    /// Places nobody sits in. Zero: everybody is full, the next client hears "busy".
    pub free: u64,
    /// Sessions of workers that are draining.
    pub leaving: u64,
    /// Connections accepted that have not begun a session.
    pub pending: u64,
    /// The whole pool is shutting down.
    pub draining: bool,
}

impl Totals {
    /// The places of which [`Self::sessions`] are taken: what draining workers still have takes none from anybody who comes.
    #[must_use]
    pub const fn all_places(&self) -> u64 {
        self.places.saturating_add(self.leaving)
    }
}

/// The table. Cheap to read; every figure may be old by the time it is looked at.
#[derive(Debug)]
pub struct Scoreboard {
    words: SharedWords,
    slots: usize,
}

/// The words of the header that are in use.
struct Header<'a> {
    layout: &'a AtomicU64,
    /// Slots up to here may be in use: what a reader has to look through.
    used: &'a AtomicU64,
    draining: &'a AtomicU64,
    program: &'a AtomicU64,
}

impl Scoreboard {
    pub(crate) fn create(slots: usize, program: usize) -> io::Result<(Self, OwnedFd)> {
        let (words, memory) = SharedWords::create(words_for(slots, program))?;
        let board = Self { words, slots };
        board.header()?.layout.store(LAYOUT, SeqCst);
        Ok((board, memory))
    }

    pub(crate) fn attach(memory: BorrowedFd<'_>, slots: usize, program: usize) -> io::Result<Self> {
        let board = Self {
            words: SharedWords::attach(memory, words_for(slots, program))?,
            slots,
        };
        if board.header()?.layout.load(SeqCst) != LAYOUT {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the supervisor's scoreboard is of another version",
            ));
        }
        Ok(board)
    }

    /// Sums over all workers, for whoever reports the load or decides who accepts.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let draining = self
            .header()
            .is_ok_and(|header| header.draining.load(SeqCst) != 0);
        self.statuses().fold(
            Totals {
                draining,
                ..Totals::default()
            },
            |mut sum, slot| {
                sum.sessions = sum.sessions.saturating_add(slot.sessions);
                sum.pending = sum.pending.saturating_add(slot.pending);
                sum.free = sum.free.saturating_add(slot.free());
                if slot.state == SlotState::Ready {
                    sum.workers = sum.workers.saturating_add(1);
                    sum.places = sum.places.saturating_add(slot.places);
                } else {
                    sum.leaving = sum.leaving.saturating_add(slot.sessions);
                }
                sum
            },
        )
    }

    /// A word of the program's own that all processes of the pool share, reloads included. It begins as 0.
    ///
    /// # Errors
    /// A table without a header, which no supervisor makes.
    pub fn program_word(&self) -> io::Result<&AtomicU64> {
        self.header().map(|header| header.program)
    }

    /// The words that the program asked for with [`Pool::program_words`](crate::Pool): all processes of the pool share them,
    /// reloads included. They begin as 0. Whoever writes may be killed between two words.
    #[must_use]
    pub fn program_words(&self) -> &[AtomicU64] {
        let own = words_for(self.slots, 0);
        self.words.words().get(own..).unwrap_or_default()
    }

    /// Every slot in use.
    pub fn statuses(&self) -> impl Iterator<Item = SlotStatus> + '_ {
        let now = slot::monotonic_milliseconds();
        let used = self.header().map_or(0, |header| header.used.load(SeqCst));
        self.slots()
            .take(usize::try_from(used).unwrap_or(usize::MAX))
            .enumerate()
            .map(move |(index, slot)| slot.status(index, now))
            .filter(|status| status.state != SlotState::Vacant)
    }

    /// Another worker than `own` has more free places than connections waiting to begin a session.
    pub(crate) fn others_have_room(&self, own: usize) -> bool {
        self.statuses()
            .any(|slot| slot.slot != own && slot.free() > slot.pending)
    }

    /// Another worker than `own` has a free place and at most so many clients.
    pub(crate) fn another_has_at_most(&self, own: usize, clients: u64) -> bool {
        self.statuses()
            .any(|slot| slot.slot != own && slot.free() > 0 && slot.clients() <= clients)
    }

    /// No worker has a free place.
    pub(crate) fn is_full(&self) -> bool {
        self.statuses().all(|slot| slot.free() == 0)
    }

    pub(crate) fn slot(&self, index: usize) -> Option<Slot<'_>> {
        self.slots().nth(index)
    }

    /// Gives the lowest vacant slot to a child that is about to start. `None`: all are in use.
    pub(crate) fn claim(&self, state: SlotState, generation: u64) -> Option<usize> {
        let header = self.header().ok()?;
        let (index, slot) = self
            .slots()
            .enumerate()
            .find(|(_, slot)| slot.state() == SlotState::Vacant)?;
        slot.claim(state, generation);
        header
            .used
            .fetch_max(u64::try_from(index).ok()?.saturating_add(1), SeqCst);
        Some(index)
    }

    /// Takes back the slot of a dead child: its sessions are gone with it.
    pub(crate) fn clear(&self, index: usize) {
        if let Some(slot) = self.slot(index) {
            slot.clear();
        }
    }

    pub(crate) fn say_pool_is_draining(&self) {
        if let Ok(header) = self.header() {
            header.draining.store(1, SeqCst);
        }
    }

    fn records(&self) -> &[[AtomicU64; RECORD]] {
        self.words.words().as_chunks::<RECORD>().0
    }

    fn header(&self) -> io::Result<Header<'_>> {
        match self.records().first() {
            Some([layout, used, draining, program, ..]) => Ok(Header {
                layout,
                used,
                draining,
                program,
            }),
            None => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "scoreboard without a header",
            )),
        }
    }

    fn slots(&self) -> impl Iterator<Item = Slot<'_>> + '_ {
        self.records().iter().skip(1).take(self.slots).map(Slot::of)
    }
}

const fn words_for(slots: usize, program: usize) -> usize {
    slots
        .saturating_add(1)
        .saturating_mul(RECORD)
        .saturating_add(program)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn claimed_slots_are_counted_and_cleared() {
        let (board, memory) = Scoreboard::create(4, 0).unwrap();
        let seen_by_other = Scoreboard::attach(memory.as_fd(), 4, 0).unwrap();
        let first = board.claim(SlotState::Starting, 1).unwrap();
        let second = board.claim(SlotState::Starting, 1).unwrap();
        assert_eq!((first, second), (0, 1));
        assert_eq!(seen_by_other.totals(), Totals::default());
        for index in [first, second] {
            board.slot(index).unwrap().open(3);
        }
        board.slot(first).unwrap().sessions.store(2, SeqCst);
        assert_eq!(
            seen_by_other.totals(),
            Totals {
                workers: 2,
                sessions: 2,
                places: 6,
                free: 4,
                leaving: 0,
                pending: 0,
                draining: false
            }
        );
        board.clear(first);
        assert_eq!(seen_by_other.totals().sessions, 0);
        assert_eq!(board.claim(SlotState::Starting, 2), Some(first));
    }

    #[test]
    fn what_draining_workers_have_takes_no_place_from_others() {
        let (board, _memory) = Scoreboard::create(2, 0).unwrap();
        for _ in 0..2 {
            let slot = board.claim(SlotState::Starting, 1).unwrap();
            board.slot(slot).unwrap().open(1);
        }
        let old = board.slot(0).unwrap();
        old.sessions.store(1, SeqCst);
        old.drain();
        let totals = board.totals();
        assert_eq!((totals.sessions, totals.all_places()), (1, 2));
    }

    #[test]
    fn draining_workers_keep_sessions_but_offer_no_places() {
        let (board, _memory) = Scoreboard::create(2, 0).unwrap();
        let slot = board.claim(SlotState::Starting, 1).unwrap();
        let slot = board.slot(slot).unwrap();
        slot.open(5);
        slot.sessions.store(1, SeqCst);
        slot.drain();
        let totals = board.totals();
        assert_eq!(
            (totals.sessions, totals.places, totals.free, totals.workers),
            (1, 0, 0, 0)
        );
        assert!(board.is_full());
        slot.open(5);
        assert_eq!(slot.state(), SlotState::Draining);
    }

    #[test]
    fn room_elsewhere_counts_pending_connections_and_silence() {
        let (board, _memory) = Scoreboard::create(2, 0).unwrap();
        let (own, other) = (
            board.claim(SlotState::Starting, 1).unwrap(),
            board.claim(SlotState::Starting, 1).unwrap(),
        );
        let slot = board.slot(other).unwrap();
        assert!(!board.others_have_room(own));
        slot.open(1);
        assert!(board.others_have_room(own));
        assert!(!board.others_have_room(other));
        slot.pending.store(1, SeqCst);
        assert!(!board.others_have_room(own));
        slot.pending.store(0, SeqCst);
        slot.fall_silent();
        assert!(!board.others_have_room(own));
    }

    #[test]
    fn slots_run_out_and_helpers_do_not_count_as_workers() {
        let (board, _memory) = Scoreboard::create(1, 0).unwrap();
        assert_eq!(board.claim(SlotState::Helper, 1), Some(0));
        assert_eq!(board.claim(SlotState::Starting, 1), None);
        board.slot(0).unwrap().drain();
        assert_eq!(board.slot(0).unwrap().state(), SlotState::Helper);
        assert_eq!(board.totals(), Totals::default());
    }

    #[test]
    fn the_program_s_words_are_shared_and_no_slot_s() {
        let (board, memory) = Scoreboard::create(3, 1024).unwrap();
        let seen_by_other = Scoreboard::attach(memory.as_fd(), 3, 1024).unwrap();
        assert_eq!(board.program_words().len(), 1024);
        for word in board.program_words() {
            word.store(u64::MAX, SeqCst);
        }
        assert_eq!(seen_by_other.program_words()[1023].load(SeqCst), u64::MAX);
        assert_eq!(board.slots().count(), 3);
        assert!(board.slots().all(|slot| slot.state() == SlotState::Vacant));
        assert_eq!(board.program_word().unwrap().load(SeqCst), 0);
    }

    #[test]
    fn another_layout_is_refused() {
        let (board, memory) = Scoreboard::create(1, 0).unwrap();
        board.header().unwrap().layout.store(LAYOUT + 1, SeqCst);
        assert!(Scoreboard::attach(memory.as_fd(), 1, 0).is_err());
        assert!(Scoreboard::attach(memory.as_fd(), 100, 0).is_err());
    }
}
