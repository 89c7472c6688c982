//! The options that all three programs and all their subcommands have.

use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgAction, ArgMatches, Args, Command, Error, FromArgMatches, ValueEnum};
use serde::{Deserialize, Serialize};

/// To be flattened into a program's arguments.
#[derive(Clone, Debug, Default)]
pub struct Shared {
    /// The configuration file.
    pub config: Option<PathBuf>,
    /// What `-q`, `-v` and `-vv` come to.
    pub verbosity: Verbosity,
    /// How events are written to stderr.
    pub log_format: LogFormat,
}

/// [`Shared`] as it can be typed.
#[derive(Args)]
struct Typed {
    /// Read options from FILE (TOML): long names are the keys
    #[arg(long, value_name = "FILE", global = true, help_heading = "General")]
    config: Option<PathBuf>,

    /// Say more on stderr; twice says everything
    #[arg(short, long, action = ArgAction::Count, global = true, help_heading = "General")]
    verbose: u8,

    /// Say nothing but errors and results
    #[arg(short, long, global = true, help_heading = "General")]
    quiet: bool,

    /// How events are written to stderr
    #[arg(
        long,
        value_enum,
        value_name = "FORMAT",
        default_value_t,
        global = true,
        help_heading = "General"
    )]
    log_format: LogFormat,
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
            verbosity: self.verbosity,
            format: self.log_format,
        }
    }
}

impl FromArgMatches for Shared {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let typed = Typed::from_arg_matches(matches)?;
        Ok(Self {
            config: typed.config.clone(),
            verbosity: typed.verbosity(matches)?,
            log_format: typed.log_format,
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for Shared {
    fn augment_args(command: Command) -> Command {
        Typed::augment_args(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Typed::augment_args_for_update(command)
    }
}

impl Typed {
    /// Of `-q` and `-v` the one that is typed wins over one from the environment, and that over one from the file.
    fn verbosity(&self, matches: &ArgMatches) -> Result<Verbosity, Error> {
        let [quiet, verbose] = ["quiet", "verbose"].map(|id| matches.value_source(id));
        let is_quiet = match (self.quiet, self.verbose) {
            (true, 1..) if quiet == verbose && quiet == Some(ValueSource::CommandLine) => {
                let sentence = "-q and -v exclude each other";
                return Err(Error::raw(ErrorKind::ArgumentConflict, sentence));
            }
            (true, 1..) => quiet >= verbose,
            (is_quiet, _) => is_quiet,
        };
        Ok(match self.verbose {
            _ if is_quiet => Verbosity::Quiet,
            0 => Verbosity::Normal,
            1 => Verbosity::Verbose,
            _ => Verbosity::Debug,
        })
    }
}
