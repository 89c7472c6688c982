//! Who could do what when a master last said so: remembered beyond its own life.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use protocol::{Digest, Rights};

use crate::accounts::Accounts;
use crate::state_file::{read, replace};

/// Longest that is read, bytes.
const LONGEST: u64 = 4096;

/// The file that remembers it for one master: a digest in hexadecimal.
#[derive(Debug)]
pub struct RightsFile {
    directory: OwnedFd,
    name: String,
}

impl RightsFile {
    pub(crate) fn within(directory: OwnedFd, port: u16) -> Self {
        Self {
            directory,
            name: format!("rights.{port}"),
        }
    }

    /// Remembers the accounts, and what everybody may do, instead of what was remembered; whether that was something else.
    /// `None`: nothing was.
    ///
    /// # Errors
    /// The disk is full or broken, or the accounts cannot be written down.
    pub fn keep(
        &self,
        accounts: Option<&Accounts>,
        everybody: Option<Rights>,
    ) -> io::Result<Option<bool>> {
        let text = accounts.map(Accounts::to_text).transpose();
        let text = text.map_err(io::Error::other)?;
        let rights = (text, everybody.map(Rights::bits));
        let digest = Digest(*blake3::hash(format!("{rights:?}").as_bytes()).as_bytes());
        let line = format!("{digest}\n");
        let before = read(self.directory.as_fd(), &self.name, LONGEST);
        // What cannot be read is something else.
        let before = before.unwrap_or_else(|_| Some(Vec::new()));
        let is_other = before.map(|before| before != line.as_bytes());
        if is_other != Some(false) {
            replace(self.directory.as_fd(), &self.name, line.as_bytes())?;
        }
        Ok(is_other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{PasswordHash, StateDirectory};

    #[test]
    fn what_is_kept_is_told_from_anything_else_by_each_master() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDirectory::open(Some(&folder.path().join("state"))).unwrap();
        let file = state.rights_file(1).unwrap();
        let hash = String::from(PasswordHash::decoy().unwrap());
        let ada = format!("[users.ada]\npassword = \"{hash}\"\nrights = []\n");
        let ada = Accounts::parse(ada.as_bytes()).unwrap();
        let nobody = Accounts::default();
        let everybody = Some(Rights::READ_ONLY);
        assert_eq!(file.keep(None, everybody).unwrap(), None);
        for (accounts, rights, is_other) in [
            (None, everybody, false),
            (None, Some(Rights::ALL), true),
            (None, None, true),
            (Some(&nobody), None, true),
            (Some(&ada), None, true),
            (Some(&ada), None, false),
        ] {
            let kept = file.keep(accounts, rights).unwrap();
            assert_eq!(kept, Some(is_other), "{accounts:?} {rights:?}");
        }
        let another = state.rights_file(2).unwrap();
        assert_eq!(another.keep(None, everybody).unwrap(), None);
    }
}
