//! Telling a client that waits for long work that we are alive.

use std::io;
use std::ops::ControlFlow;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use protocol::frame::{Header, KEEP_ALIVE};
use protocol::{Connection, ConnectionError, Reply};

use super::peer::Peer;

/// Between two signs of life.
pub(super) const INTERVAL: Duration = Duration::from_secs(1);

/// So early, because whoever sends it may come by a quarter of a second late.
const SOON: Duration = Duration::from_millis(750);

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

/// The work of one session that reports nothing. The worker's main thread, which always comes by soon, says meanwhile that we
/// are alive: no thread has to begin and end for what mostly takes a moment.
#[derive(Debug, Default)]
pub(super) struct Errand(Mutex<Option<Running>>);

#[derive(Debug)]
struct Running {
    request: u32,
    /// When it began, or when a sign of life was sent last.
    last: Instant,
    failure: Option<io::Error>,
}

/// Whatever ends the work, nothing is said for it any more.
struct Ends<'a>(&'a Errand);

impl Errand {
    /// Does the work. Meanwhile the session's thread must not write.
    ///
    /// # Errors
    /// When the client went away meanwhile; the work is done.
    pub(super) fn run<T>(&self, request: u32, work: impl FnOnce() -> T) -> io::Result<T> {
        *self.lock() = Some(Running {
            request,
            last: Instant::now(),
            failure: None,
        });
        let ends = Ends(self);
        let result = work();
        let failure = ends.0.lock().take().and_then(|running| running.failure);
        failure.map_or(Ok(result), Err)
    }

    /// Waits for so long, as [`Self::run`] works: all that was collected must have been flushed, or nothing be waited for.
    ///
    /// # Errors
    /// Those of `run`.
    pub(super) fn wait(&self, request: u32, time: Duration) -> io::Result<()> {
        if time.is_zero() {
            return Ok(());
        }
        self.run(request, || std::thread::sleep(time))
    }

    /// Sends a keep-alive if the work has gone on for so long that one is due, without waiting for anything.
    pub(super) fn show_life(&self, peer: &Peer) {
        let mut running = self.lock();
        let due = running
            .as_mut()
            .filter(|running| running.failure.is_none() && running.last.elapsed() >= SOON);
        if let Some(running) = due {
            running.last = Instant::now();
            let sign = Header {
                length: 0,
                request: running.request,
                kind: KEEP_ALIVE,
            };
            running.failure = peer.write_at_once(&sign.encode(&[])).err();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Running>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        *self.0.lock() = None;
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::super::peer::tests::connected;
    use super::*;

    fn wait() {
        std::thread::sleep(SOON);
    }

    #[test]
    fn work_that_goes_on_is_told_of_and_no_other() {
        let (mut client, peer) = connected();
        let errand = Errand::default();
        let told = errand.run(7, || {
            errand.show_life(&peer);
            wait();
            errand.show_life(&peer);
            errand.show_life(&peer);
            "done"
        });
        assert_eq!(told.unwrap(), "done");
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            errand.run(8, || panic!("a broken disk"))
        }));
        assert!(panicked.is_err());
        wait();
        errand.show_life(&peer);
        drop(peer);
        let mut said = Vec::new();
        client.read_to_end(&mut said).unwrap();
        let sign = Header {
            length: 0,
            request: 7,
            kind: KEEP_ALIVE,
        };
        assert_eq!(said, sign.encode(&[]));
    }

    #[test]
    fn a_client_that_reads_nothing_holds_nobody_up_and_one_that_is_gone_is_noticed() {
        let (client, peer) = connected();
        peer.stream().set_nonblocking(true).unwrap();
        while let Ok(1..) = io::Write::write(&mut peer.stream(), &[0; 65_536]) {}
        peer.stream().set_nonblocking(false).unwrap();
        let errand = Errand::default();
        let begun = Instant::now();
        let kept = errand.run(7, || {
            wait();
            errand.show_life(&peer);
        });
        kept.unwrap();
        assert!(begun.elapsed() < INTERVAL + SOON);
        drop(client);
        while !peer.is_gone() {
            std::thread::yield_now();
        }
        let lost = errand.run(7, || {
            wait();
            errand.show_life(&peer);
        });
        lost.unwrap_err();
    }
}
