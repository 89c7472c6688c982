//! From an accepted socket to a framed connection: greeting, first byte, prefaces.

use std::io::Write as _;
use std::time::{Duration, Instant};

use protocol::limits::{WINDOW_ANSWER_BYTES, WINDOW_REQUESTS};
use protocol::{
    ClientPreface, Connection, ConnectionError, DecodeError, MAGIC, OLDEST_VERSION, Role,
    ServerPreface, VERSION,
};

use super::peer::Peer;

/// What every client hears at once; it decides nothing (RFC 959, section 5.4).
const WELCOME: &[u8] = b"220 mini-ftp ready\r\n";

/// What a client hears when no place is free; it goes to the next slave, or comes again.
const BUSY: &[u8] = b"421 busy, no session is free: try another slave, or later\r\n";

/// What a client hears that speaks something else.
const FOREIGN: &[u8] = b"500 this server speaks only the framed dialect of mini-ftp\r\n";

/// How long a client may take to say its first byte.
const FIRST_BYTE: Duration = Duration::from_secs(10);

/// How long a connection may take to begin a session.
pub(super) const LOGIN: Duration = Duration::from_secs(30);

/// Who opens a connection, as the preface says it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Introduction {
    /// Whether a ticket must come first.
    pub(super) login_required: bool,
    /// This worker's slot.
    pub(super) worker: u32,
}

/// Greets a client that connected at `begun`, and agrees on a version. `None`: the client said nothing, or nothing that we speak, and has been told so.
pub(super) fn greet(
    peer: Peer,
    begun: Instant,
    introduction: Introduction,
) -> Result<Option<Connection<Peer>>, ConnectionError> {
    let mut connection = Connection::new(peer.clone());
    connection.send_raw(WELCOME);
    // A client that has spoken already gets the greeting together with what answers it.
    if !peer.wait_for_input(Duration::ZERO)? {
        connection.flush()?;
        if !peer.wait_for_input(FIRST_BYTE)? {
            return Ok(None);
        }
    }
    connection.stream().read_until(Some(begun + LOGIN));
    let mut preface = [0; ClientPreface::LENGTH];
    let (magic, rest) = preface.split_at_mut(MAGIC.len());
    for (byte, expected) in magic.iter_mut().zip(MAGIC) {
        let heard = connection.read_exact(std::slice::from_mut(byte));
        // Who has not said all of it may wait for the greeting, or have closed.
        if connection.buffered() < ClientPreface::LENGTH - MAGIC.len() {
            connection.flush()?;
        }
        heard?;
        if *byte != expected {
            connection.send_raw(FOREIGN);
            connection.flush()?;
            peer.part();
            return Ok(None);
        }
    }
    connection.read_exact(rest)?;
    let common = match ClientPreface::decode(&preface) {
        Ok(theirs) => theirs.common_version(),
        Err(error) => {
            connection.flush()?;
            return Err(error.into());
        }
    };
    connection.send_raw(&ours(introduction, common).encode());
    if common.is_none() {
        connection.flush()?;
        peer.part();
        return Ok(None);
    }
    Ok(Some(connection))
}

fn ours(introduction: Introduction, common: Option<u16>) -> ServerPreface {
    ServerPreface {
        version: common.unwrap_or(0),
        oldest: OLDEST_VERSION,
        newest: VERSION,
        role: Role::Slave,
        login_required: introduction.login_required,
        features: 0,
        worker: introduction.worker,
        window_requests: WINDOW_REQUESTS,
        window_answer_bytes: WINDOW_ANSWER_BYTES,
    }
}

/// Tells a client that no place is free.
pub(crate) fn turn_away(mut peer: Peer) {
    if peer.write_all(BUSY).is_ok() {
        peer.part();
    }
}

/// Whether the error is bytes that are not our protocol, rather than a connection that ended.
pub(super) fn broke_protocol(error: &ConnectionError) -> Option<&DecodeError> {
    match error {
        ConnectionError::Decode(error) => Some(error),
        _ => None,
    }
}
