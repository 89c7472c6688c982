//! Staged files: where an upload's bytes wait under a name that no request can reach.
//!
//! A name is the upload's id and a generation. Going on with an upload claims the next generation, so that a writer that
//! was asleep can never publish what another writer goes on with: its name is gone. A staged file that is being written
//! is locked (`flock`), which tells it from an abandoned one.
//!
//! What is never resumed needs no name until it gets its final one, where the file system can do without: nobody has to be
//! told from anybody then, and nothing is left behind.

use std::cmp::Ordering;
use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use protocol::UploadId;
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use transfer::block_tree::BLOCK_LENGTH;
use transfer::{ContentHasher, Hashed};

use super::confined::rename_onto_free_name;
use super::names::{Name, Names};
use super::staged::{Staged, is_named, once_name};
use super::writer_lock::{Lock, lock};
use crate::Progress;

type Result<T> = io::Result<T>;

/// How often claiming a name is tried while other writers claim it too.
const MOST_TRIES: u32 = 32;

/// A staged file is its owner's alone, whatever it is to be.
const PRIVATE: u16 = 0o600;

/// Without this bit a digest cannot be kept beside a file, xattr(7).
const OWNER_WRITES: u16 = 0o200;

/// A folder that holds staged files: one of their own, or the target's where that lies on another file system.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) folder: Arc<OwnedFd>,
    /// Whether other files live there too.
    pub(crate) beside_target: bool,
}

impl Place {
    /// A staged file for an upload to the folder `target`, with the digests of what is in it.
    pub(crate) fn begin(
        &self,
        target: &OwnedFd,
        (id, resume): (&UploadId, bool),
        progress: Progress<'_>,
    ) -> Result<(Staged, Hashed)> {
        for _ in 0..MOST_TRIES {
            let mut earlier = self.generations(id)?;
            let latest = if resume { earlier.pop() } else { None };
            for generation in &earlier {
                self.unlink(&self.name(id, *generation))?;
            }
            let after = latest.or(earlier.last().copied()).unwrap_or(0);
            let generation = after.saturating_add(1).max(nanoseconds_now());
            let begun = match latest {
                None => self
                    .create(target, self.name(id, generation))
                    .map(|new| (new, Hashed::default())),
                Some(latest) => self.take_over(target, (id, latest, generation), progress),
            };
            match begun.as_ref().err().and_then(Errno::from_io_error) {
                // Another writer was faster; what it left decides anew.
                Some(Errno::EXIST | Errno::NOENT) => {}
                _ => return begun,
            }
        }
        Err(Errno::BUSY.into())
    }

    /// A staged file for an upload to the folder `target` that is never resumed: nothing is looked for. It has the bits of
    /// `mode` at once where it needs no name, and the one by which its owner writes. Beside the target it always does: even an interim name has no place there, as
    /// no sweep comes by for certain.
    pub(crate) fn begin_once(&self, target: &OwnedFd, mode: u16) -> Result<Staged> {
        if !self.beside_target
            && let Some(staged) = Staged::nameless(target, &self.folder, mode | OWNER_WRITES)?
        {
            return Ok(staged);
        }
        for _ in 0..MOST_TRIES {
            match self.create(target, once_name(self.lead())?) {
                // A sweep was faster than the lock.
                Err(error) if Errno::from_io_error(&error) == Some(Errno::NOENT) => {}
                created => return created,
            }
        }
        Err(Errno::BUSY.into())
    }

    /// A new file of that name. Where the file system lets it be made in the target's folder and named here, it inherits from
    /// that: the group where the folder passes it on, and the entries of the default ACL.
    fn create(&self, target: &OwnedFd, name: Vec<u8>) -> Result<Staged> {
        let staged = match Staged::nameless(target, &self.folder, PRIVATE)? {
            Some(made) => made.named_for_now(name)?,
            None => {
                let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
                let private = Mode::from_raw_mode(PRIVATE.into());
                let file = rustix::fs::openat(&self.folder, &*name, flags, private)?;
                Staged::named(File::from(file), &self.folder, name)
            }
        };
        match lock(&staged.file) {
            Lock::Elsewhere => return Err(Errno::NOENT.into()),
            Lock::Ours | Lock::Unknown => {}
        }
        if staged.is_ours() {
            Ok(staged)
        } else {
            Err(Errno::NOENT.into())
        }
    }

    /// Goes on with what an earlier writer left: with its very file where its lock proves that it is gone, else with a
    /// copy in a file of our own that the earlier writer, should it wake up, cannot touch. Until it is whole the copy is no
    /// generation: whoever comes meanwhile goes on with what it is made of.
    fn take_over(
        &self,
        target: &OwnedFd,
        (id, latest, generation): (&UploadId, u64, u64),
        progress: Progress<'_>,
    ) -> Result<(Staged, Hashed)> {
        let (old, new) = (&*self.name(id, latest), self.name(id, generation));
        let looked = self.look_at(old);
        let (mut file, is_writable) = match looked.as_ref().err().and_then(Errno::from_io_error) {
            Some(Errno::ACCESS) => (self.open(old)?, true),
            _ => looked?,
        };
        if !is_writable && lock(&file) == Lock::Ours {
            file = self.open(old)?;
        }
        if lock(&file) == Lock::Ours {
            if !is_named(&file, &self.folder, old) {
                return Err(Errno::NOENT.into());
            }
            let folder = self.folder.as_fd();
            rename_onto_free_name((folder, old), (folder, &new))?;
            let staged = Staged::named(file, &self.folder, new);
            let hashed = pass(&staged.file, None, progress)?;
            return Ok((staged, hashed));
        }
        let mut staged = self.create(target, once_name(self.lead())?)?;
        let copied = match rustix::fs::ioctl_ficlone(&staged.file, &file) {
            Ok(()) => pass(&staged.file, None, progress),
            Err(_) => pass(&file, Some(&staged.file), progress),
        };
        let claimed = copied.and_then(|hashed| {
            staged.rename(new)?;
            self.supersede(id, generation)?;
            Ok(hashed)
        });
        if claimed.is_err() {
            staged.remove();
        }
        Ok((staged, claimed?))
    }

    /// Takes away the names of all earlier generations, so that their writers can publish nothing; `ENOENT` where another
    /// writer was faster.
    fn supersede(&self, id: &UploadId, generation: u64) -> Result<()> {
        for other in self.generations(id)? {
            match other.cmp(&generation) {
                Ordering::Less => self.unlink(&self.name(id, other))?,
                Ordering::Equal => {}
                Ordering::Greater => return Err(Errno::NOENT.into()),
            }
        }
        Ok(())
    }

    /// The generations of an upload that are there, the latest last.
    pub(super) fn generations(&self, id: &UploadId) -> Result<Vec<u64>> {
        let prefix = self.name_prefix(id);
        let mut generations = Vec::new();
        let mut names = self.names()?;
        while let Some(Name { bytes: name, .. }) = names.next()? {
            let generation = name
                .strip_prefix(prefix.as_bytes())
                .and_then(|digits| str::from_utf8(digits).ok()?.parse::<u64>().ok());
            generations.extend(generation);
        }
        generations.sort_unstable();
        Ok(generations)
    }

    /// Opens what a writer, living or not, has there, and leaves it as it is: shortly before the rename it has the target's
    /// mode already, which need not let even us write, or read. Whether it can be written to.
    pub(super) fn look_at(&self, name: &[u8]) -> Result<(File, bool)> {
        match self.open_with(name, OFlags::RDWR) {
            Err(Errno::ACCESS) => Ok((self.open_with(name, OFlags::RDONLY)?, false)),
            opened => Ok((opened?, true)),
        }
    }

    /// Opens what a writer that is gone has left, whatever its mode is.
    pub(super) fn open(&self, name: &[u8]) -> Result<File> {
        match self.open_with(name, OFlags::RDWR) {
            Err(Errno::ACCESS) => {
                let private = Mode::from_raw_mode(PRIVATE.into());
                rustix::fs::chmodat(&self.folder, name, private, AtFlags::empty())?;
                Ok(self.open_with(name, OFlags::RDWR)?)
            }
            opened => Ok(opened?),
        }
    }

    fn open_with(&self, name: &[u8], access: OFlags) -> rustix::io::Result<File> {
        let flags = access | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        rustix::fs::openat(&self.folder, name, flags, Mode::empty()).map(File::from)
    }

    pub(super) fn names(&self) -> Result<Names> {
        Ok(Names::of(&self.folder)?)
    }

    fn unlink(&self, name: &[u8]) -> Result<()> {
        match rustix::fs::unlinkat(&self.folder, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    pub(super) fn name(&self, id: &UploadId, generation: u64) -> Vec<u8> {
        format!("{}{generation}", self.name_prefix(id)).into_bytes()
    }

    fn name_prefix(&self, id: &UploadId) -> String {
        format!("{}{id}.", self.lead())
    }

    /// What makes a staged file's name reserved where it is not in a reserved folder.
    pub(super) fn lead(&self) -> &'static str {
        if self.beside_target { ".mini-ftp." } else { "" }
    }
}

/// Hashes a file from its beginning, and copies it on the way where a copy is wanted.
fn pass(from: &File, to: Option<&File>, progress: Progress<'_>) -> Result<Hashed> {
    let mut hasher = ContentHasher::with_blocks();
    let mut buffer = vec![0; BLOCK_LENGTH];
    loop {
        let position = hasher.position();
        let length = match from.read_at(&mut buffer, position) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        let bytes = buffer.get(..length).unwrap_or_default();
        if bytes.is_empty() {
            return Ok(hasher.hashed());
        }
        if let Some(to) = to {
            to.write_all_at(bytes, position)?;
        }
        hasher.update(bytes);
        if let ControlFlow::Break(()) = progress(hasher.position()) {
            return Err(Errno::TIMEDOUT.into());
        }
    }
}

pub(super) fn nanoseconds_now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|elapsed| u64::try_from(elapsed.as_nanos()).ok())
        .unwrap_or(1)
}
