//! From an accepted socket to a framed connection: greeting, first byte, TLS, prefaces.

use std::io::{self, Write as _};
use std::time::{Duration, Instant};

use admission::{Lapse, Limit};
use auth::tls::Reception;
use protocol::frame::Header;
use protocol::limits::{WINDOW_ANSWER_BYTES, WINDOW_REQUESTS};
use protocol::{
    ClientPreface, Connection, ConnectionError, DecodeError, ErrorCode, FEATURE_LOGIN,
    FEATURE_TLS_REQUIRED, MAGIC, Message, OLDEST_VERSION, Reply, Request, Role, ServerPreface,
    Text, VERSION,
};

use super::peer::Peer;

/// What every client hears at once; it decides nothing (RFC 959, section 5.4).
const WELCOME: &[u8] = b"220 mini-ftp ready\r\n";

/// What a client hears that speaks something else.
const FOREIGN: &[u8] = b"500 this server speaks only the framed dialect of mini-ftp\r\n";

/// How long a client that finds all full may take to say that it only asks after a worker: its words come right behind
/// its connection.
const QUESTION: Duration = Duration::from_millis(100);

/// How long a connection that can begin no session may stay.
pub(super) const AT_THE_GATE: Duration = Duration::from_secs(2);

/// Who opens a connection, as the preface says it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Introduction {
    /// Whether a ticket or a login must come first.
    pub(super) login_required: bool,
    /// Whether a login is taken at all.
    pub(super) takes_logins: bool,
    /// This worker's slot.
    pub(super) worker: u32,
    /// How long a client may take to say its first byte.
    pub(super) first_byte: Duration,
    /// How long it may take to come to an agreement about TLS.
    pub(super) handshake: Duration,
}

/// Greets a client, speaks TLS with it where it wants to, and agrees on a version; its preface must be there by `enter_by`.
/// `None`: the client said nothing that we speak or may speak with it, and has been told so.
pub(super) fn greet(
    peer: Peer,
    enter_by: Instant,
    reception: &Reception,
    introduction: Introduction,
) -> Result<Option<Connection<Peer>>, ConnectionError> {
    let mut connection = Connection::new(peer.clone());
    connection.send_raw(WELCOME);
    // A client that has spoken already gets the greeting together with what answers it.
    if !peer.wait_for_input(Duration::ZERO)? {
        connection.flush()?;
        if !peer.wait_for_input(introduction.first_byte)? {
            return Err(io::Error::from(Lapse(Limit::FirstByte)).into());
        }
    }
    let is_secured = peer.begins_tls()?;
    if is_secured {
        connection.flush()?;
        let Some(acceptor) = reception.acceptor() else {
            peer.part();
            return Ok(None);
        };
        let deadline = enter_by.min(Instant::now() + introduction.handshake);
        peer.secure(acceptor, deadline)?;
    }
    connection.stream().read_until(Some(enter_by));
    let Some(preface) = connection.read_client_preface(FOREIGN)? else {
        peer.part();
        return Ok(None);
    };
    let common = match ClientPreface::decode(&preface) {
        Ok(theirs) => theirs.common_version(),
        Err(error) => {
            connection.flush()?;
            return Err(error.into());
        }
    };
    let may_speak = is_secured || reception.takes_clear(peer.is_near());
    let mut preface = ours(introduction, common);
    if !may_speak {
        preface.features |= FEATURE_TLS_REQUIRED;
    }
    connection.send_raw(&preface.encode());
    if common.is_some() && !may_speak {
        let reply = Reply::Error {
            code: ErrorCode::TlsRequired,
            detail: Text::default(),
        };
        connection.send(0, &reply);
    }
    if common.is_none() || !may_speak {
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
        features: match introduction.takes_logins {
            true => FEATURE_LOGIN,
            false => 0,
        },
        worker: introduction.worker,
        window_requests: WINDOW_REQUESTS,
        window_answer_bytes: WINDOW_ANSWER_BYTES,
    }
}

/// Whether the first words are a Probe, or may be one in TLS: somebody asks whether a worker lives, and must hear it even
/// where all is full.
pub(crate) fn may_ask_after_worker(peer: &Peer) -> bool {
    if !peer.wait_for_input(QUESTION).is_ok_and(|spoken| spoken) {
        return false;
    }
    if peer.begins_tls().is_ok_and(|begins| begins) {
        return true;
    }
    let mut words = [0; ClientPreface::LENGTH + Header::LENGTH];
    let seen = peer.stream().peek(&mut words);
    let said = seen.is_ok_and(|seen| seen == words.len());
    let (preface, request) = words.split_at(ClientPreface::LENGTH);
    let header = request.try_into().map(Header::decode);
    let probe = Request::Probe { worker: 0 }.kind();
    said && preface.starts_with(&MAGIC) && matches!(header, Ok(Ok(header)) if header.kind == probe)
}

/// Tells a client that it is not let in, and why: it goes to the next slave, or comes again.
pub(crate) fn turn_away(mut peer: Peer, limit: Limit) {
    let line = format!("421 {}: try another slave, or later\r\n", limit.sentence());
    if peer.write_all(line.as_bytes()).is_ok() {
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

#[cfg(test)]
mod tests;
