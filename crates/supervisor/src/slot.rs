//! One slot of the table: eight words that its owner writes and everyone reads.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Words of a record.
pub(crate) const RECORD: usize = 8;
/// A worker that has not ticked for so long is not counted on to take the next connection.
const FRESH: Duration = Duration::from_secs(2);

/// What the owner of a slot is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlotState {
    /// Nobody's.
    Vacant,
    /// A worker that has not said that it is ready.
    Starting,
    /// A worker that serves.
    Ready,
    /// A worker that takes nobody new and leaves with its last session.
    Draining,
    /// A helper: it ticks, and takes no sessions.
    Helper,
}

impl SlotState {
    const ALL: [Self; 5] = [
        Self::Vacant,
        Self::Starting,
        Self::Ready,
        Self::Draining,
        Self::Helper,
    ];

    const fn word(self) -> u64 {
        match self {
            Self::Vacant => 0,
            Self::Starting => 1,
            Self::Ready => 2,
            Self::Draining => 3,
            Self::Helper => 4,
        }
    }

    fn read(word: &AtomicU64) -> Self {
        let word = word.load(SeqCst);
        Self::ALL
            .into_iter()
            .find(|state| state.word() == word)
            .unwrap_or(Self::Vacant)
    }
}

/// One slot as it was at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotStatus {
    /// Index of the slot.
    pub slot: usize,
    /// Process of the owner, 0 until the owner is up.
    pub pid: u64,
    /// What the owner is doing.
    pub state: SlotState,
    /// Sessions running.
    pub sessions: u64,
    /// Sessions it can hold at once.
    pub places: u64,
    /// Connections accepted that have not begun a session.
    pub pending: u64,
    /// Which configuration it runs; grows with each reload.
    pub generation: u64,
    /// Since its last tick.
    pub silent_for: Duration,
}

impl SlotStatus {
    pub(crate) const fn clients(&self) -> u64 {
        self.sessions.saturating_add(self.pending)
    }

    pub(crate) fn free(&self) -> u64 {
        match self.state {
            SlotState::Ready if self.silent_for < FRESH => {
                self.places.saturating_sub(self.sessions)
            }
            _ => 0,
        }
    }
}

/// The words of one slot.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slot<'a> {
    pid: &'a AtomicU64,
    ticked: &'a AtomicU64,
    state: &'a AtomicU64,
    places: &'a AtomicU64,
    generation: &'a AtomicU64,
    pub(crate) sessions: &'a AtomicU64,
    pub(crate) pending: &'a AtomicU64,
}

impl<'a> Slot<'a> {
    pub(crate) const fn of(record: &'a [AtomicU64; RECORD]) -> Self {
        let [pid, ticked, state, places, sessions, pending, generation, _] = record;
        Self {
            pid,
            ticked,
            state,
            places,
            generation,
            sessions,
            pending,
        }
    }

    /// For a child that is about to start.
    pub(crate) fn claim(&self, state: SlotState, generation: u64) {
        self.generation.store(generation, SeqCst);
        self.tick();
        self.state.store(state.word(), SeqCst);
    }

    /// Everything to zero, after the death of its owner.
    pub(crate) fn clear(&self) {
        let rest = [
            self.pid,
            self.sessions,
            self.pending,
            self.places,
            self.generation,
            self.ticked,
        ];
        std::iter::once(self.state)
            .chain(rest)
            .for_each(|word| word.store(0, SeqCst));
    }

    pub(crate) fn state(&self) -> SlotState {
        SlotState::read(self.state)
    }

    pub(crate) fn places(&self) -> u64 {
        self.places.load(SeqCst)
    }

    pub(crate) fn clients(&self) -> u64 {
        // In this order a connection that begins its session meanwhile is counted, if twice.
        let pending = self.pending.load(SeqCst);
        self.sessions.load(SeqCst).saturating_add(pending)
    }

    pub(crate) fn tick(&self) {
        self.ticked.store(monotonic_milliseconds(), SeqCst);
    }

    pub(crate) fn silent_for(&self) -> Duration {
        Duration::from_millis(monotonic_milliseconds().saturating_sub(self.ticked.load(SeqCst)))
    }

    pub(crate) fn enter(&self, pid: u64) {
        self.pid.store(pid, SeqCst);
        self.tick();
    }

    /// A worker opens its places. Nothing happens if it was told to drain before it got this far.
    pub(crate) fn open(&self, places: u64) {
        self.places.store(places, SeqCst);
        let (starting, ready) = (SlotState::Starting.word(), SlotState::Ready.word());
        if self
            .state
            .compare_exchange(starting, ready, SeqCst, SeqCst)
            .is_ok()
        {
            self.tick();
        }
    }

    /// Takes nobody new from here on; a helper stays a helper.
    pub(crate) fn drain(&self) {
        for state in [SlotState::Starting, SlotState::Ready] {
            if self
                .state
                .compare_exchange(state.word(), SlotState::Draining.word(), SeqCst, SeqCst)
                .is_ok()
            {
                return;
            }
        }
    }

    #[cfg(test)]
    pub(crate) fn fall_silent(&self) {
        self.ticked
            .store(monotonic_milliseconds().saturating_sub(60_000), SeqCst);
    }

    pub(crate) fn status(&self, slot: usize, now: u64) -> SlotStatus {
        SlotStatus {
            slot,
            pid: self.pid.load(SeqCst),
            state: self.state(),
            sessions: self.sessions.load(SeqCst),
            places: self.places(),
            pending: self.pending.load(SeqCst),
            generation: self.generation.load(SeqCst),
            silent_for: Duration::from_millis(now.saturating_sub(self.ticked.load(SeqCst))),
        }
    }
}

/// `CLOCK_MONOTONIC`: the same for every process, and it stands still while the machine sleeps.
pub(crate) fn monotonic_milliseconds() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let (seconds, nanoseconds) = (u64::try_from(now.tv_sec), u64::try_from(now.tv_nsec));
    seconds
        .unwrap_or(0)
        .saturating_mul(1000)
        .saturating_add(nanoseconds.unwrap_or(0) / 1_000_000)
}
