//! The file that keeps a ledger: read and written by one at a time, on this machine or another one of a shared file system.

use std::fs::{File, TryLockError};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::ledger::{Ledger, MOST_RESERVATIONS};
use crate::local::facts::Facts;
use crate::local::writer_lock::locks_are_proof;

/// Longest file, bytes: all reservations with long folders, and more.
const LONGEST: usize = 1024 + MOST_RESERVATIONS * 8192;

/// Room for most ledgers.
const USUAL: usize = 4096;

/// How long a ledger may be held by others before who waits is told that it took too long. The longest that anybody holds
/// one who runs is what a batch of a thousand names takes.
const LONGEST_WAIT: Duration = Duration::from_secs(if cfg!(test) { 2 } else { 10 });

/// Between two looks at whether it is free, first and at last.
const SHORTEST_PAUSE: Duration = Duration::from_micros(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(2);

/// A ledger's file, held open.
#[derive(Debug)]
pub(crate) struct LedgerFile {
    file: Mutex<File>,
    /// The home's inode.
    folder: u64,
    /// The run of this machine, where that tells whether what was written last may be lost: not where others write too.
    boot: Option<u128>,
}

/// A ledger that nobody else reads or changes until this is dropped.
#[derive(Debug)]
pub(crate) struct Held<'a> {
    pub(crate) ledger: Ledger,
    file: MutexGuard<'a, File>,
    is_shared: bool,
}

impl LedgerFile {
    /// The ledger `name` of the home with those facts, made where there is none. `boot` names the run of this machine.
    pub(crate) fn open(
        folder: BorrowedFd<'_>,
        name: &str,
        home: &Facts,
        boot: Option<u128>,
    ) -> io::Result<Self> {
        let file = open_or_make(folder, name)?;
        Ok(Self {
            folder: home.inode,
            boot: boot.filter(|_| locks_are_proof(&file)),
            file: Mutex::new(file),
        })
    }

    /// Waits for the others and reads the ledger. One that is damaged, of another folder, or that the machine may have lost
    /// a part of knows nothing.
    pub(crate) fn hold(&self) -> io::Result<Held<'_>> {
        let file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        lock(&file)?;
        // From here on the drop unlocks.
        let mut held = Held {
            ledger: Ledger::new(0, self.folder, self.boot.unwrap_or(0)),
            file,
            is_shared: self.boot.is_none(),
        };
        let fresh = held.ledger.clone();
        held.ledger = match read(&held.file)? {
            Some(kept) if kept.folder == fresh.folder && kept.boot == fresh.boot => kept,
            Some(kept) if kept.folder == fresh.folder => {
                tracing::info!("the machine was started anew: the bytes below a home are counted");
                let reservations = kept.reservations;
                Ledger {
                    epoch: draw()?,
                    reservations,
                    ..fresh
                }
            }
            _ => Ledger {
                epoch: draw()?,
                ..fresh
            },
        };
        Ok(held)
    }
}

impl Held<'_> {
    /// Writes the ledger down.
    pub(crate) fn write(&self) -> io::Result<()> {
        let text = self.ledger.to_text();
        self.file.write_all_at(text.as_bytes(), 0)?;
        let length = u64::try_from(text.len()).unwrap_or(u64::MAX);
        if self.file.metadata()?.len() != length {
            self.file.set_len(length)?;
        }
        Ok(())
    }

    /// Writes the ledger down so that what is done after it is not kept without it: on a file system of this machine alone,
    /// a new start of the machine tells that something may be lost; on others nothing does.
    pub(crate) fn write_ahead(&self) -> io::Result<()> {
        self.write()?;
        match self.is_shared {
            true => self.file.sync_all(),
            false => Ok(()),
        }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.file.unlock() {
            tracing::error!(%error, "a ledger stays locked");
        }
    }
}

/// Opens a file of the storage's own; one that is in truth a link is refused.
pub(crate) fn open_or_make(folder: BorrowedFd<'_>, name: &str) -> io::Result<File> {
    let flags =
        OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::openat(folder.as_fd(), name, flags, Mode::RUSR | Mode::WUSR)?;
    Ok(File::from(file))
}

/// Waits until the file is ours, but not for ever: who holds it may have been stopped, or its machine be gone.
fn lock(file: &File) -> io::Result<()> {
    let end = Instant::now() + LONGEST_WAIT;
    let mut pause = SHORTEST_PAUSE;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) if Instant::now() >= end => {
                return Err(Errno::TIMEDOUT.into());
            }
            Err(TryLockError::WouldBlock) => std::thread::sleep(pause),
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(TryLockError::Error(error)) => return Err(error),
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

fn read(file: &File) -> io::Result<Option<Ledger>> {
    let mut bytes = vec![0; USUAL];
    let mut length = 0;
    loop {
        let position = u64::try_from(length).unwrap_or(u64::MAX);
        let room = bytes.get_mut(length..).unwrap_or_default();
        match file.read_at(room, position) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        if length == bytes.len() {
            if length >= LONGEST {
                return Ok(None);
            }
            bytes.resize(LONGEST, 0);
        }
    }
    bytes.truncate(length);
    let ledger = std::str::from_utf8(&bytes).ok().and_then(Ledger::parse);
    if ledger.is_none() && length > 0 {
        tracing::warn!("a quota's ledger is damaged: the bytes below its home are counted");
    }
    Ok(ledger)
}

fn draw() -> io::Result<u64> {
    getrandom::u64().map_err(io::Error::other)
}
