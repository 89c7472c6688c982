//! Whose fault a failed transfer is: the caller answers differently for each.

use std::io;

use protocol::ConnectionError;
use thiserror::Error;

/// Why content did not get from the source to the peer, or from the peer to the sink.
#[derive(Debug, Error)]
pub enum TransferError {
    /// The file here cannot be read or written. The connection is still in step.
    #[error("local file")]
    Local(#[source] io::Error),
    /// The peer or the way to it. The connection is of no further use.
    #[error("connection")]
    Peer(#[source] ConnectionError),
}

impl From<ConnectionError> for TransferError {
    fn from(error: ConnectionError) -> Self {
        Self::Peer(error)
    }
}

impl TransferError {
    pub(crate) fn peer(error: impl Into<io::Error>) -> Self {
        Self::Peer(ConnectionError::Io(error.into()))
    }
}
