//! One client's session: bytes to requests, requests to the storage, outcomes to replies.

mod access;
mod answer;
mod batch;
mod busy;
mod digests;
mod dispatch;
mod entrance;
mod greeting;
mod ledger;
mod limits;
mod namespace;
mod open_ahead;
mod peer;
mod retrieve;
mod roster;
mod store;
mod wanted;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use admission::{Gate, Lapse, Limit, MESSAGE, MINIMUM_RATE_OVER, RateFloor, Stage, Visit};
use auth::tls::Reception;
use protocol::frame::Header;
use protocol::{Connection, ConnectionError};
use storage::{OpenFile, StillWanted, Storage};
use supervisor::{Admission, Scoreboard};
use transfer::Congestion;

use access::Access;
use answer::{Verdict, error_reply};
use batch::Batch;
use busy::Errand;
use greeting::{AT_THE_GATE, Introduction, broke_protocol};
use ledger::Ledger;
use limits::{Paces, Tally};
use open_ahead::OpenAhead;
use roster::{Entry, Held};

use crate::transfer_log::TransferLog;

pub(crate) use access::Doorkeeper;
pub(crate) use batch::MOST_FILES;
pub(crate) use greeting::{may_ask_after_worker, turn_away};
pub(crate) use limits::Limits;
pub(crate) use open_ahead::{DESCRIPTORS as DESCRIPTORS_AHEAD, Openers};
pub(crate) use peer::Peer;
pub(crate) use roster::Roster;

/// A client that says nothing for so long rests, and its connection's memory with it.
const PAUSE: Duration = Duration::from_millis(10);

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
    pub(crate) congestion: Congestion,
    pub(crate) openers: Openers,
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
    /// Whether a ticket was refused.
    is_led_astray: bool,
    unknown_requests: u32,
    /// The file that was read last: open until its answer has left, or the next request comes.
    answered: Option<Box<dyn OpenFile>>,
    ahead: OpenAhead,
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
        is_led_astray: false,
        unknown_requests: 0,
        answered: None,
        ahead: OpenAhead::default(),
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
        let verdict = match self.answer_all(entry) {
            Err(error) if self.is_our_end(&error) => Verdict::GoOn,
            ended => ended?,
        };
        if verdict == Verdict::GoOn {
            if self.connection.stream_ref().is_gone() {
                // Whatever the client had not been told is stored is not stored.
                return Ok(());
            }
            self.publish()?;
        }
        self.connection.flush()?;
        // A worker that drains leaves requests unread.
        if verdict == Verdict::Close || self.context.roster.is_draining() {
            self.connection.stream().clone().part();
        }
        Ok(())
    }

    /// Answers until no further request is to be waited for, or the connection to be closed.
    fn answer_all(&mut self, entry: &Entry<'_>) -> Result<Verdict, ConnectionError> {
        while self.await_request(entry)? {
            let Some(header) = self.receive()? else {
                break;
            };
            if let Verdict::Close = self.answer(&header)? {
                return Ok(Verdict::Close);
            }
            // A client that never pauses must not wait for its first answer until the batch is full.
            self.publish_if_due()?;
            self.flush_if_much()?;
        }
        Ok(Verdict::GoOn)
    }

    /// Whether the stream ended because the worker drains, and not by the client, which may still wait for what is answered.
    fn is_our_end(&self, error: &ConnectionError) -> bool {
        let is_end = match error {
            ConnectionError::Closed => true,
            ConnectionError::Io(error) => error.kind() == io::ErrorKind::UnexpectedEof,
            _ => false,
        };
        is_end && self.context.roster.is_draining() && !self.connection.stream_ref().is_gone()
    }

    /// Waits for the next request, and publishes meanwhile what is due. `false`: the session is over.
    fn await_request(&mut self, entry: &Entry<'_>) -> Result<bool, ConnectionError> {
        if matches!(self.access, Access::Outside(_)) && Instant::now() >= self.enter_by {
            // Whoever never pauses has no more time than others.
            self.late = Some(Limit::Login);
            return Ok(false);
        }
        if self.connection.has_input() {
            return Ok(true);
        }
        self.connection.flush()?;
        // The client has its answer: what is closed now is waited for by nobody.
        self.answered = None;
        let (limit, late) = match self.access {
            Access::Outside(_) => (
                self.enter_by.saturating_duration_since(Instant::now()),
                Limit::Login,
            ),
            Access::Inside { .. } => (self.context.gate.limits().idle, Limit::Idle),
        };
        let peer = self.connection.stream().clone();
        if let Some(patience) = self.batch.patience()
            && !peer.wait_for_input(patience)?
        {
            self.publish()?;
            self.connection.flush()?;
        }
        if !entry.rest() {
            return Ok(false);
        }
        let mut spoken = self.watch()? || peer.wait_for_input(limit.min(PAUSE))?;
        if !spoken {
            self.connection.rest();
            self.ahead.rest();
            peer.rest();
            spoken = peer.wait_for_input(limit.saturating_sub(PAUSE))?;
        }
        entry.work();
        self.late = (!spoken).then_some(late);
        Ok(spoken)
    }

    /// Whether a client that is near has spoken, or closed, while it was waited for awake.
    fn watch(&mut self) -> Result<bool, ConnectionError> {
        match self.in_time(|connection| connection.read_ahead(Peer::read_awake)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            read => Ok(read.map(|_| true)?),
        }
    }

    /// The next frame's header, and of a message all of it.
    fn receive(&mut self) -> Result<Option<Header>, ConnectionError> {
        self.connection.skip_data()?;
        self.in_time(Connection::receive)
    }

    /// A message comes in time, or the session ends: a client that sends a byte now and then must not keep a thread for ever.
    fn in_time<T>(&mut self, read: impl FnOnce(&mut Connection<Peer>) -> T) -> T {
        let end = match self.access {
            Access::Outside(_) => self.enter_by,
            Access::Inside { .. } => Instant::now() + MESSAGE,
        };
        self.connection.stream().read_until(Some(end));
        let read = read(&mut self.connection);
        self.connection.stream().read_until(None);
        read
    }
}
