//! Why a program does not start on its work: what was typed or configured makes no sense, or help was asked for.

use std::fmt;
use std::process::ExitCode;

/// Why there are no arguments to go on with.
#[derive(Debug)]
pub enum Stop {
    /// Wrong usage; or help or the version was asked for.
    Usage(clap::Error),
    /// The configuration file cannot be used.
    Config(anyhow::Error),
}

impl Stop {
    /// Says it, and gives the exit status: 0 after help, 2 for wrong usage, `config_status` for a bad file.
    #[must_use]
    pub fn report(&self, program: &str, config_status: u8) -> ExitCode {
        match self {
            Self::Usage(error) => {
                if error.use_stderr() {
                    crate::say(program, &format!("{self}; see '{program} --help'"));
                } else {
                    // Help or version; where stdout does not take it, there is nothing else to say.
                    error.print().unwrap_or_default();
                }
                u8::try_from(error.exit_code()).unwrap_or(2).into()
            }
            Self::Config(error) => {
                crate::report(program, error);
                config_status.into()
            }
        }
    }
}

/// One line: what is wrong, and the nearest thing that would be right.
impl fmt::Display for Stop {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(error) => formatter.write_str(&on_one_line(&error.to_string())),
            Self::Config(error) => formatter.write_str(&crate::one_line(error)),
        }
    }
}

/// Takes clap's paragraphs together, up to the usage, which `--help` shows better.
fn on_one_line(message: &str) -> String {
    let said = message
        .lines()
        .map(str::trim)
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more information"))
        .filter(|line| !line.is_empty());
    let mut line = String::new();
    for part in said {
        let part = part.strip_prefix("error: ").unwrap_or(part);
        match part.strip_prefix("tip: ") {
            Some(_) => line.push_str("; "),
            None if line.is_empty() => {}
            None => line.push(' '),
        }
        line.push_str(part.strip_prefix("tip: ").unwrap_or(part));
    }
    line
}
