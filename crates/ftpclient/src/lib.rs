//! The program a person types commands into.
//!
//! | subject | where |
//! | --- | --- |
//! | what was typed, and what it means | `args`, `settings` |
//! | lines, words, wildcards | `script`, `words`, `glob`, `names` |
//! | the commands: one table, a file for each group | `command`, `invocation`, `commands` |
//! | what `get` and `put` share | `transfer`, `direction`, `destination` |
//! | what is seen: results, bars, failures, statuses | `output`, `human`, `json`, `listed`, `screen`, `failure`, `exit_status` |
//! | the person: session, questions, Ctrl-C | `interactive`, `ask`, `interrupt` |
//! | who the person is, and who the server | `login`, `netrc`, `trust` |
//!
//! Public are, beside the program, the small languages in which people write for it: [`words`], [`glob`], [`filter`],
//! [`netrc`].
#![forbid(unsafe_code)]

mod args;
mod ask;
mod command;
mod commands;
mod destination;
mod direction;
mod exit_status;
mod failure;
pub mod filter;
pub mod glob;
mod human;
mod interactive;
mod interrupt;
mod invocation;
mod json;
mod json_mirror;
mod listed;
mod login;
mod look;
mod names;
pub mod netrc;
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
mod typed;
pub mod words;

pub use args::command;
pub use run::run;

/// What failures and notices begin with.
const PROGRAM: &str = "ftpclient";
