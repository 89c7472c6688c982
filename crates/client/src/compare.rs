//! Is what is there already the same? Same size and same BLAKE3, never the time.

use std::ffi::OsStr;

use protocol::{Digest, Entry, EntryKind, ErrorCode, RemotePath};
use rustix::fs::FileType;

use crate::content::digest_of;
use crate::folder::{Facts, Folder};
use crate::{Client, ClientError, Result};

impl Client {
    /// The digest that the local file `name` and the remote file have in common; `None` where they differ, or the local
    /// one cannot be read.
    pub(crate) fn common_digest(
        &mut self,
        folder: &Folder,
        name: &OsStr,
        facts: &Facts,
        remote: &RemotePath,
    ) -> Result<Option<Digest>> {
        let entry = self.stat(remote, true)?;
        must_be_file(&entry)?;
        if facts.kind != FileType::RegularFile || entry.size != facts.size {
            return Ok(None);
        }
        let Ok(file) = folder.open_to_read(name) else {
            return Ok(None);
        };
        let theirs = match entry.digest {
            Some(digest) => digest,
            None => self.checksum(remote)?.digest,
        };
        let ours = digest_of(&file, facts.size, &self.context)?;
        Ok((ours == theirs).then_some(ours))
    }
}

/// Only a file's content can be moved.
pub(crate) fn must_be_file(entry: &Entry) -> std::result::Result<(), ClientError> {
    match entry.kind {
        EntryKind::File => Ok(()),
        EntryKind::Directory => Err(ErrorCode::IsDirectory.into()),
        EntryKind::Link => Err(ErrorCode::BadLink.into()),
        EntryKind::Other => Err(ErrorCode::NotRegular.into()),
    }
}
