//! The framed protocol: preface, frames, typed requests and replies, remote paths; no socket, file or clock.
//!
//! `docs/PROTOCOL.md` is the specification, exact to the byte.
//!
//! | layer | where |
//! | --- | --- |
//! | bounds | [`limits`] |
//! | values: paths, digests, identities, entries, error codes | [`RemotePath`], [`Digest`], [`Entry`], [`ErrorCode`], … |
//! | messages, one table per direction | [`Request`], [`Reply`], [`MasterRequest`], [`MasterReply`] |
//! | prefaces and frame headers | [`ClientPreface`], [`ServerPreface`], [`frame::Header`] |
//! | frames over a stream | [`Connection`] |
#![forbid(unsafe_code)]
#![warn(missing_docs, clippy::wildcard_enum_match_arm)]

mod connection;
mod entry;
mod error;
mod error_code;
mod field;
mod fingerprint;
pub mod frame;
mod identity;
pub mod limits;
mod master_words;
mod message;
mod preface;
mod remote_path;
mod slave_words;
#[cfg(test)]
mod tests;
mod words;

pub use connection::Connection;
pub use entry::{Entry, EntryKind, Rights};
pub use error::{ConnectionError, DecodeError};
pub use error_code::ErrorCode;
pub use fingerprint::{Fingerprint, FingerprintError};
pub use identity::{Digest, HexError, Nonce, Proof, Secret, SlaveId, StorageId, UploadId, Version};
pub use master_words::{MasterReply, MasterRequest};
pub use message::Message;
pub use preface::{
    ClientPreface, FEATURE_LOGIN, FEATURE_TLS_REQUIRED, MAGIC, OLDEST_VERSION, Role, ServerPreface,
    VERSION,
};
pub use remote_path::{PathError, RemotePath, check_component};
pub use slave_words::{Reply, Request};
pub use words::{
    Address, Condition, Content, Revocation, Secretive, SlaveOffer, SlaveState, SlaveStatus, Text,
    Ticket, Unreadable,
};
