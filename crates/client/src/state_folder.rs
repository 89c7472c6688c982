//! Where a client keeps what one process leaves for the next: small files, which cost time and nothing else when they are lost.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// A file that nobody has used for this long is removed.
const OLDEST: Duration = Duration::from_secs(30 * 24 * 3600);

/// What one of these files holds.
pub trait Record: Serialize + DeserializeOwned {
    /// What the content of a file says; `None` for what was not written by [`to_text`](Self::to_text).
    #[must_use]
    fn parse(content: &[u8]) -> Option<Self> {
        serde_json::from_slice(content).ok()
    }

    /// As a file holds it.
    #[must_use]
    fn to_text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default() // numbers and texts always are JSON
    }
}

/// `$XDG_STATE_HOME/mini-ftp`, else `~/.local/state/mini-ftp`; for root `/var/lib/mini-ftp/client`.
pub(crate) fn state_directory() -> Option<PathBuf> {
    if let Some(state) = std::env::var_os("XDG_STATE_HOME").filter(|state| !state.is_empty()) {
        return Some(PathBuf::from(state).join("mini-ftp"));
    }
    if rustix::process::geteuid().is_root() {
        return Some(PathBuf::from("/var/lib/mini-ftp/client"));
    }
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty())?;
    Some(PathBuf::from(home).join(".local/state/mini-ftp"))
}

/// Makes the folder for its owner alone where it is not there, and removes what is old in it and what is beyond `most`
/// files, the oldest first.
pub(crate) fn make_and_sweep(folder: &Path, most: usize) -> io::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)?;
    let mut files: Vec<(SystemTime, PathBuf)> = fs::read_dir(folder)?
        .flatten()
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    files.sort();
    let surplus = files.len().saturating_sub(most);
    let now = SystemTime::now();
    let is_old = |time| now.duration_since(time).is_ok_and(|age| age > OLDEST);
    for (place, (modified, path)) in files.into_iter().enumerate() {
        if place < surplus || is_old(modified) {
            let removed = fs::remove_file(path);
            tracing::debug!(?removed, "old record");
        }
    }
    Ok(())
}

/// For opening a file there: whoever has put a link in its place is not followed.
pub(crate) fn no_follow() -> i32 {
    i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_old_or_too_much_goes_the_oldest_first() {
        let directory = tempfile::tempdir().unwrap();
        let folder = directory.path().join("records");
        make_and_sweep(&folder, 9).unwrap();
        let day = Duration::from_secs(24 * 3600);
        for (name, age) in [("a", 40), ("b", 3), ("c", 2), ("d", 1)] {
            let file = fs::File::create(folder.join(name)).unwrap();
            file.set_modified(SystemTime::now() - day * age).unwrap();
        }
        let left = || {
            let names = fs::read_dir(&folder).unwrap();
            let mut names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            names
        };
        make_and_sweep(&folder, 9).unwrap();
        assert_eq!(left(), ["b", "c", "d"]);
        make_and_sweep(&folder, 2).unwrap();
        assert_eq!(left(), ["c", "d"]);
    }
}
