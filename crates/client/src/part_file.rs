//! A download that is not whole yet: `.NAME.part` beside the target, locked by whoever works on it.
//!
//! Somebody else's file may have that name: one that is neither empty, nor ends with a trailer, nor has the mark of a part
//! is never written to or removed.

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
        let mut name = part_name(target);
        loop {
            let file = match folder.open_or_make_part(&name) {
                Ok(file) => file,
                Err(error) => return Err(cannot_open(folder, &name, error)?),
            };
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(Errno::WOULDBLOCK) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
            let facts = facts_of(&file)?;
            if facts.kind != FileType::RegularFile {
                return Err(in_the_way(&name, NO_FILE));
            }
            if !is_still(folder, &name, &facts)? {
                // Whoever held the lock has published or removed it: what stands there now is another file.
                continue;
            }
            let part = Self { file, name };
            if facts.size > 0 && !facts.is_marked && part.trailer()?.is_none() {
                return Err(in_the_way(&part.name, NO_PART));
            }
            if facts.links > 1 {
                // It has another name as well, a copy that shares the content: only this name is given up.
                folder.remove(&part.name)?;
                name = part.name;
                continue;
            }
            return Ok(Some(part));
        }
    }

    /// The part of `target` that this process has made of a file of its own, and locked.
    pub(crate) fn made(file: File, target: &OsStr) -> Self {
        let name = part_name(target);
        Self { file, name }
    }

    pub(crate) fn name(&self) -> &OsStr {
        &self.name
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
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

/// Why a part could not be opened: what has its name cannot be one, or the system's reason.
fn cannot_open(folder: &Folder, name: &OsStr, error: io::Error) -> io::Result<ClientError> {
    Ok(match folder.facts(name)? {
        Some(found) if found.kind != FileType::RegularFile => in_the_way(name, NO_FILE),
        Some(found) if found.size > 0 && !found.is_marked => in_the_way(name, NO_PART),
        _ => error.into(),
    })
}

/// Whether `name` still stands for the file with those facts.
fn is_still(folder: &Folder, name: &OsStr, facts: &Facts) -> io::Result<bool> {
    let now = folder.facts(name)?;
    Ok(now.is_some_and(|now| now.identity == facts.identity))
}

const NO_FILE: &str = "no regular file";

const NO_PART: &str = "no partial download";

/// Not `exists`: that word is the target's, and promises that overwriting helps.
fn in_the_way(name: &OsStr, what: &str) -> ClientError {
    let name = crate::notice::shown(name.as_encoded_bytes());
    ClientError::new(
        ClientErrorKind::Local(io::ErrorKind::InvalidInput),
        format!("'{name}' is in the way and {what}"),
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
        assert_eq!(mode & 0o7777, 0o1600);
        // Where no mark can be kept, the trailer tells.
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(open(&folder).is_some());
    }

    #[test]
    fn garbage_is_used_where_it_was_a_part_and_left_alone_where_it_was_not() {
        let (directory, folder) = folder();
        let path = directory.path().join(".a.part");
        for garbage in [vec![], vec![0; 3], vec![7; 100_000]] {
            fs::remove_file(&path).ok(); // that of the round before may not be written to
            fs::write(&path, &garbage).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o1600)).unwrap();
            assert_eq!(open(&folder).unwrap().trailer().unwrap(), None);
            for mode in [0o600, 0o444] {
                fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
                let opened = PartFile::open(&folder, OsStr::new("a"));
                match opened.map_err(|error| error.to_string()) {
                    Ok(_) => assert!(garbage.is_empty()),
                    // Nothing is in it that could be lost, but who is no superuser may not write there either.
                    Err(error) if garbage.is_empty() => {
                        assert_eq!((mode, error.as_str()), (0o444, "permission denied"));
                    }
                    Err(error) => {
                        assert_eq!(error, "'.a.part' is in the way and no partial download");
                    }
                }
                assert_eq!(fs::read(&path).unwrap(), garbage);
            }
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
        assert!(PartFile::open(&folder, OsStr::new("a")).is_err());
        // A copy of a part that shares its content with it.
        fs::set_permissions(&part, fs::Permissions::from_mode(0o1600)).unwrap();
        open(&folder).unwrap().begin(&trailer()).unwrap();
        assert_eq!(fs::read(&theirs).unwrap(), b"theirs");
    }
}
