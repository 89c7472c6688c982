//! What can go wrong in a storage, and the one place where system errors become the protocol's error codes.

use std::io;

use protocol::{ErrorCode, RemotePath};
use rustix::io::Errno;
use thiserror::Error;

/// The result of an operation on a storage.
pub type Result<T> = std::result::Result<T, StorageError>;

/// An operation that failed. A peer hears [`code`](Self::code) alone; the rest is for the log.
#[derive(Debug, Error)]
#[error("cannot {operation} {path:?}: {code}")]
pub struct StorageError {
    operation: &'static str,
    path: RemotePath,
    code: ErrorCode,
    room: Option<Room>,
    source: Option<io::Error>,
}

/// What a quota leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Bytes that may still be stored.
    pub left: u64,
    /// Bytes that may be stored in all.
    pub limit: u64,
}

impl StorageError {
    /// An operation that the storage itself refused.
    #[must_use]
    pub fn new(operation: &'static str, path: &RemotePath, code: ErrorCode) -> Self {
        Self {
            operation,
            path: path.clone(),
            code,
            room: None,
            source: None,
        }
    }

    /// An operation that the system refused.
    #[must_use]
    pub fn system(operation: &'static str, path: &RemotePath, cause: io::Error) -> Self {
        Self {
            operation,
            path: path.clone(),
            code: code_of(&cause),
            room: None,
            source: Some(cause),
        }
    }

    /// The same failure under a code that fits the operation better than the general one.
    #[must_use]
    pub(crate) fn with_code(mut self, code: ErrorCode) -> Self {
        self.code = code;
        self
    }

    /// Why, in the protocol's words.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        self.code
    }

    /// What is left, where a quota is why.
    #[must_use]
    pub fn room(&self) -> Option<Room> {
        self.room
    }

    /// What was being done: a verb, as in "cannot open".
    #[must_use]
    pub fn operation(&self) -> &'static str {
        self.operation
    }

    /// What it was done to.
    #[must_use]
    pub fn path(&self) -> &RemotePath {
        &self.path
    }
}

/// Ties the errors of a system call to the operation and path it was made for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Context<'a> {
    pub(crate) operation: &'static str,
    pub(crate) path: &'a RemotePath,
}

impl<'a> Context<'a> {
    pub(crate) fn new(operation: &'static str, path: &'a RemotePath) -> Self {
        Self { operation, path }
    }

    /// For `map_err` on system calls.
    pub(crate) fn system(self) -> impl Fn(Errno) -> StorageError + 'a {
        move |errno| StorageError::system(self.operation, self.path, errno.into())
    }

    /// For `map_err` on the standard library's calls.
    pub(crate) fn io(self) -> impl Fn(io::Error) -> StorageError + 'a {
        move |error| StorageError::system(self.operation, self.path, error)
    }

    /// The same for calls that give a file a name in another folder, where `EXDEV` tells of no link.
    pub(crate) fn naming(self) -> impl Fn(io::Error) -> StorageError + 'a {
        move |error| {
            let is_elsewhere = Errno::from_io_error(&error) == Some(Errno::XDEV);
            let error = self.io()(error);
            match is_elsewhere {
                true => error.with_code(ErrorCode::BadRename),
                false => error,
            }
        }
    }

    pub(crate) fn refuse(self, code: ErrorCode) -> StorageError {
        StorageError::new(self.operation, self.path, code)
    }

    /// Refuses for the reason for which something else was refused with it.
    pub(crate) fn refuse_as(self, other: &StorageError) -> StorageError {
        StorageError {
            room: other.room,
            ..self.refuse(other.code)
        }
    }

    /// Refuses what a quota leaves no room for.
    pub(crate) fn exceeded(self, room: Room) -> StorageError {
        StorageError {
            room: Some(room),
            ..self.refuse(ErrorCode::QuotaExceeded)
        }
    }
}

/// What a system error means to a client. Operations where a number means something else say so with
/// [`StorageError::with_code`].
fn code_of(error: &io::Error) -> ErrorCode {
    let Some(errno) = Errno::from_io_error(error) else {
        return ErrorCode::Internal;
    };
    match errno {
        Errno::NOENT => ErrorCode::NotFound,
        Errno::NOTDIR => ErrorCode::NotDirectory,
        Errno::ISDIR => ErrorCode::IsDirectory,
        Errno::ACCESS | Errno::PERM | Errno::TXTBSY | Errno::BUSY => ErrorCode::NotPermitted,
        Errno::ROFS => ErrorCode::ReadOnly,
        Errno::EXIST => ErrorCode::Exists,
        Errno::NOTEMPTY => ErrorCode::NotEmpty,
        Errno::NAMETOOLONG => ErrorCode::NameTooLong,
        // EAGAIN: openat2 could not prove that a path being renamed meanwhile stays beneath the root.
        Errno::LOOP | Errno::XDEV | Errno::AGAIN => ErrorCode::BadLink,
        Errno::NOSPC | Errno::DQUOT | Errno::MLINK => ErrorCode::NoSpace,
        Errno::FBIG | Errno::OVERFLOW => ErrorCode::TooLarge,
        // Names that the file system itself cannot hold, as `a:b` on FAT.
        Errno::INVAL | Errno::ILSEQ => ErrorCode::BadName,
        Errno::NXIO | Errno::NODEV => ErrorCode::NotRegular,
        Errno::STALE => ErrorCode::Changed,
        Errno::MFILE | Errno::NFILE | Errno::NOMEM => ErrorCode::Busy,
        Errno::TIMEDOUT => ErrorCode::Timeout,
        _ => ErrorCode::Internal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn system_errors_have_the_protocol_words() {
        for (errno, code) in [
            (Errno::NOENT, ErrorCode::NotFound),
            (Errno::ACCESS, ErrorCode::NotPermitted),
            (Errno::DQUOT, ErrorCode::NoSpace),
            (Errno::XDEV, ErrorCode::BadLink),
            (Errno::IO, ErrorCode::Internal),
        ] {
            assert_eq!(code_of(&errno.into()), code);
        }
        assert_eq!(code_of(&io::Error::other("odd")), ErrorCode::Internal);
    }

    #[test]
    fn the_message_names_operation_path_and_cause() {
        let path = RemotePath::try_from("/a").unwrap();
        let error = StorageError::system("open", &path, Errno::NOENT.into());
        assert_eq!(
            error.to_string(),
            "cannot open \"/a\": no such file or folder"
        );
        assert_eq!(error.operation(), "open");
    }
}
