//! The slave's pool of processes, seen from outside: who serves whom, and what becomes of a pool whose parts are killed,
//! stopped, told to leave, or told to begin anew.

mod life;
mod places;
mod reload;

use crate::harness::{Process, Server, signal_pid};

use rustix::process::Signal;

/// What a terminal does on Ctrl-C: everybody in the foreground hears it, not the supervisor alone.
fn press_ctrl_c(server: &Server) {
    server.signal_all(Signal::INT);
}

fn kill(pid: u32) {
    signal_pid(pid, Signal::KILL);
}

/// How many lines on stderr hold `text`.
fn count_lines(process: &Process, text: &str) -> usize {
    let stderr = process.stderr();
    stderr.lines().filter(|line| line.contains(text)).count()
}
