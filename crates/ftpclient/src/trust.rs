//! By what servers are known: the file in which they are remembered, and the authorities that the person named.

use std::env;
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use auth::PinFile;
use auth::tls::{Roots, TlsError};
use cli::TlsUse;
use client::{ClientError, ClientErrorKind, Encryption, Trust};

use crate::failure::{Failure, cannot};

/// Where servers are remembered, below the person's place for data.
const FILE: &str = "mini-ftp/known_masters";

/// What the word on the command line comes to.
pub(crate) const fn encryption(word: TlsUse) -> Encryption {
    match word {
        TlsUse::Always => Encryption::Always,
        TlsUse::Auto => Encryption::Auto,
        TlsUse::Never => Encryption::Never,
    }
}

/// What counts for this person; with `authority`, the word of those in that file, too.
pub(crate) fn trust(authority: Option<&Path>) -> Result<Trust, Failure> {
    let read = |path: &Path| {
        let tried = cannot("use --ca", path.as_os_str().as_bytes());
        Roots::read(path).map_err(|error| Failure::of(tried)(explain(error)))
    };
    Ok(Trust {
        pins: place(env::var_os).map(|path| Arc::new(PinFile::at(path))),
        authorities: authority.map(read).transpose()?,
    })
}

/// The file, from the environment; relative paths there count as unset (XDG base directory specification).
fn place(variable: impl Fn(&'static str) -> Option<OsString>) -> Option<PathBuf> {
    let absolute = |name| {
        let path = variable(name).map(PathBuf::from);
        path.filter(|path| path.is_absolute())
    };
    absolute("XDG_DATA_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/share")))
        .map(|place| place.join(FILE))
}

/// The file has been named before.
fn explain(error: TlsError) -> ClientError {
    match error {
        TlsError::Read { source, .. } => source.into(),
        error => ClientError::new(
            ClientErrorKind::Local(io::ErrorKind::InvalidData),
            error.to_string(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_remembered_where_the_environment_says() {
        let of = |data: Option<&str>, home: Option<&str>| {
            let (data, home) = (data.map(OsString::from), home.map(OsString::from));
            let place = place(move |name| match name {
                "XDG_DATA_HOME" => data.clone(),
                _ => home.clone(),
            });
            place.map(|path| path.to_str().unwrap().to_owned())
        };
        let at_home = Some("/h/.local/share/mini-ftp/known_masters".to_owned());
        let elsewhere = Some("/d/mini-ftp/known_masters".to_owned());
        assert_eq!(of(Some("/d"), Some("/h")), elsewhere);
        assert_eq!(of(None, Some("/h")), at_home);
        assert_eq!(of(Some("relative"), Some("/h")), at_home);
        assert_eq!(of(Some(""), None), None);
    }
}
