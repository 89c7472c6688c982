//! A download that is not whole yet: `.NAME.part` beside the target, locked by whoever works on it.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use protocol::limits::BLOCK;
use rustix::fs::{FileType, FlockOperation, SeekFrom};
use rustix::io::Errno;

use crate::folder::{Facts, Folder, facts_of};
use crate::names::part_name;
use crate::trailer::{MAX_TRAILER, Trailer};
use crate::{ClientError, ClientErrorKind};

/// A partial download that this process works on.
#[derive(Debug)]
pub(crate) struct PartFile {
    file: File,
    name: OsString,
}

impl PartFile {
    /// Opens or makes the part of `target`. `None` where another process works on it.
    pub(crate) fn open(folder: &Folder, target: &OsStr) -> Result<Option<Self>, ClientError> {
        let name = part_name(target);
        loop {
            let (file, is_ours_to_write) = match folder.open_or_make_file(&name) {
                Ok(file) => (file, true),
                Err(_) if is_no_file(folder, &name)? => return Err(in_the_way(&name)),
                Err(error) => (unwritable(folder, &name, error)?, false),
            };
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(Errno::WOULDBLOCK) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
            let facts = facts_of(&file)?;
            if facts.kind != FileType::RegularFile {
                return Err(in_the_way(&name));
            }
            if !is_still(folder, &name, &facts)? {
                // Whoever held the lock has published or removed it: what stands there now is another file.
                continue;
            }
            if facts.links > 1 || !is_ours_to_write {
                // A second name of somebody's file, or one whose writer was killed just before the rename: never written
                // through, only the name is given up.
                folder.remove(&name)?;
                continue;
            }
            return Ok(Some(Self { file, name }));
        }
    }

    pub(crate) fn name(&self) -> &OsStr {
        &self.name
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Which file system it is on.
    pub(crate) fn device(&self) -> io::Result<u64> {
        Ok(facts_of(&self.file)?.identity.0)
    }

    /// What the part belongs to; `None` where it holds nothing that can be relied on.
    pub(crate) fn trailer(&self) -> io::Result<Option<Trailer>> {
        let length = facts_of(&self.file)?.size;
        let count = usize::try_from(length)
            .unwrap_or(usize::MAX)
            .min(MAX_TRAILER);
        let mut tail = vec![0; count];
        let start = length.saturating_sub(u64::try_from(count).unwrap_or(length));
        self.file.read_exact_at(&mut tail, start)?;
        Ok(Trailer::decode(&tail, length))
    }

    /// Forgets what is there: the part is that of this file in this version now, and empty.
    pub(crate) fn begin(&self, trailer: &Trailer) -> io::Result<()> {
        self.file.set_len(0)?;
        self.seal(trailer)
    }

    /// Writes the trailer behind the content, so that a later try can go on with it.
    pub(crate) fn seal(&self, trailer: &Trailer) -> io::Result<()> {
        self.file.write_all_at(&trailer.encode(), trailer.size)
    }

    /// The blocks of a content of `size` bytes that have no hole in them: each was written, or the file system does not say
    /// what was not. A shorter last block does not count: it may share a page with the trailer.
    pub(crate) fn whole_blocks(&self, size: u64) -> io::Result<Vec<u64>> {
        let mut blocks = Vec::new();
        let mut position = 0;
        while position < size {
            let start = match rustix::fs::seek(&self.file, SeekFrom::Data(position)) {
                Ok(start) => start,
                Err(Errno::NXIO) => break,
                Err(error) => return Err(error.into()),
            };
            let end = rustix::fs::seek(&self.file, SeekFrom::Hole(start))?.min(size);
            blocks.extend(start.div_ceil(BLOCK)..end / BLOCK);
            position = end.max(start + 1);
        }
        Ok(blocks)
    }

    pub(crate) fn write(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }
}

/// What cannot be written, open for reading: a whole content may be so that was to get its name when its writer was killed.
fn unwritable(folder: &Folder, name: &OsStr, error: io::Error) -> io::Result<File> {
    match error.kind() {
        io::ErrorKind::PermissionDenied => folder.open_to_read(name).map_err(|_| error),
        _ => Err(error),
    }
}

/// Whether `name` still stands for the file with those facts.
fn is_still(folder: &Folder, name: &OsStr, facts: &Facts) -> io::Result<bool> {
    let now = folder.facts(name)?;
    Ok(now.is_some_and(|now| now.identity == facts.identity))
}

fn is_no_file(folder: &Folder, name: &OsStr) -> io::Result<bool> {
    let now = folder.facts(name)?;
    Ok(now.is_some_and(|now| now.kind != FileType::RegularFile))
}

fn in_the_way(name: &OsStr) -> ClientError {
    let name = crate::notice::shown(name.as_encoded_bytes());
    ClientError::new(
        ClientErrorKind::Local(io::ErrorKind::AlreadyExists),
        format!("'{name}' is in the way and no regular file"),
    )
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use protocol::{RemotePath, Version};

    use super::*;

    fn folder() -> (tempfile::TempDir, Folder) {
        let directory = tempfile::tempdir().unwrap();
        let folder = Folder::open(directory.path()).unwrap();
        (directory, folder)
    }

    fn trailer() -> Trailer {
        Trailer {
            remote: RemotePath::try_from("/a").unwrap(),
            version: Version::new(b"1").unwrap(),
            size: 5_000_000,
        }
    }

    fn open(folder: &Folder) -> Option<PartFile> {
        PartFile::open(folder, OsStr::new("a")).unwrap()
    }

    #[test]
    fn a_part_is_known_again() {
        let (directory, folder) = folder();
        let part = open(&folder).unwrap();
        assert_eq!(part.trailer().unwrap(), None);
        part.begin(&trailer()).unwrap();
        part.write(b"content", 0).unwrap();
        drop(part);
        assert_eq!(open(&folder).unwrap().trailer().unwrap(), Some(trailer()));
        let file = directory.path().join(".a.part");
        let mode = fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
    }

    #[test]
    fn garbage_is_no_part() {
        let (directory, folder) = folder();
        for garbage in [vec![], vec![0; 3], vec![7; 100_000]] {
            fs::write(directory.path().join(".a.part"), garbage).unwrap();
            assert_eq!(open(&folder).unwrap().trailer().unwrap(), None);
        }
    }

    #[test]
    fn one_process_at_a_time() {
        let (_directory, folder) = folder();
        let first = open(&folder).unwrap();
        assert!(open(&folder).is_none());
        drop(first);
        assert!(open(&folder).is_some());
    }

    #[test]
    fn links_and_special_files_are_not_written_through() {
        let (directory, folder) = folder();
        let part = directory.path().join(".a.part");
        let theirs = directory.path().join("theirs");
        fs::write(&theirs, "theirs").unwrap();
        symlink(&theirs, &part).unwrap();
        let error = PartFile::open(&folder, OsStr::new("a")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "'.a.part' is in the way and no regular file"
        );
        fs::remove_file(&part).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, &part, rustix::fs::Mode::RWXU).unwrap();
        assert!(PartFile::open(&folder, OsStr::new("a")).is_err());
        fs::remove_file(&part).unwrap();
        fs::hard_link(&theirs, &part).unwrap();
        open(&folder).unwrap().begin(&trailer()).unwrap();
        assert_eq!(fs::read(&theirs).unwrap(), b"theirs");
    }
}
