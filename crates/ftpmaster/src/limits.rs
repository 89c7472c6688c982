//! Every bound on what others may take of the master, each named once.

use std::time::Duration;

/// Most connections at once, registered slaves left out.
pub(crate) const MAX_CLIENTS: usize = 2048;

/// Most registered slaves at once.
pub(crate) const MAX_REGISTERED: usize = 256;

/// Most connections at once from one address (IPv6: one /64 network); those of this machine count for the whole only.
pub(crate) const MAX_PER_SOURCE: usize = 128;

/// Most slaves remembered, dead ones included.
pub(crate) const MAX_REMEMBERED: usize = 1024;

/// Most bytes that the list in one answer takes, below the bound of a control frame.
pub(crate) const MAX_ANSWER: usize = 48 * 1024;

/// From being accepted until the preface is complete.
pub(crate) const FIRST_BYTES: Duration = Duration::from_secs(10);

/// From the first byte of TLS until its handshake and the preface behind it are complete.
pub(crate) const HANDSHAKE: Duration = Duration::from_secs(10);

/// From being accepted until the login, where one is needed.
pub(crate) const LOGIN: Duration = Duration::from_secs(30);

/// Refused logins that end a connection.
pub(crate) const MAX_REFUSALS: u32 = 3;

/// From one request to the end of the next.
pub(crate) const IDLE: Duration = Duration::from_secs(300);

/// Until the peer has taken an answer.
pub(crate) const ANSWER: Duration = Duration::from_secs(10);

/// From challenge to proof.
pub(crate) const PROOF: Duration = Duration::from_secs(10);

/// A slave that says nothing for longer is down: three heartbeats.
pub(crate) const SILENCE: Duration = Duration::from_secs(3);

/// A slave that says nothing for longer loses its connection; until then it may wake and go on.
pub(crate) const FORGOTTEN: Duration = Duration::from_secs(30);

/// The list of slaves and invitations is looked at no more often than this.
pub(crate) const FLEET_LOOK: Duration = Duration::from_millis(200);

/// Between two probes of a slave from the command line.
pub(crate) const PROBE_INTERVAL: Duration = Duration::from_secs(1);

/// Until a connection we open is made.
pub(crate) const CONNECT: Duration = Duration::from_secs(1);

/// Until a question of ours is answered.
pub(crate) const QUESTION: Duration = Duration::from_secs(3);

/// While descriptors or memory are short, nobody is accepted for this long at a time.
pub(crate) const SHORTAGE_PAUSE: Duration = Duration::from_millis(100);

/// Stack of a connection's thread, bytes; only what is touched takes memory.
pub(crate) const STACK: usize = 256 * 1024;
