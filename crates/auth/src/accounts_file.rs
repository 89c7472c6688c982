//! The file that holds the accounts: private to its owner, replaced as a whole, changed by one program at a time.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags};
use thiserror::Error;

use crate::accounts::Accounts;
use crate::state_directory::{StateError, explain};
use crate::state_file::{lock, read, replace};
use crate::toml_file::Malformed;

/// Longest file, bytes: room for some 20,000 accounts.
const LONGEST: u64 = 4 * 1024 * 1024;

/// What a file is expected to be.
const EXPECTED: &str = "accounts, in a regular file of at most 4 MiB";

/// Where accounts are kept.
#[derive(Debug)]
pub struct AccountsFile {
    directory: OwnedFd,
    name: String,
    path: PathBuf,
}

/// Why accounts cannot be read or changed; each says which file.
#[derive(Debug, Error)]
pub enum AccountsError {
    /// The file cannot be used.
    #[error(transparent)]
    File(#[from] StateError),
    /// It does not hold accounts.
    #[error("'{}', line {line}: {problem}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where it is wrong, from 1.
        line: usize,
        /// What is wrong there.
        problem: String,
    },
    /// These accounts cannot be written.
    #[error("cannot write accounts")]
    Write(#[source] toml::ser::Error),
}

impl AccountsFile {
    /// Its name in a state directory.
    pub(crate) const NAME: &'static str = "users.toml";

    pub(crate) fn within(directory: OwnedFd, name: &str, path: PathBuf) -> Self {
        Self {
            directory,
            name: name.to_owned(),
            path,
        }
    }

    /// The file at `path`, wherever that is.
    ///
    /// # Errors
    /// There is no folder for it.
    pub fn at(path: &Path) -> Result<Self, StateError> {
        let refused = |operation, source| StateError::Io {
            operation,
            path: path.to_owned(),
            source,
        };
        let name = path.file_name().and_then(|name| name.to_str());
        let name =
            name.ok_or_else(|| refused("use", std::io::ErrorKind::InvalidFilename.into()))?;
        let parent = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(parent, flags, Mode::empty())
            .map_err(|error| refused("open", error.into()))?;
        Ok(Self::within(directory, name, path.to_owned()))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The accounts; `None` where there is no such file.
    ///
    /// # Errors
    /// It cannot be read, is open to others or another user's, or holds something else.
    pub fn read(&self) -> Result<Option<Accounts>, AccountsError> {
        let content = read(self.directory.as_fd(), &self.name, LONGEST)
            .map_err(|error| explain(error, &self.path, EXPECTED))?;
        content.map(|content| self.parse(&content)).transpose()
    }

    /// When they were changed last, milliseconds since 1970; `None` where there is no such file.
    ///
    /// # Errors
    /// The system does not say.
    pub fn changed_at(&self) -> Result<Option<u64>, AccountsError> {
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        match rustix::fs::statat(&self.directory, &self.name, flags) {
            Ok(facts) => {
                let seconds = u64::try_from(facts.st_mtime).unwrap_or(0);
                let behind = facts.st_mtime_nsec / 1_000_000;
                Ok(Some(seconds.saturating_mul(1000).saturating_add(behind)))
            }
            Err(rustix::io::Errno::NOENT) => Ok(None),
            Err(error) => Err(AccountsError::from(StateError::Io {
                operation: "look at",
                path: self.path.clone(),
                source: error.into(),
            })),
        }
    }

    /// Changes the accounts, making the file where there is none. Nothing is changed where `change` fails; and nobody else
    /// changes them meanwhile. On return the new ones are durable.
    ///
    /// # Errors
    /// Those of [`read`](Self::read) and of `change`, and when the file cannot be written.
    pub fn change<E: From<AccountsError>>(
        &self,
        change: impl FnOnce(&mut Accounts) -> Result<(), E>,
    ) -> Result<(), E> {
        let io = |source| {
            AccountsError::from(StateError::Io {
                operation: "write",
                path: self.path.clone(),
                source,
            })
        };
        let _locked = lock(self.directory.as_fd(), &format!("{}.lock", self.name)).map_err(io)?;
        let mut accounts = self.read()?.unwrap_or_default();
        change(&mut accounts)?;
        let text = accounts.to_text().map_err(AccountsError::Write)?;
        replace(self.directory.as_fd(), &self.name, text.as_bytes()).map_err(io)?;
        Ok(())
    }

    fn parse(&self, content: &[u8]) -> Result<Accounts, AccountsError> {
        let malformed = |Malformed { line, problem }| AccountsError::Malformed {
            path: self.path.clone(),
            line,
            problem,
        };
        Accounts::parse(content).map_err(malformed)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use protocol::Rights;

    use super::*;
    use crate::{Account, PasswordHash, StateDirectory};

    fn file() -> (tempfile::TempDir, AccountsFile) {
        let place = tempfile::tempdir().unwrap();
        let state = StateDirectory::open(Some(&place.path().join("state"))).unwrap();
        (place, state.accounts_file().unwrap())
    }

    fn add(file: &AccountsFile, name: &str) {
        let account = Account {
            password: PasswordHash::decoy().unwrap(),
            rights: Rights::ALL,
            home: "/".parse().unwrap(),
            quota: None,
        };
        let changed: Result<(), AccountsError> = file.change(|accounts| {
            accounts.add(name.parse().unwrap(), account);
            Ok(())
        });
        changed.unwrap();
    }

    fn refusal(file: &AccountsFile) -> String {
        file.read().unwrap_err().to_string()
    }

    #[test]
    fn it_is_made_for_the_owner_alone_and_found_by_its_path_too() {
        let (_place, file) = file();
        assert_eq!(
            (file.read().unwrap(), file.changed_at().unwrap()),
            (None, None)
        );
        add(&file, "ada");
        let mode = fs::metadata(file.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
        let again = AccountsFile::at(file.path()).unwrap();
        let modified = fs::metadata(file.path()).unwrap().modified().unwrap();
        let since = modified.duration_since(std::time::UNIX_EPOCH).unwrap();
        assert_eq!(
            again.changed_at().unwrap().map(u128::from),
            Some(since.as_millis())
        );
        assert!(again.read().unwrap().unwrap().get("ada").is_some());
    }

    #[test]
    fn who_changes_it_at_once_loses_nothing() {
        let (_place, file) = file();
        std::thread::scope(|scope| {
            for number in 0..16 {
                let file = &file;
                scope.spawn(move || add(file, &format!("user{number}")));
            }
        });
        assert_eq!(file.read().unwrap().unwrap().iter().count(), 16);
    }

    #[test]
    fn a_change_that_fails_changes_nothing() {
        let (_place, file) = file();
        add(&file, "ada");
        let before = fs::read(file.path()).unwrap();
        let failed: Result<(), AccountsError> = file.change(|accounts| {
            accounts.remove(&"ada".parse().unwrap());
            Err(AccountsError::Malformed {
                path: PathBuf::new(),
                line: 1,
                problem: String::new(),
            })
        });
        assert!(failed.is_err());
        assert_eq!(fs::read(file.path()).unwrap(), before);
    }

    #[test]
    fn one_that_others_may_open_is_refused_with_its_remedy() {
        let (_place, file) = file();
        add(&file, "ada");
        for mode in [0o640, 0o604, 0o666] {
            fs::set_permissions(file.path(), fs::Permissions::from_mode(mode)).unwrap();
            let refusal = refusal(&file);
            assert!(
                refusal.contains("users.toml") && refusal.contains("chmod 600"),
                "{refusal}"
            );
        }
    }

    #[test]
    fn one_that_is_wrong_is_refused_with_its_line() {
        let (_place, file) = file();
        for (content, expected) in [
            (&b"\n\nusers = 1"[..], "users.toml', line 3: "),
            (b"# \n\xff", "users.toml', line 2: not UTF-8"),
        ] {
            replace(file.directory.as_fd(), "users.toml", content).unwrap();
            let refusal = refusal(&file);
            assert!(refusal.contains(expected), "{refusal}");
        }
        let endless = vec![b'#'; 4 * 1024 * 1024 + 1];
        replace(file.directory.as_fd(), "users.toml", &endless).unwrap();
        assert!(refusal(&file).contains("at most 4 MiB"));
    }
}
