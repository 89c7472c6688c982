//! The commands: one table from which they are found, explained and run.

use std::ops::RangeInclusive;

use crate::commands::{facts, folders, get, help, list, local_side, mirror, put};
use crate::failure::Failure;
use crate::invocation::Invocation;
use crate::look::Look;
use crate::session::Session;

/// A row of the table.
#[derive(Debug)]
pub(crate) struct Command {
    pub(crate) name: &'static str,
    pub(crate) aliases: &'static [&'static str],
    /// As a person would be shown it, name and all.
    pub(crate) synopsis: &'static str,
    /// One line.
    pub(crate) about: &'static str,
    /// What else there is to know; may be empty.
    pub(crate) details: &'static str,
    /// The letters that may stand behind a dash.
    pub(crate) options: &'static str,
    /// The words that may stand behind two dashes, each with whether a value belongs to it.
    pub(crate) long_options: &'static [(&'static str, Value)],
    /// How many words may stand behind the options.
    pub(crate) words: RangeInclusive<usize>,
    /// Whether it asks something of a slave.
    pub(crate) needs_slave: bool,
    /// What it asks of its first name before anything else, if it does.
    pub(crate) looks_first: Option<Look>,
    pub(crate) run: fn(&mut Session, &Invocation) -> Result<(), Failure>,
}

/// Whether a value belongs to an option: behind an equals sign, or as the next word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    None,
    Needed,
}

const ANY: usize = usize::MAX;

const ON_SLAVE: Command = Command {
    name: "",
    aliases: &[],
    synopsis: "",
    about: "",
    details: "",
    options: "",
    long_options: &[],
    words: 0..=0,
    needs_slave: true,
    looks_first: None,
    run: help::leave,
};

const WITHOUT_SLAVE: Command = Command {
    needs_slave: false,
    ..ON_SLAVE
};

const TRANSFER_OPTIONS: &str = "-r  folders and all that is in them\n\
    -f  overwrite what is there, move every byte\n\
    -n  store beside what is there, as `new` + the name";

/// Every command, in the order of `help`.
pub(crate) static COMMANDS: &[Command] = &[
    Command {
        name: "get",
        synopsis: "get [-r] [-f] [-n] REMOTE... [LOCAL]",
        about: "download files",
        details: TRANSFER_OPTIONS,
        options: "rfn",
        words: 1..=ANY,
        looks_first: Some(Look::ToGet),
        run: get::get,
        ..ON_SLAVE
    },
    Command {
        name: "put",
        aliases: &["upload"],
        synopsis: "put [-r] [-f] [-n] LOCAL... [REMOTE]",
        about: "upload files",
        details: TRANSFER_OPTIONS,
        options: "rfn",
        words: 1..=ANY,
        run: put::put,
        ..ON_SLAVE
    },
    Command {
        name: "mirror",
        synopsis: "mirror [-R] [-u] [--delete] [--dry-run] FROM [TO]",
        about: "make folder TO equal to FROM, moving only what differs",
        details: mirror::DETAILS,
        options: "Ru",
        long_options: &[
            ("delete", Value::None),
            ("dry-run", Value::None),
            ("checksum", Value::None),
            ("include", Value::Needed),
            ("exclude", Value::Needed),
        ],
        words: 1..=2,
        run: mirror::mirror,
        ..ON_SLAVE
    },
    Command {
        name: "ls",
        aliases: &["dir"],
        synopsis: "ls [-l] [-a] [-R] [PATH]",
        about: "list a folder",
        details: "-l  with type, size and time (UTC)\n\
            -a  names that begin with a dot too\n\
            -R  the folders in it too, as paths",
        options: "laR",
        words: 0..=1,
        looks_first: Some(Look::ThroughOrHere),
        run: list::list,
        ..ON_SLAVE
    },
    Command {
        name: "cd",
        synopsis: "cd [PATH]",
        about: "go to another folder (without PATH: to the root)",
        words: 0..=1,
        looks_first: Some(Look::Through),
        run: folders::change,
        ..ON_SLAVE
    },
    Command {
        name: "pwd",
        synopsis: "pwd",
        about: "show the current folder",
        run: folders::show,
        ..ON_SLAVE
    },
    Command {
        name: "mkdir",
        synopsis: "mkdir [-p] PATH...",
        about: "make folders",
        details: "-p  and the folders above them; it is no error if they are there",
        options: "p",
        words: 1..=ANY,
        run: folders::make,
        ..ON_SLAVE
    },
    Command {
        name: "rm",
        synopsis: "rm [-r] [-f] PATH...",
        about: "remove files",
        details: "-r  folders and all that is in them\n\
            -f  it is no error if there is nothing",
        options: "rf",
        words: 1..=ANY,
        run: folders::remove,
        ..ON_SLAVE
    },
    Command {
        name: "rmdir",
        synopsis: "rmdir PATH...",
        about: "remove empty folders",
        words: 1..=ANY,
        run: folders::remove_empty,
        ..ON_SLAVE
    },
    Command {
        name: "mv",
        synopsis: "mv [-n] FROM TO",
        about: "rename, or move into a folder; replaces a file that is there",
        details: "-n  never replace: `exists` is the answer then",
        options: "n",
        words: 2..=2,
        run: folders::rename,
        ..ON_SLAVE
    },
    Command {
        name: "stat",
        synopsis: "stat PATH",
        about: "show what is known of a name",
        words: 1..=1,
        looks_first: Some(Look::AtName),
        run: facts::stat,
        ..ON_SLAVE
    },
    Command {
        name: "sum",
        synopsis: "sum PATH...",
        about: "show the BLAKE3 digests of files",
        words: 1..=ANY,
        run: facts::sum,
        ..ON_SLAVE
    },
    Command {
        name: "cat",
        synopsis: "cat PATH...",
        about: "write files to stdout",
        words: 1..=ANY,
        run: facts::cat,
        ..ON_SLAVE
    },
    Command {
        name: "df",
        synopsis: "df",
        about: "show the free space of the storage",
        run: facts::disk_free,
        ..ON_SLAVE
    },
    Command {
        name: "slaves",
        synopsis: "slaves",
        about: "show the slaves that the master knows",
        run: facts::slaves,
        ..WITHOUT_SLAVE
    },
    Command {
        name: "lcd",
        synopsis: "lcd [PATH]",
        about: "go to another local folder (without PATH: home)",
        words: 0..=1,
        run: local_side::change,
        ..WITHOUT_SLAVE
    },
    Command {
        name: "lpwd",
        synopsis: "lpwd",
        about: "show the current local folder",
        run: local_side::show,
        ..WITHOUT_SLAVE
    },
    Command {
        name: "lls",
        synopsis: "lls [-l] [-a] [PATH]",
        about: "list a local folder",
        details: "-l  with type, size and time (UTC)\n\
            -a  names that begin with a dot too",
        options: "la",
        words: 0..=1,
        run: local_side::list,
        ..WITHOUT_SLAVE
    },
    Command {
        name: "!",
        synopsis: "!COMMAND",
        about: "run a command of the local shell (interactive sessions only)",
        words: 0..=1,
        run: local_side::shell,
        ..WITHOUT_SLAVE
    },
    Command {
        name: "help",
        aliases: &["?"],
        synopsis: "help [COMMAND]",
        about: "explain a command, or list them all",
        words: 0..=1,
        run: help::help,
        ..WITHOUT_SLAVE
    },
    Command {
        name: "bye",
        aliases: &["quit", "exit"],
        synopsis: "bye",
        about: "leave",
        run: help::leave,
        ..ON_SLAVE
    },
];

/// The command of that name or alias.
pub(crate) fn find(name: &[u8]) -> Result<&'static Command, Failure> {
    let is_meant = |command: &&Command| {
        let mut names = std::iter::once(&command.name).chain(command.aliases);
        names.any(|own| own.as_bytes() == name)
    };
    COMMANDS.iter().find(is_meant).ok_or_else(|| {
        let name = cli::name(name);
        Failure::Usage(format!(
            "unknown command '{name}': 'help' lists the commands"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aliases_mean_the_command() {
        for (alias, name) in [
            ("upload", "put"),
            ("dir", "ls"),
            ("quit", "bye"),
            ("exit", "bye"),
        ] {
            assert_eq!(find(alias.as_bytes()).unwrap().name, name);
        }
    }

    #[test]
    fn every_row_is_complete_and_every_name_unique() {
        let mut names = Vec::new();
        for command in COMMANDS {
            assert!(
                command.synopsis.starts_with(command.name),
                "{}",
                command.name
            );
            assert!(!command.about.is_empty(), "{}", command.name);
            for option in command.options.chars() {
                assert!(
                    command.synopsis.contains(&format!("[-{option}]")),
                    "{}",
                    command.name
                );
                assert!(
                    command.details.contains(&format!("-{option}  ")),
                    "{}",
                    command.name
                );
            }
            for (option, value) in command.long_options {
                let shown = match value {
                    Value::None => format!("--{option}"),
                    Value::Needed => format!("--{option} GLOB"),
                };
                assert!(command.details.contains(&format!("{shown}  ")), "{option}");
            }
            names.push(command.name);
            names.extend(command.aliases);
        }
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
