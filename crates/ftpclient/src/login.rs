//! Who the person is: a name, and a password from a file, the environment, `.netrc` or the terminal, in this order. It is
//! never a word of the command line, and never shown.

use std::env;
use std::fmt;
use std::fs::{File, Metadata};
use std::io::{self, IsTerminal, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use client::{ClientError, ClientErrorKind, Credentials, Target};
use protocol::Secretive;
use protocol::limits::MAX_TEXT;

use crate::interrupt::Watch;
use crate::netrc;

/// Holds a password, for scripts.
const VARIABLE: &str = "FTPCLIENT_PASSWORD";

/// Longest `.netrc`, bytes.
const LONGEST_NETRC: u64 = 1024 * 1024;

/// The name and, once it was needed, the password.
pub(crate) struct Login {
    user: String,
    file: Option<PathBuf>,
    watch: Watch,
    /// What was read or asked: tickets are renewed without asking again.
    known: Mutex<Option<Secretive>>,
}

impl Login {
    pub(crate) fn new(user: String, file: Option<PathBuf>, watch: Watch) -> Self {
        Self {
            user,
            file,
            watch,
            known: Mutex::default(),
        }
    }

    /// The password that counts wherever the person wants to log in.
    fn given(&self) -> Result<Option<Secretive>, ClientError> {
        if let Some(file) = &self.file {
            return from_file(file).map(Some);
        }
        let variable = env::var_os(VARIABLE).filter(|password| !password.is_empty());
        variable
            .map(|password| secretive(&password.into_vec()))
            .transpose()
    }

    /// The password for that host alone.
    fn looked_up(&self, target: &Target) -> Result<Option<Secretive>, ClientError> {
        let Some(path) = env::home_dir().map(|home| home.join(".netrc")) else {
            return Ok(None);
        };
        let found = from_netrc(&path, &target.host, &self.user)?;
        found.map(|password| secretive(&password)).transpose()
    }

    fn ask(&self, target: &Target) -> Result<Secretive, ClientError> {
        if !io::stdin().is_terminal() {
            return Err(needed(format!(
                "login required: no password for '{}', and no terminal to ask at; use --password-file FILE",
                cli::text(&self.user)
            )));
        }
        let prompt = format!("Password for {} at {target}: ", self.user);
        match self.watch.while_waiting(|| cli::ask_password(&prompt)) {
            Ok(password) => secretive(&password),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(ClientError::new(
                ClientErrorKind::Interrupted,
                "interrupted",
            )),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(needed("login required: no password was typed".to_owned()))
            }
            Err(error) => {
                let error = ClientError::from(error);
                Err(needed(format!(
                    "login required: cannot ask for the password: {error}"
                )))
            }
        }
    }
}

impl Credentials for Login {
    fn user(&self) -> &str {
        &self.user
    }

    fn password(&self, target: &Target) -> client::Result<Secretive> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(password) = &*known {
            return Ok(password.clone());
        }
        let password = match self.given()? {
            Some(password) => password,
            // Not remembered: it must not be said to another host.
            None => match self.looked_up(target)? {
                Some(password) => return Ok(password),
                None => self.ask(target)?,
            },
        };
        *known = Some(password.clone());
        Ok(password)
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Login({:?})", self.user)
    }
}

fn needed(sentence: String) -> ClientError {
    ClientError::new(ClientErrorKind::Login, sentence)
}

fn secretive(password: &[u8]) -> Result<Secretive, ClientError> {
    let some = Some(password).filter(|password| !password.is_empty());
    some.and_then(Secretive::new).ok_or_else(|| {
        needed(format!(
            "login required: a password has 1 to {MAX_TEXT} bytes"
        ))
    })
}

fn from_file(path: &Path) -> Result<Secretive, ClientError> {
    let (mut file, facts) = open(path).map_err(|error| unreadable(path, error))?;
    check_private(path, &facts)?;
    let password = cli::read_password(&mut file).map_err(|error| unreadable(path, error))?;
    secretive(&password)
}

/// The password for the user at the host; `None` where the file does not tell one.
fn from_netrc(path: &Path, host: &str, user: &str) -> Result<Option<Vec<u8>>, ClientError> {
    let (file, facts) = match open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(|error| unreadable(path, error))?,
    };
    let mut content = Vec::new();
    file.take(LONGEST_NETRC)
        .read_to_end(&mut content)
        .map_err(|error| unreadable(path, error))?;
    let found = netrc::find(&content, host.as_bytes(), user.as_bytes());
    if found.is_some() {
        check_private(path, &facts)?;
    }
    Ok(found)
}

fn open(path: &Path) -> io::Result<(File, Metadata)> {
    let file = File::open(path)?;
    let facts = file.metadata()?;
    Ok((file, facts))
}

/// A password that others can read is none.
fn check_private(path: &Path, facts: &Metadata) -> Result<(), ClientError> {
    let shown = cli::name(path.as_os_str().as_bytes());
    let us = rustix::process::geteuid();
    if facts.uid() != us.as_raw() && facts.uid() != 0 && !us.is_root() {
        return Err(needed(format!(
            "login required: '{shown}' belongs to another user"
        )));
    }
    if facts.mode() & 0o077 != 0 {
        return Err(needed(format!(
            "login required: '{shown}' holds a password but is open to others; mend it with: chmod 600 '{shown}'"
        )));
    }
    Ok(())
}

fn unreadable(path: &Path, error: io::Error) -> ClientError {
    let error = ClientError::from(error);
    needed(format!(
        "login required: cannot read '{}': {error}",
        cli::name(path.as_os_str().as_bytes())
    ))
}
