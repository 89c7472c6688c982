//! The program that serves a folder from a pre-forked pool.
//!
//! | process | code | knows |
//! | --- | --- | --- |
//! | supervisor | `service` | arguments, port, keys; no byte from the network |
//! | worker | `worker`, `session` | the folder, and its own slave's ticket key |
//! | registrar | `registrar`, `line` | the masters, and the registration key |
//! | joining, once | `join`, `line` | an invitation |
#![forbid(unsafe_code)]

mod args;
mod handover;
mod join;
mod line;
mod openness;
mod pool_memory;
mod registrar;
mod revoked;
mod rights;
mod service;
mod session;
mod transfer_log;
mod worker;

use std::ffi::OsStr;
use std::process::ExitCode;

use supervisor::Role;

pub use args::command;

/// The name in every message.
const PROGRAM: &str = "ftpslave";

/// Becomes whatever this process was started as, and returns when it ends.
#[must_use]
pub fn run() -> ExitCode {
    if std::env::args_os().nth(1).as_deref() == Some(OsStr::new(join::ARGUMENT)) {
        return join::run();
    }
    match Role::of_this_process() {
        Role::Supervisor => service::run(),
        Role::Worker => worker::run(),
        Role::Helper => registrar::run(),
    }
}
