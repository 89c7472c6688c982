//! The options that all three programs and all their subcommands have.

use std::path::PathBuf;

use clap::{ArgAction, Args};

/// To be flattened into a program's arguments.
#[derive(Args, Clone, Debug, Default)]
pub struct Shared {
    /// Read options from FILE (TOML): long names are the keys
    #[arg(long, value_name = "FILE", global = true, help_heading = "General")]
    pub config: Option<PathBuf>,

    /// Say more on stderr; twice says everything
    #[arg(short, long, action = ArgAction::Count, global = true, help_heading = "General")]
    pub verbose: u8,

    /// Say nothing but errors and results
    #[arg(
        short,
        long,
        global = true,
        conflicts_with = "verbose",
        help_heading = "General"
    )]
    pub quiet: bool,
}

/// How much is said on stderr.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verbosity {
    /// Errors.
    Quiet,
    /// What a person must know.
    #[default]
    Normal,
    /// What happens.
    Verbose,
    /// What happens inside.
    Debug,
}

impl Shared {
    /// What `-q`, `-v` and `-vv` come to.
    #[must_use]
    pub const fn verbosity(&self) -> Verbosity {
        match (self.quiet, self.verbose) {
            (true, _) => Verbosity::Quiet,
            (false, 0) => Verbosity::Normal,
            (false, 1) => Verbosity::Verbose,
            (false, _) => Verbosity::Debug,
        }
    }
}
