//! One master: register, prove, and a heartbeat a second, for ever.

use std::net::{TcpStream, ToSocketAddrs};
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use auth::{RegistrationKey, fresh_nonce};
use protocol::limits::MAX_GREETING;
use protocol::{
    Address, ClientPreface, Connection, ConnectionError, ErrorCode, MasterReply, MasterRequest,
    Role, ServerPreface, SlaveId, StorageId,
};
use thiserror::Error;

use super::Shared;

/// Longest wait for a master's word; it answers at once or is gone.
const DEADLINE: Duration = Duration::from_secs(3);

/// Between two heartbeats.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// A master that was lost is looked for again after this,
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// and then ever more seldom, down to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// A slave may be started before its master, and a master restarted; one that is away for longer is worth a warning.
const MISSED_AFTER: Duration = Duration::from_secs(3);

/// Who registers, and where clients reach it.
#[derive(Debug)]
pub(crate) struct Introduction {
    pub(crate) slave: SlaveId,
    pub(crate) storage: StorageId,
    pub(crate) addresses: Vec<Address>,
}

/// Why a registration ended.
#[derive(Debug, Error)]
enum Ended {
    #[error("{0}")]
    Unreachable(#[from] std::io::Error),
    #[error("{0}")]
    Connection(#[from] ConnectionError),
    #[error("a slave listens there, not a master")]
    NotAMaster,
    #[error("it speaks another version of the protocol")]
    Version,
    #[error("{}", refusal(.0, .1))]
    Refused(ErrorCode, String),
    #[error("{0}")]
    Stranger(#[from] auth::ProofError),
    #[error("it answers out of turn")]
    OutOfTurn,
}

impl Ended {
    /// Whether nobody is there, or nobody who answers.
    const fn is_absence(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::Connection(_))
    }
}

fn refusal(code: &ErrorCode, detail: &str) -> String {
    if detail.is_empty() {
        code.sentence().to_owned()
    } else {
        detail.to_owned()
    }
}

/// Registers with the master at that host and port again and again, until the process leaves. What is wrong is said once,
/// not at every try.
pub(crate) fn stay_registered(shared: &Shared, key: &RegistrationKey, (host, port): (&str, u16)) {
    let mut said = String::new();
    let mut pause = FIRST_PAUSE;
    let mut away_since = Some(Instant::now());
    while !shared.leaving.load(SeqCst) {
        let mut registered = false;
        let ended = register(shared, key, (host, port), || {
            tracing::info!(master = %host, port, "registered");
            registered = true;
        });
        if registered {
            pause = FIRST_PAUSE;
            said.clear();
            away_since = Some(Instant::now());
        }
        if let Err(ended) = ended {
            let sentence = ended.to_string();
            if sentence != said {
                complain(&ended, (host, port));
                said = sentence;
            }
            if ended.is_absence() && away_since.is_some_and(|since| since.elapsed() > MISSED_AFTER)
            {
                away_since = None;
                let cause = cli::one_line(&ended.into());
                tracing::warn!(
                    "no master at {host}:{port} ({cause}): serving on, and trying again"
                );
            }
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
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
    key: &RegistrationKey,
    address: (&str, u16),
    registered: impl FnOnce(),
) -> Result<(), Ended> {
    let mut connection = connect(address)?;
    let slave_nonce = fresh_nonce()?;
    let Introduction {
        slave,
        storage,
        addresses,
    } = &shared.introduction;
    let request = MasterRequest::Register {
        nonce: slave_nonce,
        slave: *slave,
        storage: *storage,
        addresses: addresses.clone(),
    };
    let MasterReply::Challenge {
        nonce: master_nonce,
        proof,
    } = ask(&mut connection, 1, &request)?
    else {
        return Err(Ended::OutOfTurn);
    };
    let introduction = auth::Introduction {
        slave_nonce: &slave_nonce,
        master_nonce: &master_nonce,
        slave,
        storage,
        addresses,
    };
    introduction.check_master(key, &proof)?;
    let request = MasterRequest::Prove {
        proof: introduction.slave_proof(key),
    };
    let MasterReply::Registered { .. } = ask(&mut connection, 2, &request)? else {
        return Err(Ended::OutOfTurn);
    };
    registered();
    for id in 3.. {
        let totals = shared.scoreboard.totals();
        let saturated = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
        let request = MasterRequest::Heartbeat {
            sessions: saturated(totals.sessions),
            places: saturated(totals.places),
            draining: totals.draining,
        };
        let MasterReply::Noted { .. } = ask(&mut connection, id, &request)? else {
            return Err(Ended::OutOfTurn);
        };
        wait_for_next_beat(shared, totals.draining);
    }
    Ok(())
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

fn connect(address: (&str, u16)) -> Result<Connection<TcpStream>, Ended> {
    let mut failure = std::io::Error::new(std::io::ErrorKind::NotFound, "no such host");
    for resolved in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&resolved, DEADLINE) {
            Ok(stream) => return introduce(stream),
            Err(error) => failure = error,
        }
    }
    Err(failure.into())
}

fn introduce(stream: TcpStream) -> Result<Connection<TcpStream>, Ended> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.set_write_timeout(Some(DEADLINE))?;
    let mut connection = Connection::new(stream);
    connection.send_raw(&ClientPreface::ours().encode());
    connection.flush()?;
    connection.read_line(MAX_GREETING)?;
    let mut preface = [0; ServerPreface::LENGTH];
    connection.read_exact(&mut preface)?;
    match ServerPreface::decode(&preface).map_err(ConnectionError::from)? {
        ServerPreface { version: 0, .. } => Err(Ended::Version),
        ServerPreface {
            role: Role::Slave, ..
        } => Err(Ended::NotAMaster),
        ServerPreface {
            role: Role::Master, ..
        } => Ok(connection),
    }
}

fn ask(
    connection: &mut Connection<TcpStream>,
    id: u32,
    request: &MasterRequest,
) -> Result<MasterReply, Ended> {
    connection.send(id, request);
    connection.flush()?;
    let header = connection.receive_answer()?;
    match connection.decode(&header).map_err(ConnectionError::from)? {
        MasterReply::Error { code, detail } => {
            Err(Ended::Refused(code, detail.as_str().to_owned()))
        }
        reply => Ok(reply),
    }
}
