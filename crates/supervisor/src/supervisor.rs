//! The one loop of the parent process. Single-threaded for ever; reads no byte from the network.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use crate::crew::Crew;
use crate::exit::{Ended, SupervisorError, doing};
use crate::launch::{Owner, Pool};
use crate::roster::Roster;
use crate::scoreboard::Scoreboard;
use crate::signals::Signals;
use crate::wait;

/// Nothing is looked at less often than this.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);
/// A year: for ever, and still a moment that can be computed.
const LONGEST_GRACE: Duration = Duration::from_secs(365 * 24 * 3600);
/// Below this a loaded machine would kill workers in good health.
const LEAST_SILENCE: Duration = Duration::from_millis(100);
/// After SIGKILL a process is gone in no time, unless the kernel holds it in a disk or network wait.
const KILL_PATIENCE: Duration = Duration::from_secs(2);

/// The parent of a pool.
#[derive(Debug)]
pub struct Supervisor {
    crew: Crew,
    roster: Roster,
    signals: Signals,
    silent_after: Duration,
    /// The edition of which the owner has been told that it serves; 0: none.
    announced: u64,
    /// Whether the owner waits to hear how a reload ended.
    is_reloading: bool,
}

impl Supervisor {
    /// Takes over SIGINT, SIGTERM, SIGHUP and SIGCHLD of this process, which has one thread and keeps it that way.
    /// Starts nobody yet.
    ///
    /// # Errors
    /// No descriptors or memory for the shared table.
    pub fn new(pool: Pool) -> Result<Self, SupervisorError> {
        let Pool {
            listener,
            launch,
            silent_after,
            program_words,
        } = pool;
        let signals = Signals::register().map_err(doing("listen to signals"))?;
        let crew = Crew::new(listener, launch.workers.get(), program_words)
            .map_err(doing("make the scoreboard"))?;
        let roster = Roster::new(launch);
        let silent_after = silent_after.max(LEAST_SILENCE);
        Ok(Self {
            crew,
            roster,
            signals,
            silent_after,
            announced: 0,
            is_reloading: false,
        })
    }

    /// The table of the pool, so that the program can prepare its own words before there is a child.
    #[must_use]
    pub const fn scoreboard(&self) -> &Scoreboard {
        self.crew.board()
    }

    /// Runs the pool until it is told to end. No child outlives this call.
    ///
    /// # Errors
    /// [`SupervisorError::BootFailed`] if the first worker cannot start (it has said why on stderr);
    /// [`SupervisorError::System`] if the kernel lets no worker start or no one sleep.
    pub fn run(mut self, owner: &mut dyn Owner) -> Result<Ended, SupervisorError> {
        loop {
            self.signals.clear();
            if self.crew.hear() {
                self.roster.worker_became_ready();
            }
            for gone in self.crew.reap() {
                owner.departed(gone.slot, self.crew.board());
                self.roster.departed(&gone)?;
            }
            owner.tend(self.crew.board());
            if self.signals.take_terminate() {
                return self.shut_down(owner);
            }
            self.reload(owner);
            self.crew.kill_silent(self.silent_after);
            self.roster.tend(&mut self.crew)?;
            self.announce(owner);
            self.sleep(self.roster.next_due(&self.crew))?;
        }
    }

    fn reload(&mut self, owner: &mut dyn Owner) {
        // One that comes while nothing has ever worked waits until something does.
        if self.roster.is_proven() && self.signals.take_hangup() {
            tracing::info!("reloading");
            self.is_reloading = true;
            if let Some(launch) = owner.reload() {
                self.roster.propose(launch, &mut self.crew);
            }
        }
    }

    fn announce(&mut self, owner: &mut dyn Owner) {
        if !self.roster.is_complete(&self.crew) {
            return;
        }
        let generation = self.roster.generation();
        let is_over = std::mem::take(&mut self.is_reloading);
        match std::mem::replace(&mut self.announced, generation) {
            0 => owner.ready(),
            before if before != generation => owner.reloaded(self.crew.board()),
            _ if is_over => owner.kept(),
            _ => {}
        }
    }

    fn shut_down(mut self, owner: &mut dyn Owner) -> Result<Ended, SupervisorError> {
        owner.stopping();
        self.crew.close();
        let mut deadline = Instant::now() + self.roster.grace().min(LONGEST_GRACE);
        let mut killed = 0;
        loop {
            self.signals.clear();
            self.crew.hear();
            for gone in self.crew.reap() {
                owner.departed(gone.slot, self.crew.board());
            }
            owner.tend(self.crew.board());
            if self.crew.members().is_empty() {
                owner.ended(self.crew.board());
                return Ok(if killed == 0 {
                    Ended::Drained
                } else {
                    Ended::Killed(killed)
                });
            }
            let impatient = self.signals.take_terminate();
            if impatient || Instant::now() >= deadline {
                let left = self.crew.kill_all();
                killed = killed.max(left);
                deadline = Instant::now() + KILL_PATIENCE;
                tracing::warn!("{left} processes killed with their sessions");
            }
            self.sleep(Some(deadline.saturating_duration_since(Instant::now())))?;
        }
    }

    /// Until a signal, a word from a child, or the time.
    fn sleep(&self, limit: Option<Duration>) -> Result<(), SupervisorError> {
        let limit = limit
            .unwrap_or(LONGEST_SLEEP)
            .min(LONGEST_SLEEP)
            .min(self.silent_after / 4);
        let descriptors: Vec<_> = std::iter::once(self.signals.as_fd())
            .chain(self.crew.lifelines())
            .collect();
        wait::readable(&descriptors, limit).map_err(doing("wait for children"))?;
        Ok(())
    }
}
