//! From what was typed to a program's arguments: command line over environment over configuration file over default.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::{BoolishValueParser, StyledStr};
use clap::error::{ContextKind, ContextValue};
use clap::{Arg, ArgAction, Command, Parser};

use crate::config_file::ConfigFile;
use crate::stop::Stop;

/// The arguments of the program `A` as typed in `argv` (the program's own name first). Every long option can stand in
/// the environment too (`--limit-rate` of `ftpslave` as `FTPSLAVE_LIMIT_RATE`), and in the file that `--config` names
/// (as `limit-rate`); arguments without an option's dashes go by their name.
///
/// # Errors
/// See [`Stop`].
pub fn parse<A: Parser>(argv: impl IntoIterator<Item = OsString>) -> Result<A, Stop> {
    let argv: Vec<OsString> = argv.into_iter().collect();
    let command = with_environment(A::command());
    let Some(path) = config_path(&command, &argv) else {
        return finish(command, &argv).map_err(Stop::Usage);
    };
    let file = ConfigFile::read(&path, &command).map_err(Stop::Config)?;
    finish(file.beneath(command), &argv).map_err(|error| match file.blame(&error) {
        Some(explained) => Stop::Config(explained),
        None => Stop::Usage(error),
    })
}

fn finish<A: Parser>(command: Command, argv: &[OsString]) -> Result<A, clap::Error> {
    let mut complete = command.clone();
    let matches = command
        .try_get_matches_from(argv)
        .map_err(|error| name_variable(error, &mut complete, argv))?;
    A::from_arg_matches(&matches).map_err(|error| error.format(&mut complete))
}

/// By which name an argument can be given otherwise than on the command line, if at all. What a subcommand is about, `is_inside`
/// one, is typed: `user remove` takes no name from a setting that means the user whom the server becomes.
pub(crate) fn setting_name(argument: &Arg, is_inside: bool) -> Option<&str> {
    let built_in = matches!(
        argument.get_action(),
        ArgAction::Help | ArgAction::HelpShort | ArgAction::HelpLong | ArgAction::Version
    );
    let rest_of_line = argument.is_trailing_var_arg_set() || argument.is_last_set();
    if built_in || rest_of_line || argument.is_hide_set() {
        return None;
    }
    match argument.get_long() {
        None if argument.is_positional() => Some(argument.get_id().as_str()).filter(|_| !is_inside),
        long => long,
    }
}

/// Gives every argument its variable, and the help a sentence that says so once instead of at each.
fn with_environment(command: Command) -> Command {
    let prefix = command.get_name().to_uppercase();
    // As with most programs: of an option that is given twice, as in an alias and behind it, the last counts.
    let command = command.args_override_self(true);
    let note = format!(
        "Options can also stand in the environment ({prefix}_CONFIG for --config, and so on) and in a TOML file \
         (--config FILE); the command line wins over the environment, which wins over the file."
    );
    let help = match command.get_after_help() {
        Some(own) => format!("{own}\n\n{note}"),
        None => note,
    };
    variables(command.after_help(help), &prefix, false)
}

fn variables(command: Command, prefix: &str, is_inside: bool) -> Command {
    command
        .mut_args(|argument| {
            let Some(name) = setting_name(&argument, is_inside) else {
                return argument;
            };
            let variable = format!("{prefix}_{}", name.to_uppercase().replace('-', "_"));
            // `FTPSLAVE_ROOT=` in an environment file means that nothing is set.
            if std::env::var_os(&variable).is_some_and(|value| value.is_empty()) {
                return argument;
            }
            let argument = argument.env(variable).hide_env(true);
            match argument.get_action() {
                // `FTPSLAVE_STANDALONE=1` is how people write it.
                ArgAction::SetTrue => argument.value_parser(BoolishValueParser::new()),
                _ => argument,
            }
        })
        .mut_subcommands(|subcommand| variables(subcommand, prefix, true))
}

/// The file to read, found before anything else is looked at: what is wrong elsewhere is said by the parse proper.
fn config_path(command: &Command, argv: &[OsString]) -> Option<PathBuf> {
    let lenient = command.clone().ignore_errors(true);
    let matches = lenient.try_get_matches_from(argv).ok()?;
    matches
        .try_get_one::<PathBuf>("config")
        .ok()
        .flatten()
        .cloned()
}

/// A wrong value that nobody typed is hard to find, so its variable is named.
fn name_variable(mut error: clap::Error, command: &mut Command, argv: &[OsString]) -> clap::Error {
    let variable = wrong_value(&error).and_then(|(argument, value)| {
        let typed = |word: &OsString| word.to_string_lossy().ends_with(value);
        command.build();
        let variable =
            find(command, &|candidate, _| candidate.to_string() == argument)?.get_env()?;
        (std::env::var_os(variable)? == *value && !argv.iter().any(typed))
            .then(|| variable.to_string_lossy().into_owned())
    });
    if let Some(variable) = variable {
        let tip = StyledStr::from(format!("the value stands in the variable {variable}"));
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip]));
    }
    error
}

/// The first argument of the command or of one of its subcommands that is `wanted`, which hears whether it is inside one.
pub(crate) fn find<'a>(
    command: &'a Command,
    wanted: &impl Fn(&Arg, bool) -> bool,
) -> Option<&'a Arg> {
    find_from(command, false, wanted)
}

fn find_from<'a>(
    command: &'a Command,
    is_inside: bool,
    wanted: &impl Fn(&Arg, bool) -> bool,
) -> Option<&'a Arg> {
    command
        .get_arguments()
        .find(|argument| wanted(argument, is_inside))
        .or_else(|| {
            command
                .get_subcommands()
                .find_map(|subcommand| find_from(subcommand, true, wanted))
        })
}

/// The argument as clap writes it (`--port <PORT>`), and the value that it refused.
pub(crate) fn wrong_value(error: &clap::Error) -> Option<(&str, &str)> {
    match (
        error.get(ContextKind::InvalidArg),
        error.get(ContextKind::InvalidValue),
    ) {
        (Some(ContextValue::String(argument)), Some(ContextValue::String(value))) => {
            Some((argument, value))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ValueEnum;

    #[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
    enum Policy {
        RoundRobin,
        LeastBusy,
    }

    #[derive(Debug, Parser)]
    // Cargo sets CARGO_PKG_NAME, CARGO_PKG_VERSION_MAJOR and the like for tests.
    #[command(name = "cargo", version)]
    struct Args {
        #[command(flatten)]
        shared: crate::Shared,
        #[arg(short, long, default_value_t = 2121)]
        port: u16,
        #[arg(long, value_enum, default_value = "round-robin")]
        policy: Policy,
        #[arg(long)]
        standalone: bool,
        #[arg(long)]
        master: Vec<String>,
        #[arg(long)]
        pkg_name: Option<String>,
        #[arg(long)]
        manifest_dir: Option<u8>,
        #[arg(value_name = "SLAVE")]
        slaves: Vec<String>,
        #[command(subcommand)]
        command: Option<Sub>,
    }

    #[derive(Debug, clap::Subcommand)]
    enum Sub {
        Slaves {
            #[arg(long)]
            limit_rate: Option<String>,
            master: Option<String>,
        },
    }

    #[test]
    fn wrong_usage_is_one_line_with_a_way_out() {
        for (words, line) in [
            (
                &["--prot", "1"][..],
                "unexpected argument '--prot' found; a similar argument exists: '--port'",
            ),
            (
                &["--port", "x"],
                "invalid value 'x' for '--port <PORT>': invalid digit found in string",
            ),
        ] {
            let Err(stop) = parse_words(words) else {
                panic!("{words:?} is wrong usage")
            };
            assert_eq!(stop.to_string(), line);
        }
    }

    fn parse_words(words: &[&str]) -> Result<Args, Stop> {
        // A variable that no test wants to see.
        let line = ["cargo", "--manifest-dir=1"].iter().chain(words);
        parse(line.map(OsString::from))
    }

    fn with_file(content: &str, words: &[&str]) -> Result<Args, Stop> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        let path = file.path().to_str().unwrap();
        parse_words(&[words, &["--config", path]].concat())
    }

    fn refusal(content: &str) -> String {
        match with_file(content, &[]) {
            Err(Stop::Config(error)) => crate::one_line(&error),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_file_lies_beneath_the_command_line() {
        let file = "port = 1\nstandalone = true\nmaster = ['a', \"b\"]\npolicy = 'least-busy'\nverbose = 2";
        let args = with_file(file, &["-p", "2"]).unwrap();
        assert_eq!(args.port, 2);
        assert!(args.standalone);
        assert_eq!(args.master, ["a", "b"]);
        assert_eq!(args.policy, Policy::LeastBusy);
        assert_eq!(args.shared.verbosity, crate::Verbosity::Debug);
        assert_eq!(with_file(file, &["--master", "c"]).unwrap().master, ["c"]);
        assert_eq!(with_file("", &[]).unwrap().port, 2121);
    }

    #[test]
    fn the_file_lies_beneath_the_environment() {
        let name = |args: Args| args.pkg_name;
        assert_eq!(name(parse_words(&[]).unwrap()).as_deref(), Some("cli"));
        let args = with_file("pkg-name = 'file'", &[]).unwrap();
        assert_eq!(name(args).as_deref(), Some("cli"));
        let args = parse_words(&["--pkg-name", "typed"]).unwrap();
        assert_eq!(name(args).as_deref(), Some("typed"));
    }

    #[test]
    fn what_is_typed_of_q_and_v_wins_over_the_file() {
        use crate::Verbosity::{Debug, Normal, Quiet, Verbose};
        for (file, words, wanted) in [
            ("quiet = true", &[][..], Quiet),
            ("quiet = true", &["-v"], Verbose),
            ("quiet = true", &["slaves", "-vv"], Debug),
            ("quiet = false", &["-v"], Verbose),
            ("verbose = 2", &["-q"], Quiet),
            ("verbose = 2\nquiet = false", &[], Debug),
            ("verbose = 0\nquiet = true", &[], Quiet),
            ("", &[], Normal),
        ] {
            let args = with_file(file, words).unwrap();
            assert_eq!(args.shared.verbosity, wanted, "{file} {words:?}");
        }
        for words in [&["-q", "-v"][..], &["-v", "slaves", "-q"]] {
            let Err(Stop::Usage(error)) = with_file("", words) else {
                panic!("{words:?} is wrong usage")
            };
            assert_eq!(error.exit_code(), 2);
            assert_eq!(
                Stop::Usage(error).to_string(),
                "-q and -v exclude each other"
            );
        }
    }

    #[test]
    fn it_reaches_positional_arguments_and_subcommands() {
        assert_eq!(
            with_file("slaves = [2122, 'h:1']", &[]).unwrap().slaves,
            ["2122", "h:1"]
        );
        assert_eq!(with_file("slaves = 2122", &["7"]).unwrap().slaves, ["7"]);
        let args = with_file("limit-rate = '1M'", &["slaves"]).unwrap();
        let Some(Sub::Slaves { limit_rate, .. }) = args.command else {
            panic!("no subcommand");
        };
        assert_eq!(limit_rate.as_deref(), Some("1M"));
        // What a subcommand is about is no setting.
        let args = with_file("master = ['a']", &["slaves"]).unwrap();
        assert!(matches!(
            args.command,
            Some(Sub::Slaves { master: None, .. })
        ));
        assert_eq!(args.master, ["a"]);
        assert_eq!(with_file("port = 7", &["slaves"]).unwrap().port, 7);
    }

    #[test]
    fn what_is_wrong_in_the_file_is_named_with_its_line() {
        for (content, place, reason) in [
            ("port = 1\nprot = 2", ":2: ", "unknown key 'prot'"),
            (
                "\n\nport = 'x'",
                ":3: ",
                "invalid value 'x' for 'port': invalid digit",
            ),
            (
                "port = 70000",
                ":1: ",
                "invalid value '70000' for 'port': 70000 is not in",
            ),
            (
                "policy = 'random'",
                ":1: ",
                "'random' for 'policy': possible values are round-robin, least-busy",
            ),
            (
                "standalone = 'x'",
                ":1: ",
                "'standalone' wants true or false",
            ),
            ("verbose = true", ":1: ", "'verbose' wants a number"),
            ("port = [1, 2]", ":1: ", "'port' takes a single value"),
            (
                "port = 1979-05-27",
                ":1: ",
                "'port' wants a text or a number",
            ),
            ("master = [[]]", ":1: ", "'master' wants a text or a number"),
            ("[port]\nx = 1", ":1: ", "'port' wants a text or a number"),
            ("port = 1\nport = 2", ":2: ", "duplicate key"),
            ("port = ", ":1: ", ""),
            ("config = 'other'", ":1: ", "unknown key 'config'"),
            ("help = true", ":1: ", "unknown key 'help'"),
        ] {
            let message = refusal(content);
            assert!(
                message.contains(place) && message.contains(reason),
                "{content}: {message}"
            );
            assert!(!message.contains('\n'), "{message}");
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        let Err(Stop::Config(error)) = parse_words(&["--config", "/no/such/file"]) else {
            panic!("accepted");
        };
        let message = crate::one_line(&error);
        assert_eq!(
            message,
            "cannot read '/no/such/file': No such file or directory"
        );
    }

    #[test]
    fn a_wrong_value_from_the_environment_names_its_variable() {
        let Err(Stop::Usage(error)) = parse::<Args>(["cargo".into()]) else {
            panic!("accepted");
        };
        assert!(error.to_string().contains("CARGO_MANIFEST_DIR"), "{error}");
        assert_eq!(error.exit_code(), 2);
        let line = Stop::Usage(error).to_string();
        assert!(
            line.starts_with("invalid value '") && !line.contains('\n'),
            "{line}"
        );
    }

    #[test]
    fn wrong_usage_is_said_before_a_file_is_needed() {
        let Err(Stop::Usage(error)) = parse_words(&["--prot", "1", "--config", "/no/such/file"])
        else {
            panic!("accepted");
        };
        assert!(error.to_string().contains("--port"), "{error}");
    }

    #[test]
    fn help_shows_options_and_says_once_where_else_they_can_stand() {
        let Err(Stop::Usage(help)) = parse_words(&["--help"]) else {
            panic!("no help");
        };
        assert_eq!(help.exit_code(), 0);
        assert_eq!(help.to_string().matches("CARGO_").count(), 1, "{help}");
    }
}
