//! The program that meets clients and sends each one to a slave.
//!
//! One process, a thread with a small stack for each connection, every wait with a deadline. It holds nothing on disk but
//! its key and its accounts: what it knows comes back with the next heartbeats, so it can be killed and started again at any time.
//!
//! | part | its subject |
//! | --- | --- |
//! | `args` `place` | what is typed |
//! | `registry` `rotation` | which slaves there are, whose turn it is: pure |
//! | `fleet` `join` | who may be one of them |
//! | `user` `invite` | accounts, invitations and evictions, from the command line |
//! | `visitor` | who a client is |
//! | `redirect` `revocations` | the answer to a client: slaves, addresses, tickets; whose are no longer good |
//! | `registration` `probe` | how slaves become known: by themselves, or by being asked |
//! | `server` `session` `stream` | connections and their deadlines |
//! | `past` | what the slaves served before this master was started |
//! | `peer` `show` | asking other servers |
//! | `signals` `limits` `master` | the process, every bound, what all share |
//! | `rights` | who the process is, and what it can reach |
#![forbid(unsafe_code)]

mod args;
mod fleet;
mod invite;
mod join;
mod limits;
mod master;
mod past;
mod peer;
mod place;
mod probe;
mod redirect;
mod registration;
mod registry;
mod revocations;
mod rights;
mod rotation;
mod server;
mod session;
mod show;
mod signals;
mod stream;
#[cfg(test)]
mod tests;
mod user;
mod visitor;

use std::env;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use admission::{Limits, Reporter, connections_for};
use anyhow::{Context, Result, anyhow, bail};
use auth::tls::{Identity, Reception, Trust};
use auth::{Accounts, AccountsFile, RightsFile, StateDirectory};
use cli::{ServerTls, TlsUse};
use confinement::Kernel;
use rustix::process::{Resource, getrlimit};
use tracing::{error, info, warn};

use crate::args::{Args, Command, RunningMaster};
use crate::master::{Master, Settings};
use crate::probe::Probes;
use crate::server::{Server, wait};
use crate::signals::{Signals, Wish};

pub use crate::args::command;

const PROGRAM: &str = "ftpmaster";

/// A bad configuration file keeps a server from starting.
const CANNOT_START: u8 = 1;

/// How often a master that is stopping looks whether the last answer is out.
const LAST_ANSWERS: Duration = Duration::from_millis(10);

/// Runs the program with what was typed.
#[must_use]
pub fn main() -> ExitCode {
    let typed: Vec<OsString> = env::args_os().collect();
    let args: Args = match cli::parse(typed.clone()) {
        Ok(args) => args,
        Err(stop) => return stop.report(PROGRAM, CANNOT_START),
    };
    cli::start_logging(PROGRAM, args.shared.logging());
    let state = args.state.as_deref();
    let done = match &args.command {
        Some(Command::Slaves { json, master }) => {
            show::slaves(master.address(), || itself(master, state), *json)
        }
        Some(Command::Invite { life, tls }) => invite(&tls.options(), *life, state),
        Some(Command::Evict { slave, master }) => evict(master, slave, state),
        Some(Command::User(command)) => user::run(command, state),
        None => serve(&args, &typed),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            cli::report(PROGRAM, &error);
            ExitCode::FAILURE
        }
    }
}

fn invite(tls: &ServerTls, life: Duration, state: Option<&Path>) -> Result<()> {
    let state = StateDirectory::open(state)?;
    let known = identity(tls, &state)?.map(|identity| identity.fingerprint());
    invite::invite(&state.fleet_file()?, known, life)
}

fn evict(master: &RunningMaster, slave: &str, state: Option<&Path>) -> Result<()> {
    let fleet = StateDirectory::open(state)?.fleet_file()?;
    invite::evict(&fleet, slave, || {
        show::identities(master.address(), || itself(master, state))
    })
}

/// By what the running master is known.
fn itself(master: &RunningMaster, state: Option<&Path>) -> Result<Trust> {
    let state = StateDirectory::open(state)?;
    let identity = identity(&master.tls.options(), &state)?
        .context("this command was told not to speak TLS")?;
    Ok(Trust::Known(identity.fingerprint()))
}

/// Serves until a signal ends it.
fn serve(args: &Args, typed: &[OsString]) -> Result<()> {
    let address = args.listen_address();
    let (state, user) = rights::open_state(args)?;
    let server = Server::bind(address).with_context(|| format!("cannot listen on {address}"))?;
    // Everything that is read from here on can be read again on SIGHUP.
    let state = rights::become_user(user.as_ref(), state)?;
    let accounts = state.accounts_file()?;
    let settings = settings(args, address, (&state, accounts.read()?))?;
    let signals = Signals::catch().context("cannot catch signals")?;
    let kernel = Kernel::ask();
    // Its shared memory is made before nobody makes any more.
    let at_start = hard_limit();
    let limits_now = limits(args.limits.limits(), at_start, at_start);
    let master = Arc::new(Master::new(&state, settings, limits_now)?);
    rights::confine(args, &state)?;
    let reached = server.address()?;
    let rights = state.rights_file(reached.port())?;
    revoke_the_past(&master, &accounts, &rights)?;
    let mut probes = Probes::new(Arc::clone(&master));
    probes
        .set(&args.slaves)
        .context("cannot look after the slaves")?;
    args.privileges.complain(kernel);
    cli::listening(PROGRAM, reached);
    let mut grace = args.grace;
    let mut reporter = Reporter::default();
    loop {
        server
            .serve_until(&signals, &master, &mut reporter)
            .context("cannot accept connections")?;
        match signals.next()? {
            Some(Wish::Stop) => break,
            Some(Wish::Reload) => {
                match reload(
                    typed,
                    (address, at_start),
                    (&state, &accounts),
                    &master,
                    &mut probes,
                ) {
                    Ok(new) => {
                        grace = new;
                        master.keep_rights(&rights);
                    }
                    Err(error) => error!(
                        "the configuration stays as it was: {}",
                        cli::one_line(&error)
                    ),
                }
            }
            None => {}
        }
    }
    cli::stopping();
    drop(server);
    let finished = finish(&master, &signals, grace);
    if let Some(news) = reporter.news(master.gate.words()) {
        warn!("limits were hit: {news}");
    }
    finished
}

/// Has tickets made anew that a master before this one can have made by other accounts or rights.
fn revoke_the_past(master: &Master, accounts: &AccountsFile, rights: &RightsFile) -> Result<()> {
    if let Some(changed) = accounts.changed_at()? {
        master.revoke_before(changed);
    }
    if master.keep_rights(rights) {
        // Nobody told it of the change: it went by the old ones until it ended.
        master.revoke_all();
    }
    Ok(())
}

/// So many descriptors this process may have.
fn hard_limit() -> u64 {
    getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX)
}

/// What is asked for, and no more connections than there can be descriptors for, of which a process in its sandbox has what its
/// first configuration needed.
fn limits(asked: Limits, at_start: u64, now: u64) -> Limits {
    let left = match now < at_start {
        true => u32::try_from(now.saturating_sub(rights::OTHER_DESCRIPTORS)).unwrap_or(u32::MAX),
        false => u32::MAX,
    };
    let most = connections_for(at_start).min(left);
    Limits {
        connections: asked.connections.min(most),
        ..asked
    }
}

/// What counts from now on for a master that listens at `address`.
///
/// # Errors
/// Others can come in there, and nobody said what they may do.
fn settings(
    args: &Args,
    address: SocketAddr,
    (state, accounts): (&StateDirectory, Option<Accounts>),
) -> Result<Settings> {
    args.check_openness(address.ip(), accounts.is_some())?;
    let everybody = args.everybody(accounts.is_some());
    let reception = reception(args, state)?;
    if everybody.is_none()
        && reception.acceptor().is_none()
        && !address.ip().to_canonical().is_loopback()
    {
        warn!(
            "without TLS logins are taken from this machine alone: passwords do not cross a network in the clear"
        );
    }
    Ok(Settings {
        policy: args.policy,
        everybody,
        accounts: accounts.map(Arc::new),
        reception,
    })
}

/// Who may come in how, and under which key they know this master.
///
/// # Errors
/// There is no certificate, or none that can be used.
fn reception(args: &Args, state: &StateDirectory) -> Result<Reception> {
    let Some(identity) = identity(&args.tls, state)? else {
        return Ok(Reception::default());
    };
    info!("clients know this master by {}", identity.fingerprint());
    Ok(Reception::new(&identity, args.tls.tls == TlsUse::Always)?)
}

/// What this master shows over TLS; `None` where it speaks none.
///
/// # Errors
/// There is no certificate, or none that can be used.
fn identity(tls: &ServerTls, state: &StateDirectory) -> Result<Option<Identity>> {
    Ok(match (tls.tls, tls.files()?) {
        (TlsUse::Never, _) => None,
        (_, Some((certificate, key))) => Some(Identity::read(certificate, key)?),
        (_, None) => Some(state.identity("master")?),
    })
}

/// Takes over what a new configuration changes, and gives its grace. One that is wrong changes nothing.
fn reload(
    typed: &[OsString],
    (address, at_start): (SocketAddr, u64),
    (state, accounts): (&StateDirectory, &AccountsFile),
    master: &Master,
    probes: &mut Probes,
) -> Result<Duration> {
    cli::reloading();
    let parsed = cli::parse::<Args>(typed.to_vec()).map_err(|stop| anyhow!("{stop}"));
    let taken = parsed.and_then(|args| {
        let accounts_now = accounts.read()?;
        if accounts_now.is_none() && master.settings().accounts.is_some() {
            // A file that was moved away by mistake must not open the door.
            bail!(
                "'{}' is gone: start the master again to serve everybody",
                accounts.path().display()
            );
        }
        let settings = settings(&args, address, (state, accounts_now))?;
        if args.listen_address() != address {
            warn!("another address or port counts when the master is started again");
        }
        probes
            .set(&args.slaves)
            .context("cannot look after the slaves")?;
        master.set_settings(settings);
        let asked = args.limits.limits();
        let limits = limits(asked, at_start, hard_limit());
        if limits.connections < asked.connections {
            warn!(
                "{} connections at once; as many as are asked for count when the master is started again",
                limits.connections
            );
        }
        master.gate.set_limits(limits);
        info!("took over the configuration");
        Ok(args.grace)
    });
    cli::reloaded();
    taken
}

/// Waits for the last answers, no longer than `grace`, nor beyond a second signal.
fn finish(master: &Master, signals: &Signals, grace: Duration) -> Result<()> {
    let end = Instant::now() + grace;
    while master.is_answering() && Instant::now() < end {
        let [woken] = wait([signals.as_fd()], Some(LAST_ANSWERS))?;
        if woken && signals.next()? == Some(Wish::Stop) {
            break;
        }
    }
    Ok(())
}
