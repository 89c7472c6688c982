//! The value of every option and argument of the three programs.

use std::cell::RefCell;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use clap::builder::Resettable;
use clap::{Arg, Command};

use crate::Target;

/// The first byte of an input chooses the option, the rest is its value.
pub static OPTIONS: Target = Target {
    name: "options",
    // What is wrong with a value is told with the usage.
    fixed: 256 * 1024,
    for_each_byte: crate::USUAL,
    prepare: || OPTION.with_borrow(|_| {}),
    work: |input| {
        if let Some((&choice, value)) = input.split_first() {
            OPTION.with_borrow_mut(|options| {
                let count = options.len();
                if let Some(option) = options.get_mut(usize::from(choice) % count) {
                    option.parse(value);
                }
            });
        }
    },
};

thread_local! {
    static OPTION: RefCell<Vec<SingleOption>> = RefCell::new(all());
}

/// A program with a single option.
#[derive(Debug)]
struct SingleOption {
    command: Command,
    /// What stands before the value.
    typed: OsString,
}

impl SingleOption {
    fn new(option: &Arg) -> Self {
        let typed = match (option.get_long(), option.get_short()) {
            (Some(long), _) => format!("--{long}="),
            (None, Some(short)) => format!("-{short}"),
            (None, None) => String::new(),
        };
        // What it says of others says nothing here.
        let alone = option
            .clone()
            .required(false)
            .global(false)
            .conflicts_with(Resettable::Reset)
            .requires(Resettable::Reset);
        let mut command = Command::new("program").no_binary_name(true).arg(alone);
        command.build();
        Self {
            command,
            typed: typed.into(),
        }
    }

    fn parse(&mut self, value: &[u8]) {
        let mut word = self.typed.clone();
        word.push(OsStr::from_bytes(value));
        if let Err(error) = self.command.try_get_matches_from_mut([word]) {
            assert!(!error.to_string().is_empty());
        }
    }
}

/// Every option that takes a value, of every program and each of its subcommands.
fn all() -> Vec<SingleOption> {
    let programs = [
        ftpmaster::command(),
        ftpslave::command(),
        ftpclient::command(),
    ];
    programs.iter().flat_map(of_command).collect()
}

fn of_command(command: &Command) -> Vec<SingleOption> {
    let takes_value = |option: &&Arg| option.get_action().takes_values();
    let own = command.get_arguments().filter(takes_value);
    let beneath = command.get_subcommands().flat_map(of_command);
    own.map(SingleOption::new).chain(beneath).collect()
}
