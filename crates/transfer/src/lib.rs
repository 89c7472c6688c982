//! Moving bytes between a source or sink and a peer: one engine for both ends.
#![forbid(unsafe_code)]

pub mod block_tree;
mod source;

pub use block_tree::ContentHasher;
pub use source::Source;
