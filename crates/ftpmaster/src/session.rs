//! One connection: greeting, TLS, preface, then questions and answers.

use std::io;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use admission::{Lapse, Limit, MESSAGE, Stage, Visit};
use protocol::frame::{DATA, Header, KEEP_ALIVE};
use protocol::limits::{WINDOW_ANSWER_BYTES, WINDOW_REQUESTS};
use protocol::{
    ClientPreface, Connection, ConnectionError, DecodeError, ErrorCode, FEATURE_TLS_REQUIRED,
    MasterReply, MasterRequest, OLDEST_VERSION, Role, ServerPreface, Text, VERSION,
};
use tracing::debug;

use crate::join::join;
use crate::limits::ANSWER;
use crate::master::Master;
use crate::redirect;
use crate::registration::{self, Hello};
use crate::stream::DeadlineStream;
use crate::visitor::{Origin, Visitor};

/// What is said to everybody, at once: standard clients wait for it (RFC 959, section 5.4).
const GREETING: &[u8] = b"220 mini-ftp ready\r\n";

/// What is said to those who speak anything else than the framed protocol.
const FOREIGN: &[u8] = b"500 this port speaks the mini-ftp protocol: use ftpclient\r\n";

/// Answers that are collected before they are sent, bytes.
const COLLECTED: usize = 64 * 1024;

type Link = Connection<DeadlineStream>;

/// Serves one connection to its end.
pub(crate) fn serve(master: &Master, socket: TcpStream, mut visit: Visit) {
    let limits = master.gate.limits();
    let mut link = Connection::new(DeadlineStream::new(socket, limits.first_byte));
    let mut stage = Stage::Arrived;
    let ended = converse(master, &mut link, &mut visit, &mut stage);
    let limit = match &ended {
        Err(ConnectionError::Io(error)) if error.kind() == io::ErrorKind::TimedOut => {
            Some(Lapse::of(error).unwrap_or(match stage {
                _ if link.unsent() > 0 => Limit::Stall,
                Stage::Arrived => Limit::FirstByte,
                Stage::Outside => Limit::Login,
                Stage::Inside => Limit::Idle,
            }))
        }
        _ => None,
    };
    visit.end(stage, limit);
    match ended {
        Ok(()) => {}
        Err(ConnectionError::Decode(error)) => {
            debug!("a peer breaks the protocol: {error}");
            link.send(0, &refusal(ErrorCode::Protocol, &error.to_string()));
            link.stream().allow(ANSWER);
            if link.flush().is_err() {
                return;
            }
        }
        Err(error) => {
            debug!("a connection ends: {error}");
            return;
        }
    }
    if let Err(error) = link.stream().close_politely() {
        debug!("a connection ends: {error}");
    }
}

/// What says which limit it was, where the time is over.
fn too_late_for(limit: Limit) -> impl Fn(io::Error) -> io::Error {
    move |error| match error.kind() {
        io::ErrorKind::TimedOut => Lapse(limit).into(),
        _ => error,
    }
}

/// Sends what was collected, to a peer that takes it in time.
fn flush(link: &mut Link) -> io::Result<()> {
    link.stream().allow(ANSWER);
    link.flush().map_err(too_late_for(Limit::Stall))
}

/// The next message: its first byte within `time`, and the rest, in a session, within [`MESSAGE`].
fn receive(
    link: &mut Link,
    stage: Stage,
    time: Duration,
) -> Result<Option<Header>, ConnectionError> {
    link.stream().allow(time);
    if stage != Stage::Inside {
        return link.receive();
    }
    if !link.has_input() {
        link.stream().wait_for_input()?;
    }
    link.stream().allow(MESSAGE);
    link.receive().map_err(|error| match error {
        ConnectionError::Io(error) => too_late_for(Limit::Message)(error).into(),
        other => other,
    })
}

fn converse(
    master: &Master,
    link: &mut Link,
    visit: &mut Visit,
    stage: &mut Stage,
) -> Result<(), ConnectionError> {
    let log_in_by = Instant::now() + master.gate.limits().login;
    if !agree(link, master)? {
        return Ok(());
    }
    if master.settings().everybody.is_some() {
        visit.begin("").unwrap_or_default(); // nobody in particular has no limit
    }
    let mut visitor = Visitor::default();
    loop {
        let (now, time) = patience(master, &visitor, log_in_by);
        *stage = now;
        if time.is_zero() {
            // Whoever never pauses has no more time than others.
            return Err(io::Error::from(io::ErrorKind::TimedOut).into());
        }
        let Some(header) = receive(link, now, time)? else {
            return Ok(());
        };
        let answering = master.answering();
        if header.kind == KEEP_ALIVE {
            continue;
        }
        if header.kind == DATA {
            return Err(DecodeError::UnknownKind(DATA).into());
        }
        let reply = match link.decode(&header) {
            Ok(request) => {
                if let Some(hello) = registers(header.request, &request) {
                    drop(answering); // a slave's connection is not meant to end
                    return registration::serve(master, link, &hello, visit);
                }
                let who = (&mut visitor, &mut *visit);
                answer(master, who, link.stream_ref(), &request)?
            }
            Err(DecodeError::UnknownKind(_)) => {
                visitor.asks_nonsense(master);
                refusal(ErrorCode::Unsupported, "")
            }
            Err(error) => return Err(error.into()),
        };
        link.send(header.request, &reply);
        if visitor.is_refused() || is_the_last(&reply) {
            flush(link)?;
            return Ok(());
        }
        if !link.has_input() || link.unsent() > COLLECTED {
            flush(link)?;
            link.rest();
            link.stream().rest();
        }
        drop(answering);
    }
}

/// What a slave says that registers.
fn registers(request: u32, message: &MasterRequest) -> Option<Hello> {
    match message {
        MasterRequest::Register {
            nonce,
            slave,
            storage,
            addresses,
            fingerprint,
        } => Some(Hello {
            request,
            nonce: *nonce,
            slave: *slave,
            storage: *storage,
            addresses: addresses.clone(),
            fingerprint: *fingerprint,
        }),
        _ => None,
    }
}

/// How far the connection has come, and how long its next word may take.
fn patience(master: &Master, visitor: &Visitor, log_in_by: Instant) -> (Stage, Duration) {
    match visitor.standing(&master.settings()) {
        Some(_) => (Stage::Inside, master.gate.limits().idle),
        None => (
            Stage::Outside,
            log_in_by.saturating_duration_since(Instant::now()),
        ),
    }
}

/// Speaks TLS from now on; false where this master does not.
fn secure(link: &mut Link, master: &Master) -> io::Result<bool> {
    link.flush()?;
    let settings = master.settings();
    let Some(acceptor) = settings.reception.acceptor() else {
        return Ok(false);
    };
    let tls = acceptor.start().map_err(io::Error::from)?;
    link.stream().allow(master.gate.limits().tls);
    let secured = link.stream().secure(tls);
    secured.map_err(too_late_for(Limit::Tls))?;
    Ok(true)
}

/// Greets, speaks TLS with who wants to, and finds a version that both speak. False when there is none, or the peer speaks
/// something else, or may not speak as it does.
fn agree(link: &mut Link, master: &Master) -> Result<bool, ConnectionError> {
    let settings = master.settings();
    link.send_raw(GREETING);
    // A peer that has spoken already gets the greeting together with what answers it.
    if !link.stream_ref().has_input()? {
        link.flush()?;
    }
    if link.stream_ref().begins_tls()? && !secure(link, master)? {
        return Ok(false);
    }
    let Some(theirs) = read_preface(link)? else {
        return Ok(false);
    };
    let version = theirs.common_version();
    let stream = link.stream_ref();
    let may_speak =
        stream.tls().is_some() || settings.reception.takes_clear(stream.peer()?.is_here);
    let preface = ServerPreface {
        version: version.unwrap_or(0),
        oldest: OLDEST_VERSION,
        newest: VERSION,
        role: Role::Master,
        login_required: settings.everybody.is_none(),
        features: match may_speak {
            true => 0,
            false => FEATURE_TLS_REQUIRED,
        },
        worker: 0,
        window_requests: WINDOW_REQUESTS,
        window_answer_bytes: WINDOW_ANSWER_BYTES,
    };
    link.send_raw(&preface.encode());
    if version.is_some() && !may_speak {
        link.send(0, &refusal(ErrorCode::TlsRequired, ""));
    }
    let goes_on = version.is_some() && may_speak;
    if !goes_on || !link.has_input() {
        link.flush()?;
    }
    Ok(goes_on)
}

/// The client's preface; `None`: it speaks something else, and has been told what this is, or its preface is damaged.
fn read_preface(link: &mut Link) -> Result<Option<ClientPreface>, ConnectionError> {
    let Some(bytes) = link.read_client_preface(FOREIGN)? else {
        return Ok(None);
    };
    match ClientPreface::decode(&bytes) {
        Ok(theirs) => Ok(Some(theirs)),
        Err(error) => {
            // No frame says so: who has not heard our preface expects none.
            debug!("a peer breaks the protocol: {error}");
            link.flush()?;
            Ok(None)
        }
    }
}

fn answer(
    master: &Master,
    (visitor, visit): (&mut Visitor, &mut Visit),
    stream: &DeadlineStream,
    request: &MasterRequest,
) -> Result<MasterReply, ConnectionError> {
    // Before the settings: a ticket by those that are replaced meanwhile is revoked with them.
    let issued = master.clock.now();
    let standing = || visitor.standing(&master.settings());
    Ok(match request {
        MasterRequest::Locate { tried, renew } => match standing() {
            Some(standing) => redirect::located(master, (&standing, issued), tried, *renew),
            None => refusal(ErrorCode::LoginRequired, ""),
        },
        // The operator needs no account to see who is up.
        MasterRequest::ListSlaves {} if standing().is_some() || stream.peer()?.is_here => {
            redirect::slaves(master)
        }
        MasterRequest::ListSlaves {} => refusal(ErrorCode::LoginRequired, ""),
        MasterRequest::Login { user, password } => {
            let origin = Origin {
                ip: stream.peer()?.ip,
                is_private: stream.is_private()?,
            };
            visitor.log_in(master, origin, visit, (user, password))
        }
        MasterRequest::Join { token, slave } => {
            let is_private = stream.is_private()?;
            join(master, stream.peer()?, is_private, (token, *slave))
        }
        MasterRequest::Register { .. }
        | MasterRequest::Prove { .. }
        | MasterRequest::Heartbeat { .. } => {
            refusal(ErrorCode::Protocol, "only a slave that registers says this")
        }
    })
}

/// Whether the client must come again with a login, or what it said has no meaning here.
fn is_the_last(reply: &MasterReply) -> bool {
    use ErrorCode::{LoginRequired, Protocol};
    matches!(
        reply,
        MasterReply::Error {
            code: LoginRequired | Protocol,
            ..
        }
    )
}

fn refusal(code: ErrorCode, detail: &str) -> MasterReply {
    MasterReply::Error {
        code,
        detail: Text::new(detail),
    }
}
