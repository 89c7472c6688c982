//! How much memory processes take, in their own pages and in the kernel's.

use std::fs;
use std::ops::Sub;

/// What the kernel sets aside for each thread, on the machines of today.
const KERNEL_STACK_KIB: i64 = 16;

/// Blocks of so many pages, as a power of two, are reported as free.
const REPORTED_ORDER: &str = "/sys/module/page_reporting/parameters/page_reporting_order";

/// Most memory of `pid` that was ever in RAM, bytes; 0 for a process that is gone.
pub fn peak(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    number(&status, "VmHWM:").map_or(0, |kib| kib as u64 * 1024)
}

/// Why figures of large files swing on this machine, where its memory does not stay its own: a virtual machine that tells its
/// host which pages are free loses them, and writing to them is slow again.
pub fn inconstancy() -> Option<String> {
    let order = fs::read_to_string(REPORTED_ORDER).ok()?;
    // Larger than any block where nothing is told.
    let order: u64 = order.trim().parse().ok().filter(|&order| order <= 10)?;
    Some(format!(
        "this machine gives free memory back to its host ({REPORTED_ORDER} is {order}): to write a large file takes up to \
         four times as long when its pages have to come from there, and rows of large files swing with it"
    ))
}

/// What processes hold, theirs and the kernel's for them, KiB.
#[derive(Clone, Copy, Debug)]
pub struct Footprint {
    /// Their threads.
    pub threads: i64,
    /// Pages that belong to them alone, and their part of those that are shared.
    own: i64,
    page_tables: i64,
}

impl Footprint {
    /// Of these processes together; one that is gone counts nothing.
    pub fn of(pids: &[u32]) -> Self {
        let mut sum = Self {
            threads: 0,
            own: 0,
            page_tables: 0,
        };
        for pid in pids {
            let read = |name| fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
            let (status, pages) = (read("status"), read("smaps_rollup"));
            sum.threads += number(&status, "Threads:").unwrap_or(0);
            sum.page_tables += number(&status, "VmPTE:").unwrap_or(0);
            sum.own += number(&pages, "Pss:").unwrap_or(0);
        }
        sum
    }

    /// All of it.
    pub fn kibibytes(self) -> f64 {
        (self.own + self.page_tables + self.threads * KERNEL_STACK_KIB) as f64
    }

    /// The parts for each of `count`, for a person.
    pub fn parts(self, count: usize) -> String {
        let each = |kibibytes: i64| kibibytes as f64 / count as f64;
        format!(
            "{:.1} KiB own, {:.1} KiB kernel stack, {:.1} KiB page tables",
            each(self.own),
            each(self.threads * KERNEL_STACK_KIB),
            each(self.page_tables)
        )
    }
}

impl Sub for Footprint {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            threads: self.threads - before.threads,
            own: self.own - before.own,
            page_tables: self.page_tables - before.page_tables,
        }
    }
}

fn number(text: &str, field: &str) -> Option<i64> {
    let line = text.lines().find_map(|line| line.strip_prefix(field))?;
    line.split_whitespace().next()?.parse().ok()
}
