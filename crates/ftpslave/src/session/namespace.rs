//! Requests about names: facts, listings, folders, removing, renaming, and who the slave is.

use std::ops::ControlFlow;
use std::time::Instant;

use auth::{Identification, fresh_nonce};
use protocol::{ConnectionError, Entry, ErrorCode, Nonce, RemotePath, Reply, Unreadable};
use storage::{Found, ListOptions, Storage, StorageError};

use super::busy::INTERVAL;
use super::{Session, error_reply};

/// Entries are sent on when they fill so much of a frame, bytes. An entry of the longest name still fits behind.
const ENTRIES_FILL: usize = 16 * 1024;

/// What an entry of a short name takes, bytes.
const SHORT_ENTRY: usize = 64;

/// So many entries are added between two looks at the clock.
const ENTRIES_UNWATCHED: usize = 4;

impl Session<'_> {
    pub(super) fn probe(&mut self, request: u32, worker: u32) {
        let scoreboard = &self.context.scoreboard;
        let slot = scoreboard
            .statuses()
            .find(|status| u32::try_from(status.slot) == Ok(worker));
        let silent_ms = slot.map_or(u32::MAX, |status| {
            u32::try_from(status.silent_for.as_millis()).unwrap_or(u32::MAX)
        });
        let totals = scoreboard.totals();
        let reply = Reply::Alive {
            silent_ms,
            sessions: saturated(totals.sessions),
            places: saturated(totals.all_places()),
            draining: totals.draining,
        };
        self.connection.send(request, &reply);
    }

    pub(super) fn identify(&mut self, request: u32, master_nonce: &Nonce) {
        let drawn =
            fresh_nonce().and_then(|nonce| Ok((nonce, self.connection.stream_ref().channel()?)));
        let reply = match drawn {
            Ok((nonce, channel)) => self.identity(master_nonce, nonce, &channel),
            Err(error) => {
                tracing::error!(%error, "cannot say who this slave is");
                Reply::Error {
                    code: ErrorCode::Internal,
                    detail: protocol::Text::default(),
                }
            }
        };
        self.connection.send(request, &reply);
    }

    fn identity(&self, master_nonce: &Nonce, nonce: Nonce, channel: &[u8]) -> Reply {
        let (slave, storage) = (self.context.door.slave(), self.storage.id());
        let identification = Identification {
            master_nonce,
            slave_nonce: &nonce,
            slave: &slave,
            storage: &storage,
            channel,
        };
        let proof = self
            .context
            .door
            .ticket_key()
            .map(|key| identification.proof(key));
        let totals = self.context.scoreboard.totals();
        let (sessions, places) = (saturated(totals.sessions), saturated(totals.all_places()));
        Reply::Identity {
            slave,
            storage,
            nonce,
            proof,
            sessions,
            places,
            draining: totals.draining,
        }
    }

    pub(super) fn stat(&mut self, request: u32, path: &RemotePath, follow: bool) {
        let result = self.storage.stat(path, follow);
        self.answer_with(request, result.map(|entry| Reply::Facts { entry }));
    }

    pub(super) fn disk_free(&mut self, request: u32) -> Result<(), ConnectionError> {
        // What was collected stands before any sign of life, be it the preface.
        self.connection.flush()?;
        let storage = self.storage.as_ref();
        // A home with a quota may have to be counted.
        let result = self.errand.run(request, || storage.space())?;
        self.answer_with(
            request,
            result.map(|space| Reply::Space {
                total: space.total,
                available: space.available,
            }),
        );
        Ok(())
    }

    /// Changes names, which takes as long as the disk does, and answers with `done` or with why it was not.
    pub(super) fn change(
        &mut self,
        request: u32,
        work: impl FnOnce(&dyn Storage) -> Result<(), StorageError>,
    ) -> Result<(), ConnectionError> {
        self.connection.flush()?;
        let storage = self.storage.as_ref();
        let result = self.errand.run(request, || work(storage))?;
        self.answer_with(request, result.map(|()| Reply::Done {}));
        Ok(())
    }

    pub(super) fn list(
        &mut self,
        request: u32,
        path: &RemotePath,
        options: ListOptions,
    ) -> Result<(), ConnectionError> {
        let storage = std::sync::Arc::clone(&self.storage);
        let mut part = Part::default();
        let mut sent: Result<(), ConnectionError> = Ok(());
        let mut sent_at = Instant::now();
        let result = storage.list(path, options, &mut |found| {
            part.add(found);
            let is_watched = part.entries.len().is_multiple_of(ENTRIES_UNWATCHED);
            let is_due = is_watched && sent_at.elapsed() >= INTERVAL;
            if is_due || part.fill >= ENTRIES_FILL {
                self.connection
                    .send(request, &std::mem::take(&mut part).into_reply(true));
                sent = match is_due {
                    // From a slow disk, what there is shows that we live.
                    true => self.connection.flush().map_err(ConnectionError::from),
                    false => self.flush_if_much(),
                };
                sent_at = Instant::now();
            }
            if sent.is_ok() {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        });
        sent?;
        self.answer_with(request, result.map(|()| part.into_reply(false)));
        Ok(())
    }

    fn answer_with(&mut self, request: u32, result: Result<Reply, StorageError>) {
        let reply = result.unwrap_or_else(|error| error_reply(&error));
        self.reply(request, &reply);
    }
}

/// What goes into one frame of a listing.
#[derive(Debug)]
struct Part {
    entries: Vec<Entry>,
    unreadable: Vec<Unreadable>,
    fill: usize,
}

impl Default for Part {
    fn default() -> Self {
        Self {
            entries: Vec::with_capacity(ENTRIES_FILL / SHORT_ENTRY),
            unreadable: Vec::new(),
            fill: 0,
        }
    }
}

impl Part {
    fn add(&mut self, found: Found) {
        match found {
            Found::Entry(entry) => {
                self.fill += entry.encoded_length();
                self.entries.push(entry);
            }
            Found::Unreadable { name, error } => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "folder left out of a listing"
                );
                let code = error.code();
                let folder = Unreadable { name, code };
                self.fill += folder.encoded_length();
                self.unreadable.push(folder);
            }
        }
    }

    fn into_reply(self, more: bool) -> Reply {
        Reply::Entries {
            entries: self.entries,
            unreadable: self.unreadable,
            more,
        }
    }
}

fn saturated(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
