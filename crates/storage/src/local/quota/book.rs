//! A home's ledger where it lies, and counting what it shall say.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::{ErrorCode, RemotePath};

use super::count::bytes_below;
use super::ledger::Ledger;
use super::ledger_file::{LedgerFile, open_or_make};
use super::now;
use super::text::{path_of_text, path_to_text};
use crate::error::Context;
use crate::local::confined::{OwnFolder, Root};
use crate::local::facts::Facts;
use crate::local::names::Names;
use crate::{Progress, no_progress};

/// Between two looks at whether another one has counted.
const COUNTING: Duration = Duration::from_millis(20);

/// Between two signs that whoever counts gives to those who wait for it.
const SIGN: Duration = Duration::from_secs(1);

/// Who has given no sign for so long was stopped, or waits for a disk that does not answer.
const LONGEST_SILENCE: Duration = Duration::from_secs(60);

/// What leads a ledger's name where it is the file by which those who count take turns.
pub(super) const TURN: &str = "count";

/// Longest name that a file may have.
pub(super) const LONGEST_NAME: usize = 255;

/// A home and its ledger.
#[derive(Debug)]
pub(super) struct Book {
    folder: Arc<OwnedFd>,
    name: String,
    pub(super) file: LedgerFile,
}

impl Book {
    /// The ledger `name` of the folder `home`, made where there is none.
    pub(super) fn open(
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

    /// Counts the files below the home if that is still wanted when it is this one's turn. The ledger is free meanwhile. Who
    /// waits for another one that does not go on is told so: `ETIMEDOUT`.
    pub(super) fn count(
        &self,
        home: &OwnedFd,
        wanted: impl Fn(&Ledger) -> bool,
        progress: Progress<'_>,
    ) -> io::Result<()> {
        let turn = open_or_make(self.folder.as_fd(), &format!("{TURN}{}", self.name))?;
        await_turn(&turn, LONGEST_SILENCE, progress)?;
        let held = self.file.hold()?;
        if !wanted(&held.ledger) {
            return Ok(());
        }
        let mark = held.ledger.mark();
        // One that was begun just now must be found again.
        held.write()?;
        drop(held);
        let mut signed = Instant::now();
        let mut go_on = |bytes: u64| {
            if signed.elapsed() >= SIGN {
                signed = Instant::now();
                turn.write_all_at(&bytes.to_be_bytes(), 0)
                    .unwrap_or_default(); // who waits gives up early
            }
            progress(bytes)
        };
        let found = bytes_below(home, &mut go_on)?;
        let mut held = self.file.hold()?;
        if held.ledger.take_count(&mark, found, now()) {
            held.write()?;
        }
        Ok(())
    }
}

/// Waits until nobody else counts, as long as whoever does gives a sign now and then: it writes to that file.
fn await_turn(turn: &File, patience: Duration, progress: Progress<'_>) -> io::Result<()> {
    let mut heard = (Instant::now(), None);
    while let Err(std::fs::TryLockError::WouldBlock) = turn.try_lock() {
        let sign = turn.metadata()?.modified().ok();
        if heard.1 != sign {
            heard = (Instant::now(), sign);
        }
        if heard.0.elapsed() >= patience || progress(0).is_break() {
            return Err(rustix::io::Errno::TIMEDOUT.into());
        }
        std::thread::sleep(COUNTING);
    }
    Ok(())
}

/// Counts below every home whose ledger was changed since it was counted last, and that long ago: what others than the
/// sessions of its accounts store there is known then at the latest.
pub(crate) fn count_stale(root: &Root) {
    let Ok(ledgers) = &root.ledgers else {
        return;
    };
    if let Err(error) = count_stale_of(root, ledgers) {
        tracing::warn!(%error, "the bytes below homes are not counted");
    }
}

fn count_stale_of(root: &Root, ledgers: &OwnFolder) -> io::Result<()> {
    let mut names = Names::of(&ledgers.folder)?;
    while let Some(name) = names.next()? {
        let Some((text, home)) = std::str::from_utf8(&name.bytes)
            .ok()
            .and_then(|text| Some((text, home_of(text)?)))
        else {
            continue;
        };
        let context = Context::new("count below", &home);
        let folder = match root.open_folder(context) {
            Ok(folder) => folder,
            // A home that is gone needs no ledger until it is there again.
            Err(error) if is_gone(error.code()) => continue,
            Err(error) => {
                tracing::warn!(?home, %error, "the bytes below a home are not counted");
                continue;
            }
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
    Ok(())
}

const fn is_gone(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::NotFound | ErrorCode::NotDirectory)
}

/// The name of a home's ledger: the path itself where it can be one, so that people find it.
pub(super) fn name_of(home: &RemotePath) -> String {
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
pub(super) fn home_of(name: &str) -> Option<RemotePath> {
    let text = name.strip_prefix('+')?;
    path_of_text(&format!("/{}", text.replace('+', "/")))
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use super::*;

    #[test]
    fn who_counts_is_waited_for_as_long_as_it_goes_on() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let (counts, turn) = (file.reopen().unwrap(), file.reopen().unwrap());
        counts.lock().unwrap();
        let patience = 10 * COUNTING;
        let silent = await_turn(&turn, patience, &mut no_progress());
        assert_eq!(silent.unwrap_err().kind(), io::ErrorKind::TimedOut);
        let mut looks = 0;
        let mut go_on = |_| {
            looks += 1;
            counts.write_all_at(&[looks], 0).unwrap();
            if looks == 30 {
                counts.unlock().unwrap();
            }
            ControlFlow::Continue(())
        };
        await_turn(&turn, patience, &mut go_on).unwrap();
        assert_eq!(looks, 30);
    }
}
