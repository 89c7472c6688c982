//! Moving bytes between a source or sink and a peer: one engine for both ends.
//!
//! [`send_range`] takes content from a [`Source`] to a socket, [`Receiver`] from a connection to a file; [`block_tree`]
//! knows how digests of prefixes, blocks and wholes belong together.
#![forbid(unsafe_code)]

pub mod block_tree;
mod error;
mod hash_lane;
mod pace;
mod receive;
mod send;
mod source;

pub use block_tree::ContentHasher;
pub use error::TransferError;
pub use pace::Pace;
pub use receive::Receiver;
pub use send::{Range, Sent, send_range};
pub use source::Source;
