//! Opening the files of requests that wait already, on a second thread, while the one before them is answered: looking a
//! name up and the file's facts take two fifths of what a small file costs.

use std::mem::replace;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use storage::{OpenFile, Storage};
use supervisor::ThreadPool;

use super::wanted::Wanted;

/// Files that a session has open ahead at most.
const MOST: usize = 32;

/// For fewer it is not worth waking another thread.
const FEWEST: usize = 8;

/// Sessions of a worker that have files open ahead; others open theirs when they need them. So few keep the descriptors few.
const MOST_RUNS: usize = 4;

/// Descriptors that all sessions of a worker need for this.
pub(crate) const DESCRIPTORS: usize = MOST * MOST_RUNS;

/// A thread that begins later than this had no core of its own: then the work is only made more by dividing it.
const LATE: Duration = Duration::from_micros(250);

/// For so many times as long as it was late nobody is asked again.
const CAUTION: u32 = 50;

/// System calls, the storage's paths, a line of the log.
const STACK: usize = 256 * 1024;

/// Who opens files ahead for the sessions of a worker.
#[derive(Debug)]
pub(crate) struct Openers {
    threads: ThreadPool,
    /// For which that is done now.
    runs: Arc<AtomicUsize>,
}

/// A session's files that are opened ahead.
#[derive(Debug, Default)]
pub(super) struct OpenAhead {
    run: Option<Arc<Run>>,
    /// The first of the run that was not asked for yet.
    next: usize,
    /// Requests that are known to come and will be opened when they are carried out.
    alone: usize,
    /// Where others wanted the cores a moment ago.
    not_before: Option<Instant>,
}

/// Requests one behind another.
#[derive(Debug)]
struct Run {
    storage: Arc<dyn Storage>,
    slots: Vec<Slot>,
    begun: Instant,
    /// How much later the second thread began.
    late: OnceLock<Duration>,
    _permit: Permit,
}

#[derive(Debug)]
struct Slot {
    wanted: Wanted,
    place: Mutex<Place>,
}

#[derive(Debug)]
enum Place {
    /// Nobody has tried.
    Waiting,
    Open(Box<dyn OpenFile>),
    /// It was taken, could not be opened (whoever asks for it hears why), or changed just now and may again without a trace.
    Empty,
}

impl OpenAhead {
    /// Whether to [`begin`](Self::begin) now that a file is asked for: all that was to be opened has been, more than is known
    /// may have come, and the second thread had a core when it was needed last, or that is long ago.
    pub(super) fn is_to_begin(&mut self) -> bool {
        if !self.is_through() {
            return false;
        }
        if self.alone > 0 {
            self.alone -= 1;
            return false;
        }
        let now = Instant::now();
        if let Some(run) = self.run.take() {
            let late = run.late.get().copied();
            let late = late.unwrap_or_else(|| now.saturating_duration_since(run.begun));
            self.not_before = (late > LATE).then(|| now + CAUTION * late);
        }
        self.not_before.is_none_or(|not_before| now >= not_before)
    }

    fn is_through(&self) -> bool {
        let slots = self.run.as_ref().map_or(0, |run| run.slots.len());
        self.next >= slots
    }

    /// Has what is wanted next opened, where that is enough and somebody is there to do it.
    pub(super) fn begin(
        &mut self,
        openers: &Openers,
        storage: &Arc<dyn Storage>,
        wanted: impl Iterator<Item = Wanted>,
    ) {
        let slot = |wanted| Slot {
            wanted,
            place: Mutex::new(Place::Waiting),
        };
        let slots: Vec<Slot> = wanted.take(MOST).map(slot).collect();
        self.alone = slots.len();
        if slots.len() >= FEWEST
            && let Some(run) = openers.open(Arc::clone(storage), slots)
        {
            (self.run, self.next, self.alone) = (Some(run), 0, 0);
        }
    }

    /// The file that is `wanted` now, where it has been opened.
    pub(super) fn take(&mut self, wanted: &Wanted) -> Option<Box<dyn OpenFile>> {
        let run = self.run.as_ref()?;
        let slot = run.slots.get(self.next)?;
        self.next += 1;
        if slot.wanted != *wanted {
            // Not the order that they came in: nothing is known of those behind it either.
            self.rest();
            return None;
        }
        let mut place = loop {
            match slot.place.try_lock() {
                Ok(place) => break place,
                Err(TryLockError::Poisoned(poisoned)) => break poisoned.into_inner(),
                // It is being opened. Meanwhile we open another one.
                Err(TryLockError::WouldBlock) if run.open_one_behind(self.next) => {}
                Err(TryLockError::WouldBlock) => break slot.lock(),
            }
        };
        match replace(&mut *place, Place::Empty) {
            Place::Open(file) => Some(file),
            Place::Waiting | Place::Empty => None,
        }
    }

    /// Closes what is open ahead: something else comes first, and may take long.
    pub(super) fn rest(&mut self) {
        (self.run, self.next) = (None, 0);
    }
}

impl Openers {
    pub(crate) fn new() -> Self {
        Self {
            threads: ThreadPool::new("open ahead", STACK),
            runs: Arc::default(),
        }
    }

    /// `None` where enough is opened ahead, or no thread is to be had.
    fn open(&self, storage: Arc<dyn Storage>, slots: Vec<Slot>) -> Option<Arc<Run>> {
        let run = Arc::new(Run {
            storage,
            slots,
            begun: Instant::now(),
            late: OnceLock::new(),
            _permit: Permit::of(&self.runs)?,
        });
        let theirs = Arc::clone(&run);
        self.threads.run(move || open_all(&theirs)).ok()?;
        Some(run)
    }
}

/// Opens what nobody else does, until nobody waits for it any more.
fn open_all(run: &Arc<Run>) {
    run.late.get_or_init(|| run.begun.elapsed());
    let mut slots = run.slots.iter();
    while Arc::strong_count(run) > 1
        && let Some(slot) = slots.next()
    {
        run.open_unless_tried(slot);
    }
}

impl Run {
    /// Opens the first that nobody has tried from `start` on; `false`: there is none.
    fn open_one_behind(&self, start: usize) -> bool {
        let behind = self.slots.get(start..).unwrap_or_default();
        behind.iter().any(|slot| self.open_unless_tried(slot))
    }

    /// Whether this was ours to try.
    fn open_unless_tried(&self, slot: &Slot) -> bool {
        let Ok(mut place) = slot.place.try_lock() else {
            return false;
        };
        let is_ours = matches!(*place, Place::Waiting);
        if is_ours {
            let Wanted { path, expected, .. } = &slot.wanted;
            let opened = self.storage.open(path, expected.as_ref());
            *place = match opened {
                Ok(file) if file.has_settled() => Place::Open(file),
                _ => Place::Empty,
            };
        }
        is_ours
    }
}

impl Slot {
    fn lock(&self) -> MutexGuard<'_, Place> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One of the runs that a worker may have.
#[derive(Debug)]
struct Permit(Arc<AtomicUsize>);

impl Permit {
    fn of(runs: &Arc<AtomicUsize>) -> Option<Self> {
        let permit = Self(Arc::clone(runs));
        (runs.fetch_add(1, Relaxed) < MOST_RUNS).then_some(permit)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests;
