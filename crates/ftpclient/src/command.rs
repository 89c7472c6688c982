//! The commands: one table from which they are found, read, explained and run.

use std::ops::RangeInclusive;

use crate::commands::{facts, folders, get, help, list, local_side, mirror, put};
use crate::failure::Failure;
use crate::session::Session;
use crate::words::Word;

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
    options: &'static str,
    /// The words that may stand behind two dashes, each with whether a value belongs to it.
    long_options: &'static [(&'static str, Value)],
    /// How many words may stand behind the options.
    words: RangeInclusive<usize>,
    /// Whether it asks something of a slave.
    pub(crate) needs_slave: bool,
    run: fn(&mut Session, &Invocation) -> Result<(), Failure>,
}

/// Whether a value belongs to an option: behind an equals sign, or as the next word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Value {
    None,
    Needed,
}

/// A command as it was typed: options taken apart, words counted.
#[derive(Clone, Debug)]
pub(crate) struct Invocation {
    pub(crate) command: &'static Command,
    options: Vec<u8>,
    long_options: Vec<(&'static str, Word)>,
    pub(crate) words: Vec<Word>,
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
        run: list::list,
        ..ON_SLAVE
    },
    Command {
        name: "cd",
        synopsis: "cd [PATH]",
        about: "go to another folder (without PATH: to the root)",
        words: 0..=1,
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

impl Invocation {
    /// Reads a command; options may stand anywhere before a `--`.
    pub(crate) fn read(words: Vec<Word>) -> Result<Self, Failure> {
        let mut words = words.into_iter();
        let name = words.next().unwrap_or_default();
        let mut invocation = Self {
            command: find(name.literal())?,
            options: Vec::new(),
            long_options: Vec::new(),
            words: Vec::new(),
        };
        let mut options_end = invocation.command.name == "!";
        while let Some(word) = words.next() {
            match word.literal().split_first() {
                Some((b'-', b"-")) if !options_end => options_end = true,
                Some((b'-', [b'-', ..])) if !options_end => {
                    invocation.add_long_option(&word, &mut words)?;
                }
                Some((b'-', letters)) if !options_end && !letters.is_empty() => {
                    invocation.add_options(letters)?;
                }
                _ => invocation.words.push(word),
            }
        }
        let (count, wanted) = (invocation.words.len(), &invocation.command.words);
        if count < *wanted.start() {
            return Err(invocation.usage("a name is missing"));
        }
        if count > *wanted.end() {
            return Err(invocation.usage("too many names"));
        }
        // Taken as a path it would be the current folder: `rm -r "$unset"` must not empty it.
        if invocation
            .words
            .iter()
            .any(|word| word.literal().is_empty())
        {
            return Err(invocation.usage("a name is empty"));
        }
        Ok(invocation)
    }

    /// Whether the option was given.
    pub(crate) fn has(&self, option: u8) -> bool {
        self.options.contains(&option)
    }

    /// Whether the long option was given.
    pub(crate) fn has_long(&self, option: &str) -> bool {
        self.long_options.iter().any(|(name, _)| *name == option)
    }

    /// The long options with their values, in the order in which they were typed.
    pub(crate) fn long_options(&self) -> impl Iterator<Item = (&'static str, &Word)> {
        self.long_options.iter().map(|(name, value)| (*name, value))
    }

    /// The word at `index` behind the options.
    pub(crate) fn word(&self, index: usize) -> Option<&Word> {
        self.words.get(index)
    }

    /// Does it.
    pub(crate) fn run(&self, session: &mut Session) -> Result<(), Failure> {
        (self.command.run)(session, self)
    }

    /// What is wrong with it, and how it should look.
    pub(crate) fn usage(&self, problem: &str) -> Failure {
        let Command { name, synopsis, .. } = self.command;
        Failure::Usage(format!("{name}: {problem}; usage: {synopsis}"))
    }

    fn add_options(&mut self, letters: &[u8]) -> Result<(), Failure> {
        let known = self.command.options.as_bytes();
        if letters.iter().all(|letter| known.contains(letter)) {
            self.options.extend_from_slice(letters);
            return Ok(());
        }
        let problem = format!("unknown option '-{}'", cli::name(letters));
        Err(self.usage(&problem))
    }

    fn add_long_option(
        &mut self,
        word: &Word,
        rest: &mut impl Iterator<Item = Word>,
    ) -> Result<(), Failure> {
        let (name, attached) = word.split_option();
        let known = self.command.long_options.iter();
        let found = known.copied().find(|(known, _)| known.as_bytes() == name);
        let problem = |what: &str| format!("{what} '--{}'", cli::name(name));
        let (name, value) = match (found, attached) {
            (None, _) => return Err(self.usage(&problem("unknown option"))),
            (Some((_, Value::None)), Some(_)) => {
                return Err(self.usage(&problem("no value belongs to")));
            }
            (Some((name, Value::None)), None) => (name, Word::default()),
            (Some((name, Value::Needed)), Some(value)) => (name, value),
            (Some((name, Value::Needed)), None) => match rest.next() {
                Some(value) => (name, value),
                None => return Err(self.usage(&problem("a value is missing behind"))),
            },
        };
        self.long_options.push((name, value));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script;

    fn read(line: &str) -> Invocation {
        let mut commands = script::read(line.as_bytes()).unwrap();
        assert_eq!(commands.len(), 1);
        commands.remove(0)
    }

    fn refusal(line: &str) -> String {
        script::read(line.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn options_stand_anywhere_before_two_dashes() {
        let get = read("get -r a -fn b -- -x");
        assert!(get.has(b'r') && get.has(b'f') && get.has(b'n'));
        let words: Vec<_> = get.words.iter().map(Word::literal).collect();
        assert_eq!(words, [b"a".as_slice(), b"b", b"-x"]);
        assert_eq!(read("put -").words.len(), 1);
    }

    #[test]
    fn wrong_usage_names_the_flag_and_shows_how_to_mend_it() {
        assert_eq!(
            refusal("get -x a"),
            "get: unknown option '-x'; usage: get [-r] [-f] [-n] REMOTE... [LOCAL]"
        );
        assert_eq!(
            refusal("get"),
            "get: a name is missing; usage: get [-r] [-f] [-n] REMOTE... [LOCAL]"
        );
        assert_eq!(refusal("pwd x"), "pwd: too many names; usage: pwd");
        assert_eq!(
            refusal("frob x"),
            "unknown command 'frob': 'help' lists the commands"
        );
        assert_eq!(
            refusal("get --recursive x").split(';').next(),
            Some("get: unknown option '--recursive'")
        );
    }

    #[test]
    fn long_options_take_their_values_either_way() {
        let mirror = read("mirror --exclude '*.o' --delete a --include=b*c -u -- --x");
        assert!(mirror.has_long("delete") && mirror.has(b'u') && !mirror.has_long("dry-run"));
        let words: Vec<_> = mirror.words.iter().map(Word::literal).collect();
        assert_eq!(words, [b"a".as_slice(), b"--x"]);
        let options: Vec<_> = mirror
            .long_options()
            .map(|(name, value)| (name, value.literal().to_vec(), value.pattern().to_vec()))
            .collect();
        assert_eq!(options[0], ("exclude", b"*.o".to_vec(), br"\*.o".to_vec()));
        assert_eq!(options[2], ("include", b"b*c".to_vec(), b"b*c".to_vec()));
        for (line, problem) in [
            ("mirror --delet a", "unknown option '--delet'"),
            ("mirror --delete=x a", "no value belongs to '--delete'"),
            (
                "mirror a --exclude",
                "a value is missing behind '--exclude'",
            ),
        ] {
            assert!(refusal(line).starts_with(&format!("mirror: {problem}; usage: ")));
        }
    }

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
