//! Counting the bytes that the files below a folder hold.

use std::io;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use protocol::EntryKind;
use rustix::fs::FileType;
use rustix::io::Errno;

use crate::Progress;
use crate::local::confined::{is_reserved, open_subfolder};
use crate::local::facts::Facts;
use crate::local::names::Names;

/// Names between two signs of progress.
const STEP: u64 = 1024;

/// Folders in one another, each open: more than any path can name, as folders can be moved deeper than that.
const MOST_LEVELS: usize = 400;

/// The bytes of all files below the folder, each name by itself; links hold none, and reserved names are not looked at.
/// Folders are held open on the way down, so no rename leads out.
pub(crate) fn bytes_below(folder: &OwnedFd, progress: Progress<'_>) -> io::Result<u64> {
    let mut levels = vec![Names::of(folder)?];
    let mut bytes = 0_u64;
    let mut seen = 0_u64;
    loop {
        let depth = levels.len();
        let Some(level) = levels.last_mut() else {
            return Ok(bytes);
        };
        let Some(name) = level.next_with_facts()? else {
            levels.pop();
            continue;
        };
        seen += 1;
        if seen.is_multiple_of(STEP)
            && let ControlFlow::Break(()) = progress(bytes)
        {
            return Err(Errno::TIMEDOUT.into());
        }
        if is_reserved(&name.bytes) {
            continue;
        }
        if name.file_type == FileType::Directory {
            let below = open(level.folder.as_fd(), &name.bytes, depth)?;
            levels.extend(below.map(Names::new));
            continue;
        }
        let facts = name.facts;
        let facts = facts.unwrap_or_else(|| Facts::at(&level.folder, &name.bytes));
        match facts {
            Ok(facts) if facts.kind == EntryKind::File => bytes = bytes.saturating_add(facts.size),
            // File systems that do not tell the kind with the name.
            Ok(facts) if facts.is_directory() => {
                let below = open(level.folder.as_fd(), &name.bytes, depth)?;
                levels.extend(below.map(Names::new));
            }
            Ok(_) | Err(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Opens a folder to be counted, unless there is nothing of ours in it: it is gone or replaced by now, or closed to us. What
/// lies too deep to be counted is an error: it must not be room for what is not counted.
fn open(parent: BorrowedFd<'_>, name: &[u8], depth: usize) -> io::Result<Option<OwnedFd>> {
    if depth >= MOST_LEVELS {
        return Err(Errno::NAMETOOLONG.into());
    }
    match open_subfolder(parent, name) {
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
        Err(error @ (Errno::ACCESS | Errno::PERM)) => {
            tracing::warn!(%error, "a folder below a home with a quota is not counted");
            Ok(None)
        }
        opened => Ok(opened.map(Some)?),
    }
}
