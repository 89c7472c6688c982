//! Measures the three programs beside what the machine can do and beside the programs that others use.
//!
//! `make bench` runs it; `docs/PERFORMANCE.md` says how to read it. Everything lies in the temporary folder (`TMPDIR`), which
//! should be a tmpfs with room for four times the large file.
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
    clippy::disallowed_methods,
    clippy::exit,
    missing_debug_implementations,
    unreachable_pub,
    reason = "a failed setup is a failed measurement"
)]

mod command;
mod content;
mod contest;
mod delay;
#[allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "the tests' harness, of which a benchmark needs a part"
)]
#[path = "../tests/harness/mod.rs"]
mod harness;
mod limits;
mod load;
mod memory;
mod peers;
mod report;
mod scenarios;
mod settings;
mod star;

use std::panic::{AssertUnwindSafe, catch_unwind};

use report::Report;
use scenarios::World;
use settings::Settings;

type Scenario = (&'static str, fn(&mut World));

/// Every scenario, in the order in which it is run.
const SCENARIOS: [Scenario; 9] = [
    ("rates", scenarios::rates::run),
    ("one core", scenarios::one_core::run),
    ("large file", scenarios::large::run),
    ("over TLS", scenarios::tls::run),
    ("trees", scenarios::trees::run),
    ("latency", scenarios::latency::run),
    ("links", scenarios::links::run),
    ("listing", scenarios::listing::run),
    ("idle sessions", scenarios::idle::run),
];

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if limits::be_one(&arguments) {
        return;
    }
    raise_descriptor_limit();
    let (settings, mut report) = (Settings::from_environment(), Report::default());
    let peers = peers::present(&settings, &mut report);
    let mut world = World {
        settings,
        report,
        peers,
    };
    if let Some(why) = memory::inconstancy() {
        world.report.note(why);
    }
    content::warm(3 * world.settings.mebibytes);
    for (name, scenario) in SCENARIOS {
        let end = catch_unwind(AssertUnwindSafe(|| scenario(&mut world)));
        if let Err(panic) = end {
            let text = panic.downcast_ref::<String>().cloned();
            world.report.broken(name, &text.unwrap_or_default());
        }
    }
    world.report.print();
    world.report.keep();
}

/// Thousands of sessions are held at once, by us and by the servers that inherit the limit.
fn raise_descriptor_limit() {
    let mut limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current = limit.maximum;
    rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();
}
