//! Logs: which events are told, on stderr.

use std::io::{self, IsTerminal};

use tracing::level_filters::LevelFilter;

use crate::log_format::{JsonLine, TextLine};
use crate::{LogFormat, Logging, Verbosity};

/// Sends the program's events to stderr from now on, one line each, whatever a peer put into it. In a process that already
/// does so, nothing changes.
pub fn start_logging(program: &'static str, logging: Logging) {
    let builder = tracing_subscriber::fmt()
        .with_max_level(filter(logging.verbosity))
        .with_writer(io::stderr);
    let started = match logging.format {
        LogFormat::Text => tracing::subscriber::set_global_default(
            builder
                .with_ansi(io::stderr().is_terminal())
                .event_format(TextLine { program })
                .finish(),
        ),
        LogFormat::Json => tracing::subscriber::set_global_default(
            builder
                .with_ansi(false)
                .event_format(JsonLine { program })
                .finish(),
        ),
    };
    started.unwrap_or_default();
}

const fn filter(verbosity: Verbosity) -> LevelFilter {
    match verbosity {
        Verbosity::Quiet => LevelFilter::ERROR,
        Verbosity::Normal => LevelFilter::WARN,
        Verbosity::Verbose => LevelFilter::INFO,
        Verbosity::Debug => LevelFilter::TRACE,
    }
}
