//! The program a person types commands into.
//!
//! | subject | where |
//! | --- | --- |
//! | what was typed, and what it means | `args`, `settings` |
//! | lines, words, wildcards | `script`, `words`, `glob`, `names` |
//! | the commands: one table, a file for each group | `command`, `invocation`, `commands` |
//! | what `get` and `put` share | `transfer`, `destination` |
//! | what is seen: results, bars, failures, statuses | `output`, `human`, `json`, `listed`, `screen`, `failure`, `exit_status` |
//! | the person: session, questions, Ctrl-C | `interactive`, `ask`, `interrupt` |
//! | who the person is, and who the server | `login`, `netrc`, `trust` |
#![forbid(unsafe_code)]

mod args;
mod ask;
mod command;
mod commands;
mod destination;
mod exit_status;
mod failure;
mod filter;
mod glob;
mod human;
mod interactive;
mod interrupt;
mod invocation;
mod json;
mod json_mirror;
mod listed;
mod login;
mod names;
mod netrc;
mod output;
mod run;
mod screen;
mod script;
mod session;
mod settings;
#[cfg(test)]
mod testing;
mod transfer;
mod trust;
mod words;

pub use run::run;

/// What failures and notices begin with.
const PROGRAM: &str = "ftpclient";
