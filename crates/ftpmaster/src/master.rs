//! What all connections share.

use std::io;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::available_parallelism;
use std::time::{SystemTime, UNIX_EPOCH};

use auth::tls::Reception;
use auth::{Accounts, Gatekeeper, MasterKey, RegistrationKey};
use protocol::Rights;

use crate::registry::Registry;
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
    pub(crate) registration_key: RegistrationKey,
    pub(crate) gatekeeper: Gatekeeper,
    settings: RwLock<Settings>,
    registry: Mutex<Registry>,
    connections: AtomicU64,
    answering: AtomicUsize,
}

impl Master {
    /// # Errors
    /// The kernel has no randomness to give.
    pub(crate) fn new(key: MasterKey, settings: Settings) -> io::Result<Self> {
        let cores = available_parallelism().unwrap_or(NonZeroUsize::MIN);
        Ok(Self {
            gatekeeper: Gatekeeper::new(cores)?,
            registration_key: key.registration_key(),
            key,
            settings: RwLock::new(settings),
            registry: Mutex::default(),
            connections: AtomicU64::new(0),
            answering: AtomicUsize::new(0),
        })
    }

    /// The slaves. A panic elsewhere leaves them usable: whatever is half done is mended by the next heartbeat.
    pub(crate) fn registry(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn settings(&self) -> Settings {
        let settings = self.settings.read();
        settings.unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_settings(&self, settings: Settings) {
        *self
            .settings
            .write()
            .unwrap_or_else(PoisonError::into_inner) = settings;
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
