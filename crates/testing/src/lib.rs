//! What tests of all crates need of the machine, and what they say where they do not get it.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

use std::env;
use std::fmt::Display;
use std::io::{self, Write};
use std::process::{Command, Stdio};
use std::thread;

/// Says why a test is not run here, also where the words of tests that pass are not shown. Where `MINI_FTP_MUST` is set, as by the
/// targets of make that are about nothing else, such a test fails.
///
/// # Panics
/// There.
pub fn skipped(reason: impl Display) {
    assert!(env::var_os("MINI_FTP_MUST").is_none(), "not here: {reason}");
    writeln!(io::stderr(), "skipped: {reason}").ok();
}

/// Has the test that calls this done by a process that is the superuser of a user and a mount namespace of its own: it may mount
/// disks, make networks and trace our other processes. So a test begins that takes this:
///
/// ```no_run
/// if testing::done_as_superuser() {
///     return;
/// }
/// ```
///
/// `false`: the test is to go on here. We are the superuser, as is who does it over; or this machine lets nobody else be that:
/// then the test finds out what it may not do, and says so.
///
/// # Panics
/// The test failed there; or was not found, since this was not called in a test's own thread, which has the test's name.
#[must_use]
pub fn done_as_superuser() -> bool {
    if rustix::process::geteuid().is_root() || !may_unshare() {
        return false;
    }
    let test = thread::current();
    let name = test.name().unwrap_or_default();
    let program = env::current_exe().unwrap_or_default();
    let mut again = superuser();
    again.arg(program).args(["--exact", name]);
    again.args(env::args().filter(|word| word == "--nocapture"));
    // What is skipped there is said where we would say it.
    let finished = again.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let passed = finished.map(|output| {
        let said = String::from_utf8_lossy(&output.stdout);
        show(&said);
        output.status.success() && said.contains(" 1 passed")
    });
    assert!(
        matches!(passed, Ok(true)),
        "'{name}', as the superuser of namespaces of its own: {passed:?}"
    );
    true
}

/// What stands before a program that is to be the superuser of namespaces of its own.
fn superuser() -> Command {
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount"]);
    command
}

fn may_unshare() -> bool {
    let tried = superuser().arg("true").stderr(Stdio::null()).status();
    tried.is_ok_and(|status| status.success())
}

#[allow(clippy::print_stdout, reason = "shown where the output of tests is")]
fn show(said: &str) {
    print!("{said}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_normal_user_mounts_where_nobody_else_sees_it() {
        if done_as_superuser() {
            return;
        }
        let users = std::fs::read_to_string("/proc/self/uid_map").unwrap();
        if !rustix::process::geteuid().is_root() || users.split_whitespace().nth(1) == Some("0") {
            return skipped("we are the superuser, or nobody else may become one here");
        }
        // Over the folder of all: it is there for everybody else as it was.
        let mut mount = Command::new("mount");
        let mount = mount.args(["-t", "tmpfs", "tmpfs"]).arg(env::temp_dir());
        assert!(mount.status().unwrap().success());
        assert_eq!(env::temp_dir().read_dir().unwrap().count(), 0);
    }
}
