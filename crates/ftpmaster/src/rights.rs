//! Who the master is and what it can reach: its state, the settings of this machine's name service, and other servers.
//! None of the files that its slaves serve.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use auth::StateDirectory;
use confinement::{Allowed, Confinement, Hierarchy, Network, User};
use rustix::fs::{CWD, Mode, OFlags};
use tracing::info;

use crate::args::Args;

/// Beside the clients' connections: slaves that register or are asked, the state, what looking up names opens.
pub(crate) const OTHER_DESCRIPTORS: u64 = 4096;

/// Opens the state as whoever started this process, and says whom it shall become: who keeps a state is its owner. One
/// that is made now is made for the user who is named.
pub(crate) fn open_state(args: &Args) -> Result<(StateDirectory, Option<User>)> {
    let path = args.state.as_deref();
    if args.privileges.user.is_none() {
        let state = StateDirectory::open(path)?;
        let owner = args.privileges.user(state.path())?;
        return Ok((state, owner));
    }
    let named = args.privileges.user(Path::new("."))?;
    let owner = named.as_ref().map(|user| (user.uid(), user.gid()));
    let state = StateDirectory::open_for(path, owner)?;
    if let Some(user) = &named
        && rustix::fs::fstat(&state)?.st_uid != user.uid()
    {
        let (user, shown) = (user.name(), state.path().display());
        bail!(
            "'{shown}' belongs to another user than '{user}', who is to keep it; mend it with: chown -R {user} '{shown}'"
        );
    }
    Ok((state, named))
}

/// Becomes that user for good, and opens the state as they can.
pub(crate) fn become_user(user: Option<&User>, state: StateDirectory) -> Result<StateDirectory> {
    let Some(user) = user else {
        return Ok(state);
    };
    let name = user.name();
    user.become_it()
        .with_context(|| format!("cannot become '{name}'"))?;
    info!("running as '{name}'");
    StateDirectory::open(Some(state.path())).with_context(|| format!("as '{name}'"))
}

/// Holds this process to what it needs. What is read again on SIGHUP stays within reach.
pub(crate) fn confine(args: &Args, state: &StateDirectory) -> Result<()> {
    let read_again = read_again(args)
        .into_iter()
        .filter_map(|folder| open_folder(&folder).ok())
        .collect::<Vec<OwnedFd>>();
    let mut hierarchies = vec![Hierarchy {
        folder: state.as_fd(),
        allowed: Allowed::Keep,
    }];
    hierarchies.extend(read_again.iter().map(|folder| Hierarchy {
        folder: folder.as_fd(),
        allowed: Allowed::Read,
    }));
    let clients = u64::from(args.limits.limits().connections);
    let confinement = Confinement {
        hierarchies: &hierarchies,
        // A new configuration can name slaves at any port.
        network: Network::Anywhere,
        descriptors: clients.saturating_add(OTHER_DESCRIPTORS),
        sandbox: args.privileges.sandbox(),
    };
    Ok(confinement.enter()?)
}

/// The folders of files that a reload reads: files are replaced, folders stay. A file may be a link into another one.
fn read_again(args: &Args) -> Vec<PathBuf> {
    let tls = args.tls.cert.iter().chain(&args.tls.key);
    let files = args.shared.config.iter().chain(tls);
    let folder = |file: &Path| match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    let folders = |file: &PathBuf| {
        let led_to = file.canonicalize().ok();
        let led_to = led_to.as_deref().map(folder);
        [Some(folder(file)), led_to].into_iter().flatten()
    };
    files.flat_map(folders).collect()
}

fn open_folder(path: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, path, flags, Mode::empty())
}
