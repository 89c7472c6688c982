//! What is told of a tree while it is moved: each name once, as it ends.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use protocol::RemotePath;

use crate::{ClientError, Status, Transferred, TreeItem, TreeSummary};

/// Who hears of each name.
pub(crate) type Finished<'a> = dyn FnMut(TreeItem) + Send + 'a;

/// Counts, and hands each item on, whichever thread it comes from.
pub(crate) struct TreeReport<'a> {
    started: Instant,
    told: Mutex<Told<'a>>,
}

struct Told<'a> {
    finished: &'a mut Finished<'a>,
    summary: TreeSummary,
    has_unchanged: bool,
}

impl<'a> TreeReport<'a> {
    pub(crate) fn new(finished: &'a mut Finished<'a>) -> Self {
        Self {
            started: Instant::now(),
            told: Mutex::new(Told {
                finished,
                summary: TreeSummary::default(),
                has_unchanged: false,
            }),
        }
    }

    pub(crate) fn done(&self, transferred: Transferred) {
        let mut told = self.lock();
        told.summary.files += 1;
        told.summary.bytes += transferred.bytes;
        told.has_unchanged |= transferred.status == Status::Unchanged;
        (told.finished)(TreeItem {
            remote: transferred.remote.clone(),
            local: transferred.local.clone(),
            result: Ok(transferred),
        });
    }

    pub(crate) fn failed(&self, remote: &RemotePath, local: PathBuf, error: ClientError) {
        let mut told = self.lock();
        told.summary.failed += 1;
        (told.finished)(TreeItem {
            remote: remote.clone(),
            local,
            result: Err(error),
        });
    }

    /// Whether any file was found in place.
    pub(crate) fn has_unchanged(&self) -> bool {
        self.lock().has_unchanged
    }

    pub(crate) fn summary(&self) -> TreeSummary {
        TreeSummary {
            seconds: self.started.elapsed().as_secs_f64(),
            ..self.lock().summary
        }
    }

    fn lock(&self) -> MutexGuard<'_, Told<'a>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
