//! The bounded values that requests and replies carry, beside paths, digests and entries.

use std::fmt;
use std::net::IpAddr;

use crate::limits::{MAX_INLINE_CONTENT, MAX_TEXT, MAX_TICKET};
use crate::{ErrorCode, Fingerprint, Secret, SlaveId, Version};

/// A short UTF-8 text, at most [`MAX_TEXT`] bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Text(String);

impl Text {
    /// The text, cut at the limit (on a character's boundary).
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(
            text.get(..text.floor_char_boundary(MAX_TEXT))
                .unwrap_or_default()
                .to_owned(),
        )
    }

    /// The text itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A password or token: never shown, not even in a log. At most [`MAX_TEXT`] bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Secretive(Vec<u8>);

impl Secretive {
    /// These bytes; `None` above the limit.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Option<Self> {
        (bytes.len() <= MAX_TEXT).then(|| Self(bytes.to_vec()))
    }

    /// The bytes.
    #[must_use]
    pub fn reveal(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secretive {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("***")
    }
}

/// What the master signs so that a slave serves the bearer; opaque to the client. At most [`MAX_TICKET`] bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Ticket(Vec<u8>);

impl Ticket {
    /// A ticket of these bytes; `None` above the limit.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Option<Self> {
        (bytes.len() <= MAX_TICKET).then(|| Self(bytes.to_vec()))
    }

    /// The ticket's bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Ticket(***)")
    }
}

/// The whole content of a small file, at most [`MAX_INLINE_CONTENT`] bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Content(Vec<u8>);

impl Content {
    /// These bytes; `None` above the limit.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Option<Self> {
        (bytes.len() <= MAX_INLINE_CONTENT).then_some(Self(bytes))
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Content({} bytes)", self.0.len())
    }
}

/// What must be true of the target's name for an upload to replace it, checked when it is published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Nothing: replace whatever file is there.
    Any,
    /// The name is free.
    Absent,
    /// The file is this version.
    Matches(Version),
}

/// A folder below the listed one that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// Its path below the listed folder.
    pub name: Vec<u8>,
    /// Why.
    pub code: ErrorCode,
}

impl Unreadable {
    /// How many bytes of a payload it takes.
    #[must_use]
    pub const fn encoded_length(&self) -> usize {
        // The name's length, and the code.
        const FIXED: usize = 2 + 2;
        FIXED + self.name.len()
    }
}

/// Where a slave can be reached.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// On the host at which the client reached the master.
    SameHost {
        /// TCP port.
        port: u16,
    },
    /// At a numeric address.
    Ip {
        /// IPv4 or IPv6 address.
        ip: IpAddr,
        /// TCP port.
        port: u16,
    },
    /// At a name, which the client resolves.
    Name {
        /// Host name.
        host: Text,
        /// TCP port.
        port: u16,
    },
}

/// A slave that the master offers to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlaveOffer {
    /// Who it is.
    pub id: SlaveId,
    /// Where it can be reached, best first.
    pub addresses: Vec<Address>,
    /// What opens it; empty for a slave that asks for none.
    pub ticket: Ticket,
    /// Goes with the ticket, to this slave alone.
    pub secret: Secret,
    /// Sessions it serves now.
    pub sessions: u32,
    /// Sessions it can serve at once.
    pub places: u32,
    /// By which it is known over TLS; `None` for a slave that speaks in the clear alone.
    pub fingerprint: Option<Fingerprint>,
}

/// Whose tickets are no longer good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// The user, empty for those who need no account; `None`: everybody.
    pub user: Option<Text>,
    /// Those that were issued up to this moment, milliseconds since the epoch by the master's clock.
    pub until: u64,
}

/// What the master knows of a slave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlaveState {
    /// Who it is; zeros for a slave that has never answered.
    pub id: SlaveId,
    /// Where it can be reached, best first.
    pub addresses: Vec<Address>,
    /// Whether it serves.
    pub status: SlaveStatus,
    /// Sessions it serves now.
    pub sessions: u32,
    /// Sessions it can serve at once.
    pub places: u32,
}

/// Whether a slave serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SlaveStatus {
    /// Takes new sessions.
    Up,
    /// Ends its sessions and takes no new one.
    Draining,
    /// Does not answer.
    Down,
}

impl SlaveStatus {
    /// The number on the wire.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Up => 1,
            Self::Draining => 2,
            Self::Down => 3,
        }
    }

    /// The status of that number.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Up),
            2 => Some(Self::Draining),
            3 => Some(Self::Down),
            _ => None,
        }
    }

    /// `up`, `draining` or `down`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Draining => "draining",
            Self::Down => "down",
        }
    }
}
