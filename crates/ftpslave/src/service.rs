//! The supervisor's side: from arguments to a running pool. Reads no byte from the network.

use std::ffi::OsString;
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use admission::Reporter;
use anyhow::Context;
use auth::StateDirectory;
use cli::TlsUse;
use confinement::{Kernel, Sandbox};
use protocol::{Address, ErrorCode, SlaveId, StorageId};
use storage::{LocalDirectory, Storage};
use supervisor::{Handover, HelperLaunch, Launch, Owner, Pool, Scoreboard, Supervisor};

use crate::PROGRAM;
use crate::args::Args;
use crate::handover::{IdentityBytes, Key, RegistrarHandover, WorkerHandover};
use crate::join;
use crate::line::{Encryption, Manner};
use crate::openness::Openness;
use crate::pool_memory;
use crate::revoked::Revoked;
use crate::rights::{self, Place, Secrets};
use crate::session::Peer;

/// Connections that wait in the kernel until a worker takes them.
const BACKLOG: i32 = 1024;

pub(crate) fn run() -> ExitCode {
    let args: Args = match cli::parse(std::env::args_os()) {
        Ok(args) => args,
        Err(stop) => return stop.report(PROGRAM, 1),
    };
    cli::start_logging(PROGRAM, args.shared.logging());
    match serve(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            cli::report(PROGRAM, &error);
            ExitCode::FAILURE
        }
    }
}

fn serve(args: &Args) -> anyhow::Result<()> {
    args.check()?;
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    let root = absolute(&args.root)?;
    let user = rights::user(args, &root)?;
    let state = StateDirectory::open(args.state.as_deref())?;
    let listener = listen(SocketAddr::new(args.bind, args.port))?;
    let address = listener
        .local_addr()
        .context("cannot tell the listening address")?;
    let slave = state.slave_id(root.as_os_str().as_bytes(), address.port())?;
    if let Some(typed) = &args.join {
        join_once(
            args,
            typed,
            (&program, &root),
            (&state, slave, address.port()),
        )?;
    }
    let place = Place {
        state,
        root: root.clone(),
        port: address.port(),
        slave,
        is_out_of_reach: user.is_some(),
    };
    let secrets = Secrets::of(args, &place)?;
    // What only root may read or bind has been; what is made in the folder from here on is to be the user's.
    rights::become_user(user.as_ref(), args, &program)?;
    let storage = LocalDirectory::open(&root).map_err(|error| cannot_serve(&root, error))?;
    let site = Site {
        program,
        place,
        storage: storage.id(),
        address,
    };
    let openness = Openness::read(args, None)?;
    let launch = site.launch(args, &secrets, &openness)?;
    let pool = Pool {
        listener,
        launch,
        silent_after: Pool::SILENT_AFTER,
        program_words: pool_memory::WORDS,
    };
    let supervisor = Supervisor::new(pool)?;
    admission::prepare(pool_memory::limits(supervisor.scoreboard()))
        .context("cannot set the limits up")?;
    let mut service = Service {
        site,
        secrets,
        openness,
        proposed: None,
        privileges: args.privileges.clone(),
        fixed: Fixed::of(args),
        reporter: Reporter::default(),
    };
    supervisor.run(&mut service)?;
    Ok(())
}

/// Joins with the invitation, unless that has been done.
fn join_once(
    args: &Args,
    typed: &str,
    (program, root): (&Path, &Path),
    (state, slave, port): (&StateDirectory, SlaveId, u16),
) -> anyhow::Result<()> {
    let invitation = join::invitation(typed)?;
    let kept = state.own_keys(root.as_os_str().as_bytes(), port)?;
    if kept.is_some_and(|keys| keys.invitation == invitation.digest()) {
        tracing::info!("this slave has joined with that invitation before");
        return Ok(());
    }
    let errand = join::Errand {
        invitation: invitation.reveal(),
        state: state.path().to_owned(),
        root: root.to_owned(),
        port,
        slave: slave.0,
        masters: masters(args),
        encryption: Encryption::from(args.tls.tls),
        sandboxed: args.privileges.sandbox() == Sandbox::On,
    };
    join::send(program, &errand)
}

fn masters(args: &Args) -> Vec<(String, u16)> {
    let masters = args.master.iter();
    masters
        .map(|master| (master.host.clone(), master.port))
        .collect()
}

/// A path that stays right in every child; what is beneath the root is resolved by the storage alone.
fn absolute(path: &Path) -> anyhow::Result<PathBuf> {
    let shown = cli::name(path.as_os_str().as_bytes());
    std::path::absolute(path).with_context(|| format!("cannot use '{shown}'"))
}

/// The storage knows its root as `/`; a person knows it by the path they typed.
pub(crate) fn cannot_serve(root: &Path, error: storage::StorageError) -> anyhow::Error {
    let shown = cli::name(root.as_os_str().as_bytes()).to_string();
    match error.code() {
        ErrorCode::Internal => {
            anyhow::Error::from(error).context(format!("cannot serve '{shown}'"))
        }
        code => anyhow::anyhow!("cannot serve '{shown}': {code}"),
    }
}

fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let open = || -> std::io::Result<TcpListener> {
        let socket = socket2::Socket::new(
            socket2::Domain::for_address(address),
            socket2::Type::STREAM,
            None,
        )?;
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        Peer::prepare(&socket)?;
        socket.listen(BACKLOG)?;
        Ok(socket.into())
    };
    open().with_context(|| format!("cannot listen on {address}"))
}

/// What stays the same for as long as the supervisor lives.
struct Site {
    program: PathBuf,
    place: Place,
    storage: StorageId,
    address: SocketAddr,
}

impl Site {
    /// Where it listens, if that is one address of this machine alone: a master on the same machine would send clients to
    /// the address under which they know the master.
    fn bound_address(&self) -> Option<(String, u16)> {
        let ip = self.address.ip();
        let is_one = !ip.is_unspecified() && !ip.is_loopback();
        is_one.then(|| (ip.to_string(), self.address.port()))
    }

    fn launch(
        &self,
        args: &Args,
        secrets: &Secrets,
        openness: &Openness,
    ) -> anyhow::Result<Launch> {
        let workers = NonZeroUsize::try_from(args.worker_count())?;
        Ok(Launch {
            program: self.program.clone(),
            arguments: vec![OsString::from(self.address.port().to_string())],
            workers,
            handover: self.for_worker(args, secrets, openness)?,
            helper: Some(HelperLaunch {
                name: "registrar".to_owned(),
                handover: self.for_registrar(args, secrets)?,
            }),
            grace: Duration::from_secs(args.grace),
        })
    }

    fn for_worker(
        &self,
        args: &Args,
        secrets: &Secrets,
        openness: &Openness,
    ) -> anyhow::Result<Handover> {
        if let Some(identity) = &secrets.identity {
            tracing::info!("clients know this slave by {}", identity.fingerprint());
        }
        let handover = WorkerHandover {
            root: self.place.root.clone(),
            slave: self.place.slave.0,
            storage: self.storage.0,
            sessions: args.sessions.get(),
            limits: args.limits.limits(),
            limit_rate: args.limit_rate,
            limit_session_rate: args.limit_session_rate,
            open_rights: openness.everybody.map(protocol::Rights::bits),
            open_since: openness.since,
            ticket_key: secrets.keys.as_ref().map(|keys| Key::from(&keys.ticket)),
            accounts: openness.accounts.clone(),
            transfer_log: args.transfer_log.as_deref().map(absolute).transpose()?,
            identity: secrets.identity.as_ref().map(IdentityBytes::from),
            tls_alone: args.tls.tls == TlsUse::Always,
            grace: args.grace,
            sandboxed: args.privileges.sandbox() == Sandbox::On,
            logging: args.shared.logging(),
        };
        Ok(serde_json::to_vec(&handover)?.into())
    }

    fn for_registrar(&self, args: &Args, secrets: &Secrets) -> anyhow::Result<Handover> {
        let keys = secrets.keys.as_ref();
        let masters = match args.standalone {
            true => Vec::new(),
            false => masters(args),
        };
        let known = keys.and_then(|keys| keys.master);
        let advertised = args
            .advertise
            .iter()
            .filter_map(|advertised| match &advertised.0 {
                Address::Name { host, port } => Some((host.as_str().to_owned(), *port)),
                Address::Ip { ip, port } => Some((ip.to_string(), *port)),
                Address::SameHost { .. } => None,
            })
            .chain(self.bound_address());
        let handover = RegistrarHandover {
            root: self.place.root.clone(),
            slave: self.place.slave.0,
            storage: self.storage.0,
            port: self.address.port(),
            masters,
            advertised: advertised.collect(),
            registration_key: keys.map(|keys| Key::from(&keys.registration)),
            manner: Manner {
                encryption: Encryption::from(args.tls.tls),
                master: known.map(|known| known.0),
            },
            fingerprint: secrets
                .identity
                .as_ref()
                .map(|identity| identity.fingerprint().0),
            sandboxed: args.privileges.sandbox() == Sandbox::On,
            logging: args.shared.logging(),
        };
        Ok(serde_json::to_vec(&handover)?.into())
    }
}

/// What counts only when the slave is started.
#[derive(PartialEq, Eq)]
struct Fixed {
    address: SocketAddr,
    state: Option<PathBuf>,
}

impl Fixed {
    fn of(args: &Args) -> Self {
        Self {
            address: SocketAddr::new(args.bind, args.port),
            state: args.state.clone(),
        }
    }
}

/// What the supervisor asks at the turns of the pool's life.
struct Service {
    site: Site,
    secrets: Secrets,
    /// That of the workers that accept.
    openness: Openness,
    /// That of those that are to replace them.
    proposed: Option<Openness>,
    privileges: cli::Privileges,
    fixed: Fixed,
    reporter: Reporter,
}

impl Service {
    fn relaunch(&mut self) -> anyhow::Result<Launch> {
        let args: Args = match cli::parse(std::env::args_os()) {
            Ok(args) => args,
            Err(cli::Stop::Config(error)) => return Err(error),
            Err(cli::Stop::Usage(error)) => return Err(error.into()),
        };
        args.check()?;
        if absolute(&args.root)? != self.site.place.root {
            anyhow::bail!("another root needs a restart");
        }
        if args.privileges.user != self.privileges.user {
            anyhow::bail!("another user needs a restart");
        }
        let secrets = self.secrets.again(&args, &self.site.place)?;
        let before = self.proposed.as_ref().unwrap_or(&self.openness);
        let openness = Openness::read(&args, Some(before))?;
        let launch = self.site.launch(&args, &secrets, &openness)?;
        if Fixed::of(&args) != self.fixed {
            tracing::warn!(
                "another address, port or state directory counts when the slave is started again"
            );
        }
        self.secrets = secrets;
        self.proposed = Some(openness);
        Ok(launch)
    }
}

impl Owner for Service {
    fn ready(&mut self) {
        self.privileges.complain(Kernel::ask());
        cli::listening(PROGRAM, self.site.address);
    }

    fn reload(&mut self) -> Option<Launch> {
        cli::reloading();
        self.relaunch()
            .inspect_err(|error| {
                cli::report(
                    PROGRAM,
                    &anyhow::anyhow!("the old configuration stays: {error:#}"),
                );
            })
            .ok()
    }

    fn reloaded(&mut self, board: &Scoreboard) {
        if let Some(new) = self.proposed.take() {
            let old = std::mem::replace(&mut self.openness, new);
            let revoked = self.openness.revoked_since(&old);
            // What was allowed before ends with the sessions that had it, in the old workers too.
            if let (false, Some(table)) = (revoked.is_empty(), Revoked::of(board)) {
                table.note(&revoked, self.openness.since / 1000);
            }
        }
        cli::listening(PROGRAM, self.site.address);
    }

    fn kept(&mut self) {
        self.proposed = None;
        cli::reloaded();
    }

    fn departed(&mut self, slot: usize, board: &Scoreboard) {
        admission::give_back(pool_memory::limits(board), slot);
    }

    fn tend(&mut self, board: &Scoreboard) {
        if let Some(news) = self.reporter.due(pool_memory::limits(board)) {
            tracing::warn!("limits were hit: {news}");
        }
    }

    fn stopping(&mut self) {
        cli::stopping();
    }

    fn ended(&mut self, board: &Scoreboard) {
        if let Some(news) = self.reporter.news(pool_memory::limits(board)) {
            tracing::warn!("limits were hit: {news}");
        }
    }
}
