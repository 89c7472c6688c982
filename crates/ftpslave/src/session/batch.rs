//! Uploads that are received and wait to be published together: durability is paid once for all of them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::{ConnectionError, Reply};
use storage::{AtHand, PendingCommit, Storage};

use super::Session;
use super::error_reply;

/// A batch is published when it has so many files,
pub(crate) const MOST_FILES: usize = 1000;
/// so many bytes,
const MOST_BYTES: u64 = 64 * 1024 * 1024;
/// or has waited for so long.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// The uploads that wait, with the requests to be answered for them.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pending: Vec<(u32, PendingCommit)>,
    bytes: u64,
    due: Option<Instant>,
    pub(super) at_hand: AtHand,
}

impl Batch {
    fn add(&mut self, request: u32, commit: PendingCommit) {
        self.bytes += commit.received.length;
        self.due
            .get_or_insert_with(|| Instant::now() + LONGEST_WAIT);
        self.pending.push((request, commit));
    }

    fn is_full(&self) -> bool {
        self.pending.len() >= MOST_FILES || self.bytes >= MOST_BYTES
    }

    fn is_due(&self) -> bool {
        self.patience().is_some_and(|left| left.is_zero())
    }

    /// How long the batch may still wait; `None` where there is none.
    pub(super) fn patience(&self) -> Option<Duration> {
        self.due
            .map(|due| due.saturating_duration_since(Instant::now()))
    }
}

/// A connection that is lost takes along what nobody was told is stored: the client sends it again, by a slave that may
/// serve it better.
impl Drop for Batch {
    fn drop(&mut self) {
        for (_, commit) in self.pending.drain(..) {
            commit.upload.discard();
        }
    }
}

impl Session<'_> {
    /// Takes an upload into the batch, which is published once it is large enough.
    pub(super) fn defer(
        &mut self,
        request: u32,
        commit: PendingCommit,
    ) -> Result<(), ConnectionError> {
        self.reply(request, &Reply::Received {});
        self.batch.add(request, commit);
        if self.batch.is_full() {
            self.publish()
        } else {
            Ok(())
        }
    }

    /// Publishes what has waited long enough, while more comes.
    pub(super) fn publish_if_due(&mut self) -> Result<(), ConnectionError> {
        if self.batch.is_due() {
            self.check_presence()?;
            self.publish()?;
            self.connection.flush()?;
        }
        Ok(())
    }

    /// Publishes what waits, and answers for each upload.
    pub(super) fn publish(&mut self) -> Result<(), ConnectionError> {
        let Some(&(first, _)) = self.batch.pending.first() else {
            return Ok(());
        };
        self.connection.flush()?;
        let pending = std::mem::take(&mut std::mem::take(&mut self.batch).pending);
        let (requests, commits): (Vec<u32>, Vec<PendingCommit>) = pending.into_iter().unzip();
        let storage: Arc<dyn Storage> = Arc::clone(&self.storage);
        let results = self.errand.run(first, || storage.commit_batch(commits))?;
        for (request, result) in requests.into_iter().zip(results) {
            let reply = match result {
                Ok(stored) => Reply::Stored {
                    digest: stored.digest,
                    version: stored.version,
                },
                Err(error) => error_reply(&error),
            };
            if let Some(ledger) = &mut self.ledger {
                ledger.publish(&reply, self.paces.moved());
            }
            self.connection.send(request, &reply);
        }
        Ok(())
    }
}
