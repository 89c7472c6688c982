//! Waiting for what the client says next.

use std::io;
use std::time::{Duration, Instant};

use admission::{Limit, MESSAGE};
use protocol::frame::Header;
use protocol::{Connection, ConnectionError};

use super::Session;
use super::access::Access;
use super::peer::Peer;
use super::roster::Entry;

/// A client that says nothing for so long rests, and its connection's memory with it.
const PAUSE: Duration = Duration::from_millis(10);

impl Session<'_> {
    /// Waits for the next request, and publishes meanwhile what is due. `false`: the session is over.
    pub(super) fn await_request(&mut self, entry: &Entry<'_>) -> Result<bool, ConnectionError> {
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
    pub(super) fn receive(&mut self) -> Result<Option<Header>, ConnectionError> {
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
