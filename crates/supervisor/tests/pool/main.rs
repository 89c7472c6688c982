//! The pool with real processes: this binary is the tests, and, started again by itself, supervisor, worker, helper.
//!
//! It has its own `main` because a supervisor must have one thread and a child a `main` that looks at its role.
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

mod death;
mod harness;
mod places;
mod program;
mod reload;

use std::process::ExitCode;

use supervisor::Role;

type Test = (&'static str, fn());

fn main() -> ExitCode {
    match Role::of_this_process() {
        Role::Worker => return program::work(),
        Role::Helper => return program::help(),
        Role::Supervisor => {}
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [first, settings] = arguments.as_slice()
        && first == program::SUPERVISE
    {
        return program::supervise(settings);
    }
    run_tests(&arguments)
}

/// The part of libtest's manners that cargo and people use: filters, `--list`, `--exact`, one line each, a count.
fn run_tests(arguments: &[String]) -> ExitCode {
    let tests = [death::TESTS, places::TESTS, reload::TESTS].concat();
    let filters: Vec<&String> = arguments
        .iter()
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    let exact = arguments.iter().any(|argument| argument == "--exact");
    let wanted = |name: &str| {
        filters.is_empty()
            || filters.iter().any(|filter| {
                if exact {
                    name == filter.as_str()
                } else {
                    name.contains(filter.as_str())
                }
            })
    };
    let chosen: Vec<Test> = tests.into_iter().filter(|(name, _)| wanted(name)).collect();
    if arguments.iter().any(|argument| argument == "--list") {
        chosen.iter().for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let mut failed = 0;
    for (name, test) in &chosen {
        let passed = std::panic::catch_unwind(test).is_ok();
        println!("test {name} ... {}", if passed { "ok" } else { "FAILED" });
        failed += usize::from(!passed);
    }
    println!(
        "\ntest result: {} passed; {failed} failed",
        chosen.len() - failed
    );
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
