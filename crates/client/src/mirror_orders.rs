//! Small changes that a mirror makes here beside moving contents: names removed, times set, every name one component beneath a
//! held folder.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use protocol::EntryKind;

use crate::folder::Folder;
use crate::publish::set_time;
use crate::{ClientError, Result};

/// Changes of names below a local folder. Nothing above or beside it can be meant, and no symbolic link is followed.
#[derive(Debug)]
pub(crate) struct OrdersHere {
    root: Folder,
    /// The folder that the name before was in: names of the same one follow one another.
    current: Option<(PathBuf, Folder)>,
}

impl OrdersHere {
    pub(crate) fn new(root: Folder) -> Self {
        Self {
            root,
            current: None,
        }
    }

    /// Removes a name; one that is gone is no error.
    pub(crate) fn remove(&mut self, path: &[u8], kind: EntryKind) -> Result<()> {
        let (folder, name) = self.enter(path)?;
        let result = match kind {
            EntryKind::Directory => folder.remove_folder(name),
            EntryKind::File | EntryKind::Link | EntryKind::Other => folder.remove(name),
        };
        match result {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            result => Ok(result?),
        }
    }

    /// Sets a file's modification time.
    pub(crate) fn set_time(&mut self, path: &[u8], modified_ns: i64) -> Result<()> {
        let (folder, name) = self.enter(path)?;
        Ok(set_time(&folder.open_to_read(name)?, modified_ns)?)
    }

    /// Makes all of it durable.
    pub(crate) fn flush(&self) -> Result<()> {
        Ok(self.root.flush_file_system()?)
    }

    fn enter<'p>(&mut self, path: &'p [u8]) -> Result<(&Folder, &'p OsStr)> {
        let path = Path::new(OsStr::from_bytes(path));
        let parent = path.parent().unwrap_or(Path::new(""));
        let name = path.file_name().unwrap_or_default();
        if self.current.as_ref().is_none_or(|(at, _)| at != parent) {
            self.current = Some((parent.to_owned(), self.root.beneath(parent)?));
        }
        let folder = self.current.as_ref().map(|(_, folder)| (folder, name));
        folder.ok_or_else(|| ClientError::from(protocol::ErrorCode::NotFound))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn nothing_outside_is_removed() {
        let (inside, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(outside.path().join("kept"), "").unwrap();
        symlink(outside.path(), inside.path().join("link")).unwrap();
        fs::create_dir_all(inside.path().join("full/deeper")).unwrap();
        let mut orders = OrdersHere::new(Folder::open(inside.path()).unwrap());
        for path in ["link/kept", "../x", "full/../../x"] {
            let path = path.as_bytes();
            assert!(orders.remove(path, EntryKind::File).is_err());
            assert!(orders.set_time(path, 0).is_err());
        }
        assert!(orders.remove(b"full", EntryKind::Directory).is_err());
        assert!(orders.remove(b"full", EntryKind::File).is_err());
        orders.remove(b"link", EntryKind::Link).unwrap();
        orders.remove(b"gone", EntryKind::File).unwrap();
        orders.remove(b"full/deeper", EntryKind::Directory).unwrap();
        orders.remove(b"full", EntryKind::Directory).unwrap();
        assert!(outside.path().join("kept").exists());
        assert_eq!(fs::read_dir(inside.path()).unwrap().count(), 0);
    }
}
