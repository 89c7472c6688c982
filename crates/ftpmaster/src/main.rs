//! The program `ftpmaster`.

use std::process::ExitCode;

fn main() -> ExitCode {
    ftpmaster::main()
}
