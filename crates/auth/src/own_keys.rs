//! The keys of a slave that has joined with an invitation, beside its identity in its own state directory.

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use protocol::{Fingerprint, Secret};
use serde::{Deserialize, Serialize};

use crate::keys::{RegistrationKey, SlaveKey};
use crate::state_directory::{StateDirectory, StateError, explain};
use crate::state_file::{Draft, FileError, read};

/// Longest file, bytes.
const LONGEST: u64 = 4096;

/// At least what keys take, bytes.
const ROOM: usize = 512;

/// What a file is expected to be.
const EXPECTED: &str = "the keys of a slave";

/// What a slave was given when it joined, and by whom.
#[derive(Clone, Debug)]
pub struct OwnKeys {
    /// Under which its tickets are made.
    pub ticket: SlaveKey,
    /// With which it registers.
    pub registration: RegistrationKey,
    /// By which it knows the master; `None` where it joined on the master's own machine without TLS.
    pub master: Option<Fingerprint>,
    /// Digest of the invitation, so that one which is still in a configuration is not taken for a new one.
    pub invitation: String,
}

/// The same, as it stands in the file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    ticket_key: String,
    registration_key: String,
    master: Option<String>,
    invitation: String,
}

impl StateDirectory {
    /// The keys that the slave at this place was given; `None` where it has not joined. See
    /// [`slave_id`](Self::slave_id) for `root` and `port`.
    ///
    /// # Errors
    /// They cannot be read, are open to others, or damaged.
    pub fn own_keys(&self, root: &[u8], port: u16) -> Result<Option<OwnKeys>, StateError> {
        let (slaves, name, path) = self.keys_of(root, port)?;
        let content = read(slaves.as_fd(), &name, LONGEST)
            .map_err(|error| explain(error, &path, EXPECTED))?;
        let Some(content) = content else {
            return Ok(None);
        };
        OwnKeys::parse(&content)
            .map(Some)
            .ok_or_else(|| explain(FileError::NotSmallFile, &path, EXPECTED))
    }

    /// Makes room for the keys that the slave at this place is about to be given: whoever cannot keep them must not ask for
    /// them, and what belongs to the directory's owner is made theirs now.
    ///
    /// # Errors
    /// They could not be written.
    pub fn room_for_own_keys(&self, root: &[u8], port: u16) -> Result<RoomForKeys, StateError> {
        let (slaves, name, path) = self.keys_of(root, port)?;
        let draft = Draft::new(slaves, &name).and_then(|mut draft| {
            draft.fill(&[b'\n'; ROOM])?;
            Ok(draft)
        });
        match draft {
            Ok(draft) => Ok(RoomForKeys { draft, path }),
            Err(error) => Err(explain(error.into(), &path, EXPECTED)),
        }
    }
}

/// A place where keys can be kept; given up where it is dropped without them.
#[derive(Debug)]
pub struct RoomForKeys {
    draft: Draft<OwnedFd>,
    path: PathBuf,
}

impl RoomForKeys {
    /// Keeps the keys, in the stead of those that the slave had. Durable on return.
    ///
    /// # Errors
    /// They cannot be written.
    pub fn keep(mut self, keys: &OwnKeys) -> Result<(), StateError> {
        let filled = self.draft.fill(keys.to_text().as_bytes());
        filled
            .and_then(|()| self.draft.publish())
            .map_err(|error| explain(error.into(), &self.path, EXPECTED))
    }
}

impl OwnKeys {
    /// What the content of a file says; `None` for what was not written by [`to_text`](Self::to_text).
    #[must_use]
    pub fn parse(content: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(content).ok()?;
        toml::from_str(text).ok().and_then(Written::understood)
    }

    /// As a file holds them: for a private one alone.
    #[must_use]
    pub fn to_text(&self) -> String {
        toml::to_string(&Written::of(self)).unwrap_or_default()
    }
}

impl Written {
    fn of(keys: &OwnKeys) -> Self {
        Self {
            ticket_key: Secret(keys.ticket.to_bytes()).to_string(),
            registration_key: Secret(keys.registration.to_bytes()).to_string(),
            master: keys.master.map(|master| master.to_string()),
            invitation: keys.invitation.clone(),
        }
    }

    fn understood(self) -> Option<OwnKeys> {
        let key = |text: &str| text.parse::<Secret>().ok().map(|key| key.0);
        let master = self.master.map(|master| master.parse()).transpose();
        Some(OwnKeys {
            ticket: SlaveKey::from_bytes(key(&self.ticket_key)?),
            registration: RegistrationKey::from_bytes(key(&self.registration_key)?),
            master: master.ok()?,
            invitation: self.invitation,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn keys(number: u8, master: Option<Fingerprint>) -> OwnKeys {
        OwnKeys {
            ticket: SlaveKey::from_bytes([number; 32]),
            registration: RegistrationKey::from_bytes([number + 1; 32]),
            master,
            invitation: "0".repeat(64),
        }
    }

    #[test]
    fn they_are_kept_privately_for_one_place() {
        let place = tempfile::tempdir().unwrap();
        let state = StateDirectory::open(Some(&place.path().join("state"))).unwrap();
        assert!(state.own_keys(b"/srv", 2122).unwrap().is_none());
        for (number, master) in [(1, None), (3, Some(Fingerprint([9; 32])))] {
            let given = keys(number, master);
            let room = state.room_for_own_keys(b"/srv", 2122).unwrap();
            room.keep(&given).unwrap();
            let found = state.own_keys(b"/srv", 2122).unwrap().unwrap();
            assert_eq!(found.ticket.to_bytes(), given.ticket.to_bytes());
            assert_eq!(found.registration.to_bytes(), given.registration.to_bytes());
            assert_eq!((found.master, found.invitation), (master, given.invitation));
        }
        drop(state.room_for_own_keys(b"/srv", 2123).unwrap());
        assert!(state.own_keys(b"/srv", 2123).unwrap().is_none());
        let files = fs::read_dir(state.path().join("slaves")).unwrap();
        let files: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
        let [file] = &files[..] else {
            panic!("more than the keys: {files:?}")
        };
        assert!(keys(1, Some(Fingerprint([9; 32]))).to_text().len() < ROOM);
        let mode = fs::metadata(file).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
        for damage in ["", "ticket_key = \"00\""] {
            fs::write(file, damage).unwrap();
            let refusal = state.own_keys(b"/srv", 2122).unwrap_err().to_string();
            assert!(refusal.contains("is damaged"), "{refusal}");
        }
        fs::set_permissions(file, fs::Permissions::from_mode(0o640)).unwrap();
        let refusal = state.own_keys(b"/srv", 2122).unwrap_err().to_string();
        assert!(refusal.contains("chmod 600"), "{refusal}");
    }
}
