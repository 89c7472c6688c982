//! Measures the three programs beside physical limits: whole processes, in turn, medians, ratios within one run.
//!
//! `make bench` runs it. Data lies in the temporary folder (`TMPDIR`), which should be a tmpfs with room for five times the
//! large file. The environment sets the size: `BENCH_MIB` (2048), `BENCH_RUNS` (5).
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap,
    unreachable_pub,
    reason = "a failed setup is a failed measurement"
)]

#[allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "the tests' harness, of which a benchmark needs a part"
)]
#[path = "../tests/harness/mod.rs"]
mod harness;
mod limit;
mod memory;
mod report;
mod scenario;

use report::Report;

fn main() {
    let number = |name: &str, default: usize| {
        std::env::var(name)
            .ok()
            .and_then(|text| text.parse().ok())
            .unwrap_or(default)
    };
    let (mib, runs) = (number("BENCH_MIB", 2048), number("BENCH_RUNS", 5));
    let mut report = Report::default();
    scenario::large_file(&mut report, mib, runs);
    scenario::small_files(&mut report, 10_000, runs);
    scenario::listing(&mut report, 100_000, runs);
    scenario::idle_sessions(&mut report, 1_000);
    report.print();
    report.keep();
}
