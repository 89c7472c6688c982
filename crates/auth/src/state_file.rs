//! Private files of a state directory: read whole or not at all; made once by whichever program comes first, or replaced
//! as a whole.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Uid};
use thiserror::Error;

use crate::random::random_bytes;

/// Longest content of a file that is made once, bytes.
const LONGEST: u64 = 4096;

/// For the owner's eyes only.
const PRIVATE: Mode = Mode::RUSR.union(Mode::WUSR);

/// Why a file cannot be used.
#[derive(Debug, Error)]
pub(crate) enum FileError {
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Others than the owner may open it.
    #[error("open to others")]
    NotPrivate,
    /// It belongs to somebody else.
    #[error("another user's")]
    Foreign,
    /// A device, a link, or too long.
    #[error("not a small regular file")]
    NotSmallFile,
}

/// The content of the file `name`. When there is none, `content` makes it; when two programs do so at once, both get
/// the content of the one that was first. On return the file is durable.
pub(crate) fn read_or_make(
    directory: impl AsFd,
    name: &str,
    content: impl FnOnce() -> io::Result<Vec<u8>>,
) -> Result<Vec<u8>, FileError> {
    let directory = directory.as_fd();
    if let Some(found) = read(directory, name, LONGEST)? {
        // Whoever made it may have died before this.
        rustix::fs::fsync(directory).map_err(io::Error::from)?;
        return Ok(found);
    }
    make(directory, name, &content()?)?;
    read(directory, name, LONGEST)?.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound).into())
}

/// The content of the file `name`, at most `longest` bytes; `None` when there is none.
pub(crate) fn read(
    directory: BorrowedFd<'_>,
    name: &str,
    longest: u64,
) -> Result<Option<Vec<u8>>, FileError> {
    // Non-blocking, lest a pipe put there hold the program up.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::openat(directory, name, flags, Mode::empty()) {
        Ok(descriptor) => File::from(descriptor),
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        Err(rustix::io::Errno::LOOP) => return Err(FileError::NotSmallFile),
        Err(error) => return Err(FileError::Io(error.into())),
    };
    let facts = rustix::fs::fstat(&file).map_err(io::Error::from)?;
    if FileType::from_raw_mode(facts.st_mode) != FileType::RegularFile {
        return Err(FileError::NotSmallFile);
    }
    if !is_ours(facts.st_uid) {
        return Err(FileError::Foreign);
    }
    if facts.st_mode & 0o077 != 0 {
        return Err(FileError::NotPrivate);
    }
    let mut content = Vec::new();
    let length = file.take(longest + 1).read_to_end(&mut content)?;
    if u64::try_from(length).is_ok_and(|length| length > longest) {
        return Err(FileError::NotSmallFile);
    }
    Ok(Some(content))
}

/// Writes the file under a name of its own, then gives it the final one if that is still free: nobody ever reads half.
fn make(directory: BorrowedFd<'_>, name: &str, content: &[u8]) -> io::Result<()> {
    let mut draft = Draft::new(directory, name)?;
    draft.fill(content)?;
    link(directory, &draft.own_name, name)?;
    draft.remove()?;
    rustix::fs::fsync(directory)?;
    Ok(())
}

/// Gives the file `name` this content, whatever it held before: all of it or, whatever happens, none. Durable on return.
pub(crate) fn replace(directory: BorrowedFd<'_>, name: &str, content: &[u8]) -> io::Result<()> {
    let mut draft = Draft::new(directory, name)?;
    draft.fill(content)?;
    draft.publish()
}

/// What a file is to hold, under a name of its own until then; gone where it is dropped before.
#[derive(Debug)]
pub(crate) struct Draft<D: AsFd> {
    directory: D,
    /// Of the file.
    name: String,
    own_name: String,
    file: File,
    is_over: bool,
}

impl<D: AsFd> Draft<D> {
    /// An empty one, for the file `name`; the directory's owner has it.
    pub(crate) fn new(directory: D, name: &str) -> io::Result<Self> {
        let own_name = draft_of(name)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&directory, &own_name, flags, PRIVATE)?;
        let draft = Self {
            directory,
            name: name.to_owned(),
            own_name,
            file: File::from(file),
            is_over: false,
        };
        give_to_owner(draft.directory.as_fd(), &draft.file)?;
        Ok(draft)
    }

    /// Has it hold this content alone, durably.
    pub(crate) fn fill(&mut self, content: &[u8]) -> io::Result<()> {
        self.file.rewind()?;
        self.file.write_all(content)?;
        let end = self.file.stream_position()?;
        self.file.set_len(end)?;
        self.file.sync_all()
    }

    /// Gives the file what it holds. Durable on return.
    pub(crate) fn publish(mut self) -> io::Result<()> {
        let directory = self.directory.as_fd();
        rustix::fs::renameat(directory, &self.own_name, directory, &self.name)?;
        self.is_over = true;
        rustix::fs::fsync(&self.directory)?;
        Ok(())
    }

    /// Takes its own name away: the file may have it under the other one.
    fn remove(mut self) -> io::Result<()> {
        self.is_over = true;
        let directory = self.directory.as_fd();
        Ok(rustix::fs::unlinkat(
            directory,
            &self.own_name,
            AtFlags::empty(),
        )?)
    }
}

impl<D: AsFd> Drop for Draft<D> {
    fn drop(&mut self) {
        if !self.is_over {
            let directory = self.directory.as_fd();
            // What kept it from being published is the error to tell.
            rustix::fs::unlinkat(directory, &self.own_name, AtFlags::empty()).unwrap_or_default();
        }
    }
}

/// Holds off other programs that want the same lock, until the result is dropped.
pub(crate) fn lock(directory: BorrowedFd<'_>, name: &str) -> io::Result<File> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::openat(directory, name, flags, PRIVATE)?);
    give_to_owner(directory, &file)?;
    file.lock()?;
    Ok(file)
}

fn draft_of(name: &str) -> io::Result<String> {
    let number = u64::from_ne_bytes(random_bytes()?);
    Ok(format!(".{name}.{number:016x}"))
}

/// Gives `draft` the name `name` unless another program has been quicker.
fn link(directory: BorrowedFd<'_>, draft: &str, name: &str) -> io::Result<()> {
    match rustix::fs::linkat(directory, draft, directory, name, AtFlags::empty()) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// What the superuser makes in another user's directory is that user's: the server that keeps its state there runs as them.
pub(crate) fn give_to_owner(directory: BorrowedFd<'_>, made: impl AsFd) -> io::Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let owner = rustix::fs::fstat(directory)?;
    if rustix::fs::fstat(&made)?.st_uid != owner.st_uid {
        let (user, group) = (Uid::from_raw(owner.st_uid), Gid::from_raw(owner.st_gid));
        rustix::fs::fchown(&made, Some(user), Some(group))?;
    }
    Ok(())
}

/// Whether something of this owner may be relied on: ours, or for the superuser anybody's.
pub(crate) fn is_ours(owner: u32) -> bool {
    let us = rustix::process::geteuid();
    us.is_root() || us.as_raw() == owner
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;
    use std::sync::Barrier;

    use super::*;

    fn directory() -> (tempfile::TempDir, File) {
        let path = tempfile::tempdir().unwrap();
        let handle = File::open(path.path()).unwrap();
        (path, handle)
    }

    fn names(path: &Path) -> Vec<String> {
        let entries = fs::read_dir(path).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    #[test]
    fn it_is_made_once_private_and_without_leftovers() {
        let (path, handle) = directory();
        assert_eq!(
            read_or_make(&handle, "a", || Ok(b"one".to_vec())).unwrap(),
            b"one"
        );
        assert_eq!(
            read_or_make(&handle, "a", || Ok(b"two".to_vec())).unwrap(),
            b"one"
        );
        assert_eq!(names(path.path()), ["a"]);
        let mode = fs::metadata(path.path().join("a"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o7777, 0o600);
    }

    #[test]
    fn all_who_come_at_once_read_the_same() {
        let (path, handle) = directory();
        let start = Barrier::new(16);
        let contents: Vec<Vec<u8>> = std::thread::scope(|scope| {
            let handle = &handle;
            let start = &start;
            let threads: Vec<_> = (0..16)
                .map(|number| {
                    scope.spawn(move || {
                        start.wait();
                        read_or_make(handle, "a", || Ok(vec![number; 32])).unwrap()
                    })
                })
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect()
        });
        assert!(
            contents
                .iter()
                .all(|content| content == &contents[0] && content.len() == 32)
        );
        assert_eq!(names(path.path()), ["a"]);
    }

    #[test]
    fn a_file_open_to_others_is_refused() {
        let (path, handle) = directory();
        let file = path.path().join("a");
        fs::write(&file, "content").unwrap();
        for mode in [0o640, 0o604, 0o620, 0o601] {
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
            assert!(
                matches!(
                    read(handle.as_fd(), "a", LONGEST),
                    Err(FileError::NotPrivate)
                ),
                "{mode:o}"
            );
        }
    }

    #[test]
    fn a_file_is_replaced_as_a_whole_stays_private_and_leaves_nothing_behind() {
        let (path, handle) = directory();
        for content in ["one", "longer than one", "1"] {
            replace(handle.as_fd(), "a", content.as_bytes()).unwrap();
            let found = read(handle.as_fd(), "a", LONGEST).unwrap();
            assert_eq!(found.as_deref(), Some(content.as_bytes()));
        }
        // A folder cannot be replaced by a file: what was written for it must not stay.
        fs::create_dir(path.path().join("folder")).unwrap();
        assert!(replace(handle.as_fd(), "folder", b"x").is_err());
        let mut names = names(path.path());
        names.sort();
        assert_eq!(names, ["a", "folder"]);
    }

    #[test]
    fn what_is_no_small_file_is_refused() {
        let (path, handle) = directory();
        let file = path.path().join("long");
        fs::write(&file, vec![0; 4097]).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        fs::create_dir(path.path().join("folder")).unwrap();
        std::os::unix::fs::symlink("long", path.path().join("link")).unwrap();
        rustix::fs::mkfifoat(&handle, "pipe", PRIVATE).unwrap();
        for name in ["long", "folder", "link", "pipe"] {
            assert!(
                matches!(
                    read(handle.as_fd(), name, LONGEST),
                    Err(FileError::NotSmallFile)
                ),
                "{name}"
            );
        }
    }
}
