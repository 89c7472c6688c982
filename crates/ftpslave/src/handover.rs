//! What the supervisor leaves for its children: settings and, for each, only the keys it needs.

use std::path::PathBuf;

use admission::Limits;
use auth::tls::{Identity, Reception, TlsError};
use auth::{Accounts, RegistrationKey, SlaveKey};
use confinement::Sandbox;
use protocol::{Rights, SlaveId, StorageId};
use serde::{Deserialize, Serialize};

use crate::line::Manner;

/// For a worker.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct WorkerHandover {
    pub(crate) root: PathBuf,
    pub(crate) slave: [u8; 16],
    /// What the root is: by the time a worker is replaced, another folder may have its path.
    pub(crate) storage: [u8; 16],
    /// Sessions at once.
    pub(crate) sessions: u32,
    pub(crate) limits: Limits,
    /// Most bytes of content a second, over all sessions and for each.
    pub(crate) limit_rate: Option<u64>,
    pub(crate) limit_session_rate: Option<u64>,
    /// What a client without a ticket may do, as bits; `None`: nobody comes without.
    pub(crate) open_rights: Option<u8>,
    /// When that, and the accounts, began to count, milliseconds since 1970; 0 where that is not said.
    #[serde(default)]
    pub(crate) open_since: u64,
    /// Checks tickets; `None` where no master is served.
    pub(crate) ticket_key: Option<Key>,
    /// Who may log in here; `None` where there are no accounts, or the master keeps them.
    pub(crate) accounts: Option<Accounts>,
    /// Where it is kept what clients move and change.
    pub(crate) transfer_log: Option<PathBuf>,
    /// What is shown over TLS; `None` where nobody speaks it.
    pub(crate) identity: Option<IdentityBytes>,
    /// Whether not even this machine is heard in the clear.
    pub(crate) tls_alone: bool,
    /// Seconds for running transfers once nobody is left to enforce a deadline.
    pub(crate) grace: u64,
    pub(crate) sandboxed: bool,
    pub(crate) logging: cli::Logging,
}

/// For the registrar.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RegistrarHandover {
    pub(crate) root: PathBuf,
    pub(crate) slave: [u8; 16],
    pub(crate) storage: [u8; 16],
    pub(crate) port: u16,
    /// Host and port of each.
    pub(crate) masters: Vec<(String, u16)>,
    /// Further addresses at which clients reach this slave.
    pub(crate) advertised: Vec<(String, u16)>,
    pub(crate) registration_key: Option<Key>,
    /// How masters are spoken to.
    pub(crate) manner: Manner,
    /// By what clients know this slave over TLS.
    pub(crate) fingerprint: Option<[u8; 32]>,
    pub(crate) sandboxed: bool,
    pub(crate) logging: cli::Logging,
}

/// Key bytes on their way to a child; never shown.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Key([u8; 32]);

impl std::fmt::Debug for Key {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("***")
    }
}

/// A certificate and its key on their way to a child; never shown.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct IdentityBytes(Vec<u8>);

impl std::fmt::Debug for IdentityBytes {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("***")
    }
}

impl From<&Identity> for IdentityBytes {
    fn from(identity: &Identity) -> Self {
        Self(identity.to_bytes())
    }
}

impl From<&SlaveKey> for Key {
    fn from(key: &SlaveKey) -> Self {
        Self(key.to_bytes())
    }
}

impl From<&RegistrationKey> for Key {
    fn from(key: &RegistrationKey) -> Self {
        Self(key.to_bytes())
    }
}

impl WorkerHandover {
    pub(crate) fn slave_id(&self) -> SlaveId {
        SlaveId(self.slave)
    }

    pub(crate) fn storage_id(&self) -> StorageId {
        StorageId(self.storage)
    }

    pub(crate) const fn sandbox(&self) -> Sandbox {
        sandbox(self.sandboxed)
    }

    pub(crate) fn ticket_key(&self) -> Option<SlaveKey> {
        self.ticket_key
            .as_ref()
            .map(|key| SlaveKey::from_bytes(key.0))
    }

    pub(crate) fn reception(&self) -> Result<Reception, TlsError> {
        match &self.identity {
            Some(bytes) => Reception::new(&Identity::from_bytes(&bytes.0)?, self.tls_alone),
            None => Ok(Reception::default()),
        }
    }

    pub(crate) fn open_rights(&self) -> Option<Rights> {
        self.open_rights.and_then(Rights::from_bits)
    }
}

impl RegistrarHandover {
    pub(crate) fn slave_id(&self) -> SlaveId {
        SlaveId(self.slave)
    }

    pub(crate) fn storage_id(&self) -> StorageId {
        StorageId(self.storage)
    }

    pub(crate) const fn sandbox(&self) -> Sandbox {
        sandbox(self.sandboxed)
    }

    pub(crate) fn registration_key(&self) -> Option<RegistrationKey> {
        self.registration_key
            .as_ref()
            .map(|key| RegistrationKey::from_bytes(key.0))
    }
}

/// What the flag in a handover stands for.
pub(crate) const fn sandbox(sandboxed: bool) -> Sandbox {
    match sandboxed {
        true => Sandbox::On,
        false => Sandbox::Off,
    }
}
