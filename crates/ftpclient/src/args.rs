//! What was typed: the options, the host, and what is to be done there.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::parser::ValueSource;
use clap::{ArgAction, ArgMatches, CommandFactory, FromArgMatches, Parser};

const EXAMPLES: &str = "Examples:
  ftpclient localhost                        an interactive session ('help' lists its commands)
  ftpclient localhost ls -l pub              one command
  ftpclient 5106 get 'pub/*.bin' /tmp        a port on this machine, wildcards of the server
  ftpclient -u ada host                      log in (asks for the password)
  ftpclient --ca ca.pem host ls              a server with a certificate of your own authority
  ftpclient -c 'cd pub; get -r src' a,b      several commands, the first master that answers
  printf 'put a\\nput b\\n' | ftpclient host   commands from stdin, a line each

Exit status:
  0 done; 1 a command failed; 2 wrong usage; 3 no connection; 4 login or identity; 5 not verified;
  130 interrupted (Ctrl-C or SIGTERM): what was received is kept for resuming";

/// Moves files to and from a mini-ftp server
#[derive(Clone, Debug, Parser)]
#[command(
    name = "ftpclient",
    version,
    after_help = EXAMPLES,
    override_usage = "ftpclient [OPTIONS] <HOST> [COMMAND [ARG]...]"
)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is a flag that a person types; what they mean is in the settings"
)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) shared: cli::Shared,

    /// A master or standalone slave: NAME, NAME:PORT, [ADDRESS]:PORT, PORT (on this machine), or a list A,B to try in turn
    #[arg(value_name = "HOST")]
    pub(crate) host: String,

    /// One command and its arguments; without it, commands are read from the terminal or from stdin
    #[arg(value_name = "COMMAND", trailing_var_arg = true)]
    pub(crate) command: Vec<OsString>,

    /// The port where HOST names none
    #[arg(short, long, value_name = "PORT", default_value_t = 2121, value_parser = cli::number(1..=65535_u16))]
    pub(crate) port: u16,

    /// Run commands separated by ';' (may be given several times)
    #[arg(short = 'c', value_name = "COMMANDS", conflicts_with_all = ["list", "get", "command"])]
    pub(crate) commands: Vec<OsString>,

    /// List a folder, as 'ls [DIR]'; DIR stands behind -l, behind HOST
    #[arg(short = 'l', action = ArgAction::SetTrue, conflicts_with = "get")]
    pub(crate) list: bool,

    /// Download FILE, as 'get FILE' (may be given several times)
    #[arg(short = 'g', value_name = "FILE", conflicts_with = "command")]
    pub(crate) get: Vec<OsString>,

    /// Where local names are: downloads land there, uploads are looked up there
    /// [default: _CLIENTROOT if there is one, else the current directory]
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,

    /// Log in as NAME; the password is asked for, or comes from --password-file, FTPCLIENT_PASSWORD or ~/.netrc
    #[arg(short, long, value_name = "NAME", help_heading = "Login")]
    pub(crate) user: Option<String>,

    /// Take the password from the first line of FILE, which nobody else may be able to open
    #[arg(long, value_name = "FILE", help_heading = "Login")]
    pub(crate) password_file: Option<PathBuf>,

    /// Encrypt connections: all, none, or (auto) those that leave this machine, those to servers that are remembered, and
    /// those to servers that demand it
    #[arg(
        long,
        value_enum,
        value_name = "WHEN",
        default_value = "auto",
        help_heading = "TLS"
    )]
    pub(crate) tls: cli::TlsUse,

    /// Trust servers whose certificate an authority in FILE (PEM) vouches for, and no other that is not remembered
    #[arg(long, value_name = "FILE", help_heading = "TLS")]
    pub(crate) ca: Option<PathBuf>,

    /// Print results as one JSON object a line
    #[arg(long)]
    pub(crate) json: bool,

    /// Show no progress bars
    #[arg(long)]
    pub(crate) no_progress: bool,

    /// Go on with the next command behind one that failed
    #[arg(long)]
    pub(crate) keep_going: bool,

    /// Wait this long for a slave to be up or to have a free place
    #[arg(long, value_name = "SECONDS", default_value = "0", value_parser = cli::seconds)]
    pub(crate) wait: Duration,

    /// Give a slave up that says nothing for this long
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = some_seconds, help_heading = "Transfers")]
    pub(crate) timeout: Duration,

    /// How often a transfer that has begun goes on elsewhere without a byte of progress
    #[arg(
        long,
        value_name = "N",
        default_value_t = 8,
        value_parser = cli::number(0..=u32::MAX),
        help_heading = "Transfers"
    )]
    pub(crate) retries: u32,

    /// Connections over which one large file is fetched, or a tree moves, at once, with as many slaves as there are [default:
    /// as many as help]
    #[arg(long, value_name = "N", value_parser = cli::number(1..=64_u32), help_heading = "Transfers")]
    pub(crate) streams: Option<u32>,

    /// Do not compare digests
    #[arg(long, help_heading = "Transfers")]
    pub(crate) no_verify: bool,

    /// Bytes a second at most, such as 10M
    #[arg(long, value_name = "RATE", value_parser = cli::parse_rate, help_heading = "Transfers")]
    pub(crate) limit_rate: Option<u64>,

    /// Set where `-l` stood before HOST.
    #[arg(skip)]
    pub(crate) is_list_first: bool,

    /// Set where `--password-file` is no standing setting.
    #[arg(skip)]
    pub(crate) is_password_file_typed: bool,
}

/// What can be typed.
#[must_use]
pub fn command() -> clap::Command {
    Args::command()
}

/// [`Args`], with what they cannot say of themselves.
#[derive(Debug)]
struct Ordered(Args);

impl Parser for Ordered {}

impl CommandFactory for Ordered {
    fn command() -> clap::Command {
        Args::command()
    }

    fn command_for_update() -> clap::Command {
        Args::command_for_update()
    }
}

impl FromArgMatches for Ordered {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut args = Args::from_arg_matches(matches)?;
        let is_typed = |id| matches.value_source(id) == Some(ValueSource::CommandLine);
        let place = |id| matches.index_of(id).filter(|_| is_typed(id));
        args.is_list_first = args.list && place("list") < place("host");
        args.is_password_file_typed = is_typed("password_file");
        Ok(Self(args))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// Reads the command line; its first word is the program's name.
///
/// # Errors
/// When it makes no sense, or when help was asked for.
pub(crate) fn parse(argv: impl IntoIterator<Item = OsString>) -> Result<Args, cli::Stop> {
    let argv: Vec<OsString> = argv.into_iter().collect();
    let Ordered(args) = cli::parse(argv.iter().cloned())?;
    if !args.list || args.is_list_first || args.command.len() < 2 {
        return Ok(args);
    }
    // What follows the DIR of `-l` are options again, but a COMMAND takes all that follows it: read them apart.
    let (folder, behind) = (args.command.first().cloned(), args.command.len() - 1);
    let before = argv.len().saturating_sub(args.command.len());
    let rest = argv
        .iter()
        .take(before)
        .chain(argv.iter().skip(argv.len() - behind));
    let Ordered(mut again) = cli::parse(rest.cloned())?;
    again.command.splice(0..0, folder);
    Ok(again)
}

fn some_seconds(text: &str) -> Result<Duration, String> {
    match cli::seconds(text)? {
        Duration::ZERO => Err("0 would give up before anything is said".to_owned()),
        some => Ok(some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Args {
        let argv = std::iter::once("ftpclient").chain(line.split_whitespace());
        parse(argv.map(OsString::from)).unwrap_or_else(|stop| panic!("{line}: {stop:?}"))
    }

    fn is_refused(line: &str) -> bool {
        let argv = std::iter::once("ftpclient").chain(line.split_whitespace());
        parse(argv.map(OsString::from)).is_err()
    }

    #[test]
    fn options_stand_before_or_after_the_host_up_to_the_command() {
        for line in [
            "--json -p 9 host ls -l",
            "host --json -p 9 ls -l",
            "--json host -p 9 ls -l",
        ] {
            let args = parsed(line);
            assert!(args.json && !args.list, "{line}");
            assert_eq!((args.host.as_str(), args.port), ("host", 9));
            assert_eq!(args.command, ["ls", "-l"], "{line}");
        }
        let args = parsed("host get --json -- -x -p");
        assert!(!args.json);
        assert_eq!(args.command[..2], ["get", "--json"]);
        assert!(is_refused("host --no-such-option ls"));
        assert!(is_refused(""));
    }

    #[test]
    fn the_short_forms() {
        let args = parsed("-l host");
        assert!(args.list && args.is_list_first && args.command.is_empty());
        let args = parsed("host -l");
        assert!(args.list && !args.is_list_first && args.command.is_empty());
        let args = parsed("host -l pub --json -p 9");
        assert!(args.list && args.json);
        assert_eq!(
            (args.port, args.command.as_slice()),
            (9, [OsString::from("pub")].as_slice())
        );
        let args = parsed("host -l pub extra --json");
        assert_eq!(args.command, ["pub", "extra", "--json"]);
        let args = parsed("-g a host -g b --json");
        assert!(args.json);
        assert_eq!(args.get, ["a", "b"]);
        for line in [
            "-l -g a host",
            "-g a host ls",
            "-c ls host ls",
            "-c ls -l host",
        ] {
            assert!(is_refused(line), "{line}");
        }
        assert_eq!(parsed("-c ls -c pwd host").commands, ["ls", "pwd"]);
    }

    #[test]
    fn encryption_is_one_of_three_words() {
        for (line, wanted) in [
            ("h", cli::TlsUse::Auto),
            ("--tls auto h", cli::TlsUse::Auto),
            ("h --tls always ls", cli::TlsUse::Always),
            ("--tls=never h", cli::TlsUse::Never),
        ] {
            assert_eq!(parsed(line).tls, wanted, "{line}");
        }
        assert!(is_refused("--tls yes h") && is_refused("--tls h") && is_refused("--tls Never h"));
    }

    #[test]
    fn numbers_are_checked() {
        let args = parsed("--wait 0.5 --timeout 3 --limit-rate 10M --streams 4 --retries 0 h");
        assert_eq!(args.wait, Duration::from_millis(500));
        assert_eq!(args.limit_rate, Some(10 << 20));
        assert_eq!((args.streams, parsed("h").streams), (Some(4), None));
        for line in [
            "--wait -1 h",
            "--wait x h",
            "--timeout 0 h",
            "--streams 0 h",
            "--limit-rate 0 h",
            "-p 0 h",
            "-p 65536 h",
            "-q -v h",
        ] {
            assert!(is_refused(line), "{line}");
        }
    }
}
