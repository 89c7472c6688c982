//! The system calls that need unsafe code: the one crate that has any.
#![allow(unsafe_code, reason = "the one crate that calls the kernel directly")]
