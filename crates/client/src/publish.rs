//! How a whole and verified content gets its final name: bits and time set, flushed, renamed, the folder flushed.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::sync::OnceLock;

use rustix::fs::{Mode, Timespec, Timestamps, UTIME_OMIT};

use crate::folder::{Folder, PART_MODE};
use crate::part_file::PartFile;

/// Content of this size or more is flushed while the part can still be gone on with, bytes.
const LONG_FLUSH: u64 = 8 * 1024 * 1024;

/// What the sender says of the file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Finish {
    pub(crate) size: u64,
    pub(crate) mode: u16,
    pub(crate) modified_ns: i64,
}

/// Makes the part the file `target`, durably. [`io::ErrorKind::AlreadyExists`] where that name is taken and not to be
/// replaced.
pub(crate) fn publish(
    folder: &Folder,
    part: &PartFile,
    target: &OsStr,
    finish: &Finish,
    replace: bool,
) -> io::Result<()> {
    if finish.size >= LONG_FLUSH {
        part.file().sync_data()?;
    }
    part.file().set_len(finish.size)?;
    set_time(part.file(), finish.modified_ns)?;
    part.file().sync_all()?;
    give_name(folder, part, target, (finish.mode, replace))?;
    folder.flush()
}

/// Gives a finished part its permission bits, less this process's umask, and its name. Both become durable with the folder;
/// the bits come last, because until then those of a part tell what it is.
pub(crate) fn give_name(
    folder: &Folder,
    part: &PartFile,
    target: &OsStr,
    (mode, replace): (u16, bool),
) -> io::Result<()> {
    let bits = u32::from(mode) & 0o777 & !umask();
    rustix::fs::fchmod(part.file(), Mode::from_raw_mode(bits))?;
    let named = if replace {
        folder.replace(part.name(), target)
    } else {
        folder.rename(part.name(), target)
    };
    if named.is_err() {
        rustix::fs::fchmod(part.file(), PART_MODE)?;
    }
    named
}

/// Sets the modification time, nanoseconds since the epoch.
pub(crate) fn set_time(file: &File, modified_ns: i64) -> io::Result<()> {
    let modified = Timespec {
        tv_sec: modified_ns.div_euclid(1_000_000_000),
        tv_nsec: modified_ns.rem_euclid(1_000_000_000),
    };
    let omitted = Timespec {
        tv_sec: 0,
        tv_nsec: UTIME_OMIT,
    };
    let times = Timestamps {
        last_access: omitted,
        last_modification: modified,
    };
    Ok(rustix::fs::futimens(file, &times)?)
}

/// This process's umask: asked of the kernel's report, because umask(2) can only be read by changing it.
fn umask() -> u32 {
    static UMASK: OnceLock<u32> = OnceLock::new();
    *UMASK.get_or_init(|| {
        let report = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        report
            .lines()
            .find_map(|line| line.strip_prefix("Umask:"))
            .and_then(|octal| u32::from_str_radix(octal.trim(), 8).ok())
            .unwrap_or(0o022)
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use protocol::{RemotePath, Version};

    use super::*;
    use crate::trailer::Trailer;

    #[test]
    fn a_published_part_has_its_facts_and_no_trailer() {
        let directory = tempfile::tempdir().unwrap();
        let folder = Folder::open(directory.path()).unwrap();
        let name = OsStr::new("a");
        let part = PartFile::open(&folder, name).unwrap().unwrap();
        let trailer = Trailer {
            remote: RemotePath::root(),
            version: Version::new(b"1").unwrap(),
            size: 3,
        };
        part.begin(&trailer).unwrap();
        part.write(b"abc", 0).unwrap();
        let finish = Finish {
            size: 3,
            mode: 0o4777,
            modified_ns: -1_500_000_000,
        };
        publish(&folder, &part, name, &finish, false).unwrap();
        let path = directory.path().join("a");
        let facts = fs::metadata(&path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"abc");
        assert_eq!(facts.permissions().mode() & 0o7777, 0o777 & !umask());
        assert_eq!((facts.mtime(), facts.mtime_nsec()), (-2, 500_000_000));
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        let part = PartFile::open(&folder, name).unwrap().unwrap();
        let error = publish(&folder, &part, name, &finish, false).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        let mode = fs::metadata(directory.path().join(".a.part"))
            .unwrap()
            .mode();
        assert_eq!(mode & 0o7777, PART_MODE.bits(), "still a part");
        publish(&folder, &part, name, &finish, true).unwrap();
    }
}
