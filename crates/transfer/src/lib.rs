//! Moving bytes between a source or sink and a peer: one engine for both ends.
#![forbid(unsafe_code)]
