//! Confinement with real processes: this binary is the tests, and, started again by itself, a confined process that tries
//! one thing.
//!
//! It has its own `main` because confinement wants a process with one thread, and is for ever.
#![forbid(unsafe_code)]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a failed setup is a failed test"
)]

mod child;
mod deeds;
mod tests;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [first, role, deed, folder] if first == child::CHILD => child::run(role, deed, folder),
        _ => run_tests(&arguments),
    }
}

/// The part of libtest's manners that cargo and people use: filters, `--list`, `--exact`, one line each, a count.
fn run_tests(arguments: &[String]) -> ExitCode {
    let filters: Vec<&String> = arguments
        .iter()
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    let exact = arguments.iter().any(|argument| argument == "--exact");
    let fits = |name: &str, filter: &str| match exact {
        true => name == filter,
        false => name.contains(filter),
    };
    let is_wanted =
        |name: &str| filters.is_empty() || filters.iter().any(|filter| fits(name, filter));
    let chosen = tests::TESTS.iter().filter(|(name, _)| is_wanted(name));
    if arguments.iter().any(|argument| argument == "--list") {
        chosen.for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let (mut passed, mut failed) = (0, 0);
    for (name, test) in chosen {
        let is_ok = std::panic::catch_unwind(test).is_ok();
        println!("test {name} ... {}", if is_ok { "ok" } else { "FAILED" });
        passed += usize::from(is_ok);
        failed += usize::from(!is_ok);
    }
    let (verdict, status) = match failed {
        0 => ("ok", ExitCode::SUCCESS),
        _ => ("FAILED", ExitCode::FAILURE),
    };
    println!("\ntest result: {verdict}. {passed} passed; {failed} failed");
    status
}
