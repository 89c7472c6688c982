//! Changes of names under a ledger's lock: from the look at what a name stands for to what it stands for then.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use protocol::{EntryKind, UploadId};
use rustix::fs::AtFlags;
use rustix::io::Errno;

use super::Quota;
use super::ledger_file::Held;
use crate::error::{Context, Result, Room};
use crate::local::facts::Facts;

/// So many names are removed before others get their turn.
const REMOVED_AT_ONCE: u32 = 256;

/// Names being given or taken: nobody else changes any below this home before it [ends](Self::end). One that never does,
/// since its process died, leaves the most that it could have come to in the ledger, and doubt.
#[derive(Debug)]
pub(crate) struct Change<'a> {
    held: Held<'a>,
    limit: u64,
    used: Option<u64>,
    added: u64,
    was_exact: bool,
}

impl<'a> Change<'a> {
    /// A change by which at most `most` bytes come to be.
    pub(super) fn begin(
        mut held: Held<'a>,
        limit: u64,
        most: u64,
        moves: bool,
    ) -> io::Result<Self> {
        let ledger = &mut held.ledger;
        let (used, added, was_exact) = (ledger.used, ledger.added, ledger.exact);
        ledger.used = used.map(|used| used.saturating_add(most));
        ledger.added = added.saturating_add(most);
        ledger.exact = false;
        ledger.changes = ledger.changes.saturating_add(1);
        ledger.moves = ledger.moves.saturating_add(u64::from(moves));
        match most {
            0 => held.write()?,
            _ => held.write_ahead()?,
        }
        Ok(Self {
            held,
            limit,
            used,
            added,
            was_exact,
        })
    }

    /// Whether a name that stands for `old` bytes may stand for `new` ones.
    pub(crate) fn admit(
        &self,
        context: Context<'_>,
        own: Option<UploadId>,
        (old, new): (u64, u64),
    ) -> Result<()> {
        let ledger = &self.held.ledger;
        let left = ledger.left_beside(self.used, self.limit, own.as_slice());
        match new.saturating_sub(old) {
            more if more > left => Err(context.exceeded(Room {
                left,
                limit: self.limit,
            })),
            _ => Ok(()),
        }
    }

    /// Takes down that a name stood for `old` bytes and stands for `new` ones, by the upload `own`.
    pub(crate) fn took_place(&mut self, own: Option<UploadId>, (old, new): (u64, u64)) {
        self.used = self
            .used
            .map(|used| used.saturating_sub(old).saturating_add(new));
        self.added = self.added.saturating_add(new.saturating_sub(old));
        if let Some(own) = own {
            self.held.ledger.release(&own);
        }
    }

    /// Ends it. Where that cannot be written down, the ledger keeps what it holds of a change that never ends.
    pub(crate) fn end(mut self) {
        let ledger = &mut self.held.ledger;
        ledger.used = self.used;
        ledger.added = self.added;
        ledger.exact = self.was_exact;
        if let Err(error) = self.held.write() {
            tracing::warn!(%error, "a quota's ledger is behind until the files are counted");
        }
    }
}

/// Removes names, and gives back what they held where there is a quota: many under one lock, and not all, since others wait.
#[derive(Debug)]
pub(crate) struct Removals<'a> {
    quota: Option<&'a Quota>,
    change: Option<Change<'a>>,
    removed: u32,
}

impl<'a> Removals<'a> {
    pub(crate) const fn new(quota: Option<&'a Quota>) -> Self {
        Self {
            quota,
            change: None,
            removed: 0,
        }
    }

    /// Removes a name that is no folder's.
    pub(crate) fn unlink(&mut self, folder: &OwnedFd, name: &[u8]) -> rustix::io::Result<()> {
        let unlink = || rustix::fs::unlinkat(folder, name, AtFlags::empty());
        let Some(quota) = self.quota else {
            return unlink();
        };
        if self.change.is_none() {
            self.change = begin(quota);
        }
        let old = size_at(folder, name)?;
        unlink()?;
        if let Some(change) = &mut self.change {
            change.took_place(None, (old, 0));
        }
        self.removed += 1;
        if self.removed.is_multiple_of(REMOVED_AT_ONCE) {
            self.end();
        }
        Ok(())
    }

    fn end(&mut self) {
        if let Some(change) = self.change.take() {
            change.end();
        }
    }
}

impl Drop for Removals<'_> {
    fn drop(&mut self) {
        self.end();
    }
}

/// Files can be removed whatever becomes of the ledger, which is too high then, until they are counted.
fn begin(quota: &Quota) -> Option<Change<'_>> {
    let held = quota.book.file.hold();
    held.and_then(|held| Change::begin(held, quota.limit, 0, false))
        .inspect_err(|error| tracing::warn!(%error, "what is removed is not given back yet"))
        .ok()
}

/// The bytes that a name stands for: none unless it is a file's.
pub(crate) fn size_at(folder: impl AsFd, name: &[u8]) -> rustix::io::Result<u64> {
    match Facts::at(folder, name) {
        Ok(facts) if facts.kind == EntryKind::File => Ok(facts.size),
        Ok(_) | Err(Errno::NOENT) => Ok(0),
        Err(error) => Err(error),
    }
}
