//! The options that set the limits against abuse, the same for both servers.

use std::time::Duration;

use admission::{Limits, MOST_CONNECTIONS, Startups};
use clap::Args;

use crate::number::number;
use crate::size::parse_rate;

/// To be flattened into a server's arguments.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Limits against abuse")]
pub struct LimitOptions {
    /// Connections at once
    #[arg(long, value_name = "N", default_value_t = Limits::default().connections, value_parser = number(1..=MOST_CONNECTIONS))]
    pub max_connections: u32,

    /// Connections at once from one address (IPv6: one /64); those of this machine count for the whole alone
    #[arg(long, value_name = "N", default_value_t = Limits::default().per_source, value_parser = number(1..=MOST_CONNECTIONS))]
    pub max_per_source: u32,

    /// Sessions of one user at once
    #[arg(long, value_name = "N", default_value_t = Limits::default().per_user, value_parser = number(1..=MOST_CONNECTIONS))]
    pub max_per_user: u32,

    /// Logins under way from one network (/24, IPv6: /48): from START on PERCENT of further ones are refused, from FULL on all
    #[arg(long, value_name = "START:PERCENT:FULL", default_value_t = Limits::default().pending)]
    pub max_pending: Startups,

    /// Listen at once again to addresses whose logins failed or whose connections broke
    #[arg(long)]
    pub no_penalties: bool,

    /// Seconds until the first byte of a connection
    #[arg(long, value_name = "SECONDS", default_value_t = Limits::default().first_byte.as_secs(), value_parser = number(1..=A_DAY))]
    pub first_byte_timeout: u64,

    /// Seconds until TLS is agreed on
    #[arg(long, value_name = "SECONDS", default_value_t = Limits::default().tls.as_secs(), value_parser = number(1..=A_DAY))]
    pub tls_timeout: u64,

    /// Seconds until the login, in total
    #[arg(long, value_name = "SECONDS", default_value_t = Limits::default().login.as_secs(), value_parser = number(1..=A_DAY))]
    pub login_timeout: u64,

    /// Seconds between two requests
    #[arg(long, value_name = "SECONDS", default_value_t = Limits::default().idle.as_secs(), value_parser = number(1..=A_DAY))]
    pub idle_timeout: u64,

    /// Bytes of content a second below which a client that is waited for is sent away; 0: none
    #[arg(long, value_name = "RATE", default_value = "1K", value_parser = parse_least_rate)]
    pub min_rate: u64,
}

/// Nobody waits longer for a word.
const A_DAY: u64 = 24 * 3600;

impl LimitOptions {
    /// What they come to.
    #[must_use]
    pub const fn limits(&self) -> Limits {
        Limits {
            connections: self.max_connections,
            per_source: self.max_per_source,
            per_user: self.max_per_user,
            pending: self.max_pending,
            penalties: !self.no_penalties,
            first_byte: Duration::from_secs(self.first_byte_timeout),
            tls: Duration::from_secs(self.tls_timeout),
            login: Duration::from_secs(self.login_timeout),
            idle: Duration::from_secs(self.idle_timeout),
            minimum_rate: self.min_rate,
        }
    }
}

fn parse_least_rate(text: &str) -> Result<u64, crate::SizeError> {
    match text {
        "0" => Ok(0),
        text => parse_rate(text),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Server {
        #[command(flatten)]
        limits: LimitOptions,
    }

    fn limits(words: &[&str]) -> Result<Limits, clap::Error> {
        let words = ["server"].iter().chain(words);
        Server::try_parse_from(words).map(|server| server.limits.limits())
    }

    #[test]
    fn without_options_the_defaults_of_the_table_count() {
        assert_eq!(limits(&[]).unwrap(), Limits::default());
    }

    #[test]
    fn every_option_sets_its_limit() {
        let set = limits(&[
            "--max-connections=1",
            "--max-per-source=2",
            "--max-per-user=3",
            "--max-pending=4:50:6",
            "--no-penalties",
            "--first-byte-timeout=7",
            "--tls-timeout=8",
            "--login-timeout=9",
            "--idle-timeout=11",
            "--min-rate=2K",
        ]);
        let expected = Limits {
            connections: 1,
            per_source: 2,
            per_user: 3,
            pending: "4:50:6".parse().unwrap(),
            penalties: false,
            first_byte: Duration::from_secs(7),
            tls: Duration::from_secs(8),
            login: Duration::from_secs(9),
            idle: Duration::from_secs(11),
            minimum_rate: 2048,
        };
        assert_eq!(set.unwrap(), expected);
        assert_eq!(limits(&["--min-rate=0"]).unwrap().minimum_rate, 0);
        for wrong in [
            "--max-connections=0",
            "--max-connections=40000",
            "--max-per-user=0",
            "--max-pending=10",
            "--login-timeout=0",
            "--min-rate=-1",
        ] {
            assert!(limits(&[wrong]).is_err(), "{wrong}");
        }
    }
}
