//! One master: register, prove, and a heartbeat a second, for ever.

use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use auth::{RegistrationKey, fresh_nonce};
use protocol::{
    Address, Connection, ErrorCode, Fingerprint, MasterReply, MasterRequest, Revocation, SlaveId,
    StorageId, Text,
};
use thiserror::Error;

use super::Shared;
use crate::line::{Encryption, Line, LineError, Manner, ask, connect};
use crate::revoked::Revoked;

/// Between two heartbeats.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// A master that was lost is looked for again after this,
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// and then ever more seldom, down to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// A registrar that a reload replaces hears that another one has registered, and ends soon after.
const SUCCESSION: Duration = Duration::from_secs(5);

/// A slave may be started before its master, and a master restarted; one that is away for longer is worth a warning.
const MISSED_AFTER: Duration = Duration::from_secs(3);

/// Who registers, and where clients reach it.
#[derive(Debug)]
pub(crate) struct Introduction {
    pub(crate) slave: SlaveId,
    pub(crate) storage: StorageId,
    pub(crate) addresses: Vec<Address>,
    /// By which clients know it; `None` where it speaks in the clear alone.
    pub(crate) fingerprint: Option<Fingerprint>,
}

/// Why a registration ended.
#[derive(Debug, Error)]
enum Ended {
    #[error(transparent)]
    Line(#[from] LineError),
    #[error("{0}")]
    Stranger(#[from] auth::ProofError),
}

impl Ended {
    /// Whether nobody is there, or nobody who answers.
    const fn is_absence(&self) -> bool {
        matches!(self, Self::Line(error) if error.is_absence())
    }

    /// Whether another registration of this slave stands in the way.
    const fn is_taken(&self) -> bool {
        matches!(
            self,
            Self::Line(LineError::Refused(ErrorCode::DuplicateSlave, _))
        )
    }

    const fn demands_tls(&self) -> bool {
        matches!(
            self,
            Self::Line(LineError::Refused(ErrorCode::TlsRequired, _))
        )
    }
}

/// What is needed to register.
#[derive(Clone, Debug)]
pub(crate) struct Credentials {
    pub(crate) key: RegistrationKey,
    pub(crate) manner: Manner,
}

/// Registers with the master at that host and port again and again, until the process leaves. What is wrong is said once,
/// not at every try.
pub(crate) fn stay_registered(
    shared: &Shared,
    credentials: &Credentials,
    (host, port): (&str, u16),
) {
    let mut first = FirstTry(Some(shared));
    let mut complaints = Complaints::default();
    let mut pause = FIRST_PAUSE;
    let mut demanded = false;
    while !shared.leaving.load(SeqCst) {
        let mut registered = false;
        let connection = connect((host, port), credentials.manner, demanded);
        let connection = connection.map_err(Ended::from);
        let ended = connection.and_then(|connection| {
            register(shared, connection, credentials, || {
                tracing::info!(master = %host, port, "registered");
                registered = true;
                first.end();
            })
        });
        if registered {
            pause = FIRST_PAUSE;
            complaints = Complaints::default();
        }
        if let Err(ended) = ended {
            if ended.demands_tls()
                && !demanded
                && credentials.manner.encryption != Encryption::Never
            {
                demanded = true;
                continue;
            }
            let by_predecessor = ended.is_taken() && first.is_under_way();
            first.end();
            if ended.is_taken() && registered {
                // By a successor, whose registration must stand.
                std::thread::sleep(SUCCESSION);
            }
            if !by_predecessor {
                complaints.complain(ended, (host, port));
            }
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// The first registration with one master, until it has succeeded or failed: so long a predecessor stays.
struct FirstTry<'a>(Option<&'a Shared>);

impl FirstTry<'_> {
    const fn is_under_way(&self) -> bool {
        self.0.is_some()
    }

    fn end(&mut self) {
        if let Some(shared) = self.0.take() {
            shared.untried.fetch_sub(1, SeqCst);
            shared.waker.wake();
        }
    }
}

/// What was said of a master since it was registered with.
struct Complaints {
    last: String,
    /// `None` once it was said that nobody is there.
    away_since: Option<Instant>,
}

impl Default for Complaints {
    fn default() -> Self {
        Self {
            last: String::new(),
            away_since: Some(Instant::now()),
        }
    }
}

impl Complaints {
    fn complain(&mut self, ended: Ended, (host, port): (&str, u16)) {
        let sentence = ended.to_string();
        if sentence != self.last {
            complain(&ended, (host, port));
            self.last = sentence;
        }
        let is_missed = |since: Instant| since.elapsed() > MISSED_AFTER;
        if ended.is_absence() && self.away_since.is_some_and(is_missed) {
            self.away_since = None;
            let cause = cli::one_line(&ended.into());
            tracing::warn!("no master at {host}:{port} ({cause}): serving on, and trying again");
        }
    }
}

/// A master that is away for a moment is normal; one that refuses this slave is somebody's mistake.
fn complain(ended: &Ended, (host, port): (&str, u16)) {
    if ended.is_absence() {
        tracing::info!(master = %host, port, cause = %ended, "no master");
    } else {
        tracing::error!("the master at {host}:{port} does not take this slave: {ended}");
    }
}

fn register(
    shared: &Shared,
    mut connection: Connection<Line>,
    credentials: &Credentials,
    registered: impl FnOnce(),
) -> Result<(), Ended> {
    let channel = connection.stream().channel().map_err(LineError::from)?;
    let slave_nonce = fresh_nonce().map_err(LineError::from)?;
    let Introduction {
        slave,
        storage,
        addresses,
        fingerprint,
    } = &shared.introduction;
    let request = MasterRequest::Register {
        nonce: slave_nonce,
        slave: *slave,
        storage: *storage,
        addresses: addresses.clone(),
        fingerprint: *fingerprint,
    };
    let MasterReply::Challenge {
        nonce: master_nonce,
        proof,
    } = ask(&mut connection, 1, &request)?
    else {
        return Err(LineError::OutOfTurn.into());
    };
    let introduction = auth::Introduction {
        slave_nonce: &slave_nonce,
        master_nonce: &master_nonce,
        slave,
        storage,
        channel: &channel,
        fingerprint: fingerprint.as_ref(),
        addresses,
    };
    let key = &credentials.key;
    introduction.check_master(key, &proof)?;
    let request = MasterRequest::Prove {
        proof: introduction.slave_proof(key),
    };
    let MasterReply::Registered { .. } = ask(&mut connection, 2, &request)? else {
        return Err(LineError::OutOfTurn.into());
    };
    registered();
    for id in 3.. {
        let totals = shared.scoreboard.totals();
        let saturated = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
        let request = MasterRequest::Heartbeat {
            sessions: saturated(totals.sessions),
            places: saturated(totals.all_places()),
            draining: totals.draining,
        };
        let MasterReply::Noted { now, revoked } = ask(&mut connection, id, &request)? else {
            return Err(LineError::OutOfTurn.into());
        };
        note(shared, &revoked, now);
        wait_for_next_beat(shared, totals.draining);
    }
    Ok(())
}

/// Passes on to all workers whose tickets are no longer good.
fn note(shared: &Shared, revoked: &[Revocation], now: u64) {
    for revocation in revoked {
        let user = revocation.user.as_ref().map_or("everybody", Text::as_str);
        tracing::info!(user = %cli::text(user), until = revocation.until, "tickets revoked");
    }
    if let Some(table) = Revoked::of(&shared.scoreboard) {
        table.note(revoked, now);
    }
}

/// Sleeps until the next heartbeat is due; wakes early for the news that the slave drains.
fn wait_for_next_beat(shared: &Shared, was_draining: bool) {
    const STEP: Duration = Duration::from_millis(50);
    let mut left = HEARTBEAT;
    while !left.is_zero() && shared.scoreboard.totals().draining == was_draining {
        std::thread::sleep(STEP);
        left = left.saturating_sub(STEP);
    }
}
