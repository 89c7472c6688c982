//! What the machine's own tools take without a network.

use std::path::Path;
use std::process::Command;

/// `cp` of a file.
pub fn copy(source: &Path, target: &Path) -> Command {
    let mut command = Command::new("cp");
    command.arg(source).arg(target);
    command
}

/// `ls -U`, or with facts `ls -lU`.
pub fn list(folder: &Path, facts: bool) -> Command {
    let mut command = Command::new("ls");
    command.arg(if facts { "-lU" } else { "-U" }).arg(folder);
    command
}
