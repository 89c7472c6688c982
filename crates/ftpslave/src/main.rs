//! Serves a folder to the clients that a master sends.

use std::process::ExitCode;

fn main() -> ExitCode {
    ftpslave::run()
}
