//! Why bytes from the peer are no message.

use std::io;

use thiserror::Error;

use crate::PathError;

/// Bytes that break the protocol.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The bytes end before the message does.
    #[error("message cut short")]
    Truncated,
    /// Bytes are left behind the last field that are no optional field.
    #[error("bytes left over behind the message")]
    TrailingBytes,
    /// A header, control payload or preface does not match its checksum.
    #[error("checksum mismatch")]
    Checksum,
    /// The peer's first bytes are not this protocol's.
    #[error("the peer does not speak this protocol")]
    Magic,
    /// A frame is longer than its kind may be.
    #[error("frame of {length} bytes is longer than {limit}")]
    FrameTooLong {
        /// What the header announced, bytes.
        length: u32,
        /// What is allowed, bytes.
        limit: u32,
    },
    /// No message of that number is known here.
    #[error("unknown message kind {0:#06x}")]
    UnknownKind(u16),
    /// A field holds a value that means nothing.
    #[error("field with an impossible value: {0}")]
    Field(&'static str),
    /// A path is not in the form allowed on the wire.
    #[error(transparent)]
    Path(#[from] PathError),
}

/// Why a connection can go on no further.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConnectionError {
    /// The stream failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The peer's bytes are not this protocol.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The stream ended inside a frame.
    #[error("connection closed by the peer")]
    Closed,
}
