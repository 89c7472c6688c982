//! Every bound on what others may take of the master, each named once; those against abuse are the same for all servers and
//! stand in [`admission`].

use std::time::Duration;

/// Most registered slaves at once.
pub(crate) const MAX_REGISTERED: usize = 256;

/// Most slaves remembered, dead ones included.
pub(crate) const MAX_REMEMBERED: usize = 1024;

/// Most bytes that the list in one answer takes, below the bound of a control frame.
pub(crate) const MAX_ANSWER: usize = 48 * 1024;

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

/// Slaves of before are waited for no longer, when one of another storage is there first.
pub(crate) const SETTLING: Duration = Duration::from_secs(10);

/// Of so many slaves is remembered where they were.
pub(crate) const MOST_PLACES_KEPT: usize = 16;

/// Between two probes of a slave from the command line.
pub(crate) const PROBE_INTERVAL: Duration = Duration::from_secs(1);

/// Until a connection we open is made.
pub(crate) const CONNECT: Duration = Duration::from_secs(1);

/// Until a question of ours is answered.
pub(crate) const QUESTION: Duration = Duration::from_secs(3);

/// A place from the command line whose answer is older is down: the next one may have taken all of its time, and its host may
/// have been looked up anew. One that does not answer is told of before.
pub(crate) const PROBE_SILENCE: Duration = Duration::from_secs(8);

const _: () = assert!(
    PROBE_SILENCE.as_secs() > PROBE_INTERVAL.as_secs() + CONNECT.as_secs() + QUESTION.as_secs()
);

/// While descriptors or memory are short, nobody is accepted for this long at a time.
pub(crate) const SHORTAGE_PAUSE: Duration = Duration::from_millis(100);

/// Stack of a connection's thread, bytes; only what is touched takes memory.
pub(crate) const STACK: usize = 256 * 1024;
