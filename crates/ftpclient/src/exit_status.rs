//! What the program tells the shell: the vocabulary of statuses, and which failure is which.

use std::process::ExitCode;

use protocol::ErrorCode;

use client::ClientErrorKind;

/// How a command, and in the end the run, came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExitStatus {
    /// Everything asked for was done.
    Done,
    /// A command failed.
    Failed,
    /// The command line or a command makes no sense.
    Usage,
    /// No connection: no such host, refused, timed out, no slave is up, or all are busy.
    NoConnection,
    /// A login is needed or was refused, or the server is not the known one.
    Login,
    /// The content could not be verified.
    NotVerified,
    /// SIGINT or SIGTERM. One status for both, as rsync has it: what a script does about it is the same.
    Interrupted,
}

impl ExitStatus {
    /// The number that the shell sees.
    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::NoConnection => 3,
            Self::Login => 4,
            Self::NotVerified => 5,
            Self::Interrupted => 130,
        }
    }

    /// Whether to go on with a command's other arguments makes no sense after this.
    pub(crate) const fn ends_the_command(self) -> bool {
        matches!(self, Self::NoConnection | Self::Login | Self::Interrupted)
    }
}

impl From<ExitStatus> for ExitCode {
    fn from(status: ExitStatus) -> Self {
        status.number().into()
    }
}

impl From<ClientErrorKind> for ExitStatus {
    fn from(kind: ClientErrorKind) -> Self {
        match kind {
            ClientErrorKind::NoConnection | ClientErrorKind::Busy => Self::NoConnection,
            ClientErrorKind::Login
            | ClientErrorKind::LoginRefused
            | ClientErrorKind::Insecure
            | ClientErrorKind::Identity => Self::Login,
            ClientErrorKind::NotVerified => Self::NotVerified,
            ClientErrorKind::Interrupted => Self::Interrupted,
            ClientErrorKind::Usage => Self::Usage,
            ClientErrorKind::Remote(code) => Self::from(code),
            _ => Self::Failed,
        }
    }
}

impl From<ErrorCode> for ExitStatus {
    fn from(code: ErrorCode) -> Self {
        match code {
            ErrorCode::Busy
            | ErrorCode::Draining
            | ErrorCode::NoSlave
            | ErrorCode::Timeout
            | ErrorCode::TlsRequired => Self::NoConnection,
            ErrorCode::LoginRequired | ErrorCode::LoginRefused | ErrorCode::TicketExpired => {
                Self::Login
            }
            ErrorCode::Corrupt => Self::NotVerified,
            _ => Self::Failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_failure_has_its_number() {
        for (kind, number) in [
            (ClientErrorKind::Remote(ErrorCode::NotFound), 1),
            (ClientErrorKind::Remote(ErrorCode::Exists), 1),
            (ClientErrorKind::Remote(ErrorCode::NotPermitted), 1),
            (ClientErrorKind::Remote(ErrorCode::NoSpace), 1),
            (ClientErrorKind::Usage, 2),
            (ClientErrorKind::NoConnection, 3),
            (ClientErrorKind::Busy, 3),
            (ClientErrorKind::Remote(ErrorCode::NoSlave), 3),
            (ClientErrorKind::Login, 4),
            (ClientErrorKind::LoginRefused, 4),
            (ClientErrorKind::Insecure, 4),
            (ClientErrorKind::Identity, 4),
            (ClientErrorKind::Remote(ErrorCode::LoginRequired), 4),
            (ClientErrorKind::NotVerified, 5),
            (ClientErrorKind::Remote(ErrorCode::Corrupt), 5),
            (ClientErrorKind::Interrupted, 130),
        ] {
            assert_eq!(ExitStatus::from(kind).number(), number, "{kind:?}");
        }
    }
}
