//! The next names of a folder, read and looked at by a second thread while those before are told. Whoever has told them
//! all helps it: a look at a name (statx(2)) takes longer than anything else that a listing does with it.

use std::os::fd::OwnedFd;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::thread::{Builder, JoinHandle};

use rustix::io::{self, Errno};

use super::facts::Facts;
use super::names::Batch;

/// Names that one of the two takes at once.
const SHARE: usize = 32;

/// The second thread's, which does nothing but system calls.
const STACK: usize = 64 * 1024;

/// What a look at each of some names has said, and where in the batch the first of them stands.
type Looked = (usize, Vec<io::Result<Facts>>);

/// A thread that looks ahead. It ends with its batch, also where nobody waits for that any more.
#[derive(Debug)]
pub(super) struct LookAhead {
    shared: Arc<Shared>,
    thread: JoinHandle<Vec<Looked>>,
}

#[derive(Debug, Default)]
struct Shared {
    batch: OnceLock<io::Result<Batch>>,
    /// The first name that nobody has taken.
    next: AtomicUsize,
}

impl LookAhead {
    /// Has a thread go on with a folder that nobody else reads until the end of [`finish`](Self::finish); `None` where no
    /// thread is to be had.
    pub(super) fn begin(folder: &Arc<OwnedFd>) -> Option<Self> {
        let shared = Arc::new(Shared::default());
        let (folder, theirs) = (Arc::clone(folder), Arc::clone(&shared));
        let builder = Builder::new().name("look ahead".to_owned());
        let thread = builder
            .stack_size(STACK)
            .spawn(move || theirs.look(&folder));
        Some(Self {
            shared,
            thread: thread.ok()?,
        })
    }

    /// The names, none where there are no more, and the facts of each.
    pub(super) fn finish(self, folder: &OwnedFd) -> io::Result<(Batch, Vec<io::Result<Facts>>)> {
        let mut looked = self.shared.look(folder);
        match self.thread.join() {
            Ok(theirs) => looked.extend(theirs),
            Err(panic) => resume_unwind(panic),
        }
        looked.sort_unstable_by_key(|&(start, _)| start);
        let facts = looked.into_iter().flat_map(|(_, facts)| facts).collect();
        let shared = Arc::into_inner(self.shared);
        let batch = shared.and_then(|shared| shared.batch.into_inner());
        Ok((batch.unwrap_or(Err(Errno::IO))?, facts))
    }
}

impl Shared {
    /// Looks at names as long as some are left. Whoever comes first reads them, and the other one waits for that.
    fn look(&self, folder: &OwnedFd) -> Vec<Looked> {
        let mut looked = Vec::new();
        if let Ok(batch) = self.batch.get_or_init(|| Batch::read(folder)) {
            loop {
                let start = self.next.fetch_add(SHARE, Relaxed);
                if start >= batch.len() {
                    break;
                }
                let share = start..batch.len().min(start + SHARE);
                let facts = share.map(|at| Facts::at(folder, batch.name(at)));
                looked.push((start, facts.collect()));
            }
        }
        looked
    }
}
