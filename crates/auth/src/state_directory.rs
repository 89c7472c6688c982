//! The state directory: where the secrets of a master, and the identities of its slaves, outlive the programs.

use std::env;
use std::ffi::OsString;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, lchown};
use std::path::{Path, PathBuf};

use protocol::SlaveId;
use rustix::fs::{Mode, OFlags};
use thiserror::Error;

use crate::accounts_file::AccountsFile;
use crate::fleet_file::FleetFile;
use crate::keys::{KEY_LENGTH, MasterKey};
use crate::random::random_bytes;
use crate::rights_file::RightsFile;
use crate::served_file::ServedFile;
use crate::state_file::{FileError, give_to_owner, is_ours, read_or_make};
use crate::tls::Identity;

/// Our folder beneath a place for state.
const NAME: &str = "mini-ftp";

/// An open state directory: made when it was missing, and found to be nobody else's to change.
#[derive(Debug)]
pub struct StateDirectory {
    path: PathBuf,
    handle: OwnedFd,
}

/// Why the state cannot be used; each says which file, and how to mend it where a person can.
#[derive(Debug, Error)]
pub enum StateError {
    /// No directory was named, and none follows from the environment.
    #[error("no place for keys: HOME is not set; name a folder with --state DIR")]
    NoPlace,
    /// A system call failed.
    #[error("cannot {operation} '{}'", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Others could put their own keys into the directory.
    #[error("others can write to '{0}', which is to hold keys; mend it with: chmod go-w '{0}'", path.display())]
    Writable {
        /// The directory.
        path: PathBuf,
    },
    /// The directory belongs to another user.
    #[error("'{}' belongs to another user; name a folder of your own with --state DIR", path.display())]
    Foreign {
        /// The directory.
        path: PathBuf,
    },
    /// Others could read a secret.
    #[error("'{0}' holds a secret but is open to others; mend it with: chmod 600 '{0}'", path.display())]
    NotPrivate {
        /// The file.
        path: PathBuf,
    },
    /// A file that decides who may do what is another user's.
    #[error("'{}' belongs to another user", path.display())]
    ForeignFile {
        /// The file.
        path: PathBuf,
    },
    /// Not what this program wrote there.
    #[error("'{}' is damaged: it should hold {expected}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        expected: &'static str,
    },
}

impl StateDirectory {
    /// Opens the directory `path`, or else the default one: `/var/lib/mini-ftp` for the superuser, for others
    /// `$XDG_STATE_HOME/mini-ftp`, which without that variable is `~/.local/state/mini-ftp` (XDG base directory
    /// specification). One that is missing is made, for the owner alone.
    ///
    /// # Errors
    /// It cannot be made or opened, is another user's, or others may write to it.
    pub fn open(path: Option<&Path>) -> Result<Self, StateError> {
        Self::open_for(path, None)
    }

    /// As [`open`](Self::open); what is missing is made for the user and group `owner`, which takes the superuser.
    ///
    /// # Errors
    /// Those of `open`.
    pub fn open_for(path: Option<&Path>, owner: Option<(u32, u32)>) -> Result<Self, StateError> {
        let path = match path {
            Some(path) => path.to_owned(),
            None => default_path(rustix::process::geteuid().is_root(), env::var_os)
                .ok_or(StateError::NoPlace)?,
        };
        make_durable(&path, owner).map_err(|source| StateError::Io {
            operation: "make",
            path: path.clone(),
            source,
        })?;
        let failed = |source: rustix::io::Errno| StateError::Io {
            operation: "open",
            path: path.clone(),
            source: source.into(),
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let handle = rustix::fs::open(&path, flags, Mode::empty()).map_err(failed)?;
        let facts = rustix::fs::fstat(&handle).map_err(failed)?;
        if !is_ours(facts.st_uid) {
            return Err(StateError::Foreign { path });
        }
        if facts.st_mode & 0o022 != 0 {
            return Err(StateError::Writable { path });
        }
        Ok(Self { path, handle })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The master key, made by whichever program asks first.
    ///
    /// # Errors
    /// It cannot be read or made, is open to others, or is damaged.
    pub fn master_key(&self) -> Result<MasterKey, StateError> {
        let path = self.path.join("master.key");
        let found = read_or_make(&self.handle, "master.key", || {
            random_bytes::<KEY_LENGTH>().map(Vec::from)
        });
        let bytes = found.map_err(|error| explain(error, &path, "32 bytes"))?;
        let key = <[u8; KEY_LENGTH]>::try_from(bytes.as_slice());
        key.map(MasterKey::from_bytes)
            .map_err(|_| explain(FileError::NotSmallFile, &path, "32 bytes"))
    }

    /// Who the slave is that serves `root` (the bytes of its canonical path) at `port` of this machine: the same
    /// whenever it is started again. The machine's name counts too, since machines may share one state directory.
    ///
    /// # Errors
    /// It cannot be read or made, or is damaged.
    pub fn slave_id(&self, root: &[u8], port: u16) -> Result<SlaveId, StateError> {
        let (handle, slaves) = self.slaves_folder()?;
        let name = place_name(rustix::system::uname().nodename().to_bytes(), root, port);
        let path = slaves.join(&name);
        let expected = "32 hexadecimal digits";
        let found = read_or_make(&handle, &name, || {
            random_bytes().map(|bytes| format!("{}\n", SlaveId(bytes)).into_bytes())
        });
        let bytes = found.map_err(|error| explain(error, &path, expected))?;
        let text = std::str::from_utf8(&bytes).unwrap_or_default();
        let id = text.strip_suffix('\n').unwrap_or(text).parse();
        id.map_err(|_| explain(FileError::NotSmallFile, &path, expected))
    }

    /// The certificate and the key of `name`, made by whichever program asks first: `NAME.pem`.
    ///
    /// # Errors
    /// It cannot be read or made, is open to others, or is damaged.
    pub fn identity(&self, name: &str) -> Result<Identity, StateError> {
        let file = format!("{name}.pem");
        let path = self.path.join(&file);
        let expected = "a private key and its certificate, in PEM";
        let found = read_or_make(&self.handle, &file, || {
            let machine = rustix::system::uname()
                .nodename()
                .to_string_lossy()
                .into_owned();
            let made = Identity::generate(&names_of(machine))?;
            Ok(made.to_pem())
        });
        let text = found.map_err(|error| explain(error, &path, expected))?;
        Identity::from_pem(&text).map_err(|_| explain(FileError::NotSmallFile, &path, expected))
    }

    /// The folder, file and path of the keys that the slave at that place was given.
    pub(crate) fn keys_of(
        &self,
        root: &[u8],
        port: u16,
    ) -> Result<(OwnedFd, String, PathBuf), StateError> {
        let (handle, slaves) = self.slaves_folder()?;
        let name = place_name(rustix::system::uname().nodename().to_bytes(), root, port);
        let name = format!("{name}.keys");
        let path = slaves.join(&name);
        Ok((handle, name, path))
    }

    fn slaves_folder(&self) -> Result<(OwnedFd, PathBuf), StateError> {
        let path = self.path.join("slaves");
        match self.make_folder("slaves") {
            Ok(handle) => Ok((handle, path)),
            Err(source) => Err(StateError::Io {
                operation: "make",
                path,
                source,
            }),
        }
    }

    /// The accounts of the masters that use this directory.
    ///
    /// # Errors
    /// The system has no descriptors left.
    pub fn accounts_file(&self) -> Result<AccountsFile, StateError> {
        let path = self.path.join(AccountsFile::NAME);
        let handle = self.another_handle(&path)?;
        Ok(AccountsFile::within(handle, AccountsFile::NAME, path))
    }

    /// The slaves and invitations of the masters that use this directory.
    ///
    /// # Errors
    /// The system has no descriptors left.
    pub fn fleet_file(&self) -> Result<FleetFile, StateError> {
        let path = self.path.join(FleetFile::NAME);
        Ok(FleetFile::within(self.another_handle(&path)?, path))
    }

    /// What the slaves of the masters that use this directory serve.
    ///
    /// # Errors
    /// The system has no descriptors left.
    pub fn served_file(&self) -> Result<ServedFile, StateError> {
        let path = self.path.join(ServedFile::NAME);
        Ok(ServedFile::within(self.another_handle(&path)?))
    }

    /// What those could do who were let in by the master at that port of this machine.
    ///
    /// # Errors
    /// The system has no descriptors left.
    pub fn rights_file(&self, port: u16) -> Result<RightsFile, StateError> {
        let handle = self.another_handle(&self.path)?;
        Ok(RightsFile::within(handle, port))
    }

    fn another_handle(&self, path: &Path) -> Result<OwnedFd, StateError> {
        self.handle.try_clone().map_err(|source| StateError::Io {
            operation: "open",
            path: path.to_owned(),
            source,
        })
    }

    fn make_folder(&self, name: &str) -> io::Result<OwnedFd> {
        match rustix::fs::mkdirat(&self.handle, name, Mode::RWXU) {
            Ok(()) => rustix::fs::fsync(&self.handle)?,
            Err(rustix::io::Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let folder = rustix::fs::openat(&self.handle, name, flags, Mode::empty())?;
        give_to_owner(self.handle.as_fd(), &folder)?;
        Ok(folder)
    }
}

impl AsFd for StateDirectory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }
}

/// Under which names a server on `machine` is found by default.
fn names_of(machine: String) -> Vec<String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-.".contains(&byte);
    let mut names = vec!["localhost".to_owned()];
    // A machine may be called anything; a certificate is for names of the DNS.
    if !machine.is_empty() && machine != "localhost" && machine.bytes().all(is_plain) {
        names.push(machine);
    }
    names
}

pub(crate) fn explain(error: FileError, path: &Path, expected: &'static str) -> StateError {
    let path = path.to_owned();
    match error {
        FileError::Io(source) => StateError::Io {
            operation: "use",
            path,
            source,
        },
        FileError::NotPrivate => StateError::NotPrivate { path },
        FileError::Foreign => StateError::ForeignFile { path },
        FileError::NotSmallFile => StateError::Malformed { path, expected },
    }
}

/// The default directory, from the environment; relative paths there count as unset (XDG base directory specification).
fn default_path(
    is_root: bool,
    variable: impl Fn(&'static str) -> Option<OsString>,
) -> Option<PathBuf> {
    if is_root {
        return Some(Path::new("/var/lib").join(NAME));
    }
    let absolute = |name| {
        variable(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    absolute("XDG_STATE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/state")))
        .map(|place| place.join(NAME))
}

/// Makes a folder and those above it that are missing, for their owner alone, so that they outlive a power cut.
pub(crate) fn make_durable(path: &Path, owner: Option<(u32, u32)>) -> io::Result<()> {
    let missing: Vec<&Path> = path
        .ancestors()
        .take_while(|folder| !folder.as_os_str().is_empty() && !folder.exists())
        .collect();
    for folder in missing.into_iter().rev() {
        match DirBuilder::new().mode(0o700).create(folder) {
            Ok(()) => {
                if let Some((user, group)) = owner {
                    lchown(folder, Some(user), Some(group))?;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        let parent = folder
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        fs::File::open(parent.unwrap_or(Path::new(".")))?.sync_all()?;
    }
    Ok(())
}

/// The file name for one place that a slave serves from.
fn place_name(machine: &[u8], root: &[u8], port: u16) -> String {
    let mut hasher = blake3::Hasher::new();
    for part in [machine, root] {
        hasher.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hasher.update(part);
    }
    hasher.update(&port.to_be_bytes());
    hasher.finalize().to_hex().to_string()
}

#[cfg(test)]
mod tests;
