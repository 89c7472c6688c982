//! What is typed after `ftpslave`.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::{CommandFactory, Parser, ValueEnum};
use protocol::{Address, Rights, Text};

/// Port of a master that is named without one.
const MASTER_PORT: u16 = 2121;

/// Serves a folder to clients, from a pool of processes that are forked before the first client comes
#[derive(Parser, Clone, Debug)]
#[command(
    name = "ftpslave",
    version,
    after_help = "Examples:\n  \
        ftpslave 2122                              serve ./_FTPROOT to the clients of the master on this machine\n  \
        ftpslave 2122 --root /srv/files --master files.example.org\n  \
        ftpslave 2122 --master files.example.org --join - < invitation\n  \
        ftpslave 2122 --standalone                 serve clients that connect to this port themselves\n  \
        ftpslave 2122 --sessions 1 --workers 4     the classic pool: four processes, one client each"
)]
pub(crate) struct Args {
    /// Port to listen on; 0 asks the kernel for a free one
    #[arg(value_parser = parse_port)]
    pub(crate) port: u16,

    /// Folder to serve
    #[arg(long, value_name = "DIR", default_value = "_FTPROOT")]
    pub(crate) root: PathBuf,

    /// Master that sends clients here; may be given several times
    #[arg(long, value_name = "HOST[:PORT]", default_value = "localhost:2121", value_parser = parse_master)]
    pub(crate) master: Vec<Master>,

    /// Serve clients that connect here themselves, without any master
    #[arg(long)]
    pub(crate) standalone: bool,

    /// What everybody may do here (with --standalone)
    #[arg(long, value_name = "RIGHTS")]
    pub(crate) anonymous: Option<Anonymous>,

    /// Accounts that may log in here, as 'ftpmaster user' writes them (with --standalone); read again on SIGHUP
    #[arg(long, value_name = "FILE")]
    pub(crate) users: Option<PathBuf>,

    /// Address to listen on
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1")]
    pub(crate) bind: IpAddr,

    /// How clients reach this slave where the master cannot see it: through a forwarded port, say
    #[arg(long, value_name = "HOST:PORT", value_parser = parse_advertised)]
    pub(crate) advertise: Vec<Advertised>,

    /// Processes that serve; by default one per core and at least two
    #[arg(long, value_name = "N", value_parser = parse_count)]
    pub(crate) workers: Option<NonZeroU32>,

    /// Sessions per process at once; 1 is the classic pool of one client per process
    #[arg(long, value_name = "N", default_value = "1024", value_parser = parse_count)]
    pub(crate) sessions: NonZeroU32,

    /// Most bytes of content a second, over all sessions: 500K, 10M
    #[arg(long, value_name = "RATE", value_parser = cli::parse_rate)]
    pub(crate) limit_rate: Option<u64>,

    /// Most bytes of content a second for each session
    #[arg(long, value_name = "RATE", value_parser = cli::parse_rate)]
    pub(crate) limit_session_rate: Option<u64>,

    /// Join the master with an invitation of 'ftpmaster invite', '-' reads it from stdin; needed once, its keys are kept
    #[arg(long, value_name = "INVITATION", hide_env_values = true)]
    pub(crate) join: Option<String>,

    /// Keep in FILE, one JSON object a line, what clients fetch, store and change
    #[arg(long, value_name = "FILE")]
    pub(crate) transfer_log: Option<PathBuf>,

    /// Where keys and this slave's identity are kept
    #[arg(long, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,

    /// Seconds that running transfers may go on after SIGINT or SIGTERM
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = cli::number(0..=u64::from(u32::MAX)))]
    pub(crate) grace: u64,

    #[command(flatten)]
    pub(crate) limits: cli::LimitOptions,

    #[command(flatten)]
    pub(crate) tls: cli::ServerTls,

    #[command(flatten)]
    pub(crate) privileges: cli::Privileges,

    #[command(flatten)]
    pub(crate) shared: cli::Shared,
}

/// Where a master listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Master {
    pub(crate) host: String,
    pub(crate) port: u16,
}

/// An address from `--advertise`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Advertised(pub(crate) Address);

/// What those may do who show no account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Anonymous {
    /// List and fetch
    ReadOnly,
    /// Everything
    ReadWrite,
}

impl Args {
    /// Whether these options may go together, beyond what can be seen in each alone.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        if self.anonymous.is_some() && !self.standalone {
            bail!(
                "--anonymous goes with --standalone; elsewhere the master decides who may do what"
            );
        }
        if self.users.is_some() && !self.standalone {
            bail!("--users goes with --standalone; elsewhere the master's accounts count");
        }
        if self.join.is_some() && self.standalone {
            bail!("--join goes with a master, --standalone without one");
        }
        if self.is_open() && self.anonymous.is_none() && !self.bind.is_loopback() {
            bail!(
                "refusing to serve everybody who can reach {}: give --users FILE, or --anonymous read-only or \
                 read-write, or leave out --standalone and serve the clients of a master",
                self.bind
            );
        }
        Ok(())
    }

    /// How many processes serve.
    pub(crate) fn worker_count(&self) -> NonZeroU32 {
        let default = || {
            let cores = std::thread::available_parallelism()
                .map_or(2, |cores| u32::try_from(cores.get()).unwrap_or(2));
            NonZeroU32::MIN.saturating_add(cores.max(2) - 1)
        };
        self.workers.unwrap_or_else(default)
    }

    /// Whether nobody is asked who they are.
    fn is_open(&self) -> bool {
        self.standalone && (self.anonymous.is_some() || self.users.is_none())
    }

    /// What a client without ticket or login may do; `None` where none may come without.
    pub(crate) fn open_rights(&self) -> Option<Rights> {
        self.is_open().then_some(match self.anonymous {
            Some(Anonymous::ReadOnly) => Rights::READ_ONLY,
            Some(Anonymous::ReadWrite) | None => Rights::ALL,
        })
    }
}

/// What can be typed.
#[must_use]
pub fn command() -> clap::Command {
    Args::command()
}

fn parse_port(text: &str) -> anyhow::Result<u16> {
    text.parse().context("a port is a number from 0 to 65535")
}

fn parse_count(text: &str) -> anyhow::Result<NonZeroU32> {
    text.parse().context("a whole number from 1 up is needed")
}

fn parse_master(text: &str) -> anyhow::Result<Master> {
    let (host, port) = split_host_port(text)?;
    Ok(Master {
        host: host.to_owned(),
        port: port.unwrap_or(MASTER_PORT),
    })
}

fn parse_advertised(text: &str) -> anyhow::Result<Advertised> {
    let (host, port) = split_host_port(text)?;
    let port = port.context("a port is missing: write HOST:PORT")?;
    Ok(Advertised(match host.parse() {
        Ok(ip) => Address::Ip { ip, port },
        Err(_) => Address::Name {
            host: Text::new(host),
            port,
        },
    }))
}

/// `HOST`, `HOST:PORT`, `[V6]:PORT` or a bare IPv6 address.
fn split_host_port(text: &str) -> anyhow::Result<(&str, Option<u16>)> {
    let parse = |port: &str| {
        port.parse()
            .ok()
            .filter(|port| *port > 0)
            .with_context(|| format!("'{port}' is no port: write 1 to 65535"))
    };
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').context("a ']' is missing")?;
        match rest.strip_prefix(':') {
            Some(port) => (host, Some(parse(port)?)),
            None if rest.is_empty() => (host, None),
            None => bail!("':PORT' must follow ']'"),
        }
    } else if text.parse::<std::net::Ipv6Addr>().is_ok() {
        (text, None)
    } else {
        match text.split_once(':') {
            Some((host, port)) => (host, Some(parse(port)?)),
            None => (text, None),
        }
    };
    if host.is_empty() {
        bail!("a host is missing: write HOST or HOST:PORT");
    }
    Ok((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Args, clap::Error> {
        Args::try_parse_from(std::iter::once(&"ftpslave").chain(words))
    }

    #[test]
    fn masters_are_written_in_many_ways() {
        for (text, host, port) in [
            ("files", "files", 2121),
            ("files:99", "files", 99),
            ("[::1]:99", "::1", 99),
            ("::1", "::1", 2121),
            ("[::1]", "::1", 2121),
        ] {
            assert_eq!(
                parse_master(text).unwrap(),
                Master {
                    host: host.to_owned(),
                    port
                },
                "{text}"
            );
        }
        for text in [
            "",
            ":99",
            "files:",
            "files:x",
            "files:70000",
            "[::1",
            "[::1]99",
        ] {
            assert!(parse_master(text).is_err(), "{text}");
        }
    }

    #[test]
    fn defaults_are_the_documented_ones() {
        let args = parse(&["2122"]).unwrap();
        assert_eq!(
            args.master,
            [Master {
                host: "localhost".to_owned(),
                port: 2121
            }]
        );
        assert_eq!(
            (args.sessions.get(), args.grace, args.root),
            (1024, 10, PathBuf::from("_FTPROOT"))
        );
    }

    #[test]
    fn everybody_is_served_beyond_loopback_only_on_request() {
        assert!(parse(&["1", "--standalone"]).unwrap().check().is_ok());
        assert!(
            parse(&["1", "--standalone", "--bind", "0.0.0.0"])
                .unwrap()
                .check()
                .is_err()
        );
        let open = parse(&[
            "1",
            "--standalone",
            "--bind",
            "0.0.0.0",
            "--anonymous",
            "read-only",
        ])
        .unwrap();
        assert!(open.check().is_ok());
        assert_eq!(open.open_rights(), Some(Rights::READ_ONLY));
        assert!(
            parse(&["1", "--anonymous", "read-only"])
                .unwrap()
                .check()
                .is_err()
        );
        assert_eq!(parse(&["1"]).unwrap().open_rights(), None);
        let mut words = vec!["1", "--standalone", "--bind", "0.0.0.0", "--users", "f"];
        let closed = parse(&words).unwrap();
        assert!(closed.check().is_ok());
        assert_eq!(closed.open_rights(), None);
        words.extend(["--anonymous", "read-only"]);
        assert_eq!(
            parse(&words).unwrap().open_rights(),
            Some(Rights::READ_ONLY)
        );
        assert!(parse(&["1", "--users", "f"]).unwrap().check().is_err());
    }
}
