//! What the three command lines share: configuration layers, logging, ready line, passwords, safe display of names.
//!
//! A program's `run` reads like this:
//!
//! ```no_run
//! # #[derive(clap::Parser)]
//! # #[command(name = "ftpdemo")]
//! # struct Args { #[command(flatten)] shared: cli::Shared }
//! # fn serve(args: Args) -> anyhow::Result<()> { Ok(()) }
//! fn run() -> std::process::ExitCode {
//!     let args: Args = match cli::parse(std::env::args_os()) {
//!         Ok(args) => args,
//!         Err(stop) => return stop.report("ftpdemo", 1),
//!     };
//!     cli::start_logging("ftpdemo", args.shared.logging());
//!     match serve(args) {
//!         Ok(()) => std::process::ExitCode::SUCCESS,
//!         Err(error) => {
//!             cli::report("ftpdemo", &error);
//!             std::process::ExitCode::FAILURE
//!         }
//!     }
//! }
//! ```
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod ask;
mod config_file;
mod display;
mod json;
mod limits;
mod log_format;
mod logging;
mod number;
mod parse;
mod privileges;
mod ready;
mod report;
mod seconds;
mod shared;
mod size;
mod stop;
mod tls;

pub use ask::{ask_line, ask_password, read_password};
pub use config_file::ConfigFile;
pub use display::{Escaped, name, text};
pub use json::{base64_unless_text, json_line};
pub use limits::LimitOptions;
pub use logging::start_logging;
pub use number::number;
pub use parse::parse;
pub use privileges::Privileges;
pub use ready::{listening, reloaded, reloading, stopping};
pub use report::{one_line, report, say};
pub use seconds::seconds;
pub use shared::{LogFormat, Logging, Shared, Verbosity};
pub use size::{HumanSize, SizeError, human_size, parse_rate, parse_size};
pub use stop::Stop;
pub use tls::{ServerTls, TlsUse};
