//! Runs a program to its end: how long it took, and the most memory that it had.

use std::fs::File;
use std::io::{Read, Seek};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::memory;

/// A program that ended with success.
#[derive(Clone, Copy, Debug)]
pub struct Finished {
    /// From before its start to behind its end.
    pub seconds: f64,
    /// Bytes that it had in RAM at most, as far as looking now and then tells.
    pub peak: u64,
}

/// Runs `command`, whose output the caller has pointed somewhere; kills it when it takes longer than `patience`.
pub fn run(command: &mut Command, patience: Duration) -> Result<Finished, String> {
    let errors = tempfile::tempfile().unwrap();
    command
        .stdin(Stdio::null())
        .stderr(errors.try_clone().unwrap());
    let begun = Instant::now();
    let mut child = command
        .spawn()
        .map_err(|error| format!("{}: {error}", command.get_program().display()))?;
    let peak = watch(&child, begun + patience);
    let Some(peak) = peak else {
        child.kill().unwrap();
        child.wait().unwrap();
        return Err(format!("stopped after {} s", patience.as_secs()));
    };
    let status = child.wait().unwrap();
    let seconds = begun.elapsed().as_secs_f64();
    match status.success() {
        true => Ok(Finished { seconds, peak }),
        false => Err(format!("{status}: {}", last_line(errors))),
    }
}

/// Waits until the child has ended, and says the most memory it had; `None` where the deadline passes before.
fn watch(child: &Child, deadline: Instant) -> Option<u64> {
    const LOOK: Timespec = Timespec {
        tv_sec: 0,
        tv_nsec: 10_000_000,
    };
    let pid = Pid::from_raw(child.id() as i32).unwrap();
    let handle = pidfd_open(pid, PidfdFlags::empty()).unwrap();
    let mut peak = 0;
    let ended = || poll(&mut [PollFd::new(&handle, PollFlags::IN)], Some(&LOOK));
    while retry_on_intr(ended).unwrap() == 0 {
        peak = peak.max(memory::peak(child.id())); // only grows, so the last look counts
        if Instant::now() > deadline {
            return None;
        }
    }
    Some(peak)
}

fn last_line(mut errors: File) -> String {
    let mut text = Vec::new();
    errors.rewind().unwrap();
    errors.read_to_end(&mut text).unwrap();
    let text = String::from_utf8_lossy(&text);
    text.trim_end()
        .lines()
        .last()
        .unwrap_or_default()
        .to_owned()
}
