//! The words for failure: the only ones on the wire, and what each means to the client.

use std::fmt;

macro_rules! error_codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $word:literal, $sentence:literal;)*) => {
        /// Why a request was not carried out.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ErrorCode {
            $($(#[$doc])* $name,)*
        }

        impl ErrorCode {
            /// Every code, in the order of their numbers.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The number on the wire.
            #[must_use]
            pub const fn number(self) -> u16 {
                match self { $(Self::$name => $code,)* }
            }

            /// The code of that number; [`ErrorCode::Internal`] for numbers that a later version added.
            #[must_use]
            pub const fn from_number(number: u16) -> Self {
                match number { $($code => Self::$name,)* _ => Self::Internal }
            }

            /// The name that scripts see.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }

            /// What a person reads after `cannot get '/a.bin': `.
            #[must_use]
            pub const fn sentence(self) -> &'static str {
                match self { $(Self::$name => $sentence,)* }
            }
        }
    };
}

error_codes! {
    /// Something failed in the server that the client cannot mend; the server's log has the cause.
    Internal = 1, "internal", "the server failed";
    /// The request breaks the protocol; the connection closes after it.
    Protocol = 2, "protocol", "protocol error";
    /// A request of a kind that this server does not know or this role does not serve.
    Unsupported = 3, "unsupported", "not supported by this server";
    /// No place is free; another slave, or later, may serve.
    Busy = 4, "busy", "the server is busy";
    /// The server is shutting down; another slave serves.
    Draining = 5, "draining", "the server is shutting down";
    /// No slave is up.
    NoSlave = 6, "no-slave", "no slave is up";
    /// A ticket or login must come first.
    LoginRequired = 7, "login-required", "login required";
    /// The login, ticket or proof was refused.
    LoginRefused = 8, "login-refused", "login refused";
    /// The ticket's life is over; the master gives a new one.
    TicketExpired = 9, "ticket-expired", "the ticket has expired";
    /// The peer took too long.
    Timeout = 10, "timeout", "timed out";
    /// The server talks to this peer over TLS alone; the connection closes after it.
    TlsRequired = 11, "tls-required", "the server demands TLS";
    /// Nothing has that name.
    NotFound = 20, "not-found", "no such file or folder";
    /// A folder, where a file is meant.
    IsDirectory = 21, "is-directory", "is a directory";
    /// Not a folder, where one is meant.
    NotDirectory = 22, "not-directory", "not a directory";
    /// Neither a file nor a folder: a device, a pipe, a socket.
    NotRegular = 23, "not-regular", "not a regular file";
    /// The account or the file system does not allow it.
    NotPermitted = 24, "not-permitted", "permission denied";
    /// The storage is read-only.
    ReadOnly = 25, "read-only", "the storage is read-only";
    /// The name is taken.
    Exists = 26, "exists", "exists";
    /// The folder holds something.
    NotEmpty = 27, "not-empty", "directory not empty";
    /// A name or path is longer than the storage takes.
    NameTooLong = 28, "name-too-long", "name too long";
    /// A symbolic link leads out of the root, or in circles.
    BadLink = 29, "bad-link", "a symbolic link leads out of the served folder or in circles";
    /// The name is reserved, or is none that the storage can hold.
    BadName = 30, "bad-name", "name not allowed";
    /// The storage is full.
    NoSpace = 31, "no-space", "no space left on the server";
    /// The account's quota is used up.
    QuotaExceeded = 32, "quota-exceeded", "quota exceeded";
    /// The file is larger than the storage takes.
    TooLarge = 33, "too-large", "file too large";
    /// The file is another version than the one asked for, or changed while it was read.
    Changed = 34, "changed", "the file changed meanwhile";
    /// The content's digest is not the one announced.
    Corrupt = 35, "corrupt", "the content does not match its digest";
    /// The rename would cross storages, or put a folder beneath itself.
    BadRename = 36, "bad-rename", "cannot be moved there";
    /// The upload was taken over by another writer.
    Superseded = 37, "superseded", "another writer took this upload over";
    /// This slave serves another storage than the master's other slaves.
    WrongStorage = 50, "wrong-storage", "the slave serves another storage";
    /// Another slave with this identity is registered and alive.
    DuplicateSlave = 51, "duplicate-slave", "a slave with this identity is registered already";
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.sentence())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_words_are_unique_and_round_trip() {
        for (index, code) in ErrorCode::ALL.iter().enumerate() {
            assert_eq!(ErrorCode::from_number(code.number()), *code);
            assert!(
                ErrorCode::ALL
                    .iter()
                    .skip(index + 1)
                    .all(|other| other.word() != code.word())
            );
        }
    }

    #[test]
    fn a_code_of_a_later_version_is_an_internal_error() {
        assert_eq!(ErrorCode::from_number(60_000), ErrorCode::Internal);
    }
}
