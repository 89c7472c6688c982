//! One conversation with one slave: requests out, answers in, matched by number.

mod ahead;
mod content;
mod opening;

use std::collections::HashSet;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use ahead::Ahead;
use protocol::frame::{DATA, Header, KEEP_ALIVE};
use protocol::{
    Connection, ConnectionError, Entry, ErrorCode, Reply, Request, ServerPreface, SlaveId,
};

use crate::Target;
use crate::context::Context;
use crate::fault::{Attempt, Fault};
use crate::patient::Patient;
use crate::secrecy::Pass;

/// Bytes of requests that may be under way while nobody reads answers: more could fill the socket buffers of both sides.
const WINDOW_BYTES: usize = 32 * 1024;

/// A slave that serves this client.
#[derive(Debug)]
pub(crate) struct Session {
    connection: Connection<Patient>,
    address: SocketAddr,
    key: Key,
    window: usize,
    last_request: u32,
    open: usize,
    closed_early: HashSet<u32>,
    ahead: Ahead,
    moved: bool,
}

/// How a session is opened, and opened again.
#[derive(Clone, Debug)]
pub(crate) enum Key {
    /// By what the master gave.
    Ticket(Pass),
    /// By the user's own name and password where there are any, at a slave that stands alone and was named like this.
    Name(Target),
}

/// The next frame of an answer.
#[derive(Debug)]
pub(crate) enum Frame {
    /// A message.
    Reply(Reply),
    /// Content, to be read by [`Session::read_data`].
    Data,
}

impl Key {
    const fn is_ticket(&self) -> bool {
        matches!(self, Self::Ticket(_))
    }
}

impl Session {
    /// Goes on with a connection whose prefaces have been exchanged.
    pub(crate) fn new(
        mut connection: Connection<Patient>,
        preface: &ServerPreface,
        key: Key,
        context: &Context,
    ) -> Self {
        let patient = connection.stream();
        patient.set_limit(context.options.timeout);
        patient.watch(preface.worker);
        Self {
            address: patient.peer(),
            connection,
            key,
            window: usize::try_from(preface.window_requests).unwrap_or(1).max(1),
            last_request: 0,
            open: 0,
            closed_early: HashSet::new(),
            ahead: Ahead::default(),
            moved: false,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn id(&self) -> Option<SlaveId> {
        match &self.key {
            Key::Ticket(pass) => Some(pass.id),
            Key::Name(_) => None,
        }
    }

    /// What opened it.
    pub(crate) fn key(&self) -> &Key {
        &self.key
    }

    /// How long a round trip to the slave took when the connection came about.
    pub(crate) fn round_trip(&self) -> Duration {
        self.connection.stream_ref().round_trip()
    }

    /// Whether the slave is on this machine.
    pub(crate) fn is_same_machine(&self) -> bool {
        transfer::is_same_machine(self.connection.stream_ref().socket(), self.address)
    }

    /// The connection, for cutting it off from another thread.
    pub(crate) fn socket(&self) -> io::Result<TcpStream> {
        self.connection.stream_ref().socket().try_clone()
    }

    /// Whether `outstanding` requests of `bytes` in all leave room for another.
    pub(crate) fn has_room(&self, outstanding: usize, bytes: usize) -> bool {
        outstanding == 0 || (outstanding < self.window && bytes < WINDOW_BYTES)
    }

    /// Notes that the work at hand came further, so that another loss starts the counting anew.
    pub(crate) fn mark_progress(&mut self) {
        self.moved = true;
    }

    /// Whether the work came further since this was asked last.
    pub(crate) fn take_progress(&mut self) -> bool {
        std::mem::take(&mut self.moved)
    }

    /// Whether another piece of work may use this session: every request has had its closing answer, but for what has
    /// travelled with the first words, and neither side has closed it, as this one does where work on another thread is to
    /// end at once.
    pub(crate) fn is_at_rest(&mut self) -> bool {
        self.open == self.ahead.count() && self.is_open()
    }

    /// Whether the slave is still there, as far as this side's kernel knows. One that has answered everything has nothing to
    /// say, so whatever arrived is its farewell.
    pub(crate) fn is_open(&mut self) -> bool {
        if self.ahead.is_unclaimed() {
            return true;
        }
        match self.ahead.count() {
            0 => !self.has_input().unwrap_or(true),
            _ => matches!(self.receive_arrived(), Ok(None)),
        }
    }

    /// Whether an answer, or the end, has arrived.
    pub(crate) fn has_input(&mut self) -> io::Result<bool> {
        Ok(self.connection.has_input() || self.connection.stream_ref().has_input()?)
    }

    /// Whether something of a further answer has been read from the socket already.
    pub(crate) fn has_buffered(&self) -> bool {
        self.connection.has_input()
    }

    /// Collects a request and gives its number. What has travelled with the first words is asked by that; where it is
    /// something else, the answer to it is passed over.
    pub(crate) fn request(&mut self, request: &Request) -> u32 {
        if let Some(number) = self.ahead.claim(request) {
            return number;
        }
        let number = self.next_number();
        self.connection.send(number, request);
        number
    }

    /// Notes that `request` has travelled with the first words as the last of them.
    pub(crate) fn note_ahead(&mut self, number: u32, request: &Request) {
        self.last_request = number;
        self.open += 1;
        self.ahead.ask(number, request);
    }

    /// Notes that the request `number`, with the first words, was meant for a master.
    pub(crate) fn note_strange(&mut self, number: u32) {
        self.last_request = number;
        self.open += 1;
        self.ahead.pass_over(number);
    }

    /// The number of a request that is about to be collected.
    fn next_number(&mut self) -> u32 {
        self.last_request = self.last_request.wrapping_add(1).max(1);
        self.open += 1;
        self.last_request
    }

    /// Collects a further message of the request `number`.
    pub(crate) fn add(&mut self, number: u32, request: &Request) {
        self.connection.send(number, request);
    }

    /// Sends what was collected.
    pub(crate) fn flush(&mut self) -> Attempt<()> {
        self.connection
            .flush()
            .map_err(|error| Fault::from_socket(&error))
    }

    /// Bytes that were collected and not sent.
    pub(crate) fn unsent(&self) -> usize {
        self.connection.unsent()
    }

    /// Asks one thing and waits for its only answer.
    pub(crate) fn ask(&mut self, request: &Request) -> Attempt<Reply> {
        let number = self.request(request);
        self.flush()?;
        self.answer(number)
    }

    /// The next message, which must belong to the request `number`. An error that the slave answered is a fault.
    pub(crate) fn answer(&mut self, number: u32) -> Attempt<Reply> {
        match self.frame(number)? {
            Frame::Reply(reply) => Ok(reply),
            Frame::Data => Err(Fault::nonsense("content where an answer was expected")),
        }
    }

    /// The next frame, which must belong to the request `number`. An error that the slave answered is a fault.
    pub(crate) fn frame(&mut self, number: u32) -> Attempt<Frame> {
        match self.receive()? {
            (of, _) if of != number => Err(Fault::nonsense("an answer out of order")),
            (_, Frame::Reply(Reply::Error { code, detail })) => Err(Fault::answered(code, &detail)),
            (_, frame) => Ok(frame),
        }
    }

    /// The next frame of any request, with its number. An error with the number 0 is about the whole session.
    pub(crate) fn receive(&mut self) -> Attempt<(u32, Frame)> {
        loop {
            let header = self.connection.receive_answer()?;
            if let Some(frame) = self.take(&header)? {
                return Ok((header.request, frame));
            }
        }
    }

    /// The next frame, if one has arrived: for looking up while something is sent.
    pub(crate) fn receive_arrived(&mut self) -> Attempt<Option<(u32, Frame)>> {
        while self
            .has_input()
            .map_err(|error| Fault::from_socket(&error))?
        {
            let header = self.connection.receive()?.ok_or(ConnectionError::Closed)?;
            if header.kind == KEEP_ALIVE {
                continue;
            }
            if let Some(frame) = self.take(&header)? {
                return Ok(Some((header.request, frame)));
            }
        }
        Ok(None)
    }

    /// Fails where the slave has refused the request `number`, all of which is not sent yet.
    pub(crate) fn check_refusal(&mut self, number: u32) -> Attempt<()> {
        match self.receive_arrived()? {
            None => Ok(()),
            Some((of, Frame::Reply(Reply::Error { code, detail }))) if of == number => {
                // The reason counts, even where the slave has closed behind it.
                match self.abandon_refused(number) {
                    Ok(()) | Err(Fault::Lost(_)) => Err(Fault::answered(code, &detail)),
                    Err(fault) => Err(fault),
                }
            }
            Some(_) => Err(Fault::nonsense("an answer out of order")),
        }
    }

    /// What the frame behind `header` says; `None` where it belongs to a request that is over for this side.
    fn take(&mut self, header: &Header) -> Attempt<Option<Frame>> {
        if header.kind == DATA {
            let number = header.request;
            let is_over = self.closed_early.contains(&number) || self.ahead.passes_over(number);
            return Ok((!is_over).then_some(Frame::Data));
        }
        let reply: Reply = self.connection.decode(header)?;
        if self.closed_early.remove(&header.request) {
            return Ok(None);
        }
        if closes(&reply) {
            self.open = self.open.saturating_sub(1);
        }
        if self.ahead.passes_over(header.request) {
            self.ahead.skip(header.request, &reply)?;
            return Ok(None);
        }
        match reply {
            Reply::Error { code, .. } if header.request == 0 => Err(match Fault::from(code) {
                Fault::Failed(error) => Fault::Lost(error.to_string()),
                other => other,
            }),
            reply => Ok(Some(Frame::Reply(reply))),
        }
    }

    /// Tells the slave that this side is alive, but busy.
    pub(crate) fn keep_alive(&mut self, number: u32) -> Attempt<()> {
        self.connection.send_keep_alive(number);
        self.flush()
    }

    /// Whether the request `number` was closed before all of it was sent.
    pub(crate) fn is_over(&self, number: u32) -> bool {
        self.closed_early.contains(&number)
    }

    /// Gives up an upload that the slave has refused before all of it was sent. Should it answer that too, the answer is
    /// passed over.
    pub(crate) fn abandon_refused(&mut self, number: u32) -> Attempt<()> {
        self.closed_early.insert(number);
        self.add(number, &Request::Abandon {});
        self.flush()
    }
}

/// Whether an answer is the last one to its request.
fn closes(reply: &Reply) -> bool {
    match reply {
        Reply::Content { .. } | Reply::Ready { .. } | Reply::Received {} => false,
        Reply::Entries { more, .. } | Reply::Blocks { more, .. } => !more,
        Reply::Error { .. }
        | Reply::Done {}
        | Reply::Alive { .. }
        | Reply::Identity { .. }
        | Reply::Welcome { .. }
        | Reply::Facts { .. }
        | Reply::ContentEnd { .. }
        | Reply::Sum { .. }
        | Reply::Space { .. }
        | Reply::Stored { .. } => true,
    }
}

/// The answer of what was done.
pub(crate) fn done(reply: Reply) -> Attempt<()> {
    match reply {
        Reply::Done {} => Ok(()),
        other => Err(unexpected(&other)),
    }
}

/// The answer of what a name is.
pub(crate) fn facts(reply: Reply) -> Attempt<Entry> {
    match reply {
        Reply::Facts { entry } => Ok(entry),
        other => Err(unexpected(&other)),
    }
}

/// An answer that does not belong to what was asked.
pub(crate) fn unexpected(reply: &Reply) -> Fault {
    match reply {
        Reply::Error { code, detail } => Fault::answered(*code, detail),
        _ => Fault::nonsense("an answer to something else"),
    }
}

/// Codes that a slave answers when what it was asked for had happened already.
pub(crate) fn is_code(fault: &Fault, code: ErrorCode) -> bool {
    matches!(fault, Fault::Failed(error) if error.is(code))
}

#[cfg(test)]
mod tests;
