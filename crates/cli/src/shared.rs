//! The options that all three programs and all their subcommands have.

use std::path::PathBuf;

use clap::{ArgAction, Args, ValueEnum};
use serde::{Deserialize, Serialize};

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

    /// How events are written to stderr
    #[arg(
        long,
        value_enum,
        value_name = "FORMAT",
        default_value_t,
        global = true,
        help_heading = "General"
    )]
    pub log_format: LogFormat,
}

/// How much is said on stderr.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
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

/// How an event becomes a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub enum LogFormat {
    /// For people
    #[default]
    Text,
    /// One JSON object a line
    Json,
}

/// What is logged, and how: the same in a server and all its processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Logging {
    /// How much.
    pub verbosity: Verbosity,
    /// In which form.
    pub format: LogFormat,
}

impl Shared {
    /// What the options say of logs.
    #[must_use]
    pub const fn logging(&self) -> Logging {
        Logging {
            verbosity: self.verbosity(),
            format: self.log_format,
        }
    }

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
