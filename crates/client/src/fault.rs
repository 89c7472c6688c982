//! What an attempt on one slave can end with, so that one place decides whether another slave may help.

use std::error::Error;
use std::fmt;
use std::io;

use protocol::{ConnectionError, DecodeError, ErrorCode, PathError, Text};
use transfer::TransferError;

use crate::error::plain;
use crate::{ClientError, ClientErrorKind};

/// Why an attempt ended.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The connection is of no use any more; another slave can carry on.
    Lost(String),
    /// The slave does not serve this client now: busy, shutting down, or it wants another ticket.
    Refused(ErrorCode),
    /// No other slave would do better.
    Failed(ClientError),
}

/// What an attempt gives back.
pub(crate) type Attempt<T> = Result<T, Fault>;

/// What [`Patient`](crate::patient::Patient) puts into an [`io::Error`] when it gives up waiting.
#[derive(Debug)]
pub(crate) enum Halt {
    Interrupted,
    Lost(String),
}

impl Fault {
    /// The peer said something that makes no sense here.
    pub(crate) fn nonsense(what: &str) -> Self {
        Self::Lost(format!("protocol error: {what}"))
    }

    /// The slave's file is damaged on its disk: another one of its master may know better.
    pub(crate) fn contradicted() -> Self {
        Self::Lost("its file is not what the digest kept with it says".to_owned())
    }

    /// For people: why the slave is given up.
    pub(crate) fn cause(&self) -> String {
        match self {
            Self::Lost(cause) => cause.clone(),
            Self::Refused(code) => code.sentence().to_owned(),
            Self::Failed(error) => error.to_string(),
        }
    }

    /// The kind of the error that remains when no other slave is left to try.
    pub(crate) const fn error_kind(&self) -> ClientErrorKind {
        match self {
            Self::Refused(ErrorCode::Busy) => ClientErrorKind::Busy,
            Self::Refused(ErrorCode::LoginRequired) => ClientErrorKind::Login,
            Self::Refused(ErrorCode::LoginRefused | ErrorCode::TicketExpired) => {
                ClientErrorKind::LoginRefused
            }
            Self::Lost(_) | Self::Refused(_) => ClientErrorKind::NoConnection,
            Self::Failed(error) => error.kind(),
        }
    }

    /// Whether it ends what is done through other slaves beside this one, too: it is about this machine or the user's wish, or
    /// somebody is in between.
    pub(crate) const fn ends_all(&self) -> bool {
        let Self::Failed(error) = self else {
            return false;
        };
        matches!(
            error.kind(),
            ClientErrorKind::Local(_) | ClientErrorKind::Interrupted | ClientErrorKind::Identity
        )
    }

    /// The error that remains when no other slave is left to try.
    pub(crate) fn into_error(self) -> ClientError {
        match self {
            Self::Failed(error) => error,
            other => ClientError::new(other.error_kind(), other.cause()),
        }
    }
}

impl From<ClientError> for Fault {
    fn from(error: ClientError) -> Self {
        Self::Failed(error)
    }
}

/// The slave's closing word on a request.
impl From<ErrorCode> for Fault {
    fn from(code: ErrorCode) -> Self {
        match code {
            ErrorCode::Busy
            | ErrorCode::Draining
            | ErrorCode::LoginRequired
            | ErrorCode::LoginRefused
            | ErrorCode::TicketExpired => Self::Refused(code),
            ErrorCode::Timeout | ErrorCode::Protocol => Self::Lost(code.sentence().to_owned()),
            other => Self::Failed(other.into()),
        }
    }
}

impl Fault {
    /// The slave's closing word on a request, with what it says beside the code.
    pub(crate) fn answered(code: ErrorCode, detail: &Text) -> Self {
        match Self::from(code) {
            Self::Failed(_) => Self::Failed(ClientError::answered(code, detail)),
            other => other,
        }
    }
}

impl From<ConnectionError> for Fault {
    fn from(error: ConnectionError) -> Self {
        match error {
            ConnectionError::Io(error) => Self::from_socket(&error),
            ConnectionError::Closed => Self::Lost("connection closed".to_owned()),
            other => Self::Lost(other.to_string()),
        }
    }
}

impl From<TransferError> for Fault {
    fn from(error: TransferError) -> Self {
        match error {
            TransferError::Local(error) => Self::Failed(error.into()),
            TransferError::Peer(error) => error.into(),
        }
    }
}

impl From<DecodeError> for Fault {
    fn from(error: DecodeError) -> Self {
        Self::Lost(format!("protocol error: {error}"))
    }
}

/// A path too long to be sent.
impl From<PathError> for ClientError {
    fn from(error: PathError) -> Self {
        let code = match error {
            PathError::TooLong | PathError::NameTooLong => ErrorCode::NameTooLong,
            PathError::NotAbsolute | PathError::Nul | PathError::NotNormal => ErrorCode::BadName,
        };
        code.into()
    }
}

impl Fault {
    /// What a failed read or write on a socket means.
    pub(crate) fn from_socket(error: &io::Error) -> Self {
        match error.get_ref().and_then(|inner| inner.downcast_ref()) {
            Some(Halt::Interrupted) => Self::Failed(ClientError::interrupted()),
            Some(Halt::Lost(cause)) => Self::Lost(cause.clone()),
            None => Self::Lost(match error.kind() {
                io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
                io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                    "connection lost".to_owned()
                }
                io::ErrorKind::TimedOut => "timed out".to_owned(),
                // Within TLS: an end that the peer did not announce.
                io::ErrorKind::UnexpectedEof => "connection closed".to_owned(),
                _ => plain(error),
            }),
        }
    }
}

impl fmt::Display for Halt {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Interrupted => formatter.write_str("interrupted"),
            Self::Lost(cause) => formatter.write_str(cause),
        }
    }
}

impl Error for Halt {}

impl From<Halt> for io::Error {
    fn from(halt: Halt) -> Self {
        Self::other(halt)
    }
}
