//! Moving bytes between a source or sink and a peer: one engine for both ends.
//!
//! [`send_range`] takes content from a [`Source`] to a [`Wire`], [`Receiver`] from a connection to a file, neither through
//! our memory where the kernel can do without; [`HashBehind`] hashes what has passed, and [`block_tree`] knows how digests of
//! prefixes, blocks and wholes belong together.
#![forbid(unsafe_code)]

pub mod block_tree;
mod congestion;
mod error;
mod hash_behind;
mod pace;
mod pipe;
mod receive;
mod send;
mod source;
mod wire;

pub use block_tree::{ContentHasher, Hashed};
pub use congestion::{Congestion, connect, is_same_machine};
pub use error::TransferError;
pub use hash_behind::HashBehind;
pub use pace::Pace;
pub use receive::Receiver;
pub use send::{Range, Sent, send_frame, send_range};
pub use source::Source;
pub use wire::Wire;
