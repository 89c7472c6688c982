//! What went wrong, for callers: a kind to branch on, a word for scripts, a sentence for people.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use protocol::{ErrorCode, Text};
use thiserror::Error;

/// Why an operation failed. Displayed as the cause alone (`no such file or folder`): what was tried, and on what, is the
/// caller's to say.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{sentence}")]
pub struct ClientError {
    kind: ClientErrorKind,
    sentence: String,
}

/// What callers branch on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ClientErrorKind {
    /// A condition that the protocol has a word for, found by the slave or by this side.
    Remote(ErrorCode),
    /// The local file system said no.
    Local(io::ErrorKind),
    /// Nobody serves: no such host, refused, timed out, no slave is up, or all were lost.
    NoConnection,
    /// Every slave is busy.
    Busy,
    /// A login is needed.
    Login,
    /// A login was refused, or a ticket that followed from one.
    LoginRefused,
    /// A password would have to cross a network in the clear.
    Insecure,
    /// The server's identity is not the known one.
    Identity,
    /// What arrived is not what was sent, and trying again did not help.
    NotVerified,
    /// The interrupt flag was set.
    Interrupted,
    /// The operation makes no sense as asked.
    Usage,
    /// The host is a standalone slave, which knows of no others.
    NotAMaster,
}

impl ClientError {
    /// An error of that kind, with the sentence a person reads.
    #[must_use]
    pub fn new(kind: ClientErrorKind, sentence: impl Into<String>) -> Self {
        Self {
            kind,
            sentence: sentence.into(),
        }
    }

    /// What callers branch on.
    #[must_use]
    pub const fn kind(&self) -> ClientErrorKind {
        self.kind
    }

    /// The name that scripts see: the protocol's own where it has one.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self.kind {
            ClientErrorKind::Remote(code) => code.word(),
            ClientErrorKind::Local(kind) => local_word(kind),
            ClientErrorKind::NoConnection => "no-connection",
            ClientErrorKind::Busy => ErrorCode::Busy.word(),
            ClientErrorKind::Login => ErrorCode::LoginRequired.word(),
            ClientErrorKind::LoginRefused => ErrorCode::LoginRefused.word(),
            ClientErrorKind::Insecure => "insecure",
            ClientErrorKind::Identity => "identity",
            ClientErrorKind::NotVerified => "not-verified",
            ClientErrorKind::Interrupted => "interrupted",
            ClientErrorKind::Usage => "usage",
            ClientErrorKind::NotAMaster => "not-a-master",
        }
    }

    /// Whether another try, or waiting, may help: nobody serves now.
    pub(crate) const fn is_absence(&self) -> bool {
        matches!(
            self.kind,
            ClientErrorKind::NoConnection | ClientErrorKind::Busy
        )
    }

    pub(crate) fn is(&self, code: ErrorCode) -> bool {
        self.kind == ClientErrorKind::Remote(code)
    }

    /// Whether it is about who the user is.
    pub(crate) const fn is_about_login(&self) -> bool {
        matches!(
            self.kind,
            ClientErrorKind::Login | ClientErrorKind::LoginRefused | ClientErrorKind::Insecure
        )
    }

    /// Whether a slave says it of a name.
    pub(crate) const fn is_about_names(&self) -> bool {
        matches!(
            self.kind,
            ClientErrorKind::Remote(
                ErrorCode::NotFound
                    | ErrorCode::NotDirectory
                    | ErrorCode::NotPermitted
                    | ErrorCode::BadLink
                    | ErrorCode::BadName
            )
        )
    }

    /// Whether the slave is fine, and only what it was asked for is not.
    pub(crate) const fn is_remote(&self) -> bool {
        matches!(self.kind, ClientErrorKind::Remote(_))
    }

    pub(crate) fn interrupted() -> Self {
        Self::new(ClientErrorKind::Interrupted, "interrupted")
    }

    pub(crate) fn not_verified() -> Self {
        Self::new(
            ClientErrorKind::NotVerified,
            "the content could not be verified",
        )
    }

    /// For a content that is the slave's, byte by byte, and not what was stored.
    pub(crate) fn contradicted() -> Self {
        Self::new(
            ClientErrorKind::NotVerified,
            "the slave's file is not what the digest kept with it says: damaged, or changed without its time \
             (--no-verify takes it as it is)",
        )
    }
}

impl ClientError {
    /// What a slave has answered. Its own words are shown where they say how much of a quota is left, unless they are none
    /// that a terminal may show as they are.
    pub(crate) fn answered(code: ErrorCode, detail: &Text) -> Self {
        let error = Self::from(code);
        let detail = detail.as_str();
        let is_plain = |byte: u8| byte.is_ascii_graphic() || byte == b' ';
        if code == ErrorCode::QuotaExceeded && !detail.is_empty() && detail.bytes().all(is_plain) {
            return Self::new(error.kind, format!("{error}: {detail}"));
        }
        error
    }
}

impl From<ErrorCode> for ClientError {
    fn from(code: ErrorCode) -> Self {
        let kind = match code {
            ErrorCode::LoginRequired => ClientErrorKind::Login,
            ErrorCode::LoginRefused => ClientErrorKind::LoginRefused,
            other => ClientErrorKind::Remote(other),
        };
        Self::new(kind, code.sentence())
    }
}

/// For failures of the local file system; those of sockets never come this way.
impl From<io::Error> for ClientError {
    fn from(error: io::Error) -> Self {
        let sentence = match error.kind() {
            io::ErrorKind::NotFound => "no such file or folder".to_owned(),
            io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
            io::ErrorKind::AlreadyExists => "exists".to_owned(),
            io::ErrorKind::StorageFull => "no space left on this disk".to_owned(),
            io::ErrorKind::QuotaExceeded => "disk quota exceeded on this side".to_owned(),
            io::ErrorKind::IsADirectory => "is a directory".to_owned(),
            io::ErrorKind::NotADirectory => "not a directory".to_owned(),
            io::ErrorKind::InvalidFilename => "name too long".to_owned(),
            io::ErrorKind::ReadOnlyFilesystem => "the local file system is read-only".to_owned(),
            io::ErrorKind::FileTooLarge => "file too large".to_owned(),
            _ => plain(&error),
        };
        Self::new(ClientErrorKind::Local(error.kind()), sentence)
    }
}

impl From<rustix::io::Errno> for ClientError {
    fn from(error: rustix::io::Errno) -> Self {
        io::Error::from(error).into()
    }
}

/// What `work` gives, or an error where it panics: others wait for a thread's word, and would do so for ever.
pub(crate) fn unless_broken<T, E: From<ClientError>>(
    work: impl FnOnce() -> Result<T, E>,
) -> Result<T, E> {
    let broken = || ClientError::from(io::Error::other("a part of this program broke"));
    // Nothing of what it held is looked at afterwards, but for locks, which every change leaves sound.
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(broken().into()))
}

/// The system's words without the number behind them, in lower case as all our sentences.
pub(crate) fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    let words = text.split(" (os error").next().unwrap_or_default();
    let mut characters = words.chars();
    match (characters.next(), characters.clone().next()) {
        (Some(first), Some(second)) if second.is_lowercase() || second == ' ' => {
            first.to_lowercase().chain(characters).collect()
        }
        _ => words.to_owned(),
    }
}

const fn local_word(kind: io::ErrorKind) -> &'static str {
    match kind {
        io::ErrorKind::NotFound => ErrorCode::NotFound.word(),
        io::ErrorKind::PermissionDenied => ErrorCode::NotPermitted.word(),
        io::ErrorKind::AlreadyExists => ErrorCode::Exists.word(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorCode::NoSpace.word(),
        io::ErrorKind::IsADirectory => ErrorCode::IsDirectory.word(),
        io::ErrorKind::NotADirectory => ErrorCode::NotDirectory.word(),
        io::ErrorKind::NotSeekable => ErrorCode::NotRegular.word(),
        io::ErrorKind::InvalidFilename => ErrorCode::NameTooLong.word(),
        io::ErrorKind::ReadOnlyFilesystem => ErrorCode::ReadOnly.word(),
        io::ErrorKind::FileTooLarge => ErrorCode::TooLarge.word(),
        _ => "local",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn system_errors_read_like_our_own() {
        for (number, sentence, word) in [
            (
                rustix::io::Errno::NOENT,
                "no such file or folder",
                "not-found",
            ),
            (
                rustix::io::Errno::NOSPC,
                "no space left on this disk",
                "no-space",
            ),
            (rustix::io::Errno::IO, "input/output error", "local"),
            (
                rustix::io::Errno::LOOP,
                "too many levels of symbolic links",
                "local",
            ),
        ] {
            let error = ClientError::from(number);
            assert_eq!((error.to_string().as_str(), error.word()), (sentence, word));
        }
    }

    #[test]
    fn a_refused_login_is_told_apart() {
        assert_eq!(
            ClientError::from(ErrorCode::LoginRefused).word(),
            "login-refused"
        );
        assert!(ClientError::from(ErrorCode::NotFound).is(ErrorCode::NotFound));
    }

    #[test]
    fn what_a_quota_leaves_is_told_and_nothing_else_that_a_slave_says() {
        let told = |code, detail| ClientError::answered(code, &Text::new(detail)).to_string();
        let left = "1.5 KiB of 1.0 GiB left";
        assert_eq!(
            told(ErrorCode::QuotaExceeded, left),
            "quota exceeded: 1.5 KiB of 1.0 GiB left"
        );
        for hostile in ["", "\u{1b}[2J", "a\nb", "ü"] {
            assert_eq!(told(ErrorCode::QuotaExceeded, hostile), "quota exceeded");
        }
        assert_eq!(told(ErrorCode::NotFound, left), "no such file or folder");
    }

    #[test]
    fn a_panic_is_an_error() {
        assert_eq!(unless_broken(|| Ok::<_, ClientError>(1)), Ok(1));
        let error = unless_broken::<(), ClientError>(|| panic!("broken")).unwrap_err();
        assert_eq!(error.kind(), ClientErrorKind::Local(io::ErrorKind::Other));
    }
}
