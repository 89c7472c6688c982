//! What all connections share.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::available_parallelism;
use std::time::{SystemTime, UNIX_EPOCH};

use admission::{Gate, HASHES_WAITING, Limits};
use anyhow::{Context, Result};
use auth::tls::Reception;
use auth::{Accounts, Gatekeeper, MasterKey, RightsFile, StateDirectory};
use protocol::{Address, Revocation, Rights, StorageId};
use tracing::warn;

use crate::fleet::FleetView;
use crate::past::Past;
use crate::registry::{Refusal, Registry};
use crate::revocations::{Revocations, TicketClock, whose_changed};
use crate::rotation::Policy;

/// What a new configuration can change while the master runs.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) policy: Policy,
    /// What those may do who do not log in; `None`: nobody comes in without.
    pub(crate) everybody: Option<Rights>,
    /// Who may log in; `None` where there are no accounts.
    pub(crate) accounts: Option<Arc<Accounts>>,
    /// Who may come in how: over TLS, in the clear.
    pub(crate) reception: Reception,
}

/// Keys, settings and slaves. No lock is ever held while anything waits for a peer.
#[derive(Debug)]
pub(crate) struct Master {
    pub(crate) key: MasterKey,
    pub(crate) fleet: FleetView,
    pub(crate) gatekeeper: Gatekeeper,
    pub(crate) gate: Arc<Gate>,
    pub(crate) clock: TicketClock,
    past: Past,
    settings: RwLock<Settings>,
    revocations: Mutex<Revocations>,
    registry: Mutex<Registry>,
    connections: AtomicU64,
    answering: AtomicUsize,
}

impl Master {
    /// # Errors
    /// The state directory cannot be used, or the kernel has no randomness or memory to give.
    pub(crate) fn new(state: &StateDirectory, settings: Settings, limits: Limits) -> Result<Self> {
        let cores = available_parallelism().unwrap_or(NonZeroUsize::MIN);
        let memory = admission::of_one_process().context("cannot set the limits up")?;
        Ok(Self {
            gatekeeper: Gatekeeper::new(cores, HASHES_WAITING)
                .context("cannot draw a random number")?,
            gate: Arc::new(Gate::new(memory, 0, limits)),
            key: state.master_key()?,
            fleet: FleetView::open(state.fleet_file()?)?,
            clock: TicketClock::default(),
            past: Past::of(state.served_file()?),
            settings: RwLock::new(settings),
            revocations: Mutex::default(),
            registry: Mutex::default(),
            connections: AtomicU64::new(0),
            answering: AtomicUsize::new(0),
        })
    }

    /// The slaves. A panic elsewhere leaves them usable: whatever is half done is mended by the next heartbeat.
    pub(crate) fn registry(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has a slave of that storage take its place in the registry by `enter`, unless slaves of another storage are still awaited.
    pub(crate) fn admit(
        &self,
        storage: StorageId,
        addresses: &[Address],
        enter: impl FnOnce(&mut Registry) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        // Of two that come first at once, the one that has its place is the one that is remembered.
        let _turn = self.past.turn();
        let bound = self.registry().storage();
        if bound.is_none()
            && let Some(ours) = self.past.awaited_instead_of(storage, addresses)
        {
            let theirs = storage;
            return Err(Refusal::WrongStorage { ours, theirs });
        }
        // Before anybody is sent there: a master that is killed now leaves it to the next one.
        if bound.is_none_or(|bound| bound == storage) {
            let known = self.registry().addresses();
            let slaves = known.iter().map(Vec::as_slice).chain([addresses]);
            self.past.keep(storage, slaves);
        }
        enter(&mut self.registry())
    }

    pub(crate) fn settings(&self) -> Settings {
        let settings = self.settings.read();
        settings.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From now on these count. Tickets that say something else are revoked.
    pub(crate) fn set_settings(&self, settings: Settings) {
        let users = {
            let settings_now = self.settings.write();
            let mut now = settings_now.unwrap_or_else(PoisonError::into_inner);
            let users = whose_changed(&now, &settings);
            *now = settings;
            users
        };
        if !users.is_empty() {
            self.revocations().add(&users, self.clock.revoke());
        }
    }

    /// Nobody knows what a master has told of that ran before this one: tickets of before the accounts were changed last, at
    /// `changed` (milliseconds since 1970), are made anew by whoever may still have one.
    pub(crate) fn revoke_before(&self, changed: u64) {
        let until = changed.min(self.clock.now());
        self.revocations().add_everybody(until);
    }

    /// Remembers who may do what for the master after this one; whether it was something else that the one before said last.
    pub(crate) fn keep_rights(&self, file: &RightsFile) -> bool {
        let settings = self.settings();
        let kept = file.keep(settings.accounts.as_deref(), settings.everybody);
        kept.unwrap_or_else(|error| {
            warn!("who may do what is not remembered: {error}");
            None
        }) == Some(true)
    }

    /// Everybody's tickets are made anew.
    pub(crate) fn revoke_all(&self) {
        self.revocations().add_everybody(self.clock.revoke());
    }

    /// Whose tickets are no longer good, for a slave that has heard all up to that moment.
    pub(crate) fn revoked_after(&self, heard: u64) -> Vec<Revocation> {
        self.revocations().after(heard)
    }

    fn revocations(&self) -> MutexGuard<'_, Revocations> {
        self.revocations
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// A number that no other connection has.
    pub(crate) fn connection_number(&self) -> u64 {
        self.connections.fetch_add(1, Ordering::Relaxed)
    }

    /// Says that an answer is on its way until the result is dropped.
    pub(crate) fn answering(&self) -> Answering<'_> {
        self.answering.fetch_add(1, Ordering::SeqCst);
        Answering(self)
    }

    /// Whether any answer is on its way.
    pub(crate) fn is_answering(&self) -> bool {
        self.answering.load(Ordering::SeqCst) > 0
    }
}

/// An answer on its way.
#[derive(Debug)]
pub(crate) struct Answering<'a>(&'a Master);

impl Drop for Answering<'_> {
    fn drop(&mut self) {
        self.0.answering.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The clock that tickets go by, seconds since 1970.
pub(crate) fn unix_now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}
