//! A worker: accepts connections when it is its turn to, and hears when it shall leave.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use crate::door::Door;
use crate::launch::Handover;
use crate::membership::{Membership, News};
use crate::places::{Admission, Gate, Places};
use crate::scoreboard::Scoreboard;
use crate::wake::Waker;

/// After an accept that failed for want of descriptors or memory: trying at once again would burn a core.
const PAUSE_WITHOUT_RESOURCES: Duration = Duration::from_millis(50);
/// Clients accepted one after another before the worker looks at anything else.
const CROWD: u32 = 16;
/// How long a worker that is ahead leaves those who wait to the others: long for one that is awake, short if none is.
const STAND_BACK: Duration = Duration::from_millis(1);
const LOG_INTERVAL: Duration = Duration::from_secs(1);
/// A client that comes right after another has left finds its place: the worker may not have heard yet that it is free.
const PATIENCE_WHEN_FULL: Duration = Duration::from_millis(100);
/// How often a full worker looks again, within that time.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Whether the program wants connections now. (The pool has its own reasons not to take one.)
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepting {
    /// As many as there are places.
    Yes,
    /// None: the program itself is at some limit.
    No,
}

/// What [`Worker::next`] came back with.
#[derive(Debug)]
pub enum Event {
    /// Somebody connected.
    Connection(Connection),
    /// Somebody connected and no worker has a free place: say so and close. (Shut down writing and read what has come
    /// before the socket is dropped: closing with unread bytes resets the connection, and the answer may be lost.)
    Overflow(TcpStream, SocketAddr),
    /// Nothing: time passed, or a place changed hands, or [`Waker::wake`] was called.
    Tick,
    /// Take nobody new; leave with [`WorkerExit::Clean`](crate::WorkerExit) once [`Worker::is_idle`]. Comes once.
    Drain,
    /// As [`Self::Drain`], and nobody is left to enforce a deadline; leave with `WorkerExit::SupervisorGone`. Comes
    /// once.
    SupervisorGone,
}

/// An accepted connection, blocking and closed on exec.
#[derive(Debug)]
pub struct Connection {
    /// The socket.
    pub stream: TcpStream,
    /// Who connected.
    pub peer: SocketAddr,
    /// To be turned into a [`Place`](crate::Place) when the session begins.
    pub admission: Admission,
}

/// One worker process of a pool. Its main thread owns this and calls [`Self::next`] again and again.
#[derive(Debug)]
pub struct Worker {
    membership: Membership,
    places: Places,
    handover: Handover,
    /// `None` once draining: the port must be free as soon as the last process of the pool gave it up.
    listener: Option<Arc<TcpListener>>,
    paused_until: Option<Instant>,
    /// How often to look for a further client without asking first whether there is one.
    crowd: u32,
    /// The last crowd was left to the others: this one is not.
    stood_back: bool,
    /// Since when somebody waits while all are full.
    full_since: Option<Instant>,
    logged: Option<Instant>,
}

impl Worker {
    /// Becomes the worker that this process was started as. To be called first thing, before there is a thread.
    ///
    /// From here on SIGINT, SIGQUIT, SIGHUP and SIGXFSZ are ignored and SIGTERM means drain.
    ///
    /// # Errors
    /// If this process was not started by a supervisor of the same version: leave with
    /// [`WorkerExit::BootFailed`](crate::WorkerExit).
    pub fn from_inherited() -> io::Result<Self> {
        let (membership, listener, handover) = Membership::from_inherited()?;
        let listener = TcpListener::from(listener.ok_or(io::ErrorKind::InvalidData)?);
        let places = Places::new(
            Arc::clone(membership.board()),
            membership.heading().slot,
            membership.waker().clone(),
        );
        Ok(Self {
            membership,
            places,
            handover: handover.into(),
            listener: Some(Arc::new(listener)),
            paused_until: None,
            crowd: 0,
            stood_back: false,
            full_since: None,
            logged: None,
        })
    }

    /// Tells the pool that this worker can hold `places` sessions at once, and begins to accept.
    ///
    /// # Errors
    /// What writing to the supervisor reports; not that it is gone, that is an [`Event`].
    pub fn ready(&self, places: u32) -> io::Result<()> {
        if let Some(slot) = self.membership.board().slot(self.slot()) {
            slot.open(u64::from(places));
        }
        self.membership.report_ready()
    }

    /// Takes the program's own bytes out of the letter: the first call has them, a second one nothing.
    #[must_use]
    pub fn take_handover(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.handover).into_bytes()
    }

    /// The table of the whole pool.
    #[must_use]
    pub const fn scoreboard(&self) -> &Arc<Scoreboard> {
        self.membership.board()
    }

    /// This worker's slot in the table: its name in the pool.
    #[must_use]
    pub const fn slot(&self) -> usize {
        self.membership.heading().slot
    }

    /// Which configuration this worker runs; grows with each reload.
    #[must_use]
    pub const fn generation(&self) -> u64 {
        self.membership.heading().generation
    }

    /// What wakes [`Self::next`]; for session threads. (Places wake it by themselves.)
    #[must_use]
    pub fn waker(&self) -> Waker {
        self.membership.waker().clone()
    }

    /// What session threads take further connections through.
    #[must_use]
    pub fn door(&self) -> Door {
        let listener = self.listener.as_ref().map(Arc::downgrade);
        Door::new(self.places.clone(), listener.unwrap_or_default())
    }

    /// It was told to drain.
    #[must_use]
    pub const fn is_draining(&self) -> bool {
        self.membership.is_draining()
    }

    /// No session runs here and no connection waits to begin one.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.places.is_empty()
    }

    /// Ticks and waits for the next thing to do, for `timeout` at most (and never longer than 250 ms).
    ///
    /// Must be called again within the pool's `silent_after`: a worker that does not is killed.
    ///
    /// # Errors
    /// What cannot get better by itself: the listener is no listener, the kernel refuses `poll`. Shortage of
    /// descriptors or memory is none: accepting pauses and goes on.
    pub fn next(&mut self, accepting: Accepting, timeout: Duration) -> io::Result<Event> {
        let (wanted, timeout) = self.wants_connections(accepting, timeout);
        if wanted && self.crowd > 0 {
            self.crowd -= 1;
            match self.accept()? {
                Event::Tick => self.crowd = 0,
                event => return Ok(event),
            }
        }
        let listener = self.listener.as_deref().filter(|_| wanted).map(AsFd::as_fd);
        let (connected, news) = self.membership.wait(listener, timeout)?;
        match news {
            Some(News::Drain) => {
                self.listener = None;
                Ok(Event::Drain)
            }
            Some(News::SupervisorGone) => {
                self.listener = None;
                Ok(Event::SupervisorGone)
            }
            None if connected => {
                if self.stands_back() {
                    return Ok(Event::Tick);
                }
                self.crowd = CROWD;
                self.accept()
            }
            None => Ok(Event::Tick),
        }
    }

    fn wants_connections(&mut self, accepting: Accepting, timeout: Duration) -> (bool, Duration) {
        // Before the gate is looked at, or a place that is given back right after that look would go unnoticed.
        self.places.watch(true);
        let (wanted, timeout) = self.looks_for_connections(accepting, timeout);
        self.places.watch(!wanted);
        (wanted, timeout)
    }

    fn looks_for_connections(
        &mut self,
        accepting: Accepting,
        timeout: Duration,
    ) -> (bool, Duration) {
        let pause = self.paused_until.map_or(Duration::ZERO, |end| {
            end.saturating_duration_since(Instant::now())
        });
        if !pause.is_zero() {
            return (false, timeout.min(pause));
        }
        self.paused_until = None;
        (
            accepting == Accepting::Yes && self.places.gate() != Gate::Shut,
            timeout,
        )
    }

    fn accept(&mut self) -> io::Result<Event> {
        // Asked again: while this worker slept, another may have got a free place or lost its last.
        let gate = self.places.gate();
        if self.waits_for_a_place(gate) {
            return Ok(Event::Tick);
        }
        let Some(listener) = self.listener.as_ref().filter(|_| gate != Gate::Shut) else {
            return Ok(Event::Tick);
        };
        match listener.accept() {
            Ok((stream, peer)) if gate == Gate::Busy => Ok(Event::Overflow(stream, peer)),
            Ok((stream, peer)) => {
                let admission = self.places.admit();
                Ok(Event::Connection(Connection {
                    stream,
                    peer,
                    admission,
                }))
            }
            Err(error) => self.endure(error).map(|()| Event::Tick),
        }
    }

    /// Whether a crowd is left to the others for a moment, so that thousands who come at once are divided evenly: what one
    /// worker needs is to be foreseen. Never twice in a row: they may hang.
    fn stands_back(&mut self) -> bool {
        self.stood_back = !self.stood_back && self.places.is_ahead();
        if self.stood_back {
            self.paused_until = Some(Instant::now() + STAND_BACK);
        }
        self.stood_back
    }

    /// Whether the client at the door is not yet told that all are full.
    fn waits_for_a_place(&mut self, gate: Gate) -> bool {
        if gate != Gate::Busy {
            self.full_since = None;
            return false;
        }
        let now = Instant::now();
        let since = *self.full_since.get_or_insert(now);
        let waits = now.duration_since(since) < PATIENCE_WHEN_FULL;
        if waits {
            self.paused_until = Some(now + LOOK_AGAIN);
        }
        waits
    }

    /// Tells errors of one connection and of the moment from those of the listener; accept(2), "Error handling".
    fn endure(&mut self, error: io::Error) -> io::Result<()> {
        match Errno::from_io_error(&error) {
            Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => {
                let now = Instant::now();
                self.paused_until = Some(now + PAUSE_WITHOUT_RESOURCES);
                if self
                    .logged
                    .is_none_or(|last| now.duration_since(last) >= LOG_INTERVAL)
                {
                    self.logged = Some(now);
                    tracing::warn!(%error, "accepting pauses");
                }
                Ok(())
            }
            Some(Errno::BADF | Errno::INVAL | Errno::NOTSOCK | Errno::FAULT) | None => Err(error),
            // Taken by another worker, gone before it was accepted, or a network error that belongs to it.
            Some(_) => Ok(()),
        }
    }
}
