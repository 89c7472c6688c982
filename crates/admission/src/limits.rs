//! The table: every limit against abuse, with its default, its option and its sentence. `docs/OPERATIONS.md` has the same one.

use std::fmt;
use std::io;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::penalties::{COUNTS_FROM, LONGEST, Offence};

/// Refused logins that end a connection.
pub const REFUSED_LOGINS: u32 = 3;

/// Requests of unknown kinds, before a login, that end a connection.
pub const UNKNOWN_REQUESTS: u32 = 10;

/// Logins that may wait for a processor.
pub const HASHES_WAITING: usize = 64;

/// The time over which the minimum rate counts.
pub const MINIMUM_RATE_OVER: Duration = Duration::from_secs(60);

/// Nobody can allow more connections: the tables of the limits have room for so many.
pub const MOST_CONNECTIONS: u32 = 32_768;

/// Connections for which so many descriptors suffice: a session takes up to three, and the server has some of its own.
#[must_use]
pub fn connections_for(descriptors: u64) -> u32 {
    let most = (descriptors - descriptors / 4).saturating_sub(64);
    u32::try_from(most).unwrap_or(u32::MAX)
}

/// How long one message may take to come, from the moment at which it is waited for. Content takes as long as it needs.
pub const MESSAGE: Duration = Duration::from_secs(60);

/// Longest pause within a frame, in either direction.
pub const STALL: Duration = Duration::from_secs(30);

macro_rules! limits {
    ($($(#[$doc:meta])* $limit:ident, $name:literal, $option:expr, $sentence:literal, $bounds:literal;)*) => {
        /// A limit against abuse. It has a counter of how often it was hit.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Limit {
            $($(#[$doc])* $limit,)*
        }

        impl Limit {
            /// Every limit. New ones go to the end: the place is that of the counter.
            pub const ALL: &[Self] = &[$(Self::$limit,)*];

            /// Its name in the log and the table.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$limit => $name,)* }
            }

            /// The option that sets it.
            #[must_use]
            pub const fn option(self) -> Option<&'static str> {
                match self { $(Self::$limit => $option,)* }
            }

            /// What the client hears that runs into it.
            #[must_use]
            pub const fn sentence(self) -> &'static str {
                match self { $(Self::$limit => $sentence,)* }
            }

            /// What the table says of it.
            #[must_use]
            pub const fn bounds(self) -> &'static str {
                match self { $(Self::$limit => $bounds,)* }
            }
        }
    };
}

limits! {
    /// Connections at once.
    Connections, "connections", Some("--max-connections"),
        "this server has too many connections",
        "connections at once, over all processes of a server";
    /// Places of a slave's workers.
    Sessions, "sessions", Some("--sessions"),
        "no session is free",
        "sessions of a slave at once, for each worker";
    /// Connections of a source.
    PerSource, "per-source", Some("--max-per-source"),
        "your address has too many connections to this server",
        "connections at once from one address (IPv6: one /64)";
    /// Connections of a network that have not logged in.
    Pending, "pending", Some("--max-pending"),
        "too many logins from your network are under way",
        "connections from one network (/24, IPv6: /48) that have not begun a session: from START on PERCENT of further ones are refused, more and more up to FULL, then all";
    /// Sessions of a user.
    PerUser, "per-user", Some("--max-per-user"),
        "this user has too many sessions",
        "sessions of one user at once";
    /// Sources that misbehaved.
    Penalty, "penalty", Some("--no-penalties"),
        "too many failed logins or broken connections from your address",
        "how long an address is not listened to: for each failed login, connection without a word, missed deadline, crash; counts from; at most";
    /// Refused logins of a connection.
    RefusedLogins, "refused-logins", None,
        "too many refused logins",
        "refused logins that end a connection";
    /// Unknown requests of a connection before it has logged in.
    UnknownRequests, "unknown-requests", None,
        "too many unknown requests before the login",
        "unknown requests before a login that end a connection";
    /// Logins that wait for a processor.
    LoginQueue, "login-queue", None,
        "too many logins at once",
        "logins that wait until their password is checked; one for each core is checked at a time";
    /// Time to the first byte.
    FirstByte, "first-byte", Some("--first-byte-timeout"),
        "you said nothing in time",
        "until the first byte of a connection";
    /// Time of a TLS handshake.
    Tls, "tls", Some("--tls-timeout"),
        "TLS was not agreed on in time",
        "until TLS is agreed on";
    /// Time to the login.
    Login, "login", Some("--login-timeout"),
        "you did not log in in time",
        "from being accepted to the beginning of a session, in total";
    /// Time between requests.
    Idle, "idle", Some("--idle-timeout"),
        "you were silent for too long",
        "rest between two requests";
    /// Time for a message.
    Message, "message", None,
        "a message did not come in time",
        "one message, from its first byte on";
    /// Pauses within a frame.
    Stall, "stall", None,
        "the connection stood still for too long",
        "pause within a frame, in either direction";
    /// The least speed of content.
    MinimumRate, "minimum-rate", Some("--min-rate"),
        "the connection is slower than this server's least rate",
        "least bytes a second, over 60 s of waiting for a client in the midst of content; 0: none";
}

impl Limit {
    pub(crate) fn index(self) -> usize {
        Self::ALL
            .iter()
            .position(|limit| *limit == self)
            .unwrap_or(usize::MAX)
    }

    /// Its row in the table of `docs/OPERATIONS.md`.
    #[must_use]
    pub fn row(self) -> String {
        let option = self
            .option()
            .map_or(String::new(), |option| format!("`{option}`"));
        let default = Limits::default().value(self);
        format!(
            "| `{}` | {default} | {option} | {} |",
            self.name(),
            self.bounds()
        )
    }
}

/// The limits of a server that can be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Connections at once.
    pub connections: u32,
    /// Connections at once from one source.
    pub per_source: u32,
    /// Sessions at once of one user.
    pub per_user: u32,
    /// Connections of one network that have not begun a session.
    pub pending: Startups,
    /// Whether sources that misbehave are shut out for a while.
    pub penalties: bool,
    /// Until the first byte.
    pub first_byte: Duration,
    /// Until TLS is agreed on.
    pub tls: Duration,
    /// Until the login.
    pub login: Duration,
    /// Between two requests.
    pub idle: Duration,
    /// Bytes a second below which a client that is waited for is sent away.
    pub minimum_rate: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            per_source: 200,
            per_user: 100,
            pending: Startups {
                start: 10,
                percent: 30,
                full: 100,
            },
            penalties: true,
            first_byte: Duration::from_secs(10),
            tls: Duration::from_secs(10),
            login: Duration::from_secs(30),
            idle: Duration::from_secs(300),
            minimum_rate: 1024,
        }
    }
}

impl Limits {
    /// What a limit is, for the table.
    fn value(&self, limit: Limit) -> String {
        let seconds = |time: Duration| format!("{} s", time.as_secs());
        match limit {
            Limit::Connections => self.connections.to_string(),
            Limit::Sessions => "1024".to_owned(),
            Limit::PerSource => self.per_source.to_string(),
            Limit::Pending => self.pending.to_string(),
            Limit::PerUser => self.per_user.to_string(),
            Limit::Penalty => [
                Offence::AuthFailed.penalty(),
                Offence::NoAuth.penalty(),
                Offence::GraceExceeded.penalty(),
                Offence::Crashed.penalty(),
                COUNTS_FROM,
                LONGEST,
            ]
            .map(seconds)
            .join("; "),
            Limit::RefusedLogins => REFUSED_LOGINS.to_string(),
            Limit::UnknownRequests => UNKNOWN_REQUESTS.to_string(),
            Limit::LoginQueue => HASHES_WAITING.to_string(),
            Limit::FirstByte => seconds(self.first_byte),
            Limit::Tls => seconds(self.tls),
            Limit::Login => seconds(self.login),
            Limit::Idle => seconds(self.idle),
            Limit::Message => seconds(MESSAGE),
            Limit::Stall => seconds(STALL),
            Limit::MinimumRate => self.minimum_rate.to_string(),
        }
    }
}

/// Refuses more and more as there are more, as `MaxStartups` of sshd_config(5) does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Startups {
    start: u32,
    percent: u32,
    full: u32,
}

/// What is no [`Startups`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("write START:PERCENT:FULL, such as 10:30:100, FULL not below START")]
pub struct StartupsError;

impl Startups {
    /// Whether one more is refused where there are `others`, for a throw of the dice from 0 to 99.
    #[must_use]
    pub fn refuse(&self, others: u64, dice: u64) -> bool {
        let (start, percent, full) = (
            u64::from(self.start),
            u64::from(self.percent),
            u64::from(self.full),
        );
        if others < start {
            return false;
        }
        if others >= full {
            return true;
        }
        let rises = (100 - percent) * (others - start) / (full - start);
        dice < percent + rises
    }
}

impl fmt::Display for Startups {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}:{}", self.start, self.percent, self.full)
    }
}

impl FromStr for Startups {
    type Err = StartupsError;

    fn from_str(text: &str) -> Result<Self, StartupsError> {
        let mut numbers = text.split(':').map(str::parse);
        match (
            numbers.next(),
            numbers.next(),
            numbers.next(),
            numbers.next(),
        ) {
            (Some(Ok(start)), Some(Ok(percent)), Some(Ok(full)), None)
                if percent <= 100 && start <= full =>
            {
                Ok(Self {
                    start,
                    percent,
                    full,
                })
            }
            _ => Err(StartupsError),
        }
    }
}

/// A peer that ran into a limit while it was waited for, as an error of reading or writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{}", .0.sentence())]
pub struct Lapse(pub Limit);

impl Lapse {
    /// The limit that an error is about.
    #[must_use]
    pub fn of(error: &io::Error) -> Option<Limit> {
        let lapse = error.get_ref()?.downcast_ref::<Self>()?;
        Some(lapse.0)
    }
}

impl From<Lapse> for io::Error {
    fn from(lapse: Lapse) -> Self {
        Self::new(io::ErrorKind::TimedOut, lapse)
    }
}

/// Watches over the least rate of one connection: only what is spent waiting for the peer counts.
#[derive(Clone, Copy, Debug)]
pub struct RateFloor {
    rate: u64,
    over: Duration,
    waited: Duration,
    moved: u64,
}

impl RateFloor {
    /// For so many bytes a second over that time of waiting; 0: none.
    #[must_use]
    pub const fn new(rate: u64, over: Duration) -> Self {
        Self {
            rate,
            over,
            waited: Duration::ZERO,
            moved: 0,
        }
    }

    /// Takes note that `bytes` passed while the peer was waited for that long.
    ///
    /// # Errors
    /// [`Limit::MinimumRate`]: too few have passed.
    pub fn pass(&mut self, bytes: usize, waited: Duration) -> Result<(), Lapse> {
        self.moved = self
            .moved
            .saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
        self.waited = self.waited.saturating_add(waited);
        if self.waited < self.over {
            return Ok(());
        }
        let waited = u64::try_from(self.waited.as_millis()).unwrap_or(u64::MAX);
        if self.moved < self.rate.saturating_mul(waited) / 1000 {
            return Err(Lapse(Limit::MinimumRate));
        }
        (self.waited, self.moved) = (Duration::ZERO, 0);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
