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
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn temporary() -> (tempfile::TempDir, StateDirectory) {
        let place = tempfile::tempdir().unwrap();
        let state = StateDirectory::open(Some(&place.path().join("a/b"))).unwrap();
        (place, state)
    }

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn it_is_made_for_the_owner_alone() {
        let (place, state) = temporary();
        for folder in [&place.path().join("a"), state.path()] {
            assert_eq!(
                fs::metadata(folder).unwrap().permissions().mode() & 0o7777,
                0o700
            );
        }
    }

    #[test]
    fn one_that_others_can_write_to_is_refused() {
        let (_place, state) = temporary();
        for mode in [0o770, 0o707, 0o1777] {
            set_mode(state.path(), mode);
            let refusal = StateDirectory::open(Some(state.path())).unwrap_err();
            assert!(refusal.to_string().contains("chmod go-w"), "{refusal}");
        }
        set_mode(state.path(), 0o755);
        assert!(StateDirectory::open(Some(state.path())).is_ok());
    }

    #[test]
    fn a_file_in_its_place_is_an_error_that_names_it() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("file");
        fs::write(&file, "").unwrap();
        for path in [file.clone(), file.join("beneath")] {
            let refusal = StateDirectory::open(Some(&path)).unwrap_err();
            assert!(refusal.to_string().contains("file"), "{refusal}");
        }
    }

    #[test]
    #[allow(clippy::print_stderr, reason = "a test that is skipped says so")]
    fn what_root_makes_is_the_directory_owner_s() {
        if !rustix::process::geteuid().is_root() {
            return eprintln!("skipped: only root makes files for others");
        }
        let owner = |path: &Path| {
            use std::os::unix::fs::MetadataExt;
            let facts = fs::metadata(path).unwrap();
            (facts.uid(), facts.gid())
        };
        let them = (54_321, 54_322);
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("a/b");
        let state = StateDirectory::open_for(Some(&path), Some(them)).unwrap();
        state.master_key().unwrap();
        state.slave_id(b"/srv", 2122).unwrap();
        let unchanged = |_: &mut _| Ok::<_, crate::AccountsError>(());
        state.accounts_file().unwrap().change(unchanged).unwrap();
        for name in [
            "..",
            ".",
            "master.key",
            "slaves",
            "users.toml",
            "users.toml.lock",
        ] {
            assert_eq!(owner(&path.join(name)), them, "{name}");
        }
        assert_eq!(owner(place.path()), (0, 0));
    }

    #[test]
    fn the_master_key_stays_the_same() {
        let (_place, state) = temporary();
        let slave = SlaveId([1; 16]);
        let key = || state.master_key().unwrap().slave_key(&slave, 0).to_bytes();
        assert_eq!(key(), key());
        let (_other_place, other) = temporary();
        assert_ne!(
            key(),
            other.master_key().unwrap().slave_key(&slave, 0).to_bytes()
        );
    }

    #[test]
    fn a_damaged_or_open_master_key_is_an_error_that_names_it() {
        let (_place, state) = temporary();
        let file = state.path().join("master.key");
        for content in [vec![], vec![0; 31], vec![0; 33]] {
            fs::write(&file, content).unwrap();
            set_mode(&file, 0o600);
            let refusal = state.master_key().unwrap_err().to_string();
            assert!(refusal.contains("master.key' is damaged"), "{refusal}");
        }
        fs::write(&file, [0; 32]).unwrap();
        set_mode(&file, 0o644);
        let refusal = state.master_key().unwrap_err().to_string();
        assert!(refusal.contains("chmod 600"), "{refusal}");
    }

    #[test]
    fn a_slave_is_the_same_wherever_it_is_started_again() {
        let (_place, state) = temporary();
        let id = state.slave_id(b"/srv", 2122).unwrap();
        assert_eq!(id, state.slave_id(b"/srv", 2122).unwrap());
        assert_ne!(id, state.slave_id(b"/srv", 2123).unwrap());
        assert_ne!(id, state.slave_id(b"/srv2", 2122).unwrap());
    }

    #[test]
    fn machines_that_share_a_state_directory_do_not_share_identities() {
        let name = |machine: &[u8], root: &[u8]| place_name(machine, root, 2122);
        assert_ne!(name(b"one", b"/srv"), name(b"two", b"/srv"));
        assert_ne!(name(b"one", b"/srv"), name(b"one/", b"srv"));
    }

    #[test]
    fn a_damaged_identity_is_an_error_that_names_it() {
        let (_place, state) = temporary();
        state.slave_id(b"/srv", 2122).unwrap();
        let entry = fs::read_dir(state.path().join("slaves"))
            .unwrap()
            .next()
            .unwrap();
        fs::write(entry.unwrap().path(), "not an identity").unwrap();
        let refusal = state.slave_id(b"/srv", 2122).unwrap_err().to_string();
        assert!(refusal.contains("is damaged"), "{refusal}");
    }

    #[test]
    fn a_server_shows_the_same_key_whenever_it_is_started_again() {
        let (_place, state) = temporary();
        let one = state.identity("master").unwrap();
        assert_eq!(
            state.identity("master").unwrap().fingerprint(),
            one.fingerprint()
        );
        assert_ne!(
            state.identity("slave").unwrap().fingerprint(),
            one.fingerprint()
        );
        let file = state.path().join("master.pem");
        let mode = fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
        set_mode(&file, 0o640);
        let refusal = state.identity("master").unwrap_err().to_string();
        assert!(refusal.contains("chmod 600"), "{refusal}");
        let text = fs::read_to_string(&file).unwrap();
        for damaged in ["", text.split_once("-----END").unwrap().0] {
            fs::write(&file, damaged).unwrap();
            set_mode(&file, 0o600);
            let refusal = state.identity("master").unwrap_err().to_string();
            assert!(refusal.contains("master.pem' is damaged"), "{refusal}");
        }
    }

    #[test]
    fn a_certificate_is_made_whatever_the_machine_is_called() {
        for (machine, count) in [
            ("nas", 2),
            ("nas.example.org", 2),
            ("localhost", 1),
            ("", 1),
            ("my nas", 1),
        ] {
            let names = names_of(machine.to_owned());
            assert_eq!(names.len(), count, "{machine}");
            Identity::generate(&names).unwrap();
        }
    }

    #[test]
    fn the_default_follows_the_environment() {
        let of = |state: Option<&str>, home: Option<&str>| {
            let (state, home) = (state.map(OsString::from), home.map(OsString::from));
            default_path(false, move |name| match name {
                "XDG_STATE_HOME" => state.clone(),
                _ => home.clone(),
            })
        };
        let path = |text: &str| Some(PathBuf::from(text));
        assert_eq!(of(Some("/s"), Some("/h")), path("/s/mini-ftp"));
        assert_eq!(of(None, Some("/h")), path("/h/.local/state/mini-ftp"));
        assert_eq!(
            of(Some("relative"), Some("/h")),
            path("/h/.local/state/mini-ftp")
        );
        assert_eq!(of(Some(""), None), None);
        assert_eq!(
            default_path(true, |_| Some("/h".into())),
            path("/var/lib/mini-ftp")
        );
    }
}
