//! How much memory processes take, in their own pages and in the kernel's.

use std::fs;

/// Most memory of `pid` that was ever in RAM, bytes; 0 for a process that is gone.
pub fn peak(pid: u32) -> u64 {
    status_field(pid, "VmHWM:")
}

/// Memory that belongs to these processes alone or in shares, bytes.
pub fn proportional(pids: &[u32]) -> u64 {
    let of_one = |pid: &u32| {
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        kibibytes(&rollup, "Pss:")
    };
    pids.iter().map(of_one).sum()
}

/// Kernel stacks and page tables of the whole machine, bytes.
pub fn kernel() -> u64 {
    let all = fs::read_to_string("/proc/meminfo").unwrap();
    kibibytes(&all, "KernelStack:") + kibibytes(&all, "PageTables:")
}

fn status_field(pid: u32, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    kibibytes(&status, field)
}

fn kibibytes(text: &str, field: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(field));
    line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok())
        .map_or(0, |kib| kib * 1024)
}
