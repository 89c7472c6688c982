//! Bad days that only the machine can make: a small disk, a process without the superuser's rights. Where the machine
//! does not let us, the test that asks is skipped and says so.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use testing::skipped;

use super::process::Process;
use super::wait::{PATIENCE, wait_until};

/// A disk of a few megabytes, mounted over a folder until dropped.
#[derive(Debug)]
pub struct SmallDisk {
    folder: PathBuf,
}

impl SmallDisk {
    /// Mounts it over `folder`; `None`, and a line that says so, where that is not allowed.
    pub fn mount(folder: &Path, mebibytes: u32) -> Option<Self> {
        let size = format!("size={mebibytes}m");
        let words = ["-t", "tmpfs", "-o", &size, "tmpfs"];
        let mounted = run("mount", &words, folder);
        if !mounted {
            skipped("mounting a small disk takes the superuser");
        }
        mounted.then(|| Self {
            folder: folder.to_owned(),
        })
    }

    /// Gives it another size.
    pub fn resize(&self, mebibytes: u32) {
        // Said in full: what mount(8) would add of itself names owners who are not in our namespace of users.
        let options = format!("remount,size={mebibytes}m");
        let words = ["-t", "tmpfs", "-o", &options, "tmpfs"];
        assert!(run("mount", &words, &self.folder));
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        run("umount", &["--lazy"], &self.folder);
    }
}

fn run(program: &str, arguments: &[&str], folder: &Path) -> bool {
    Command::new(program)
        .args(arguments)
        .arg(folder)
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// What stands before a program's path so that permission bits bind it: nothing for a normal user; for the superuser, a
/// helper that takes the right to ignore them away. `None`, and a line that says so, where there is no such helper.
pub fn without_privileges() -> Option<Vec<OsString>> {
    if !rustix::process::geteuid().is_root() {
        return Some(Vec::new());
    }
    let helper = [
        "setpriv",
        "--bounding-set=-dac_override,-dac_read_search,-fowner",
        "--inh-caps=-dac_override,-dac_read_search,-fowner",
    ];
    let [program, arguments @ ..] = helper;
    let works = Command::new(program)
        .args(arguments)
        .arg("true")
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !works {
        skipped("permission bits do not bind the superuser, and setpriv is missing");
    }
    works.then(|| helper.map(OsString::from).to_vec())
}

/// Has something happen to a process at a system call, as strace(1) spells it behind `inject=CALL:`, until dropped; `None`,
/// and a line that says so, where there is no strace or it is not let.
pub fn tamper(process: u32, call: &str, what: &str) -> Option<Process> {
    let (trace, inject) = (format!("trace={call}"), format!("inject={call}:{what}"));
    let words = ["-e", &trace, "-e", &inject];
    let traced = trace_into(process, Path::new("/dev/null"), &words);
    traced.inspect_err(|reason| skipped(reason)).ok()
}

/// What stands before a program so that a system call of it comes to something else, as strace(1) spells it; `None`, and a
/// line that says so, where there is no strace.
pub fn with_calls_that(call: &str, what: &str) -> Option<Vec<OsString>> {
    let (trace, inject) = (format!("trace={call}"), format!("inject={call}:{what}"));
    let words = [
        "strace",
        "-f",
        "-o",
        "/dev/null",
        "-e",
        &trace,
        "-e",
        &inject,
    ];
    let works = Command::new(words[0])
        .args(&words[1..])
        .arg("true")
        .output()
        .is_ok_and(|output| output.status.success());
    if !works {
        skipped("there is no strace, or it is not let");
    }
    works.then(|| words.map(OsString::from).to_vec())
}

/// Has strace(1) write down the calls of a process, with these words besides; or says why that is not.
pub fn trace_into(process: u32, log: &Path, words: &[&str]) -> Result<Process, String> {
    let works = Command::new("strace").arg("-V").output();
    works.map_err(|error| format!("strace: {error}"))?;
    let mut command = Command::new("strace");
    command.args(["-f", "-o"]).arg(log).args(words);
    command.args(["-p", &process.to_string()]);
    let mut strace = Process::spawn("strace", &mut command);
    wait_until("strace to be attached or gone", PATIENCE, || {
        strace.stderr().contains("attached") || !strace.is_running()
    });
    // A process that has ended since, of what happened to it, was traced all the same.
    let said = strace.stderr();
    match said.contains("attached") {
        true => Ok(strace),
        false => Err(said
            .lines()
            .next()
            .unwrap_or("strace: it has ended")
            .to_owned()),
    }
}

/// Does `work` so that it, and every thread and program that it starts, gives way to whatever else this machine has to do.
pub fn at_low_priority(work: impl FnOnce() + Send) {
    const NICENESS: i32 = 5;
    std::thread::scope(|threads| {
        let lowered = || {
            // Of this thread alone, though the call speaks of a process (setpriority(2)); what it starts inherits it.
            rustix::process::setpriority_process(None, NICENESS).unwrap();
            work();
        };
        let done = threads.spawn(lowered).join();
        done.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
}

/// Does `work` in a network of its own, in which every address of 10.0.0.0/8 is this machine's: whoever connects to one of them
/// comes from it, too. Not at all, and a line that says so, where that is not allowed.
pub fn among_neighbours(work: impl FnOnce() + Send) {
    match super::namespace::Place::new() {
        Ok(place) => {
            place.ip("route add local 10.0.0.0/8 dev lo").unwrap();
            place.run(work);
        }
        Err(reason) => skipped(&reason),
    }
}
