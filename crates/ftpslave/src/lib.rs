//! The program that serves a folder from a pre-forked pool.
//!
//! | process | code | knows |
//! | --- | --- | --- |
//! | supervisor | `service` | arguments, port, keys; no byte from the network |
//! | worker | `worker`, `session` | the folder, and its own slave's ticket key |
//! | registrar | `registrar` | the masters, and the registration key |
#![forbid(unsafe_code)]

mod args;
mod handover;
mod registrar;
mod rights;
mod service;
mod session;
mod transfer_log;
mod worker;

use std::process::ExitCode;

use supervisor::Role;

/// The name in every message.
const PROGRAM: &str = "ftpslave";

/// Becomes whatever this process was started as, and returns when it ends.
#[must_use]
pub fn run() -> ExitCode {
    match Role::of_this_process() {
        Role::Supervisor => service::run(),
        Role::Worker => worker::run(),
        Role::Helper => registrar::run(),
    }
}
