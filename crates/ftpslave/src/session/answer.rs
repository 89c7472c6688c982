//! What a request is answered with, and whether the connection goes on after it.

use admission::{Limit, Stage, UNKNOWN_REQUESTS};
use cli::human_size;
use protocol::frame::{DATA, Header, KEEP_ALIVE};
use protocol::{ConnectionError, DecodeError, ErrorCode, Reply, Request, Text};
use storage::StorageError;

use super::Session;
use super::access::is_harmless;
use super::entrance::REVOKED;
use super::greeting::broke_protocol;

/// Collected answers are sent on at the latest when they are so long, bytes.
const ANSWERS: usize = 64 * 1024;

impl Session<'_> {
    pub(super) fn answer(&mut self, header: &Header) -> Result<Verdict, ConnectionError> {
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
    pub(super) fn check_presence(&self) -> Result<(), ConnectionError> {
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
    pub(super) fn reply(&mut self, id: u32, reply: &Reply) {
        if let Some(ledger) = &mut self.ledger {
            ledger.answer(reply, self.paces.moved());
        }
        self.connection.send(id, reply);
    }

    pub(super) fn end_ledger(&mut self) {
        if let Some(ledger) = &mut self.ledger {
            ledger.end(self.paces.moved());
        }
    }

    pub(super) fn refuse(&mut self, id: u32, code: ErrorCode, detail: &str) {
        let detail = Text::new(detail);
        self.reply(id, &Reply::Error { code, detail });
    }

    pub(super) fn flush_if_much(&mut self) -> Result<(), ConnectionError> {
        if self.connection.unsent() >= ANSWERS {
            self.connection.flush()?;
        }
        Ok(())
    }

    /// A last word to a client whose bytes were not the protocol.
    pub(super) fn explain(&mut self, error: &ConnectionError) {
        if let Some(error) = broke_protocol(error) {
            self.refuse(0, ErrorCode::Protocol, &error.to_string());
            self.connection.flush().unwrap_or_default();
        }
    }
}

/// Whether a connection goes on after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    GoOn,
    Close,
}

/// What the client hears of a failed operation: the code, and what its quota leaves; the log has the rest.
pub(super) fn error_reply(error: &StorageError) -> Reply {
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
