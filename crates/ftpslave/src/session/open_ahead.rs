//! Opening the files of requests that wait already, on a second thread, while the one before them is answered: looking a
//! name up and the file's facts take two fifths of what a small file costs.

use std::mem::replace;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};
use std::thread::Builder;
use std::time::{Duration, Instant};

use storage::{OpenFile, Storage};

use super::retrieve::Wanted;

/// Files that a session has open ahead at most.
const MOST: usize = 32;

/// For fewer it is not worth waking another thread.
const FEWEST: usize = 8;

/// Such threads in a worker; other sessions open their files themselves. So few keep the descriptors of all few.
const MOST_THREADS: usize = 4;

/// Descriptors that all sessions of a worker need for this.
pub(crate) const DESCRIPTORS: usize = MOST * MOST_THREADS;

/// A thread that begins later than this had no core of its own: then the work is only made more by dividing it.
const LATE: Duration = Duration::from_micros(250);

/// For so many times as long as it was late nobody is asked again.
const CAUTION: u32 = 50;

/// System calls, the storage's paths, a line of the log.
const STACK: usize = 256 * 1024;

/// How many sessions of a worker have such a thread.
#[derive(Debug, Default)]
pub(crate) struct Threads(AtomicUsize);

/// A session's files that are opened ahead.
#[derive(Debug, Default)]
pub(super) struct OpenAhead {
    run: Option<Arc<Run>>,
    /// The first of the run that was not asked for yet.
    next: usize,
    /// Requests that are known to come and too few to be opened ahead.
    alone: usize,
    /// Where the second thread hears of a run.
    opener: Option<SyncSender<Arc<Run>>>,
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
    /// It was taken, or could not be opened: whoever asks for it hears why.
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

    /// Has what is wanted next opened, where that is enough and there is a thread for it.
    pub(super) fn begin(
        &mut self,
        threads: &Arc<Threads>,
        storage: &Arc<dyn Storage>,
        wanted: impl Iterator<Item = Wanted>,
    ) {
        let slot = |wanted| Slot {
            wanted,
            place: Mutex::new(Place::Waiting),
        };
        let slots: Vec<Slot> = wanted.take(MOST).map(slot).collect();
        if slots.len() < FEWEST {
            self.alone = slots.len();
            return;
        }
        if self.opener.is_none() {
            self.opener = opener(threads);
        }
        if let Some(opener) = &self.opener {
            let run = Arc::new(Run {
                storage: Arc::clone(storage),
                slots,
                begun: Instant::now(),
                late: OnceLock::new(),
            });
            // Where it has not begun with another one yet, we do this one alone.
            opener.try_send(Arc::clone(&run)).unwrap_or_default();
            (self.run, self.next) = (Some(run), 0);
        }
    }

    /// The file that is `wanted` now, where it has been opened.
    pub(super) fn take(&mut self, wanted: &Wanted) -> Option<Box<dyn OpenFile>> {
        let run = self.run.as_ref()?;
        let slot = run.slots.get(self.next)?;
        self.next += 1;
        if slot.wanted != *wanted {
            // Not the order that they came in: nothing is known of those behind it either.
            self.end_run();
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

    /// Ends the thread, for a session that waits for its client.
    pub(super) fn rest(&mut self) {
        self.end_run();
        self.opener = None;
    }

    fn end_run(&mut self) {
        (self.run, self.next) = (None, 0);
    }
}

impl Run {
    fn open_all(&self) {
        self.late.get_or_init(|| self.begun.elapsed());
        for slot in &self.slots {
            self.open_unless_tried(slot);
        }
    }

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
            *place = opened.map_or(Place::Empty, Place::Open);
        }
        is_ours
    }
}

impl Slot {
    fn lock(&self) -> MutexGuard<'_, Place> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts a thread that opens what it is sent until nobody can send any more; `None` where there are enough.
fn opener(threads: &Arc<Threads>) -> Option<SyncSender<Arc<Run>>> {
    let permit = Permit::of(threads)?;
    let (sender, runs) = sync_channel::<Arc<Run>>(1);
    let open_each = move || {
        let _permit = permit;
        runs.iter().for_each(|run| run.open_all());
    };
    let builder = Builder::new().name("open ahead".to_owned());
    builder.stack_size(STACK).spawn(open_each).ok()?;
    Some(sender)
}

/// One of the threads that a worker may have.
#[derive(Debug)]
struct Permit(Arc<Threads>);

impl Permit {
    fn of(threads: &Arc<Threads>) -> Option<Self> {
        let permit = Self(Arc::clone(threads));
        (threads.0.fetch_add(1, Relaxed) < MOST_THREADS).then_some(permit)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests;
