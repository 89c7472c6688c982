//! Small files of a state directory that are made once, by whichever program comes first, and read whole by all.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use thiserror::Error;

use crate::random::random_bytes;

/// Longest content, bytes.
const LONGEST: u64 = 4096;

/// For the owner's eyes only.
const PRIVATE: Mode = Mode::RUSR.union(Mode::WUSR);

/// Why a file cannot be used.
#[derive(Debug, Error)]
pub(crate) enum FileError {
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Others than the owner may open it, or it belongs to somebody else.
    #[error("open to others")]
    NotPrivate,
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
    if let Some(found) = read(directory, name)? {
        return Ok(found);
    }
    make(directory, name, &content()?)?;
    read(directory, name)?.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound).into())
}

/// The content of the file `name`; `None` when there is none.
fn read(directory: BorrowedFd<'_>, name: &str) -> Result<Option<Vec<u8>>, FileError> {
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
    if !is_ours(facts.st_uid) || facts.st_mode & 0o077 != 0 {
        return Err(FileError::NotPrivate);
    }
    let mut content = Vec::new();
    let length = file.take(LONGEST + 1).read_to_end(&mut content)?;
    if u64::try_from(length).is_ok_and(|length| length > LONGEST) {
        return Err(FileError::NotSmallFile);
    }
    Ok(Some(content))
}

/// Writes the file under a name of its own, then gives it the final one if that is still free: nobody ever reads half.
fn make(directory: BorrowedFd<'_>, name: &str, content: &[u8]) -> io::Result<()> {
    let draft = format!(".{name}.{:016x}", u64::from_ne_bytes(random_bytes()?));
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::openat(directory, &draft, flags, PRIVATE)?);
    let published = file
        .write_all(content)
        .and_then(|()| file.sync_all())
        .and_then(|()| link(directory, &draft, name));
    let removed = rustix::fs::unlinkat(directory, &draft, AtFlags::empty());
    published?;
    removed?;
    rustix::fs::fsync(directory)?;
    Ok(())
}

/// Gives `draft` the name `name` unless another program has been quicker.
fn link(directory: BorrowedFd<'_>, draft: &str, name: &str) -> io::Result<()> {
    match rustix::fs::linkat(directory, draft, directory, name, AtFlags::empty()) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => Ok(()),
        Err(error) => Err(error.into()),
    }
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
                matches!(read(handle.as_fd(), "a"), Err(FileError::NotPrivate)),
                "{mode:o}"
            );
        }
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
                matches!(read(handle.as_fd(), name), Err(FileError::NotSmallFile)),
                "{name}"
            );
        }
    }
}
