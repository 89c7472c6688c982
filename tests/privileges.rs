//! What the servers' processes may do, as the kernel tells it from outside.

use crate::harness::{field, limit_of, status_of};

mod users;
mod walls;

/// The capabilities that root keeps: those over files (capabilities(7)).
const OVER_FILES: u64 = 0b1110;

/// Neither new privileges, nor capabilities beyond those over files, nor a core.
fn assert_privileges_given_up(pid: u32) {
    let status = status_of(pid);
    assert_eq!(field(&status, "NoNewPrivs"), ["1"], "{status}");
    for name in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        let capabilities = u64::from_str_radix(&field(&status, name)[0], 16).unwrap();
        assert_eq!(capabilities & !OVER_FILES, 0, "{name} of {pid}");
    }
    assert_eq!(limit_of(pid, "Max core file size"), "0");
}

/// Whether a filter of system calls is in force.
fn is_filtered(pid: u32) -> bool {
    field(&status_of(pid), "Seccomp") == ["2"]
}
