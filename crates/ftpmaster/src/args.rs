//! What is typed: see `ftpmaster --help`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Result, bail};
use auth::{Home, UserName};
use clap::{CommandFactory, Parser, Subcommand, ValueEnum};
use protocol::Rights;

use crate::place::Place;
use crate::rotation::Policy;

/// Meet clients and send each one to the slave whose turn it is.
#[derive(Clone, Debug, Parser)]
#[command(name = "ftpmaster", version, after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Slaves to hand out besides those that register themselves: PORT on this machine, or HOST:PORT
    #[arg(value_name = "SLAVE", value_delimiter = ',')]
    pub(crate) slaves: Vec<Place>,

    /// Port to listen on; 0 lets the system choose a free one
    #[arg(short, long, default_value_t = 2121, value_parser = cli::number(0..=65535_u16), global = true)]
    pub(crate) port: u16,

    /// Address to listen on
    #[arg(long, value_name = "ADDR", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST), global = true)]
    pub(crate) bind: IpAddr,

    /// Folder for the keys [default: $XDG_STATE_HOME/mini-ftp, for root /var/lib/mini-ftp]
    #[arg(long, value_name = "DIR", global = true)]
    pub(crate) state: Option<PathBuf>,

    /// Whose turn it is
    #[arg(long, value_enum, default_value_t = Policy::RoundRobin)]
    pub(crate) policy: Policy,

    /// Serve everybody who can reach this address, and let them do this much
    #[arg(long, value_enum, value_name = "RIGHTS")]
    pub(crate) anonymous: Option<Anonymous>,

    /// How long running answers may take when the master is told to stop
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub(crate) grace: Duration,

    #[command(flatten)]
    pub(crate) limits: cli::LimitOptions,

    #[command(flatten)]
    pub(crate) tls: cli::ServerTls,

    #[command(flatten)]
    pub(crate) privileges: cli::Privileges,

    #[command(flatten)]
    pub(crate) shared: cli::Shared,

    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// What to do instead of serving.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub(crate) enum Command {
    /// Show the slaves that the running master at --bind and --port knows
    Slaves {
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Print an invitation, with which one slave that does not have the master's key can join: ftpslave --join
    Invite {
        /// How long it can be used: 90s, 30m, 1h, 2d
        #[arg(long, value_name = "TIME", default_value = "1h", value_parser = life)]
        life: Duration,
    },
    /// Shut a slave out: it gets no client any more, until it joins again with an invitation
    Evict {
        /// Its identity, or its address, as 'ftpmaster slaves' shows them
        #[arg(value_name = "SLAVE")]
        slave: String,
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

/// What people without an account may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Anonymous {
    /// List and download
    ReadOnly,
    /// Upload, rename and remove too
    ReadWrite,
}

const EXAMPLES: &str = "\
Examples:
  ftpmaster                            wait for slaves to register, serve this machine
  ftpmaster 2122 2123                  hand out two slaves of this machine besides
  ftpmaster --bind 0.0.0.0 --anonymous read-only
                                       let everybody on the network list and download
  ftpmaster slaves                     show who is up
  ftpmaster invite                     print an invitation for a slave on another machine
  ftpmaster evict 192.0.2.7:2122       send that slave no client any more
  ftpmaster user add ada --home /pub   let ada log in; from then on a login is needed";

impl Args {
    /// What clients may do here who do not log in; `None`: they must, since there are accounts.
    pub(crate) fn everybody(&self, has_accounts: bool) -> Option<Rights> {
        match self.anonymous {
            Some(Anonymous::ReadOnly) => Some(Rights::READ_ONLY),
            Some(Anonymous::ReadWrite) => Some(Rights::ALL),
            None => (!has_accounts).then_some(Rights::ALL),
        }
    }

    /// Where to listen.
    pub(crate) const fn listen_address(&self) -> SocketAddr {
        SocketAddr::new(self.bind, self.port)
    }

    /// Whether these options may count for a master that listens at `ip`.
    ///
    /// # Errors
    /// Others can come in there, and nobody said what they may do.
    pub(crate) fn check_openness(&self, ip: IpAddr, has_accounts: bool) -> Result<()> {
        if self.anonymous.is_none() && !has_accounts && !ip.to_canonical().is_loopback() {
            bail!(
                "others can reach {ip}, and there are no accounts to tell who may do what: add one with 'ftpmaster user \
                 add NAME', or say what everybody may do with --anonymous read-only or --anonymous read-write"
            );
        }
        Ok(())
    }

    /// Where a master that was started with the same options answers.
    pub(crate) fn ask_address(&self) -> SocketAddr {
        let ip = match self.bind {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => std::net::Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        SocketAddr::new(ip, self.port)
    }
}

/// What can be typed.
#[must_use]
pub fn command() -> clap::Command {
    Args::command()
}

fn seconds(text: &str) -> Result<Duration, &'static str> {
    let wrong = "not a number of seconds, such as 10 or 0.5";
    let seconds: f64 = text.parse().map_err(|_| wrong)?;
    Duration::try_from_secs_f64(seconds).map_err(|_| wrong)
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
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Args {
        Args::try_parse_from(line.split(' ')).unwrap()
    }

    #[test]
    fn the_command_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn slaves_are_ports_or_places() {
        let args = parse("ftpmaster 2122 nas:2123,[::1]:4");
        let places: Vec<String> = args.slaves.iter().map(Place::to_string).collect();
        assert_eq!(places, ["127.0.0.1:2122", "nas:2123", "[::1]:4"]);
        assert_eq!(args.command, None);
    }

    #[test]
    fn the_subcommand_takes_the_shared_options_behind_it() {
        let args = parse("ftpmaster slaves --port 7 --state /s");
        assert_eq!(args.command, Some(Command::Slaves { json: false }));
        assert_eq!(args.port, 7);
        assert_eq!(args.state, Some("/s".into()));
    }

    #[test]
    fn only_this_machine_comes_in_unasked() {
        for (line, allowed) in [
            ("ftpmaster", true),
            ("ftpmaster --bind 127.0.0.2", true),
            ("ftpmaster --bind ::1", true),
            ("ftpmaster --bind ::ffff:127.0.0.1", true),
            ("ftpmaster --bind 0.0.0.0", false),
            ("ftpmaster --bind ::", false),
            ("ftpmaster --bind 10.0.0.1", false),
            ("ftpmaster --bind 10.0.0.1 --anonymous read-only", true),
        ] {
            let args = parse(line);
            let check = |has_accounts| args.check_openness(args.bind, has_accounts).is_ok();
            assert_eq!((check(false), check(true)), (allowed, true), "{line}");
        }
    }

    #[test]
    fn everybody_s_rights_follow_from_the_option_and_the_accounts() {
        for (line, open, with_accounts) in [
            ("ftpmaster", Some(Rights::ALL), None),
            (
                "ftpmaster --anonymous read-write",
                Some(Rights::ALL),
                Some(Rights::ALL),
            ),
            (
                "ftpmaster --anonymous read-only",
                Some(Rights::READ_ONLY),
                Some(Rights::READ_ONLY),
            ),
        ] {
            let args = parse(line);
            assert_eq!(
                (args.everybody(false), args.everybody(true)),
                (open, with_accounts)
            );
        }
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
        let asked = |line| parse(line).ask_address().to_string();
        assert_eq!(asked("ftpmaster slaves --bind 0.0.0.0"), "127.0.0.1:2121");
        assert_eq!(asked("ftpmaster slaves --bind ::"), "[::1]:2121");
        assert_eq!(asked("ftpmaster slaves --bind 10.0.0.1"), "10.0.0.1:2121");
    }

    #[test]
    fn an_invitation_lives_for_an_hour_or_as_long_as_is_said() {
        let life = |line| match parse(line).command {
            Some(Command::Invite { life }) => life.as_secs(),
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

    #[test]
    fn seconds_are_plain_numbers() {
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        for text in ["", "-1", "x", "NaN", "inf", "1e99"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
