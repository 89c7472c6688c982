//! Quotas: the most bytes that the files below a home may hold, whoever stores there at the same time and whatever dies.
//!
//! Each home has a ledger in `.mini-ftp/quota/`, shared by all workers and slaves under its lock. An upload that is named
//! for resuming is promised its bytes before its content is taken; what decides is the moment at which names are given:
//! the lock is held from the look at what a name stands for until it stands for the new content. Small files, which come
//! whole, are decided there alone, a batch at a time.
//!
//! A promise belongs to a staged file. Where room is short, promises whose file is gone are void, and an upload that
//! nobody goes on with is dropped for one that is there. The files are counted when the ledger knows nothing, or is in
//! doubt or a minute old and a store would be refused; the lock is free meanwhile.

mod change;
mod count;
mod ledger;
mod ledger_file;
#[cfg(test)]
mod tests;

use std::io;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use protocol::{ErrorCode, RemotePath, UploadId};

use super::confined::{OwnFolder, Root};
use super::facts::Facts;
use super::names::Names;
use super::staging::{Place, Whereabouts};
use crate::error::{Context, Result};
use crate::{Progress, Room, no_progress};

pub(crate) use change::{Change, Removals, size_at};
use ledger::{Ledger, MOST_RESERVATIONS, Reservation, path_of_text, path_to_text};
use ledger_file::{Held, LedgerFile, open_or_make};

/// How often the files are counted for one store before it is refused although others go on changing them.
const MOST_COUNTS: u32 = 3;

/// Between two looks at whether another one has counted.
const COUNTING: Duration = Duration::from_millis(20);

/// What leads a ledger's name where it is the file by which those who count take turns.
const TURN: &str = "count";

/// Longest name that a file may have.
const LONGEST_NAME: usize = 255;

/// The quota of the sessions that see one home.
#[derive(Debug)]
pub(crate) struct Quota {
    limit: u64,
    book: Book,
}

/// A home and its ledger.
#[derive(Debug)]
struct Book {
    folder: Arc<OwnedFd>,
    name: String,
    file: LedgerFile,
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
            drop_gone(root, &mut held.ledger, &own);
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
            drop_gone(root, &mut held.ledger, own);
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

impl Book {
    fn open(
        ledgers: &OwnFolder,
        name: &str,
        home: &OwnedFd,
        boot: Option<u128>,
    ) -> io::Result<Self> {
        let facts = Facts::of(home)?;
        Ok(Self {
            folder: Arc::clone(&ledgers.folder),
            name: name.to_owned(),
            file: LedgerFile::open(ledgers.folder.as_fd(), name, &facts, boot)?,
        })
    }

    /// Counts the files below the home if that is still wanted when it is this one's turn. The ledger is free meanwhile.
    fn count(
        &self,
        home: &OwnedFd,
        wanted: impl Fn(&Ledger) -> bool,
        progress: Progress<'_>,
    ) -> io::Result<()> {
        let turn = open_or_make(self.folder.as_fd(), &format!("{TURN}{}", self.name))?;
        while let Err(std::fs::TryLockError::WouldBlock) = turn.try_lock() {
            if let ControlFlow::Break(()) = progress(0) {
                return Err(rustix::io::Errno::TIMEDOUT.into());
            }
            std::thread::sleep(COUNTING);
        }
        let held = self.file.hold()?;
        if !wanted(&held.ledger) {
            return Ok(());
        }
        let mark = held.ledger.mark();
        // One that was begun just now must be found again.
        held.write()?;
        drop(held);
        let found = count::bytes_below(home, progress)?;
        let mut held = self.file.hold()?;
        if held.ledger.take_count(&mark, found, now()) {
            held.write()?;
        }
        Ok(())
    }
}

/// Counts below every home whose ledger was changed since it was counted last, and that long ago: what others than the
/// sessions of its accounts store there is known then at the latest.
pub(crate) fn count_stale(root: &Root) {
    let Ok(ledgers) = &root.ledgers else {
        return;
    };
    let Ok(mut names) = Names::of(&ledgers.folder) else {
        return;
    };
    while let Ok(Some(name)) = names.next() {
        let Some((text, home)) = std::str::from_utf8(&name.bytes)
            .ok()
            .and_then(|text| Some((text, home_of(text)?)))
        else {
            continue;
        };
        let context = Context::new("count below", &home);
        // A home that is gone needs no ledger until it is there again.
        let Ok(folder) = root.open_folder(context) else {
            continue;
        };
        let stale = |ledger: &Ledger| ledger.is_stale(now());
        let counted = Book::open(ledgers, text, &folder, root.boot).and_then(|book| {
            let is_stale = stale(&book.file.hold()?.ledger);
            match is_stale {
                true => book.count(&folder, stale, &mut no_progress()),
                false => Ok(()),
            }
        });
        if let Err(error) = counted {
            tracing::warn!(?home, %error, "the bytes below a home are not counted");
        }
    }
}

/// Drops the promises whose staged file is gone.
fn drop_gone(root: &Root, ledger: &mut Ledger, own: &[UploadId]) {
    ledger.reservations.retain(|reservation| {
        own.contains(&reservation.upload) || whereabouts(root, reservation) != Whereabouts::Gone
    });
}

/// Drops uploads that nobody goes on with, one after another, until it is enough.
fn drop_abandoned(
    root: &Root,
    ledger: &mut Ledger,
    abandoned: Vec<Reservation>,
    enough: impl Fn(&Ledger) -> bool,
) {
    for reservation in abandoned {
        if enough(ledger) {
            return;
        }
        let place = place_of(root, &reservation);
        if place.is_none_or(|place| place.abandon(&reservation.upload)) {
            tracing::info!(upload = %reservation.upload, "an interrupted upload gives way to another");
            ledger.release(&reservation.upload);
        }
    }
}

/// The promises to uploads that nobody goes on with, the oldest first.
fn abandoned(root: &Root, ledger: &Ledger, own: &[UploadId]) -> Vec<Reservation> {
    let is_abandoned = |reservation: &&Reservation| {
        !own.contains(&reservation.upload) && whereabouts(root, reservation) != Whereabouts::Live
    };
    let mut abandoned: Vec<Reservation> = ledger
        .reservations
        .iter()
        .filter(is_abandoned)
        .cloned()
        .collect();
    abandoned.sort_by_key(|reservation| reservation.since);
    abandoned
}

fn whereabouts(root: &Root, reservation: &Reservation) -> Whereabouts {
    match place_of(root, reservation) {
        Some(place) => place.whereabouts(&reservation.upload),
        None => Whereabouts::Gone,
    }
}

fn place_of(root: &Root, reservation: &Reservation) -> Option<Place> {
    match &reservation.beside {
        None => Some(Place {
            folder: Arc::clone(&root.staging.as_ref().ok()?.folder),
            beside_target: false,
        }),
        Some(path) => Some(Place {
            folder: Arc::new(root.open_folder(Context::new("look into", path)).ok()?),
            beside_target: true,
        }),
    }
}

/// The name of a home's ledger: the path itself where it can be one, so that people find it.
fn name_of(home: &RemotePath) -> String {
    let text = path_to_text(home).replace('/', "+");
    match text.len() + TURN.len() <= LONGEST_NAME {
        true => text,
        false => {
            let digest = blake3::hash(home.as_bytes()).to_hex();
            format!("={digest}")
        }
    }
}

/// The home of the ledger of that name; `None` where it does not tell, or is no ledger's.
fn home_of(name: &str) -> Option<RemotePath> {
    let text = name.strip_prefix('+')?;
    path_of_text(&format!("/{}", text.replace('+', "/")))
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
