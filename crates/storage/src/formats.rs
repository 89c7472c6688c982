//! What this crate writes beside the files that it keeps, as bytes: decoders and encoders that touch no disk.

pub use crate::local::{KeptDigest, Ledger};
