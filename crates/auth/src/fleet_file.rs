//! The file that holds the [`Fleet`]: private to its owner, replaced as a whole, changed by one program at a time.

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::AtFlags;
use rustix::io::Errno;
use thiserror::Error;

use crate::fleet::Fleet;
use crate::state_directory::{StateError, explain};
use crate::state_file::{lock, read, replace};
use crate::toml_file::Malformed;

/// Longest file, bytes.
const LONGEST: u64 = 1024 * 1024;

/// What a file is expected to be.
const EXPECTED: &str = "slaves and invitations, in a regular file of at most 1 MiB";

/// Where the fleet is kept.
#[derive(Debug)]
pub struct FleetFile {
    directory: OwnedFd,
    path: PathBuf,
}

/// Why the fleet cannot be read or changed; each says which file.
#[derive(Debug, Error)]
pub enum FleetError {
    /// The file cannot be used.
    #[error(transparent)]
    File(#[from] StateError),
    /// It does not hold a fleet.
    #[error("'{}', line {line}: {problem}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where it is wrong, from 1.
        line: usize,
        /// What is wrong there.
        problem: String,
    },
    /// This fleet cannot be written.
    #[error("cannot write the slaves")]
    Write(#[source] toml::ser::Error),
}

/// Changes with every change of the file, which is replaced as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edition {
    inode: u64,
    size: i64,
    modified: (i64, u64),
}

impl FleetFile {
    /// Its name in a state directory.
    pub(crate) const NAME: &'static str = "slaves.toml";

    pub(crate) fn within(directory: OwnedFd, path: PathBuf) -> Self {
        Self { directory, path }
    }

    /// Which edition of the file is there, without reading it; `None` where there is no file.
    ///
    /// # Errors
    /// The system does not say.
    pub fn edition(&self) -> Result<Option<Edition>, FleetError> {
        let facts = rustix::fs::statat(&self.directory, Self::NAME, AtFlags::SYMLINK_NOFOLLOW);
        match facts {
            Ok(facts) => Ok(Some(Edition {
                inode: facts.st_ino,
                size: facts.st_size,
                modified: (facts.st_mtime, facts.st_mtime_nsec),
            })),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(self.failed("look at", error.into()).into()),
        }
    }

    /// The fleet; one of which nothing is said where there is no file.
    ///
    /// # Errors
    /// It cannot be read, is open to others or another user's, or holds something else.
    pub fn read(&self) -> Result<Fleet, FleetError> {
        let content = read(self.directory.as_fd(), Self::NAME, LONGEST)
            .map_err(|error| explain(error, &self.path, EXPECTED))?;
        content.map_or_else(|| Ok(Fleet::default()), |content| self.parse(&content))
    }

    /// Changes the fleet. Nothing is changed where `change` fails; and nobody else changes it meanwhile. On return the new one
    /// is durable.
    ///
    /// # Errors
    /// Those of [`read`](Self::read) and of `change`, and when the file cannot be written.
    pub fn change<T, E: From<FleetError>>(
        &self,
        change: impl FnOnce(&mut Fleet) -> Result<T, E>,
    ) -> Result<T, E> {
        let io = |source| FleetError::from(self.failed("write", source));
        let lock_name = format!("{}.lock", Self::NAME);
        let _locked = lock(self.directory.as_fd(), &lock_name).map_err(io)?;
        let mut fleet = self.read()?;
        let result = change(&mut fleet)?;
        let text = fleet.to_text().map_err(FleetError::Write)?;
        replace(self.directory.as_fd(), Self::NAME, text.as_bytes()).map_err(io)?;
        Ok(result)
    }

    fn failed(&self, operation: &'static str, source: std::io::Error) -> StateError {
        StateError::Io {
            operation,
            path: self.path.clone(),
            source,
        }
    }

    fn parse(&self, content: &[u8]) -> Result<Fleet, FleetError> {
        let malformed = |Malformed { line, problem }| FleetError::Malformed {
            path: self.path.clone(),
            line,
            problem,
        };
        Fleet::parse(content).map_err(malformed)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use protocol::SlaveId;

    use super::*;
    use crate::{Invitation, JoinError, StateDirectory};

    fn file() -> (tempfile::TempDir, FleetFile) {
        let place = tempfile::tempdir().unwrap();
        let state = StateDirectory::open(Some(&place.path().join("state"))).unwrap();
        (place, state.fleet_file().unwrap())
    }

    fn evict(file: &FleetFile, number: u8) {
        let changed: Result<bool, FleetError> =
            file.change(|fleet| Ok(fleet.evict(SlaveId([number; 16]))));
        assert!(changed.unwrap());
    }

    #[test]
    fn what_is_changed_is_read_back_privately_and_seen_to_have_changed() {
        let (_place, file) = file();
        assert_eq!(
            (file.read().unwrap(), file.edition().unwrap()),
            (Fleet::default(), None)
        );
        let mut editions = vec![None];
        for number in 1..=3 {
            evict(&file, number);
            let edition = file.edition().unwrap();
            assert!(!editions.contains(&edition));
            assert_eq!(edition, file.edition().unwrap());
            editions.push(edition);
        }
        assert_eq!(file.read().unwrap().generation(&SlaveId([2; 16])), None);
        assert_eq!(file.read().unwrap().generation(&SlaveId([4; 16])), Some(0));
        let mode = fs::metadata(&file.path).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
    }

    #[test]
    fn of_many_who_show_one_invitation_at_once_one_wins_and_the_token_is_written_nowhere() {
        let (place, file) = file();
        let invitation = Invitation::fresh(None).unwrap();
        let opened: Result<(), FleetError> = file.change(|fleet| {
            fleet.invite(&invitation, 100, 0).unwrap();
            Ok(())
        });
        opened.unwrap();
        let written = fs::read_to_string(&file.path).unwrap();
        let secret = invitation.reveal();
        assert!(written.contains(&invitation.digest()) && !written.contains(&secret));
        let winners = std::thread::scope(|scope| {
            let join = |number: u8| {
                let (file, token) = (&file, invitation.token());
                scope.spawn(move || {
                    file.change(|fleet| {
                        let id = SlaveId([number; 16]);
                        Ok::<_, FleetError>(fleet.join(token.reveal(), (id, false), 0))
                    })
                    .unwrap()
                })
            };
            let threads: Vec<_> = (0..16).map(join).collect();
            let results = threads.into_iter().map(|thread| thread.join().unwrap());
            results
                .filter(|result| *result != Err(JoinError::NotInvited))
                .collect::<Vec<_>>()
        });
        assert_eq!(winners, [Ok(1)]);
        drop(place);
    }

    #[test]
    fn one_that_is_wrong_or_open_to_others_is_refused_with_its_line_or_remedy() {
        let (_place, file) = file();
        for (content, expected) in [
            (&b"\n[slaves.11]\n"[..], "slaves.toml', line 2: "),
            (b"\n\nfleet = 1", "slaves.toml', line 3: "),
            (b"\xff", "not UTF-8"),
        ] {
            replace(file.directory.as_fd(), FleetFile::NAME, content).unwrap();
            let refusal = file.read().unwrap_err().to_string();
            assert!(refusal.contains(expected), "{refusal}");
        }
        replace(file.directory.as_fd(), FleetFile::NAME, b"").unwrap();
        fs::set_permissions(&file.path, fs::Permissions::from_mode(0o644)).unwrap();
        let refusal = file.read().unwrap_err().to_string();
        assert!(refusal.contains("chmod 600"), "{refusal}");
    }
}
