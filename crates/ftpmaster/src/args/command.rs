//! What can be done instead of serving: the commands of `ftpmaster`, each with the options that mean something there.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use auth::{Home, UserName};
use clap::{Args, Subcommand};
use cli::{ServerTls, TlsUse};

use super::{DEFAULT_BIND, DEFAULT_PORT};

/// What to do instead of serving.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub(crate) enum Command {
    /// Show the slaves that the running master at --bind and --port knows
    Slaves {
        /// One JSON object a line
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        master: RunningMaster,
    },
    /// Print an invitation, with which one slave that does not have the master's key can join: ftpslave --join
    Invite {
        /// How long it can be used: 90s, 30m, 1h, 2d
        #[arg(long, value_name = "TIME", default_value = "1h", value_parser = life)]
        life: Duration,
        #[command(flatten)]
        tls: ItsTls,
    },
    /// Shut a slave out: it gets no client any more, until it joins again with an invitation
    Evict {
        /// Its identity, or its address, as 'ftpmaster slaves' shows them
        #[arg(value_name = "SLAVE")]
        slave: String,
        #[command(flatten)]
        master: RunningMaster,
    },
    /// Say who may log in: a running master takes changes over on SIGHUP
    #[command(subcommand)]
    User(UserCommand),
}

/// What to do with the accounts in the state directory.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub(crate) enum UserCommand {
    /// Add an account; the password is asked for, or is a line of stdin
    Add {
        /// 1 to 64 of a-z, 0-9, '.', '_', '@' and '-'
        #[arg(value_name = "NAME")]
        user: UserName,
        /// Let it list and download, nothing else
        #[arg(long)]
        read_only: bool,
        /// Folder below the served root that it sees as /
        #[arg(long, value_name = "DIR", default_value = "/")]
        home: Home,
        /// Most bytes that the files below its home may hold, like 10G; any number without it
        #[arg(long, value_name = "SIZE", value_parser = quota)]
        quota: Option<u64>,
    },
    /// Change or lift what the files below an account's home may hold
    Quota {
        /// The account
        #[arg(value_name = "NAME")]
        user: UserName,
        /// Most bytes, like 10G, or none for any number
        #[arg(value_name = "SIZE|none")]
        quota: Allowance,
    },
    /// Give an account another password, asked for or a line of stdin
    Passwd {
        /// The account
        #[arg(value_name = "NAME")]
        user: UserName,
    },
    /// Take an account away
    Remove {
        /// The account
        #[arg(value_name = "NAME")]
        user: UserName,
    },
    /// Show the accounts
    List,
}

/// Where the running master answers, and how it is known there.
//
// Declared here and not as global options of the master, so that only the commands that ask it have them, in words that are
// true there. The names are those of the master's own options and `global` here: so clap gives one value to both, whether it is
// typed before or behind the command, and a variable or a file counts for both.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[command(next_help_heading = ITSELF)]
pub(crate) struct RunningMaster {
    /// Port that it listens on
    #[arg(short, long, default_value_t = DEFAULT_PORT, value_parser = cli::number(0..=65535_u16), global = true)]
    port: u16,

    /// Address that it listens on
    #[arg(long, value_name = "ADDR", default_value_t = DEFAULT_BIND, global = true)]
    bind: IpAddr,

    #[command(flatten)]
    pub(crate) tls: ItsTls,
}

/// What the master was told of TLS.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[command(next_help_heading = ITSELF)]
pub(crate) struct ItsTls {
    /// With whom it speaks TLS
    #[arg(
        long,
        value_enum,
        value_name = "WHEN",
        default_value = "auto",
        global = true
    )]
    tls: TlsUse,

    /// Certificate that it shows [default: the one that is kept in --state]
    #[arg(long, value_name = "FILE", global = true)]
    cert: Option<PathBuf>,

    /// Private key of that certificate
    #[arg(long, value_name = "FILE", global = true)]
    key: Option<PathBuf>,
}

/// Over the options that a command takes to find the master that it is about.
const ITSELF: &str = "The master, as it was told itself";

impl RunningMaster {
    /// Where to ask it.
    pub(crate) fn address(&self) -> SocketAddr {
        let ip = match self.bind {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        SocketAddr::new(ip, self.port)
    }
}

impl ItsTls {
    /// As the master has them.
    pub(crate) fn options(&self) -> ServerTls {
        ServerTls {
            tls: self.tls,
            cert: self.cert.clone(),
            key: self.key.clone(),
        }
    }
}

/// A quota, or `none`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Allowance(pub(crate) Option<u64>);

impl FromStr for Allowance {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self(None)),
            size => quota(size).map(|bytes| Self(Some(bytes))),
        }
    }
}

/// A size that the file of accounts can hold.
fn quota(text: &str) -> Result<u64, String> {
    let size = cli::parse_size(text).map_err(|error| error.to_string())?;
    match i64::try_from(size) {
        Ok(_) => Ok(size),
        Err(_) => Err("more than any disk holds: none is any number".to_owned()),
    }
}

/// A time with its unit.
fn life(text: &str) -> Result<Duration, &'static str> {
    let wrong = "not a time such as 90s, 30m, 1h or 2d";
    let (number, unit) = text
        .split_at_checked(text.len().saturating_sub(1))
        .ok_or(wrong)?;
    let unit = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 24 * 3600,
        _ => return Err(wrong),
    };
    let number: u32 = number.parse().map_err(|_| wrong)?;
    match u64::from(number) * unit {
        0 => Err(wrong),
        seconds => Ok(Duration::from_secs(seconds)),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::ffi::OsString;

    use clap::Parser;

    use super::*;
    use crate::args::Args;

    fn parse(line: &str) -> Args {
        Args::try_parse_from(line.split(' ')).unwrap()
    }

    /// The running master that a command line is about.
    fn master(args: Args) -> RunningMaster {
        match args.command {
            Some(Command::Slaves { master, .. } | Command::Evict { master, .. }) => master,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_command_takes_and_shows_the_options_that_mean_something_there() {
        const EVERYWHERE: &str = "config help log-format quiet state verbose";
        let mut complete = crate::command();
        complete.build();
        for (names, own) in [
            ("slaves", "bind cert json key port tls"),
            ("evict", "bind cert key port tls"),
            ("invite", "cert key life tls"),
            ("user", ""),
            ("user add", "home quota read-only"),
            ("user quota", ""),
            ("user passwd", ""),
            ("user remove", ""),
            ("user list", ""),
        ] {
            let command = names.split(' ').fold(&mut complete, |command, name| {
                command.find_subcommand_mut(name).unwrap()
            });
            let help = command.render_long_help().to_string();
            let taken: BTreeSet<_> = command
                .get_arguments()
                .filter_map(|argument| argument.get_long())
                .collect();
            let meant: BTreeSet<_> = own
                .split_whitespace()
                .chain(EVERYWHERE.split(' '))
                .collect();
            assert_eq!(taken, meant, "{names}");
            assert!(
                taken.iter().all(|name| help.contains(&format!("--{name}"))),
                "{help}"
            );
            // Nothing listens here, nor shows a certificate.
            for words in ["to listen", "to show", "must speak"] {
                assert!(!help.contains(words), "{names}: {help}");
            }
        }
    }

    #[test]
    fn the_master_s_options_count_before_a_command_and_behind_it_and_from_a_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "port = 7\ncert = 'c'\nkey = 'k'").unwrap();
        let from_file = format!("ftpmaster --config {} slaves", file.path().display());
        for line in [
            "ftpmaster slaves --port 7 --state /s --cert c --key k",
            "ftpmaster --port 7 --state /s --cert c --key k slaves",
            "ftpmaster -p 7 --cert c evict --state /s nas:2122 --key k",
            "ftpmaster --port 8 --cert d slaves -p 7 --state /s --cert c --key k",
            &format!("{from_file} --state /s"),
        ] {
            let args: Args = cli::parse(line.split(' ').map(OsString::from)).unwrap();
            assert_eq!(args.state, Some("/s".into()), "{line}");
            let master = master(args);
            assert_eq!(master.address().port(), 7, "{line}");
            let options = master.tls.options();
            assert_eq!(
                options.files().unwrap(),
                Some(("c".as_ref(), "k".as_ref())),
                "{line}"
            );
        }
        let typed = format!("{from_file} --port 9");
        let args: Args = cli::parse(typed.split(' ').map(OsString::from)).unwrap();
        assert_eq!(master(args).address().port(), 9);
        let typed = format!(
            "ftpmaster --port 9 --config {} slaves",
            file.path().display()
        );
        let args: Args = cli::parse(typed.split(' ').map(OsString::from)).unwrap();
        assert_eq!(master(args).address().port(), 9);
        // What a master listens on may be typed before a command that does not ask it, as it stands in its file.
        assert_eq!(
            parse("ftpmaster --port 7 user list").command,
            Some(Command::User(UserCommand::List))
        );
    }

    #[test]
    fn accounts_are_named_and_described() {
        let args = parse("ftpmaster user add ada --read-only --home /pub --state /s");
        let add = UserCommand::Add {
            user: "ada".parse().unwrap(),
            read_only: true,
            home: "/pub".parse().unwrap(),
            quota: None,
        };
        assert_eq!(args.command, Some(Command::User(add)));
        assert_eq!(args.state, Some("/s".into()));
        for line in [
            "ftpmaster user",
            "ftpmaster user add",
            "ftpmaster user add Ada",
            "ftpmaster user add ada secret",
            "ftpmaster user add ada --password secret",
            "ftpmaster user add ada --quota",
            "ftpmaster user add ada --quota many",
            "ftpmaster user add ada --quota 8E",
            "ftpmaster user add ada --quota none",
            "ftpmaster user quota ada",
            "ftpmaster user quota ada 5X",
            "ftpmaster user add ada --home pub",
            "ftpmaster user list ada",
            "ftpmaster user list --port 7",
            "ftpmaster user add ada --bind 0.0.0.0",
            "ftpmaster user passwd ada --cert c",
            "ftpmaster invite --port 7",
        ] {
            assert!(Args::try_parse_from(line.split(' ')).is_err(), "{line}");
        }
    }

    #[test]
    fn quotas_are_sizes_and_can_be_lifted() {
        let quota = |line| match parse(line).command {
            Some(Command::User(UserCommand::Add { quota, .. })) => quota,
            Some(Command::User(UserCommand::Quota { quota, .. })) => quota.0,
            other => panic!("{other:?}"),
        };
        let gibibytes = |count: u64| Some(count * 1024 * 1024 * 1024);
        assert_eq!(quota("ftpmaster user add ada --quota 10G"), gibibytes(10));
        assert_eq!(quota("ftpmaster user quota ada 2GiB"), gibibytes(2));
        assert_eq!(quota("ftpmaster user quota ada 0"), Some(0));
        assert_eq!(quota("ftpmaster user quota ada none"), None);
    }

    #[test]
    fn a_master_that_listens_everywhere_is_asked_here() {
        let asked = |line| master(parse(line)).address().to_string();
        assert_eq!(asked("ftpmaster slaves --bind 0.0.0.0"), "127.0.0.1:2121");
        assert_eq!(asked("ftpmaster slaves --bind ::"), "[::1]:2121");
        assert_eq!(asked("ftpmaster slaves --bind 10.0.0.1"), "10.0.0.1:2121");
    }

    #[test]
    fn an_invitation_lives_for_an_hour_or_as_long_as_is_said() {
        let life = |line| match parse(line).command {
            Some(Command::Invite { life, .. }) => life.as_secs(),
            other => panic!("{other:?}"),
        };
        for (line, seconds) in [
            ("ftpmaster invite", 3600),
            ("ftpmaster invite --life 90s", 90),
            ("ftpmaster invite --life 30m", 1800),
            ("ftpmaster invite --life 2d", 172_800),
        ] {
            assert_eq!(life(line), seconds, "{line}");
        }
        for text in ["", "1", "h", "0s", "-1h", "1.5h", "1y", "1é", "9999999999d"] {
            let line = ["ftpmaster", "invite", "--life", text];
            assert!(Args::try_parse_from(line).is_err(), "{text}");
        }
    }
}
