//! The framed protocol: preface, frames, typed requests and replies, remote paths; no socket, file or clock.
//!
//! `docs/PROTOCOL.md` is the specification, exact to the byte.
#![forbid(unsafe_code)]
#![warn(missing_docs, clippy::wildcard_enum_match_arm)]

mod error_code;
mod identity;
pub mod limits;
mod remote_path;

pub use error_code::ErrorCode;
pub use identity::{Digest, HexError, Nonce, Proof, Secret, SlaveId, StorageId, UploadId, Version};
pub use remote_path::{PathError, RemotePath, check_component};
