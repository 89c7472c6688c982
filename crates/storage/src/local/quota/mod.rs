//! Quotas: the most bytes that the files below a home may hold, whoever stores there at the same time and whatever dies.
//!
//! Each home has a ledger in `.mini-ftp/quota/`, shared by all workers and slaves under its lock. An upload that is named
//! for resuming is promised its bytes before its content is taken; what decides is the moment at which names are given:
//! the lock is held from the look at what a name stands for until it stands for the new content. Small files, which come
//! whole, are decided there alone, a batch at a time.
//!
//! A promise belongs to a staged file. Where room is short, one whose file is gone is void, and an upload that nobody goes
//! on with is dropped for one that is there. The files are counted when the ledger knows nothing, or is in
//! doubt or a minute old and a store would be refused; the lock is free meanwhile.

mod book;
mod change;
mod count;
mod ledger;
mod ledger_file;
mod promises;
#[cfg(test)]
mod tests;
mod text;

use std::os::fd::OwnedFd;
use std::time::{SystemTime, UNIX_EPOCH};

use protocol::{ErrorCode, RemotePath, UploadId};

use super::confined::Root;
use crate::error::{Context, Result};
use crate::{Progress, Room, no_progress};

pub(crate) use book::count_stale;
use book::{Book, name_of};
pub(crate) use change::{Change, Removals, size_at};
pub use ledger::Ledger;
use ledger::{MOST_RESERVATIONS, Reservation};
use ledger_file::Held;
use promises::{abandoned, drop_abandoned};

/// How often the files are counted for one store before it is refused although others go on changing them.
const MOST_COUNTS: u32 = 3;

/// The quota of the sessions that see one home.
#[derive(Debug)]
pub(crate) struct Quota {
    limit: u64,
    book: Book,
}

/// What an upload asks for.
#[derive(Debug)]
pub(crate) struct Claim<'a> {
    pub(crate) upload: UploadId,
    pub(crate) bytes: u64,
    /// The folder in which it is staged, unless that is the storage's own.
    pub(crate) beside: Option<&'a RemotePath>,
}

impl Quota {
    /// A quota of `limit` bytes for the folder `home` below the served root, which is that of `root`.
    pub(crate) fn open(
        root: &Root,
        home: &RemotePath,
        (folder, limit): (&OwnedFd, u64),
    ) -> Result<Self> {
        let context = Context::new("keep the quota of", home);
        let ledgers = root
            .ledgers
            .as_ref()
            .map_err(|code| context.refuse(*code))?;
        let book = Book::open(ledgers, &name_of(home), folder, root.boot);
        Ok(Self {
            limit,
            book: book.map_err(context.io())?,
        })
    }

    /// The most bytes, and how many of them can still be stored.
    pub(crate) fn room(&self, root: &Root, context: Context<'_>) -> Result<Room> {
        for _ in 0..MOST_COUNTS {
            let held = self.hold(context)?;
            if held.ledger.used.is_some() {
                return Ok(self.room_in(root, &held.ledger, &[]));
            }
            drop(held);
            self.count(root, context, &mut no_progress())?;
        }
        Err(context.refuse(ErrorCode::Busy))
    }

    /// Promises an upload that is staged already the bytes that it will add.
    pub(crate) fn reserve(
        &self,
        root: &Root,
        context: Context<'_>,
        claim: &Claim<'_>,
        progress: Progress<'_>,
    ) -> Result<()> {
        let reservation = Reservation {
            upload: claim.upload,
            bytes: claim.bytes,
            since: now(),
            beside: claim.beside.cloned(),
        };
        let own = [claim.upload];
        let mut held = self.find_room(root, context, (claim.bytes, &own), progress)?;
        held.ledger.release(&claim.upload);
        if held.ledger.reservations.len() >= MOST_RESERVATIONS && claim.bytes > 0 {
            let abandoned = abandoned(root, &held.ledger, &own);
            drop_abandoned(root, &mut held.ledger, abandoned, |ledger| {
                ledger.reservations.len() < MOST_RESERVATIONS
            });
            if held.ledger.reservations.len() >= MOST_RESERVATIONS {
                return Err(context.refuse(ErrorCode::Busy));
            }
        }
        held.ledger.reserve(reservation);
        held.write().map_err(context.io())
    }

    /// Takes back what an upload was promised that is given up. Where that fails the promise is void all the same, as the
    /// staged file is gone.
    pub(crate) fn release(&self, upload: &UploadId) {
        let released = self.book.file.hold().and_then(|mut held| {
            held.ledger.release(upload);
            held.write()
        });
        if let Err(error) = released {
            tracing::warn!(%error, "a reservation is left to be found void");
        }
    }

    /// Begins to give names by which at most `most` bytes come to be: nobody else changes anything until it ends. What `own`
    /// was promised is for them; `need` says what it comes to in truth, which takes longer to find out. Where there is no
    /// room for several together, some of them may still be admitted.
    pub(crate) fn publish(
        &self,
        root: &Root,
        context: Context<'_>,
        (most, own, is_one): (u64, &[UploadId], bool),
        need: impl FnOnce() -> u64,
    ) -> Result<Change<'_>> {
        let held = self.hold(context)?;
        let fits = held.ledger.used.is_some() && held.ledger.left(self.limit, own) >= most;
        let held = match fits {
            true => held,
            false => {
                drop(held);
                let found = self.find_room(root, context, (need(), own), &mut no_progress());
                match found {
                    Err(error) if error.code() == ErrorCode::QuotaExceeded && !is_one => {
                        let mut held = self.hold(context)?;
                        let abandoned = abandoned(root, &held.ledger, own);
                        drop_abandoned(root, &mut held.ledger, abandoned, |_| false);
                        held
                    }
                    found => found?,
                }
            }
        };
        if held.ledger.used.is_none() {
            return Err(context.refuse(ErrorCode::Busy));
        }
        Change::begin(held, self.limit, most, false).map_err(context.io())
    }

    /// Begins to give a name to what has one already.
    pub(crate) fn rename(&self, context: Context<'_>) -> Result<Change<'_>> {
        let held = self.hold(context)?;
        Change::begin(held, self.limit, 0, true).map_err(context.io())
    }

    fn hold(&self, context: Context<'_>) -> Result<Held<'_>> {
        self.book.file.hold().map_err(context.io())
    }

    /// The ledger, with at least that many bytes left for `own`; makes room and counts where there seem to be fewer.
    fn find_room(
        &self,
        root: &Root,
        context: Context<'_>,
        (need, own): (u64, &[UploadId]),
        progress: Progress<'_>,
    ) -> Result<Held<'_>> {
        let mut counts = 0;
        loop {
            let mut held = self.hold(context)?;
            let fits =
                |ledger: &Ledger| ledger.used.is_some() && ledger.left(self.limit, own) >= need;
            if fits(&held.ledger) {
                return Ok(held);
            }
            let is_final = counts >= MOST_COUNTS || !held.ledger.is_doubtful(now());
            let abandoned = abandoned(root, &held.ledger, own);
            // None is dropped in vain.
            if is_final && fits(&held.ledger.without(&abandoned)) {
                drop_abandoned(root, &mut held.ledger, abandoned, fits);
            }
            held.write().map_err(context.io())?;
            if fits(&held.ledger) {
                return Ok(held);
            }
            if is_final {
                return Err(match held.ledger.used {
                    Some(_) => context.exceeded(self.room_in(root, &held.ledger, own)),
                    None => context.refuse(ErrorCode::Busy),
                });
            }
            drop(held);
            counts += 1;
            self.count(root, context, progress)?;
        }
    }

    /// What `own` can have, interrupted uploads being dropped for it.
    fn room_in(&self, root: &Root, ledger: &Ledger, own: &[UploadId]) -> Room {
        let without = ledger.without(&abandoned(root, ledger, own));
        Room {
            left: without.left(self.limit, own),
            limit: self.limit,
        }
    }

    fn count(&self, root: &Root, context: Context<'_>, progress: Progress<'_>) -> Result<()> {
        let wanted = |ledger: &Ledger| ledger.is_doubtful(now());
        self.book
            .count(&root.folder, wanted, progress)
            .map_err(context.io())
    }
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
