//! The fleet as its file says it now: whoever asks sees what the operator's commands change, without a signal.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use auth::{Edition, Fleet, FleetError, FleetFile, JoinError};
use protocol::SlaveId;
use tracing::{error, info};

use crate::limits::FLEET_LOOK;
use crate::master::unix_now;

/// The slaves and invitations in the state directory.
#[derive(Debug)]
pub(crate) struct FleetView {
    file: FleetFile,
    seen: Mutex<Seen>,
}

#[derive(Debug)]
struct Seen {
    looked: Instant,
    edition: Option<Edition>,
    fleet: Arc<Fleet>,
    complaint: Option<String>,
}

/// Why nobody joins.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotJoined {
    #[error(transparent)]
    Refused(#[from] JoinError),
    #[error(transparent)]
    Failed(#[from] FleetError),
}

impl FleetView {
    /// # Errors
    /// The file cannot be read, or holds something else.
    pub(crate) fn open(file: FleetFile) -> Result<Self, FleetError> {
        // The edition first: a change in between is then found by the next look.
        let edition = file.edition()?;
        let fleet = Arc::new(file.read()?);
        let seen = Seen {
            looked: Instant::now(),
            edition,
            fleet,
            complaint: None,
        };
        Ok(Self {
            file,
            seen: Mutex::new(seen),
        })
    }

    /// The generation of a slave's keys; `None` where it is shut out.
    pub(crate) fn generation(&self, slave: &SlaveId) -> Option<u32> {
        self.now().generation(slave)
    }

    /// The fleet as it is, or was [`FLEET_LOOK`] ago. A file that is damaged or gone changes nothing: it must not open a door.
    pub(crate) fn now(&self) -> Arc<Fleet> {
        let mut seen = self.seen();
        if seen.looked.elapsed() >= FLEET_LOOK {
            self.look(&mut seen);
        }
        Arc::clone(&seen.fleet)
    }

    /// Uses an invitation up; see [`Fleet::join`].
    pub(crate) fn join(&self, token: &[u8], slave: (SlaveId, bool)) -> Result<u32, NotJoined> {
        let joined = self.file.change(|fleet| {
            let generation = fleet.join(token, slave, unix_now())?;
            Ok::<_, NotJoined>(generation)
        })?;
        self.look(&mut self.seen());
        Ok(joined)
    }

    fn look(&self, seen: &mut Seen) {
        seen.looked = Instant::now();
        let complaint = match self.file.edition() {
            Ok(edition) if edition == seen.edition => return,
            Ok(None) => Some("the list of slaves and invitations is gone".to_owned()),
            Ok(edition) => match self.file.read() {
                Ok(fleet) => {
                    info!("took over the list of slaves and invitations");
                    (seen.edition, seen.fleet) = (edition, Arc::new(fleet));
                    None
                }
                Err(error) => Some(cli::one_line(&error.into())),
            },
            Err(error) => Some(cli::one_line(&error.into())),
        };
        if let Some(complaint) = &complaint
            && seen.complaint.as_ref() != Some(complaint)
        {
            error!("what is known of the slaves stays as it was: {complaint}");
        }
        seen.complaint = complaint;
    }

    /// A panic elsewhere leaves it usable: it is replaced as a whole.
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use auth::StateDirectory;

    use super::*;

    const SLAVE: SlaveId = SlaveId([1; 16]);

    #[test]
    fn a_change_by_another_program_is_seen_soon_and_damage_changes_nothing() {
        let place = tempfile::tempdir().unwrap();
        let state = StateDirectory::open(Some(&place.path().join("state"))).unwrap();
        let view = FleetView::open(state.fleet_file().unwrap()).unwrap();
        assert_eq!(view.generation(&SLAVE), Some(0));
        let other = state.fleet_file().unwrap();
        let evict = |id| other.change(|fleet| Ok::<_, FleetError>(fleet.evict(id)));
        evict(SLAVE).unwrap();
        let seen = |id, expected| {
            crate::tests::until(|| (view.generation(&id) == expected).then_some(()));
        };
        seen(SLAVE, None);
        let file = state.path().join("slaves.toml");
        for damage in [Some("[slaves"), None] {
            match damage {
                Some(damage) => fs::write(&file, damage).unwrap(),
                None => fs::remove_file(&file).unwrap(),
            }
            crate::tests::until(|| {
                view.now();
                view.seen().complaint.take()
            });
            assert_eq!(view.generation(&SLAVE), None);
        }
        evict(SlaveId([2; 16])).unwrap();
        seen(SlaveId([2; 16]), None);
        seen(SLAVE, Some(0));
    }
}
