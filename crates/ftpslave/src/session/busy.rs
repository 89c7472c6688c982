//! Telling a client that waits for long work that we are alive.

use std::io;
use std::ops::ControlFlow;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread::{Builder, scope};
use std::time::{Duration, Instant};

use protocol::{Connection, ConnectionError, Reply};

use super::peer::Peer;

/// Between two signs of life.
const INTERVAL: Duration = Duration::from_secs(1);

/// Sends a keep-alive whenever work that reports its progress has gone on for [`INTERVAL`].
#[derive(Debug)]
pub(super) struct Heartbeat<'a> {
    connection: &'a mut Connection<Peer>,
    request: u32,
    last: Instant,
    failure: Option<io::Error>,
}

impl<'a> Heartbeat<'a> {
    pub(super) fn new(connection: &'a mut Connection<Peer>, request: u32) -> Self {
        Self {
            connection,
            request,
            last: Instant::now(),
            failure: None,
        }
    }

    /// To be called as the work goes on; says that it must stop when nobody waits for it any more.
    pub(super) fn beat(&mut self) -> ControlFlow<()> {
        if self.last.elapsed() >= INTERVAL {
            self.last = Instant::now();
            self.connection.send_keep_alive(self.request);
            self.failure = self.connection.flush().err();
        }
        if self.failure.is_some() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }

    /// Sends a part of the answer before the work is done.
    pub(super) fn send(&mut self, reply: &Reply) {
        self.connection.send(self.request, reply);
        if self.failure.is_none() {
            self.failure = self.connection.flush().err();
        }
    }

    /// Why the work was stopped, if it was.
    pub(super) fn finish(self) -> Result<(), ConnectionError> {
        self.failure.map_or(Ok(()), |error| Err(error.into()))
    }
}

/// Does work that reports nothing on a thread of its own, and says meanwhile that we are alive.
///
/// # Errors
/// When the client went away meanwhile, or no thread can be had; the work is done or was not begun.
pub(super) fn alive_during<T: Send>(
    connection: &mut Connection<Peer>,
    request: u32,
    work: impl FnOnce() -> T + Send,
) -> Result<T, ConnectionError> {
    scope(|threads| {
        let (done, result) = sync_channel(1);
        let worker = move || done.send(work()).unwrap_or_default();
        Builder::new()
            .name("work".to_owned())
            .stack_size(256 * 1024)
            .spawn_scoped(threads, worker)?;
        loop {
            match result.recv_timeout(INTERVAL) {
                Ok(result) => return Ok(result),
                Err(RecvTimeoutError::Timeout) => {
                    connection.send_keep_alive(request);
                    connection.flush()?;
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(io::Error::other("the work broke off").into());
                }
            }
        }
    })
}
