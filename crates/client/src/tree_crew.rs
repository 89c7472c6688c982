//! Further streams for a tree: clients beside the one that was there first, each with a session and a thread of its own,
//! with all slaves that show free places. Each survives the loss of its slave as any client does; where it finds no other,
//! it gives back what it had and ends, and those that are left go on.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, Scope};
use std::time::Instant;

use crate::error::unless_broken;
use crate::stripe::plan::Origin;
use crate::stripe::roster::{Distance, Quota, Roster, Way};
use crate::tree_desk::{Desk, Left, Supply};
use crate::{Client, ClientErrorKind, Interrupt, Result};

/// So many files are worth another stream, or so many bytes.
const WORTH: Left = Left {
    files: 64,
    bytes: 4 * 1024 * 1024,
};

/// Streams on one machine. A second one helps, other than with one large file: much of a small file's time goes into
/// system calls, one after another.
const SAME_MACHINE: u32 = 2;

/// A stream needs little.
const STACK: usize = 256 * 1024;

/// Who could help, and how many streams there should be.
#[derive(Debug)]
pub(crate) struct Recruits {
    roster: Roster,
    quota: Quota,
    /// Streams that there are without any helper.
    own: u32,
    /// A client without a session, after which the helpers are made.
    model: Client,
}

/// The streams of a tree beside the first one.
pub(crate) struct Crew<'scope, 'env, S: Supply> {
    threads: &'scope Scope<'scope, 'env>,
    desk: &'env Desk<S>,
    work: &'env (dyn Fn(&mut Client) -> Result<()> + Sync),
    recruits: Recruits,
    /// Ends those that still look for a slave when nothing is left to do.
    over: Interrupt,
    /// Whose helpers have ended.
    ended: Arc<Mutex<Vec<Origin>>>,
}

impl Client {
    /// Who could help with a tree. A client that `lists` it meanwhile is no stream itself.
    pub(crate) fn recruits(&mut self, lists: bool) -> Result<Recruits> {
        let mut roster = Roster::default();
        let (place, distance) =
            self.attempt(|session| Ok((roster.place_of(session), Distance::of(session))))?;
        roster.learn(self.scout().known());
        let streams = self.context.options.streams;
        let quota = match (streams, distance) {
            (None, Distance::SameMachine) => {
                Quota::new(Some(SAME_MACHINE), distance, roster.good())
            }
            _ => Quota::new(streams, distance, roster.good()),
        };
        let is_stream = !lists || streams == Some(1);
        if is_stream {
            roster.joined(place);
        }
        Ok(Recruits {
            roster,
            quota,
            own: u32::from(is_stream),
            model: self.beside(self.context.interrupt.clone()),
        })
    }
}

impl Recruits {
    /// How many streams there should be at most.
    pub(crate) const fn most(&self) -> u32 {
        self.quota.all
    }
}

impl<'scope, 'env, S> Crew<'scope, 'env, S>
where
    S: Supply + Send,
    S::Item: Send,
{
    /// A crew, of nobody so far, that does `work` on what is at the desk.
    pub(crate) fn new(
        threads: &'scope Scope<'scope, 'env>,
        desk: &'env Desk<S>,
        work: &'env (dyn Fn(&mut Client) -> Result<()> + Sync),
        recruits: Recruits,
    ) -> Self {
        Self {
            threads,
            desk,
            work,
            over: recruits.model.context.interrupt.child(),
            recruits,
            ended: Arc::default(),
        }
    }

    /// Adds streams for as much as is left to do.
    pub(crate) fn recruit(&mut self, left: Left) {
        let worth = usize::try_from(left.bytes / WORTH.bytes).unwrap_or(usize::MAX);
        let worth = worth.saturating_add(left.files / WORTH.files);
        if worth == 0 {
            return;
        }
        let now = Instant::now();
        for origin in self.take_ended() {
            self.recruits.roster.not_opened(origin, now);
        }
        let mut quota = self.recruits.quota;
        let worth = u32::try_from(worth).unwrap_or(u32::MAX);
        quota.all = quota.all.min(worth.saturating_add(self.recruits.own));
        while let Some((origin, way)) = self.recruits.roster.next(quota, now) {
            if let Err(error) = self.begin(origin, way) {
                tracing::debug!(%error, "no thread for another stream");
                self.recruits.roster.not_opened(origin, now);
                return;
            }
        }
    }

    /// Nothing is left to do: whoever still waits for a slave need not.
    pub(crate) fn dismiss(&self) {
        self.over.set();
    }

    fn begin(&self, origin: Origin, way: Way) -> std::io::Result<()> {
        let (desk, work) = (self.desk, self.work);
        let mut helper = self.recruits.model.beside(self.over.clone());
        let ended = Arc::clone(&self.ended);
        desk.join();
        let help = move || {
            let result = unless_broken(|| match helper.come_in(&way) {
                Ok(()) => work(&mut helper),
                Err(fault) if fault.ends_all() => Err(fault.into_error()),
                // The others go on without a slave that does not let us in.
                Err(fault) => {
                    tracing::debug!(cause = fault.cause(), "no further stream");
                    Ok(())
                }
            });
            if let Err(error) = result {
                tracing::debug!(%error, "a stream less");
                let is_dismissed = error.kind() == ClientErrorKind::Interrupted && desk.is_closed();
                if !error.is_absence() && !is_dismissed {
                    desk.fail(error);
                }
            }
            ended
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(origin);
            desk.leave();
        };
        let builder = Builder::new().name("tree".to_owned()).stack_size(STACK);
        let begun = builder.spawn_scoped(self.threads, help).map(drop);
        if begun.is_err() {
            desk.leave();
        }
        begun
    }

    fn take_ended(&self) -> Vec<Origin> {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut ended)
    }
}
