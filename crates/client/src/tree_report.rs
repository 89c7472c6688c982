//! What is told of a tree while it is moved: each name once, as it ends.

use std::path::PathBuf;
use std::time::Instant;

use protocol::RemotePath;

use crate::{ClientError, Transferred, TreeItem, TreeSummary};

/// Counts, and hands each item on.
pub(crate) struct TreeReport<'a> {
    started: Instant,
    finished: &'a mut dyn FnMut(TreeItem),
    summary: TreeSummary,
}

impl<'a> TreeReport<'a> {
    pub(crate) fn new(finished: &'a mut dyn FnMut(TreeItem)) -> Self {
        Self {
            started: Instant::now(),
            finished,
            summary: TreeSummary::default(),
        }
    }

    pub(crate) fn done(&mut self, transferred: Transferred) {
        self.summary.files += 1;
        self.summary.bytes += transferred.bytes;
        (self.finished)(TreeItem {
            remote: transferred.remote.clone(),
            local: transferred.local.clone(),
            result: Ok(transferred),
        });
    }

    pub(crate) fn failed(&mut self, remote: &RemotePath, local: PathBuf, error: ClientError) {
        self.summary.failed += 1;
        (self.finished)(TreeItem {
            remote: remote.clone(),
            local,
            result: Err(error),
        });
    }

    pub(crate) fn finish(self) -> TreeSummary {
        TreeSummary {
            seconds: self.started.elapsed().as_secs_f64(),
            ..self.summary
        }
    }
}
