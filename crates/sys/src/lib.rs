//! The system calls that need unsafe code: the one crate that has any.
//!
//! One file per family. What rustix offers as a safe function is called from where it is needed, not from here; the
//! exceptions are [`reflink`] and [`nameless`], which decide in one place what "this file system cannot" looks like.
#![allow(unsafe_code, reason = "the one crate that calls the kernel directly")]

#[cfg(feature = "allocations")]
pub mod allocations;
pub mod allocator;
pub mod inherited;
pub mod kernel_guard;
pub mod mapped;
pub mod nameless;
#[cfg(feature = "power")]
pub mod power;
pub mod reflink;
pub mod shared_memory;
pub mod signal;
pub mod socket;
pub mod spawn;
#[cfg(feature = "tun")]
pub mod tun;
