//! Local folders as held descriptors: a name is always one component beneath one of them.
//!
//! The folder that a person names is opened as the kernel resolves it, links included. Below it, where names come from
//! the server, no symbolic link is ever followed.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, Dir, DirEntry, FileType, Mode, OFlags, RenameFlags, Stat};
use rustix::io::Errno;

/// Makes a descriptor of a folder that can be flushed, and not one that is inherited.
const FOLDER: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC);

/// Bits of a file that is not whole yet: for its owner alone, and with a mark, which files have no other use for. It is
/// there from the moment at which the file is made, on whatever can keep a bit, and ends with the name that it is part of.
pub(crate) const PART_MODE: Mode = Mode::RUSR.union(Mode::WUSR).union(Mode::SVTX);

/// A folder, held open.
#[derive(Debug)]
pub(crate) struct Folder {
    descriptor: OwnedFd,
    path: PathBuf,
}

/// What stands under a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) kind: FileType,
    pub(crate) size: u64,
    pub(crate) modified_ns: i64,
    pub(crate) mode: u16,
    /// Whether it has the [mark](PART_MODE) of a partial download.
    pub(crate) is_marked: bool,
    /// Device and inode: which file it is, whatever it is called.
    pub(crate) identity: (u64, u64),
    pub(crate) links: u64,
}

impl Folder {
    /// The folder that a person means by `path`.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let named = if path.as_os_str().is_empty() {
            Path::new(".")
        } else {
            path
        };
        Ok(Self {
            descriptor: rustix::fs::open(named, FOLDER, Mode::empty())?,
            path: path.to_owned(),
        })
    }

    /// The same, made with its missing parents where it is not there.
    pub(crate) fn open_or_make(path: &Path) -> io::Result<Self> {
        match Self::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                std::fs::create_dir_all(path)?;
                Self::open(path)
            }
            result => result,
        }
    }

    /// The folder of that relative path beneath this one, without following a symbolic link.
    pub(crate) fn beneath(&self, relative: &Path) -> io::Result<Self> {
        self.descend(relative, |_, _| Ok(()))
    }

    /// The same, made with its missing parents where it is not there; not flushed.
    pub(crate) fn make_beneath(&self, relative: &Path, mode: u16) -> io::Result<Self> {
        // Its owner must be able to fill it.
        let mode = Mode::from_raw_mode(u32::from(mode) & 0o777 | 0o700);
        self.descend(relative, |parent, name| {
            match rustix::fs::mkdirat(parent, name, mode) {
                Ok(()) | Err(Errno::EXIST) => Ok(()),
                Err(error) => Err(error.into()),
            }
        })
    }

    fn descend(
        &self,
        relative: &Path,
        before: impl Fn(&OwnedFd, &OsStr) -> io::Result<()>,
    ) -> io::Result<Self> {
        let mut folder = rustix::io::fcntl_dupfd_cloexec(&self.descriptor, 0)?;
        for component in relative.components() {
            let Component::Normal(name) = component else {
                return Err(io::ErrorKind::InvalidInput.into());
            };
            folder =
                match rustix::fs::openat(&folder, name, FOLDER | OFlags::NOFOLLOW, Mode::empty()) {
                    Err(Errno::NOENT) => {
                        before(&folder, name)?;
                        rustix::fs::openat(&folder, name, FOLDER | OFlags::NOFOLLOW, Mode::empty())?
                    }
                    // Both are the kernel's word for a link here, open(2).
                    Err(Errno::NOTDIR | Errno::LOOP) => {
                        return Err(io::ErrorKind::NotADirectory.into());
                    }
                    result => result?,
                };
        }
        Ok(Self {
            descriptor: folder,
            path: self.path.join(relative),
        })
    }

    /// As the person named it.
    pub(crate) fn path_of(&self, name: &OsStr) -> PathBuf {
        self.path.join(name)
    }

    /// What stands under `name`, links not followed.
    pub(crate) fn facts(&self, name: &OsStr) -> io::Result<Option<Facts>> {
        match rustix::fs::statat(&self.descriptor, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(Facts::from(&stat))),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// What the link `name` leads to, by whatever way; nothing is opened. `None` where nothing is there, or nobody can say.
    pub(crate) fn leads_to(&self, name: &OsStr) -> Option<FileType> {
        let stat = rustix::fs::statat(&self.descriptor, name, AtFlags::empty()).ok()?;
        Some(FileType::from_raw_mode(stat.st_mode))
    }

    /// Opens the file `name` for reading; never a link's target, and never waiting for a pipe's other end.
    pub(crate) fn open_to_read(&self, name: &OsStr) -> io::Result<File> {
        self.open_file(name, OFlags::RDONLY)
    }

    /// Opens the file `name` for reading and writing, made as a partial download where it is not there.
    pub(crate) fn open_or_make_part(&self, name: &OsStr) -> io::Result<File> {
        self.open_file(name, OFlags::RDWR | OFlags::CREATE)
    }

    /// A file that has no name, and is gone with its descriptor; with the permission bits `mode`, less the umask.
    pub(crate) fn nameless_file(&self, mode: u16) -> io::Result<File> {
        Ok(sys::nameless::create(&self.descriptor, mode)?)
    }

    fn open_file(&self, name: &OsStr, flags: OFlags) -> io::Result<File> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(&self.descriptor, name, flags, PART_MODE)?.into())
    }

    /// Gives a file without a name this one; [`io::ErrorKind::AlreadyExists`] where that is taken.
    pub(crate) fn link(&self, file: &File, name: &OsStr) -> io::Result<()> {
        Ok(sys::nameless::give_name(file, &self.descriptor, name)?)
    }

    pub(crate) fn remove(&self, name: &OsStr) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(
            &self.descriptor,
            name,
            AtFlags::empty(),
        )?)
    }

    /// Removes the empty folder `name`.
    pub(crate) fn remove_folder(&self, name: &OsStr) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(
            &self.descriptor,
            name,
            AtFlags::REMOVEDIR,
        )?)
    }

    /// The names in this folder, in no order, without `.` and `..`.
    pub(crate) fn names(&self) -> io::Result<Vec<OsString>> {
        self.entries()?.collect()
    }

    /// Whether there is no name in this folder.
    pub(crate) fn is_empty(&self) -> io::Result<bool> {
        Ok(self.entries()?.next().transpose()?.is_none())
    }

    fn entries(&self) -> io::Result<impl Iterator<Item = io::Result<OsString>>> {
        let name_of = |entry: rustix::io::Result<DirEntry>| match entry {
            Ok(entry) => match entry.file_name().to_bytes() {
                b"." | b".." => None,
                name => Some(Ok(OsStr::from_bytes(name).to_owned())),
            },
            Err(error) => Some(Err(error.into())),
        };
        Ok(Dir::read_from(&self.descriptor)?.filter_map(name_of))
    }

    /// Gives `from` the name `to`, in place of what has it.
    pub(crate) fn replace(&self, from: &OsStr, to: &OsStr) -> io::Result<()> {
        let here = self.descriptor.as_fd();
        Ok(rustix::fs::renameat(here, from, here, to)?)
    }

    /// Gives `from` the name `to`; [`io::ErrorKind::AlreadyExists`] where that is taken.
    pub(crate) fn rename(&self, from: &OsStr, to: &OsStr) -> io::Result<()> {
        let here = self.descriptor.as_fd();
        match rustix::fs::renameat_with(here, from, here, to, RenameFlags::NOREPLACE) {
            // File systems without that flag: a second name never replaces either.
            Err(Errno::INVAL | Errno::NOSYS) => {
                rustix::fs::linkat(here, from, here, to, AtFlags::empty())?;
                self.remove(from)
            }
            result => Ok(result?),
        }
    }

    /// Makes every change of names in this folder durable.
    pub(crate) fn flush(&self) -> io::Result<()> {
        Ok(rustix::fs::fsync(&self.descriptor)?)
    }

    /// Makes everything on this folder's file system durable.
    pub(crate) fn flush_file_system(&self) -> io::Result<()> {
        Ok(rustix::fs::syncfs(&self.descriptor)?)
    }
}

impl From<&Stat> for Facts {
    fn from(stat: &Stat) -> Self {
        let mode = u16::try_from(stat.st_mode & 0o777).unwrap_or_default();
        let nanoseconds = i64::try_from(stat.st_mtime_nsec).unwrap_or_default();
        Self {
            kind: FileType::from_raw_mode(stat.st_mode),
            size: u64::try_from(stat.st_size).unwrap_or_default(),
            modified_ns: stat
                .st_mtime
                .saturating_mul(1_000_000_000)
                .saturating_add(nanoseconds),
            mode,
            is_marked: Mode::from_raw_mode(stat.st_mode).contains(Mode::SVTX),
            identity: (stat.st_dev, stat.st_ino),
            #[allow(
                clippy::useless_conversion,
                reason = "32 bits on some machines, stat(2) says nlink_t"
            )]
            links: u64::from(stat.st_nlink),
        }
    }
}

/// What an open file is.
pub(crate) fn facts_of(file: &File) -> io::Result<Facts> {
    Ok(Facts::from(&rustix::fs::fstat(file)?))
}

/// A name of the server's, as one of this side's.
pub(crate) fn local_name(name: &[u8]) -> &OsStr {
    OsStr::from_bytes(name)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_link_in_the_way_is_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        symlink(outside.path(), directory.path().join("link")).unwrap();
        fs::write(outside.path().join("file"), "theirs").unwrap();
        symlink(outside.path().join("file"), directory.path().join("name")).unwrap();
        let folder = Folder::open(directory.path()).unwrap();
        for relative in ["link", "link/deeper"] {
            let error = folder.make_beneath(Path::new(relative), 0o755).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::NotADirectory, "{relative}");
        }
        assert!(folder.open_or_make_part(OsStr::new("name")).is_err());
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
    }

    #[test]
    fn ways_up_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let folder = Folder::open(directory.path()).unwrap();
        for relative in ["..", "a/../..", "/etc"] {
            assert!(
                folder.make_beneath(Path::new(relative), 0o755).is_err(),
                "{relative}"
            );
        }
    }

    #[test]
    fn folders_are_made_with_their_parents() {
        let directory = tempfile::tempdir().unwrap();
        let folder = Folder::open(directory.path()).unwrap();
        let made = folder.make_beneath(Path::new("a/b/c"), 0o755).unwrap();
        made.open_or_make_part(OsStr::new("file")).unwrap();
        assert!(directory.path().join("a/b/c/file").is_file());
        assert!(folder.beneath(Path::new("a/x")).is_err());
    }

    #[test]
    fn a_folder_is_empty_until_anything_has_a_name_in_it() {
        let directory = tempfile::tempdir().unwrap();
        let folder = Folder::open(directory.path()).unwrap();
        let nameless = folder.nameless_file(0o600).unwrap();
        // More than once, and through a copy of the descriptor, which shares its position.
        let copy = folder.beneath(Path::new("")).unwrap();
        assert!(folder.is_empty().unwrap() && folder.is_empty().unwrap());
        folder.link(&nameless, OsStr::new(".a.part")).unwrap();
        assert!(!folder.is_empty().unwrap() && !copy.is_empty().unwrap());
        assert_eq!(copy.names().unwrap(), [".a.part"]);
    }

    #[test]
    fn a_rename_never_replaces() {
        let directory = tempfile::tempdir().unwrap();
        let folder = Folder::open(directory.path()).unwrap();
        fs::write(directory.path().join("a"), "a").unwrap();
        fs::write(directory.path().join("b"), "b").unwrap();
        let (a, b) = (OsStr::new("a"), OsStr::new("b"));
        let error = folder.rename(a, b).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(directory.path().join("b")).unwrap(), b"b");
        folder.replace(a, b).unwrap();
        assert_eq!(fs::read(directory.path().join("b")).unwrap(), b"a");
    }
}
