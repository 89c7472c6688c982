//! Where a download goes: a held folder and one name in it.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};

use protocol::ErrorCode;
use rustix::fs::FileType;

use crate::folder::{Facts, Folder};
use crate::{ClientError, ClientErrorKind};

/// A name in a folder.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) folder: Folder,
    pub(crate) name: OsString,
}

impl Place {
    /// What a person means by `path`.
    pub(crate) fn of(path: &Path) -> Result<Self, ClientError> {
        let name = path
            .file_name()
            .ok_or_else(|| ClientError::from(io::Error::from(io::ErrorKind::IsADirectory)))?;
        let parent = path.parent().unwrap_or(Path::new(""));
        Ok(Self {
            folder: Folder::open(parent)?,
            name: name.to_owned(),
        })
    }

    /// Where that name of the same folder is.
    pub(crate) fn path_of(&self, name: &OsStr) -> PathBuf {
        self.folder.path_of(name)
    }

    /// What is there now. A folder, or anything but a file or link, is an error: it is never replaced by a file. Nor is a link to
    /// a device or pipe.
    pub(crate) fn occupant(&self) -> Result<Option<Facts>, ClientError> {
        occupant(&self.folder, &self.name)
    }
}

/// What has that name now; an error unless a file may take its place.
pub(crate) fn occupant(folder: &Folder, name: &OsStr) -> Result<Option<Facts>, ClientError> {
    let facts = folder.facts(name)?;
    match facts.map(|facts| facts.kind) {
        None | Some(FileType::RegularFile) => Ok(facts),
        // Who names `/dev/stdout` means what it leads to, and would lose it with the link.
        Some(FileType::Symlink) => match folder.leads_to(name) {
            None | Some(FileType::RegularFile | FileType::Directory) => Ok(facts),
            Some(_) => Err(not_regular()),
        },
        Some(FileType::Directory) => Err(io::Error::from(io::ErrorKind::IsADirectory).into()),
        Some(_) => Err(not_regular()),
    }
}

/// Of all kinds of the system's errors this one alone is about pipes and devices.
fn not_regular() -> ClientError {
    let kind = ClientErrorKind::Local(io::ErrorKind::NotSeekable);
    ClientError::new(kind, ErrorCode::NotRegular.sentence())
}
