//! Files without a name (`O_TMPFILE`, open(2)): nobody finds one before it is whole, and it is gone with its descriptor until it
//! is given a name (linkat(2)).

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::LazyLock;

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::{Errno, Result};
use rustix::path::{Arg, DecInt};

/// Where the kernel shows a process its open files.
const OPEN_FILES: &str = "/proc/self/fd";

/// Whether they can be given names here.
#[must_use]
pub fn can_be_named() -> bool {
    static IS_SHOWN: LazyLock<bool> = LazyLock::new(|| Path::new(OPEN_FILES).exists());
    *IS_SHOWN
}

/// A new one of the folder, from which it inherits as if it were named there, open for reading and writing, with the
/// permission bits of `mode` that the umask leaves.
///
/// # Errors
/// What the kernel reports; `EOPNOTSUPP` from a file system that has no such files.
pub fn create(folder: impl AsFd, mode: u16) -> Result<File> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let mode = Mode::from_raw_mode(u32::from(mode & 0o777));
    Ok(rustix::fs::openat(folder, c".", flags, mode)?.into())
}

/// Names a file that has none. The name is a single component in `folder`.
///
/// # Errors
/// `EEXIST` where the name is taken: it is never replaced. Else what the kernel reports.
pub fn give_name(file: &File, folder: impl AsFd, name: impl Arg + Copy) -> Result<()> {
    let folder = folder.as_fd();
    match rustix::fs::linkat(file, c"", folder, name, AtFlags::EMPTY_PATH) {
        // Before Linux 6.10 only a privileged process may. Or the folder is gone, and this way ends likewise.
        Err(Errno::NOENT) => link_as_shown(file, folder, name),
        linked => linked,
    }
}

/// Finds the file by its path in `/proc`, which anybody may, and which costs the walk there.
fn link_as_shown(file: &File, folder: BorrowedFd<'_>, name: impl Arg) -> Result<()> {
    let shown = Path::new(OPEN_FILES).join(DecInt::from_fd(file));
    rustix::fs::linkat(CWD, shown, folder, name, AtFlags::SYMLINK_FOLLOW)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_is_found_once_it_has_a_name() {
        let folder = tempfile::tempdir().unwrap();
        let open = File::open(&folder).unwrap();
        let is_empty = || std::fs::read_dir(&folder).unwrap().next().is_none();
        let file = create(&open, 0o7600).unwrap();
        assert!(can_be_named() && is_empty());
        give_name(&file, &open, "a").unwrap();
        let mode = std::fs::metadata(folder.path().join("a"))
            .unwrap()
            .permissions();
        assert_eq!(mode.mode() & 0o7777, 0o600);
    }

    #[test]
    fn a_name_that_is_taken_stays_what_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let open = File::open(&folder).unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, "old").unwrap();
        let file = create(&open, 0o600).unwrap();
        assert_eq!(give_name(&file, &open, "a"), Err(Errno::EXIST));
        let shown = link_as_shown(&file, open.as_fd(), "a");
        assert_eq!(shown, Err(Errno::EXIST));
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
    }

    #[test]
    fn both_ways_lead_to_the_same_file() {
        let folder = tempfile::tempdir().unwrap();
        let open = File::open(&folder).unwrap();
        let file = create(&open, 0o600).unwrap();
        link_as_shown(&file, open.as_fd(), "shown").unwrap();
        give_name(&file, &open, "direct").unwrap();
        assert_eq!(rustix::fs::fstat(&file).unwrap().st_nlink, 2);
    }

    #[test]
    fn a_folder_that_is_gone_is_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let open = File::open(&folder).unwrap();
        let file = create(&open, 0o600).unwrap();
        drop(folder);
        assert_eq!(give_name(&file, &open, "a"), Err(Errno::NOENT));
    }
}
