//! What a pool is made of: the program gives these, the supervisor does the rest.

use std::ffi::OsString;
use std::fmt;
use std::net::TcpListener;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use crate::scoreboard::Scoreboard;

/// A pool, before it runs.
#[derive(Debug)]
pub struct Pool {
    /// Bound and listening. The supervisor makes it non-blocking; every worker shares it.
    pub listener: TcpListener,
    /// What runs first; a reload replaces it.
    pub launch: Launch,
    /// A child that has not ticked for so long is killed and replaced. See [`Pool::SILENT_AFTER`].
    pub silent_after: Duration,
    /// Words of the scoreboard for the program's own use, by all processes; zero at first, and kept over reloads. See
    /// [`Scoreboard::program_words`].
    pub program_words: usize,
}

impl Pool {
    /// A sensible `silent_after`: forty times the interval at which an idle worker ticks.
    pub const SILENT_AFTER: Duration = Duration::from_secs(10);
}

/// How children are started.
#[derive(Debug, Clone)]
pub struct Launch {
    /// The binary of workers and helper: usually this one.
    pub program: PathBuf,
    /// Follow the hidden argument of a worker; for the eyes of `ps`.
    pub arguments: Vec<OsString>,
    /// How many workers.
    pub workers: NonZeroUsize,
    /// Delivered to every worker.
    pub handover: Handover,
    /// One more child, if wanted.
    pub helper: Option<HelperLaunch>,
    /// How long sessions may go on after SIGINT or SIGTERM.
    pub grace: Duration,
}

/// A child beside the workers, with a task of its own and no listener.
#[derive(Debug, Clone)]
pub struct HelperLaunch {
    /// For `ps` and the log; the argument after the hidden one.
    pub name: String,
    /// Delivered to the helper.
    pub handover: Handover,
}

/// The program's own bytes for a child. They may be keys: never shown, never in arguments or environment.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Handover(Vec<u8>);

impl Handover {
    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

impl From<Vec<u8>> for Handover {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for Handover {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("***")
    }
}

/// What the program does at the turns of the pool's life. All of it runs in the supervisor: keep it short, start no
/// thread.
pub trait Owner {
    /// All workers are ready, for the first time: say where the service listens.
    fn ready(&mut self);

    /// SIGHUP: read the configuration again. `None` if it is of no use (and has been complained about): nothing
    /// changes.
    fn reload(&mut self) -> Option<Launch>;

    /// The reload is over: every worker that accepts runs the new configuration.
    fn reloaded(&mut self, _board: &Scoreboard) {}

    /// The reload is over, and nothing has changed: the new configuration was of no use, or no worker could start with it.
    fn kept(&mut self) {}

    /// A child is dead, however it died, and its slot is about to be another's: whatever it held in the program's words
    /// must be given back here.
    fn departed(&mut self, _slot: usize, _board: &Scoreboard) {}

    /// Comes again and again, at least every second or so, until the last child is gone.
    fn tend(&mut self, _board: &Scoreboard) {}

    /// The first SIGINT or SIGTERM: the pool drains.
    fn stopping(&mut self) {}

    /// The last child is gone, after [`Self::stopping`].
    fn ended(&mut self, _board: &Scoreboard) {}
}
