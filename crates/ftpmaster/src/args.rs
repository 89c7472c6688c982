//! What is typed: see `ftpmaster --help`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::{CommandFactory, Parser, ValueEnum};
use protocol::Rights;

use crate::place::Place;
use crate::rotation::Policy;

mod command;

pub(crate) use command::{Command, RunningMaster, UserCommand};

/// Where a master listens that is told nothing else.
const DEFAULT_PORT: u16 = 2121;
const DEFAULT_BIND: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Meet clients and send each one to the slave whose turn it is.
#[derive(Clone, Debug, Parser)]
#[command(name = "ftpmaster", version, after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Slaves to hand out besides those that register themselves: PORT on this machine, or HOST:PORT
    #[arg(value_name = "SLAVE", value_delimiter = ',')]
    pub(crate) slaves: Vec<Place>,

    /// Port to listen on; 0 lets the system choose a free one
    #[arg(short, long, default_value_t = DEFAULT_PORT, value_parser = cli::number(0..=65535_u16))]
    pub(crate) port: u16,

    /// Address to listen on
    #[arg(long, value_name = "ADDR", default_value_t = DEFAULT_BIND)]
    pub(crate) bind: IpAddr,

    /// Folder for the keys, the accounts and the certificate [default: $XDG_STATE_HOME/mini-ftp, for root /var/lib/mini-ftp]
    #[arg(long, value_name = "DIR", global = true)]
    pub(crate) state: Option<PathBuf>,

    /// Whose turn it is
    #[arg(long, value_enum, default_value_t = Policy::RoundRobin)]
    pub(crate) policy: Policy,

    /// Serve everybody who can reach this address, and let them do this much
    #[arg(long, value_enum, value_name = "RIGHTS")]
    pub(crate) anonymous: Option<Anonymous>,

    /// How long running answers may take when the master is told to stop
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = cli::seconds)]
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
}

/// What can be typed.
#[must_use]
pub fn command() -> clap::Command {
    Args::command()
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
}
