//! Where files live, and how a name is resolved safely.
#![forbid(unsafe_code)]
