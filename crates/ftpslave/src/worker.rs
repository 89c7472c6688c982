//! A worker process: accepts, gives each connection a thread, and leaves when it is told to.

use std::num::NonZeroUsize;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use admission::{Gate, HASHES_WAITING, Limit, connections_for};
use anyhow::Context as _;
use auth::{Accounts, Gatekeeper};
use confinement::{Allowed, Confinement, Hierarchy, Network};
use rustix::process::{Resource, getrlimit};
use storage::LocalDirectory;
use supervisor::{Accepting, Connection, Door, Event, ThreadPool, Worker, WorkerExit};
use transfer::Congestion;

use crate::PROGRAM;
use crate::handover::WorkerHandover;
use crate::pool_memory::LimitsMemory;
use crate::revoked::Revoked;
use crate::service::cannot_serve;
use crate::session::{
    Arrival, Context, DESCRIPTORS_AHEAD, Doorkeeper, Limits, MOST_FILES, Openers, Peer, Roster,
    may_ask_after_worker, serve, turn_away,
};
use crate::transfer_log::TransferLog;

/// Between two ticks of the main thread.
const TICK: Duration = Duration::from_millis(250);

/// Ticks between two looks for sessions that have outlived their tickets.
const LAPSES: u64 = 40;

/// Clients that are told at the same time why they are not let in; further ones are closed without a word.
const MOST_TURNED_AWAY: usize = 256;

/// A socket, a file or folder with the one above it, a pipe, and copies for the threads that help.
const DESCRIPTORS_OF_A_CONNECTION: u64 = 12;

/// What the worker itself has open.
const OWN_DESCRIPTORS: u64 = 64;

/// A session's stack: deep enough for a debug build, and only touched pages cost memory.
const STACK: usize = 256 * 1024;

pub(crate) fn run() -> ExitCode {
    match boot() {
        Ok((worker, entry, handover)) => work(worker, &entry, &handover).into(),
        Err(error) => {
            cli::report(PROGRAM, &error);
            WorkerExit::BootFailed.into()
        }
    }
}

fn boot() -> anyhow::Result<(Worker, Entry, WorkerHandover)> {
    let mut worker = Worker::from_inherited().context("cannot take over from the supervisor")?;
    let mut handover: WorkerHandover = serde_json::from_slice(&worker.take_handover())
        .context("the supervisor's word is not understood")?;
    cli::start_logging(PROGRAM, handover.logging);
    let storage = LocalDirectory::reopen(&handover.root, handover.storage_id())
        .map_err(|error| cannot_serve(&handover.root, error))?;
    let confinement = Confinement {
        hierarchies: &[Hierarchy {
            folder: storage.folder(),
            allowed: Allowed::Serve,
        }],
        network: Network::None,
        descriptors: descriptors(&handover),
        sandbox: handover.sandbox(),
    };
    let context = Context {
        whole_storage: Arc::new(storage.clone()),
        door: Doorkeeper {
            slave: handover.slave_id(),
            ticket_key: handover.ticket_key(),
            open_rights: handover.open_rights(),
            open_since: handover.open_since,
            accounts: handover.accounts.take().map(with_gatekeeper).transpose()?,
        },
        gate: Arc::new(Gate::new(
            Arc::new(LimitsMemory(Arc::clone(worker.scoreboard()))),
            worker.slot(),
            handover.limits,
        )),
        reception: handover.reception()?,
        scoreboard: Arc::clone(worker.scoreboard()),
        worker: u32::try_from(worker.slot())?,
        roster: Roster::default(),
        limits: Limits {
            slave: handover.limit_rate,
            session: handover.limit_session_rate,
        },
        congestion: Congestion::of_this_machine(),
        openers: Openers::new(),
        transfer_log: handover.transfer_log.as_deref().map(open_log).transpose()?,
    };
    // All that is opened by a path is open, and there is no thread yet.
    confinement.enter()?;
    let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let entry = Entry {
        context: Arc::new(context),
        threads: Arc::new(ThreadPool::new("session", STACK)),
        door: worker.door(),
        turned_away: Arc::default(),
        most: usize::try_from(connections_for(descriptors)).unwrap_or(usize::MAX),
    };
    worker
        .ready(handover.sessions)
        .context("cannot answer the supervisor")?;
    Ok((worker, entry, handover))
}

fn open_log(path: &Path) -> anyhow::Result<TransferLog> {
    TransferLog::open(path).with_context(|| format!("cannot write to '{}'", path.display()))
}

/// There is a worker for each core as a rule, so each computes one hash at a time.
fn with_gatekeeper(accounts: Accounts) -> anyhow::Result<(Accounts, Gatekeeper)> {
    let gatekeeper =
        Gatekeeper::new(NonZeroUsize::MIN, HASHES_WAITING).context("cannot check passwords")?;
    Ok((accounts, gatekeeper))
}

/// How many a worker can come to need: each session has a batch under way at most, and each connection a socket and what
/// one request opens; some have more open ahead.
fn descriptors(handover: &WorkerHandover) -> u64 {
    let sessions = u64::from(handover.sessions);
    let connections = u64::from(handover.limits.connections);
    let batch = u64::try_from(MOST_FILES).unwrap_or(u64::MAX);
    let of_batches = sessions.saturating_mul(batch);
    let ahead = u64::try_from(DESCRIPTORS_AHEAD).unwrap_or(u64::MAX);
    let of_connections = connections.saturating_mul(DESCRIPTORS_OF_A_CONNECTION);
    of_batches
        .saturating_add(of_connections)
        .saturating_add(ahead)
        .saturating_add(OWN_DESCRIPTORS)
}

fn work(mut worker: Worker, entry: &Entry, handover: &WorkerHandover) -> WorkerExit {
    let context = &entry.context;
    let mut orphaned: Option<Instant> = None;
    let mut shown = Instant::now();
    let mut watch = TicketWatch::default();
    loop {
        if shown.elapsed() >= TICK {
            shown = Instant::now();
            context.roster.show_life();
            watch.look(context);
        }
        match worker.next(Accepting::Yes, TICK) {
            Ok(Event::Connection(connection)) => {
                entry.begin(connection);
                continue;
            }
            Ok(Event::Overflow(stream, address)) => {
                context.gate.hit(Limit::Sessions);
                let peer = Peer::new(stream, address, &context.congestion);
                entry.turn_away(peer, Limit::Sessions);
            }
            // After a reload the sessions here go on until they end: no client notices.
            Ok(Event::Tick | Event::Drain) => {}
            Ok(Event::SupervisorGone) => orphaned = Some(Instant::now()),
            Err(error) => {
                tracing::error!(%error, "cannot accept");
                return WorkerExit::BootFailed;
            }
        }
        let shuts_down = orphaned.is_some() || context.scoreboard.totals().draining;
        if shuts_down && !context.roster.is_draining() {
            context.roster.drain();
        }
        if worker.is_draining() && worker.is_idle() && context.roster.count() == 0 {
            return if orphaned.is_some() {
                WorkerExit::SupervisorGone
            } else {
                WorkerExit::Clean
            };
        }
        if orphaned.is_some_and(|since| since.elapsed() >= Duration::from_secs(handover.grace)) {
            return WorkerExit::SupervisorGone;
        }
    }
}

/// Ends sessions whose tickets are no longer good.
#[derive(Default)]
struct TicketWatch {
    edition: u64,
    looks: u64,
}

impl TicketWatch {
    fn look(&mut self, context: &Context) {
        let Some(revoked) = Revoked::of(&context.scoreboard) else {
            return;
        };
        // Before the table: what is added meanwhile is another edition.
        let edition = revoked.edition();
        if edition != self.edition {
            self.edition = edition;
            context.roster.cut_off(|holder| revoked.covers(holder));
        }
        self.looks = self.looks.wrapping_add(1);
        if self.looks.is_multiple_of(LAPSES) {
            context.roster.cut_off(|holder| revoked.has_lapsed(holder));
        }
    }
}

/// Where connections come in; clones are the same.
#[derive(Clone)]
struct Entry {
    context: Arc<Context>,
    threads: Arc<ThreadPool>,
    door: Door,
    turned_away: Arc<AtomicUsize>,
    /// Connections for which the descriptors suffice.
    most: usize,
}

impl Entry {
    /// Serves a client on a thread of its own, which then takes whoever waits.
    fn begin(&self, connection: Connection) {
        let Some(first) = self.let_in(connection) else {
            return;
        };
        let entry = self.clone();
        run_apart(&self.threads, move || {
            let mut next = Some(first);
            while let Some((peer, arrival)) = next {
                serve(&entry.context, peer, Some(arrival));
                next = entry
                    .door
                    .next()
                    .and_then(|connection| entry.let_in(connection));
            }
        });
    }

    /// A connection that the limits allow; another one is told which of them it is.
    fn let_in(&self, connection: Connection) -> Option<(Peer, Arrival)> {
        let address = connection.peer;
        let peer = Peer::new(connection.stream, address, &self.context.congestion);
        let gate = &self.context.gate;
        let entered = if self.context.roster.count() < self.most {
            gate.enter(address.ip())
        } else {
            gate.hit(Limit::Connections);
            Err(Limit::Connections)
        };
        match entered {
            Ok(visit) => {
                let admission = connection.admission;
                Some((peer, Arrival { admission, visit }))
            }
            Err(limit) => {
                self.turn_away(peer, limit);
                None
            }
        }
    }

    /// Says that it is not let in, on a thread, since the client may be slow to hear it. Who only asks whether a worker lives
    /// gets an answer: its own worker may hang while all the others are full.
    fn turn_away(&self, peer: Peer, limit: Limit) {
        if self.turned_away.load(Relaxed) >= MOST_TURNED_AWAY {
            return;
        }
        let one_more = OneMore::counted(&self.turned_away);
        let context = Arc::clone(&self.context);
        run_apart(&self.threads, move || {
            let _counted = one_more;
            if limit == Limit::Sessions && may_ask_after_worker(&peer) {
                serve(&context, peer, None);
            } else {
                turn_away(peer, limit);
            }
        });
    }
}

/// Counts one for as long as it lives.
struct OneMore(Arc<AtomicUsize>);

impl OneMore {
    fn counted(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for OneMore {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// A thread that cannot be had costs this one connection, which the client sees closed.
fn run_apart(threads: &ThreadPool, task: impl FnOnce() + Send + 'static) {
    if let Err(error) = threads.run(task) {
        tracing::warn!(%error, "no thread for a connection");
    }
}
