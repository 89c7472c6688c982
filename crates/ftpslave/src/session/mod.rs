//! One client's session: bytes to requests, requests to the storage, outcomes to replies.

mod access;
mod batch;
mod busy;
mod dispatch;
mod entrance;
mod greeting;
mod ledger;
mod limits;
mod listening;
mod namespace;
mod peer;
mod retrieve;
mod roster;
mod store;

use std::io;
use std::sync::Arc;
use std::time::Instant;

use admission::{Gate, Lapse, Limit, MINIMUM_RATE_OVER, RateFloor, Stage, UNKNOWN_REQUESTS, Visit};
use auth::tls::Reception;
use cli::human_size;
use protocol::frame::{DATA, Header, KEEP_ALIVE};
use protocol::{Connection, ConnectionError, DecodeError, ErrorCode, Reply, Request, Text};
use storage::{OpenFile, StillWanted, Storage, StorageError};
use supervisor::{Admission, Scoreboard};

use access::{Access, is_harmless};
use batch::Batch;
use busy::Errand;
use entrance::REVOKED;
use greeting::{AT_THE_GATE, Introduction, broke_protocol};
use ledger::Ledger;
use limits::{Paces, Tally};
use roster::{Entry, Held};

use crate::transfer_log::TransferLog;

pub(crate) use access::Doorkeeper;
pub(crate) use batch::MOST_FILES;
pub(crate) use greeting::{may_ask_after_worker, turn_away};
pub(crate) use limits::Limits;
pub(crate) use peer::Peer;
pub(crate) use roster::Roster;

/// Collected answers are sent on at the latest when they are so long, bytes.
const ANSWERS: usize = 64 * 1024;

/// What all sessions of a worker share.
#[derive(Debug)]
pub(crate) struct Context {
    /// All of it, home or not: a session works with its own view alone.
    pub(crate) whole_storage: Arc<dyn Storage>,
    pub(crate) door: Doorkeeper,
    pub(crate) gate: Arc<Gate>,
    pub(crate) reception: Reception,
    pub(crate) scoreboard: Arc<Scoreboard>,
    /// This worker's slot.
    pub(crate) worker: u32,
    pub(crate) roster: Roster,
    pub(crate) limits: Limits,
    /// Where it is kept what clients move and change.
    pub(crate) transfer_log: Option<TransferLog>,
}

impl Context {
    /// For a client whose address is known; one whose is not has gone already.
    fn ledger(&self, peer: &Peer) -> Option<Ledger<'_>> {
        let log = self.transfer_log.as_ref()?;
        let from = peer.origin().ok()?;
        Some(Ledger::new(log, from))
    }
}

/// One connection that speaks the framed dialect.
#[derive(Debug)]
struct Session<'a> {
    context: &'a Context,
    /// What this session sees of the storage: all of it, or the account's home.
    storage: Arc<dyn Storage>,
    connection: Connection<Peer>,
    /// When a session must have begun.
    enter_by: Instant,
    access: Access,
    /// `None`: it was not let in, and may only ask after the slave.
    visit: Option<&'a mut Visit>,
    /// The limit at which it ended, where that is no error.
    late: Option<Limit>,
    paces: Paces<'a>,
    ledger: Option<Ledger<'a>>,
    batch: Batch,
    /// Whether the client still waits for its uploads.
    wanted: StillWanted,
    errand: Arc<Errand>,
    /// The upload that was refused while its content may still be coming.
    refused: Option<u32>,
    refused_logins: u32,
    unknown_requests: u32,
    /// The file that was read last: open until its answer has left, or the next request comes.
    answered: Option<Box<dyn OpenFile>>,
    /// For the worker to see by which ticket this session runs.
    held: Arc<Held>,
    /// The edition of the table of revoked tickets by which ours was good; none yet.
    looked_at: Option<Option<u64>>,
}

/// A connection that was let in, and may take a place.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) admission: Admission,
    pub(crate) visit: Visit,
}

/// Serves a connection to its end. Without an `arrival` it can begin no session, and only questions about the slave are
/// answered.
pub(crate) fn serve(context: &Context, mut peer: Peer, arrival: Option<Arrival>) {
    let limits = context.gate.limits();
    peer.require(RateFloor::new(limits.minimum_rate, MINIMUM_RATE_OVER));
    let entry = context.roster.enter(peer.clone());
    let patience = if arrival.is_some() {
        limits.login
    } else {
        AT_THE_GATE
    };
    let (admission, mut visit) = arrival
        .map(|arrival| (arrival.admission, arrival.visit))
        .unzip();
    let enter_by = Instant::now() + patience;
    let introduction = Introduction {
        login_required: context.door.asks_who_comes(),
        takes_logins: context.door.takes_logins(),
        worker: context.worker,
        first_byte: limits.first_byte,
        handshake: limits.tls,
    };
    let greeted = greeting::greet(peer.clone(), enter_by, &context.reception, introduction);
    let ((stage, late), result) = match greeted {
        Ok(Some(connection)) => {
            let arrival = (admission, visit.as_mut());
            converse(context, &entry, connection, arrival, enter_by)
        }
        Ok(None) => ((Stage::Arrived, None), Ok(())),
        Err(error) => ((Stage::Arrived, None), Err(error)),
    };
    if let Some(visit) = &visit {
        let limit = late.or_else(|| result.as_ref().err().and_then(lapse));
        visit.end(stage, limit);
    }
    match result {
        Ok(()) => peer.say_goodbye(),
        Err(error) => {
            tracing::debug!(%error, "session ended early");
            if broke_protocol(&error).is_some() {
                peer.part();
            }
        }
    }
}

/// Answers what comes over a connection to its end: how far it came, the limit that ended it without an error, and the error.
fn converse(
    context: &Context,
    entry: &Entry<'_>,
    connection: Connection<Peer>,
    (admission, visit): (Option<Admission>, Option<&mut Visit>),
    enter_by: Instant,
) -> ((Stage, Option<Limit>), Result<(), ConnectionError>) {
    let tally = Tally::default();
    let peer = connection.stream_ref().clone();
    let mut session = Session {
        context,
        storage: Arc::clone(&context.whole_storage),
        connection,
        enter_by,
        access: Access::Outside(admission),
        visit,
        late: None,
        paces: Paces::new(context.limits, &context.scoreboard, &tally),
        ledger: context.ledger(&peer),
        batch: Batch::default(),
        wanted: StillWanted::new(move || !peer.is_gone()),
        errand: entry.errand(),
        refused: None,
        refused_logins: 0,
        unknown_requests: 0,
        answered: None,
        held: entry.held(),
        looked_at: None,
    };
    let result = session.run(entry);
    session.end_ledger();
    if let Err(error) = &result {
        session.explain(error);
    }
    ((session.stage(), session.late), result)
}

/// The limit that ended a connection.
fn lapse(error: &ConnectionError) -> Option<Limit> {
    match error {
        ConnectionError::Io(error) => Lapse::of(error).or(match error.kind() {
            // The kernel's own: the client's side took nothing for so long.
            io::ErrorKind::TimedOut => Some(Limit::Stall),
            _ => None,
        }),
        _ => None,
    }
}

impl Session<'_> {
    const fn stage(&self) -> Stage {
        match self.access {
            Access::Outside(_) => Stage::Outside,
            Access::Inside { .. } => Stage::Inside,
        }
    }

    fn run(&mut self, entry: &Entry<'_>) -> Result<(), ConnectionError> {
        while self.await_request(entry)? {
            let Some(header) = self.receive()? else {
                // The client closed: whatever it had not been told is stored is not stored.
                return Ok(());
            };
            if let Verdict::Close = self.answer(&header)? {
                self.connection.flush()?;
                self.connection.stream().clone().part();
                return Ok(());
            }
            // A client that never pauses must not wait for its first answer until the batch is full.
            self.publish_if_due()?;
            self.flush_if_much()?;
        }
        self.publish()?;
        self.connection.flush()?;
        Ok(())
    }

    fn answer(&mut self, header: &Header) -> Result<Verdict, ConnectionError> {
        if header.kind == KEEP_ALIVE {
            return Ok(Verdict::GoOn);
        }
        if header.kind == DATA {
            return self.skip_refused(header.request);
        }
        if self.is_over() {
            self.refuse(header.request, ErrorCode::TicketExpired, REVOKED);
            return Ok(Verdict::Close);
        }
        let request = match self.connection.decode::<Request>(header) {
            Ok(Request::StoreEnd { .. } | Request::Abandon {}) => {
                return self.skip_refused(header.request);
            }
            Ok(Request::Present { ticket, secret }) => {
                return Ok(self.present(header.request, &ticket, &secret));
            }
            Ok(Request::Login { user, password }) => {
                return self.log_in(header.request, &user, &password);
            }
            Ok(request) => request,
            Err(DecodeError::UnknownKind(kind)) => {
                tracing::debug!(kind, "unknown request");
                self.refuse(header.request, ErrorCode::Unsupported, "");
                return Ok(self.count_unknown());
            }
            Err(error) => return Err(error.into()),
        };
        self.refused = None;
        match self.enter(header.request, &request) {
            Ok(()) if is_harmless(&request) => {}
            Ok(()) => self.check_presence()?,
            Err(verdict) => return Ok(verdict),
        }
        self.execute(header.request, request)
            .map(|()| Verdict::GoOn)
    }

    /// Who asks for what nobody knows, again and again and without saying who they are, speaks something else.
    fn count_unknown(&mut self) -> Verdict {
        self.unknown_requests += u32::from(self.stage() == Stage::Outside);
        if self.unknown_requests < UNKNOWN_REQUESTS {
            return Verdict::GoOn;
        }
        self.context.gate.hit(Limit::UnknownRequests);
        Verdict::Close
    }

    /// Fails where the client has closed. A process that was stopped for a while finds requests whose client has long gone
    /// to another slave: to remove now what was stored there since, or to replace it, would be to lose it.
    fn check_presence(&self) -> Result<(), ConnectionError> {
        if self.connection.stream_ref().is_gone() {
            Err(ConnectionError::Closed)
        } else {
            Ok(())
        }
    }

    /// What still comes of an upload that was refused; anywhere else content breaks the protocol.
    fn skip_refused(&self, request: u32) -> Result<Verdict, ConnectionError> {
        if self.refused == Some(request) {
            Ok(Verdict::GoOn)
        } else {
            Err(DecodeError::Field("content outside an upload").into())
        }
    }

    /// Collects an answer that may be the last one to its request, for the client and for the transfer log.
    fn reply(&mut self, id: u32, reply: &Reply) {
        if let Some(ledger) = &mut self.ledger {
            ledger.answer(id, reply, self.paces.moved());
        }
        self.connection.send(id, reply);
    }

    fn end_ledger(&mut self) {
        if let Some(ledger) = &mut self.ledger {
            ledger.end(self.paces.moved());
        }
    }

    fn refuse(&mut self, id: u32, code: ErrorCode, detail: &str) {
        let detail = Text::new(detail);
        self.reply(id, &Reply::Error { code, detail });
    }

    fn flush_if_much(&mut self) -> Result<(), ConnectionError> {
        if self.connection.unsent() >= ANSWERS {
            self.connection.flush()?;
        }
        Ok(())
    }

    /// A last word to a client whose bytes were not the protocol.
    fn explain(&mut self, error: &ConnectionError) {
        if let Some(error) = broke_protocol(error) {
            self.refuse(0, ErrorCode::Protocol, &error.to_string());
            self.connection.flush().unwrap_or_default();
        }
    }
}

/// Whether a connection goes on after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    GoOn,
    Close,
}

/// What the client hears of a failed operation: the code, and what its quota leaves; the log has the rest.
fn error_reply(error: &StorageError) -> Reply {
    match error.code() {
        ErrorCode::Internal => {
            tracing::error!(error = error as &dyn std::error::Error, "request failed");
        }
        _ => tracing::debug!(error = error as &dyn std::error::Error, "request refused"),
    }
    let detail = error.room().map_or_else(String::new, |room| {
        let (left, limit) = (human_size(room.left), human_size(room.limit));
        format!("{left} of {limit} left")
    });
    Reply::Error {
        code: error.code(),
        detail: Text::new(&detail),
    }
}
