//! Which storage the slaves of a master serve, and where they are: remembered beyond the master's own life.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};

use protocol::StorageId;

use crate::state_file::{read, replace};

/// Longest that is read, bytes.
const LONGEST: u64 = 4096;

/// What the slaves of a master serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    /// The storage.
    pub storage: StorageId,
    /// Where slaves of it were reached.
    pub slaves: Vec<SocketAddr>,
}

impl Served {
    /// Reads what [`Self::to_text`] has written; nothing where that was changed into anything else.
    #[must_use]
    pub fn parse(content: &[u8]) -> Option<Self> {
        let mut lines = str::from_utf8(content).ok()?.lines();
        let storage = lines.next()?.parse().ok()?;
        let slaves = lines.map(str::parse).collect::<Result<_, _>>().ok()?;
        Some(Self { storage, slaves })
    }

    /// A line each for the storage and the slaves.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = format!("{}\n", self.storage);
        for slave in &self.slaves {
            text.push_str(&format!("{slave}\n"));
        }
        text
    }
}

/// The file that remembers it.
#[derive(Debug)]
pub struct ServedFile(OwnedFd);

impl ServedFile {
    /// Its name in the state directory.
    pub const NAME: &str = "storage";

    pub(crate) const fn within(directory: OwnedFd) -> Self {
        Self(directory)
    }

    /// What was remembered; nothing where that cannot be read, for nobody must fail for it.
    #[must_use]
    pub fn read(&self) -> Option<Served> {
        let content = read(self.0.as_fd(), Self::NAME, LONGEST).ok()??;
        Served::parse(&content)
    }

    /// Remembers this instead.
    ///
    /// # Errors
    /// The disk is full or broken.
    pub fn keep(&self, served: &Served) -> io::Result<()> {
        replace(self.0.as_fd(), Self::NAME, served.to_text().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::StateDirectory;

    #[test]
    fn what_is_kept_is_read_again_and_what_is_damaged_is_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let file = StateDirectory::open(Some(&path)).unwrap().served_file();
        let file = file.unwrap();
        assert_eq!(file.read(), None);
        let served = Served {
            storage: StorageId([7; 16]),
            slaves: vec!["10.0.0.1:2122".parse().unwrap(), "[::1]:1".parse().unwrap()],
        };
        file.keep(&served).unwrap();
        assert_eq!(file.read(), Some(served));
        std::fs::write(path.join(ServedFile::NAME), "neither\n").unwrap();
        assert_eq!(file.read(), None);
    }
}
