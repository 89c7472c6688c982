//! A small file of a tree between its first byte and its name. It comes whole or not at all, so nothing has to be found again:
//! where the file system can do without, it has no name until it gets its final one.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use rustix::fs::FlockOperation;

use crate::Result;
use crate::folder::{Folder, PART_MODE};
use crate::names::part_name;
use crate::part_file::PartFile;
use crate::publish::give_name;

/// The file.
#[derive(Debug)]
pub(crate) enum Draft {
    /// Without a name: gone with its descriptor.
    Nameless(File),
    /// An earlier try has left a part, or the file system wants a name.
    Part(PartFile),
}

impl Draft {
    /// An empty one for `target`, with the permission bits `mode` less this process's umask. `None` where another process
    /// works on that file. In a folder that `is_new` no earlier try has left anything.
    pub(crate) fn open(
        folder: &Folder,
        target: &OsStr,
        (mode, is_new): (u16, bool),
    ) -> Result<Option<Self>> {
        if sys::nameless::can_be_named()
            && (is_new || folder.facts(&part_name(target))?.is_none())
            && let Ok(file) = folder.nameless_file(mode)
        {
            return Ok(Some(Self::Nameless(file)));
        }
        let Some(part) = PartFile::open(folder, target)? else {
            return Ok(None);
        };
        part.file().set_len(0)?;
        Ok(Some(Self::Part(part)))
    }

    pub(crate) fn file(&self) -> &File {
        match self {
            Self::Nameless(file) => file,
            Self::Part(part) => part.file(),
        }
    }

    pub(crate) fn write(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file().write_all_at(bytes, offset)
    }

    /// Leaves nothing of it.
    pub(crate) fn discard(self, folder: &Folder) {
        if let Self::Part(part) = self {
            let removed = folder.remove(part.name());
            tracing::trace!(?removed, "part of no use");
        }
    }

    /// Makes it the file `target`, to become durable with the folder. [`io::ErrorKind::AlreadyExists`] where that name is
    /// taken and not to be replaced.
    pub(crate) fn give_name(
        &self,
        folder: &Folder,
        target: &OsStr,
        (mode, replace): (u16, bool),
    ) -> io::Result<()> {
        let file = match self {
            Self::Part(part) => return give_name(folder, part, target, (mode, replace)),
            Self::Nameless(file) => file,
        };
        match folder.link(file, target) {
            Err(error) if replace && error.kind() == io::ErrorKind::AlreadyExists => {}
            linked => return linked,
        }
        // A link replaces nothing: it becomes a part, locked as one, which does.
        rustix::fs::fchmod(file, PART_MODE)?;
        rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive)?;
        folder.link(file, &part_name(target))?;
        let part = PartFile::made(file.try_clone()?, target);
        give_name(folder, &part, target, (mode, replace))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn draft(folder: &Folder, content: &[u8]) -> Draft {
        let draft = Draft::open(folder, OsStr::new("a"), (0o600, false))
            .unwrap()
            .unwrap();
        draft.write(content, 0).unwrap();
        draft
    }

    #[test]
    fn it_takes_a_free_name_and_replaces_only_where_it_shall() {
        let directory = tempfile::tempdir().unwrap();
        let folder = Folder::open(directory.path()).unwrap();
        let path = directory.path().join("a");
        let name = OsStr::new("a");
        let first = draft(&folder, b"first");
        first.give_name(&folder, name, (0o600, false)).unwrap();
        let second = draft(&folder, b"second");
        let error = second.give_name(&folder, name, (0o600, false)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"first");
        second.give_name(&folder, name, (0o600, true)).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"second");
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
        draft(&folder, b"third").discard(&folder);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_an_earlier_try_left_is_used_and_does_not_stay() {
        let directory = tempfile::tempdir().unwrap();
        let folder = Folder::open(directory.path()).unwrap();
        let part = directory.path().join(".a.part");
        fs::write(&part, "of an earlier try").unwrap();
        fs::set_permissions(&part, fs::Permissions::from_mode(0o1600)).unwrap();
        let draft = draft(&folder, b"new");
        assert!(matches!(draft, Draft::Part(_)));
        let other = Draft::open(&folder, OsStr::new("a"), (0o600, false)).unwrap();
        assert!(other.is_none(), "one process at a time");
        draft
            .give_name(&folder, OsStr::new("a"), (0o600, false))
            .unwrap();
        assert!(!part.exists());
        assert_eq!(fs::read(directory.path().join("a")).unwrap(), b"new");
    }
}
