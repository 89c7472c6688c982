//! The program a person types commands into.
#![forbid(unsafe_code)]
