//! The registrar process: tells every master, once a second, that this slave lives; and sweeps what abandoned uploads left.

mod master;

use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread::Builder;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use confinement::{Allowed, Confinement, Hierarchy, Network};
use protocol::{Address, Fingerprint, Text};
use storage::{LocalDirectory, Storage};
use supervisor::{Helper, HelperEvent, Scoreboard, Waker, WorkerExit};

use crate::PROGRAM;
use crate::handover::RegistrarHandover;
use master::{Credentials, Introduction, stay_registered};

/// Between two ticks of the main thread.
const TICK: Duration = Duration::from_millis(250);

/// A predecessor stays no longer than this for masters that do not answer its successor.
const FIRST_TRY: Duration = Duration::from_secs(3);

/// Between two sweeps of the staging area: what cannot be resumed goes soon after its worker was killed.
const SWEEP: Duration = Duration::from_secs(60);

/// Interrupted uploads are kept for a week,
const KEEP_FOR: Duration = Duration::from_secs(7 * 24 * 3600);

/// and as long as they take no more than this, bytes.
const KEEP_BYTES: u64 = 64 * 1024 * 1024 * 1024;

/// A connection to each master, what looking up its name opens, and the folder that is swept.
const DESCRIPTORS: u64 = 1024;

/// What the threads of this process share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) introduction: Introduction,
    pub(crate) scoreboard: Arc<Scoreboard>,
    pub(crate) leaving: AtomicBool,
    /// Masters with which the first registration has neither succeeded nor failed yet.
    pub(crate) untried: AtomicUsize,
    /// For the main thread, when the last of them was tried.
    pub(crate) waker: Waker,
}

pub(crate) fn run() -> ExitCode {
    match boot() {
        Ok((helper, handover, storage)) => attend(helper, handover, storage).into(),
        Err(error) => {
            cli::report(PROGRAM, &error);
            WorkerExit::BootFailed.into()
        }
    }
}

fn boot() -> anyhow::Result<(Helper, RegistrarHandover, Option<LocalDirectory>)> {
    let mut helper = Helper::from_inherited().context("cannot take over from the supervisor")?;
    let handover: RegistrarHandover = serde_json::from_slice(&helper.take_handover())
        .context("the supervisor's word is not understood")?;
    cli::start_logging(PROGRAM, handover.logging);
    let storage = LocalDirectory::reopen(&handover.root, handover.storage_id())
        .inspect_err(|error| {
            tracing::warn!(
                error = error as &dyn std::error::Error,
                "abandoned uploads are not swept"
            );
        })
        .ok();
    let hierarchies = storage.as_ref().map(hierarchies).unwrap_or_default();
    let confinement = Confinement {
        hierarchies: &hierarchies,
        network: match handover.masters.as_slice() {
            [] => Network::None,
            masters => Network::To(masters.iter().map(|(_, port)| *port).collect()),
        },
        descriptors: DESCRIPTORS,
        sandbox: handover.sandbox(),
    };
    confinement.enter()?;
    Ok((helper, handover, storage))
}

/// What sweeping takes: uploads are removed, and the files below homes with a quota counted.
fn hierarchies(storage: &LocalDirectory) -> Vec<Hierarchy<'_>> {
    let swept = [
        (storage.staging_folder(), Allowed::Sweep),
        (storage.ledgers_folder(), Allowed::Note),
        (
            storage.ledgers_folder().map(|_| storage.folder()),
            Allowed::List,
        ),
    ];
    let there = |(folder, allowed)| {
        Some(Hierarchy {
            folder: folder?,
            allowed,
        })
    };
    swept.into_iter().filter_map(there).collect()
}

fn attend(
    mut helper: Helper,
    handover: RegistrarHandover,
    storage: Option<LocalDirectory>,
) -> WorkerExit {
    let key = handover.registration_key();
    let masters = key.iter().flat_map(|_| &handover.masters);
    let shared = Arc::new(Shared {
        introduction: introduction(&handover),
        scoreboard: Arc::clone(helper.scoreboard()),
        leaving: AtomicBool::new(false),
        untried: AtomicUsize::new(masters.count()),
        waker: helper.waker(),
    });
    if let Some(key) = key {
        let manner = handover.manner;
        let credentials = Credentials { key, manner };
        for (host, port) in handover.masters {
            let (shared, credentials) = (Arc::clone(&shared), credentials.clone());
            spawn("registrar", move || {
                stay_registered(&shared, &credentials, (&host, port));
            });
        }
    }
    if let Some(storage) = storage {
        spawn("sweeper", move || sweep_now_and_then(&storage));
    }
    match stay(&mut helper, &shared) {
        Ok(exit) => exit,
        Err(error) => {
            tracing::error!(%error, "cannot go on");
            WorkerExit::BootFailed
        }
    }
}

/// Until this process is to leave.
fn stay(helper: &mut Helper, shared: &Shared) -> io::Result<WorkerExit> {
    let first_try = Instant::now() + FIRST_TRY;
    let mut is_ready = false;
    loop {
        // Then a predecessor leaves: masters must know of us before its connections end.
        if !is_ready && (shared.untried.load(SeqCst) == 0 || Instant::now() >= first_try) {
            helper.ready()?;
            is_ready = true;
        }
        match helper.next(TICK)? {
            HelperEvent::Tick => {}
            HelperEvent::Drain => {
                shared.leaving.store(true, SeqCst);
                last_word(helper);
                return Ok(WorkerExit::Clean);
            }
            HelperEvent::SupervisorGone => return Ok(WorkerExit::SupervisorGone),
        }
    }
}

/// Stays while the pool drains, so that masters hear of it; a registrar that a reload replaced leaves at once.
fn last_word(helper: &mut Helper) {
    let board = Arc::clone(helper.scoreboard());
    let told = Instant::now();
    while board.totals().draining && (board.totals().sessions > 0 || told.elapsed() < 2 * TICK) {
        // What comes but once must not be asked for twice.
        if let Err(_) | Ok(HelperEvent::SupervisorGone) = helper.next(TICK) {
            return;
        }
    }
}

fn introduction(handover: &RegistrarHandover) -> Introduction {
    let advertised = handover
        .advertised
        .iter()
        .map(|(host, port)| match host.parse() {
            Ok(ip) => Address::Ip { ip, port: *port },
            Err(_) => Address::Name {
                host: Text::new(host),
                port: *port,
            },
        });
    Introduction {
        slave: handover.slave_id(),
        storage: handover.storage_id(),
        addresses: advertised
            .chain([Address::SameHost {
                port: handover.port,
            }])
            .collect(),
        fingerprint: handover.fingerprint.map(Fingerprint),
    }
}

fn sweep_now_and_then(storage: &LocalDirectory) {
    loop {
        match storage.sweep(KEEP_FOR, KEEP_BYTES) {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "abandoned uploads removed"),
            Err(error) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                "abandoned uploads are not swept"
            ),
        }
        std::thread::sleep(SWEEP);
    }
}

fn spawn(name: &str, task: impl FnOnce() + Send + 'static) {
    if let Err(error) = Builder::new()
        .name(name.to_owned())
        .stack_size(256 * 1024)
        .spawn(task)
    {
        tracing::error!(%error, name, "no thread to be had");
    }
}
