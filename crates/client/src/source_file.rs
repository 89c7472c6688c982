//! A local file to be sent: opened once, and the same from its first byte to its last.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use protocol::ErrorCode;
use rustix::fs::{FileType, Mode, OFlags};
use transfer::Source;

use crate::ClientError;
use crate::content::read_full;
use crate::folder::{Facts, facts_of};

/// An open source.
#[derive(Debug)]
pub(crate) struct SourceFile {
    file: File,
    facts: Facts,
    path: PathBuf,
}

impl SourceFile {
    /// Opens what a person means by `path`, symbolic links followed.
    pub(crate) fn open(path: &Path) -> Result<Self, ClientError> {
        Self::open_with(path, OFlags::empty())
    }

    /// Opens what was found at `path`; a link that has taken its place is not followed.
    pub(crate) fn open_found(path: &Path) -> Result<Self, ClientError> {
        Self::open_with(path, OFlags::NOFOLLOW)
    }

    fn open_with(path: &Path, flags: OFlags) -> Result<Self, ClientError> {
        // Non-blocking: opening a pipe would wait for its other end.
        let flags = flags | OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
        let descriptor: OwnedFd = match rustix::fs::open(path, flags, Mode::empty()) {
            // A socket cannot be opened at all, open(2).
            Err(rustix::io::Errno::NXIO) => return Err(ErrorCode::NotRegular.into()),
            result => result?,
        };
        let file = File::from(descriptor);
        let facts = facts_of(&file)?;
        match facts.kind {
            FileType::RegularFile => Ok(Self {
                file,
                facts,
                path: path.to_owned(),
            }),
            FileType::Directory => Err(ErrorCode::IsDirectory.into()),
            _ => Err(ErrorCode::NotRegular.into()),
        }
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// The content as what a transfer sends.
    pub(crate) fn content(&self) -> Result<Source, ClientError> {
        Ok(Source::File {
            file: self.file.try_clone()?,
            length: self.facts.size,
        })
    }

    pub(crate) fn facts(&self) -> &Facts {
        &self.facts
    }

    pub(crate) fn size(&self) -> u64 {
        self.facts.size
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The path as bytes from the root of this machine's file system: by which an upload is known again.
    pub(crate) fn absolute(&self) -> Vec<u8> {
        let absolute = std::path::absolute(&self.path).unwrap_or_else(|_| self.path.clone());
        absolute.as_os_str().as_bytes().to_vec()
    }

    /// Fills `buffer` with the content at `offset`, up to the size that the file had when it was opened.
    pub(crate) fn read(&self, buffer: &mut [u8], offset: u64) -> Result<(), ClientError> {
        if read_full(&self.file, buffer, offset)? < buffer.len() {
            return Err(changed());
        }
        Ok(())
    }

    /// Fails where the file is no longer what it was when it was opened.
    pub(crate) fn check(&self) -> Result<(), ClientError> {
        let now = facts_of(&self.file)?;
        if (now.size, now.modified_ns) == (self.facts.size, self.facts.modified_ns) {
            Ok(())
        } else {
            Err(changed())
        }
    }
}

/// It is not what it was a moment ago.
pub(crate) fn changed() -> ClientError {
    ClientError::new(
        crate::ClientErrorKind::Remote(ErrorCode::Changed),
        "the file changed while it was read",
    )
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn only_regular_files_are_sources() {
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, Mode::RWXU).unwrap();
        let socket = directory.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let is = |path: &Path, code| SourceFile::open(path).unwrap_err().is(code);
        assert!(is(&pipe, ErrorCode::NotRegular));
        assert!(is(&socket, ErrorCode::NotRegular));
        assert!(is(Path::new("/dev/null"), ErrorCode::NotRegular));
        assert!(is(directory.path(), ErrorCode::IsDirectory));
        let error = SourceFile::open(Path::new("/no/such")).unwrap_err();
        assert_eq!(error.word(), "not-found");
    }

    #[test]
    fn a_change_is_noticed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        fs::write(&path, "content").unwrap();
        let source = SourceFile::open(&path).unwrap();
        source.check().unwrap();
        fs::write(&path, "cont").unwrap();
        assert!(source.check().unwrap_err().is(ErrorCode::Changed));
        assert!(
            source
                .read(&mut [0; 7], 0)
                .unwrap_err()
                .is(ErrorCode::Changed)
        );
    }
}
