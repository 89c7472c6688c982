//! End-to-end tests through the three real binaries: one file for each subject, over one harness.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap,
    clippy::missing_panics_doc,
    reason = "a failed setup is a failed test"
)]

#[allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "what is public here is what the subjects may use, each a part of it"
)]
mod harness;

mod abuse;
mod accounts;
mod bad_days;
mod command_line;
mod documents;
mod faults;
mod fleet;
mod framed;
mod kill_loop;
mod limits;
mod logs;
mod mirror;
mod namespace;
mod pool;
mod privileges;
mod redirection;
mod resume;
mod spreading;
mod striping;
mod survival;
mod terminal;
mod tls;
mod transfers;
mod trust;
