//! Trying what must be forbidden, and what must not: a table can be wrong, a kernel or a container can be in the way.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::thread::Builder;

use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SendFlags, SocketType, bind, connect, send, socket};
use rustix::thread::{SecureComputingMode, no_new_privs, secure_computing_mode};
use sys::kernel_guard::{Attempt, attempt, can_run_what_was_written};

use crate::error::{ConfinementError, doing};
use crate::hierarchies::{Hierarchy, Network};
use crate::kernel::Kernel;

/// A port that no server of ours has, and to which a connection on this machine does no harm.
const SOME_PORT: u16 = 1;

/// What the rules for files and ports forbid, while sockets can still be made.
pub(crate) fn files_and_ports(
    kernel: Kernel,
    hierarchies: &[Hierarchy<'_>],
    network: &Network,
) -> Result<(), ConfinementError> {
    if kernel.restricts_files() && !includes_everything(hierarchies)? {
        let opened = rustix::fs::openat(CWD, c"/", FOLDER, Mode::empty());
        refused_with(Errno::ACCESS, &opened, "opening a folder of others")?;
    }
    if kernel.restricts_ports()
        && let Ok(probe) = socket(AddressFamily::INET, SocketType::STREAM, None)
    {
        let to = |port| SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
        refused_with(Errno::ACCESS, &bind(&probe, &to(0)), "listening on a port")?;
        if network.refuses(SOME_PORT) {
            let connected = connect(&probe, &to(SOME_PORT));
            refused_with(Errno::ACCESS, &connected, "connecting")?;
        }
    }
    Ok(())
}

/// What the filters forbid.
pub(crate) fn calls(network: &Network) -> Result<(), ConfinementError> {
    let mode = secure_computing_mode().map_err(doing("ask for the filter"))?;
    if mode != SecureComputingMode::Filter {
        return Err(ConfinementError::NotHeld("every system call"));
    }
    for call in Attempt::ALL {
        if attempt(call).raw_os_error() != Some(libc::ENOSYS) {
            return Err(ConfinementError::NotHeld(match call {
                Attempt::Execute | Attempt::ExecuteAt => "running a program",
                Attempt::Trace => "looking into other processes",
                Attempt::Mount => "mounting",
                Attempt::Unshare | Attempt::EnterNamespace => "changing namespaces",
                Attempt::LoadProgram => "loading programs into the kernel",
                Attempt::OpenByHandle => "opening files without a path",
                Attempt::Keys => "using the kernel's keys",
            }));
        }
    }
    if can_run_what_was_written().map_err(too_tight("mapping memory"))? {
        return Err(ConfinementError::NotHeld(
            "running what was written to memory",
        ));
    }
    // To what is no socket: only a filter finds fault with the flag.
    let sent = send(
        CWD,
        b"",
        SendFlags::from_bits_retain(libc::MSG_FASTOPEN.cast_unsigned()),
    );
    refused_with(Errno::NOSYS, &sent, "connecting by sending")?;
    let made = socket(AddressFamily::INET, SocketType::STREAM, None);
    match network.looks_up_names() {
        true => Ok(()),
        false => refused_with(Errno::NOSYS, &made, "making a socket"),
    }
}

/// What every confined process does sooner or later, and better fails to do now.
pub(crate) fn what_is_needed(hierarchies: &[Hierarchy<'_>]) -> Result<(), ConfinementError> {
    if !no_new_privs().map_err(doing("ask for privileges"))? {
        return Err(ConfinementError::NotHeld("gaining privileges"));
    }
    for Hierarchy { folder, allowed } in hierarchies {
        if allowed.may_list() {
            let listed = rustix::fs::openat(folder, c".", FOLDER, Mode::empty())
                .and_then(Dir::new)
                .and_then(|mut folder| folder.next().transpose());
            listed.map_err(too_tight("listing a folder"))?;
        }
    }
    let thread = Builder::new().name("self-test".to_owned()).spawn(|| ());
    let ended = thread.map(std::thread::JoinHandle::join);
    ended.map(drop).map_err(too_tight("starting a thread"))
}

const FOLDER: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC);

/// Whether one of them is the root of all files: then no file is anybody else's.
fn includes_everything(hierarchies: &[Hierarchy<'_>]) -> Result<bool, ConfinementError> {
    let everything = rustix::fs::statat(CWD, c"/", AtFlags::empty())
        .map_err(doing("look at the root of all files"))?;
    let is_it = |hierarchy: &Hierarchy<'_>| {
        rustix::fs::fstat(hierarchy.folder).is_ok_and(|folder| {
            (folder.st_dev, folder.st_ino) == (everything.st_dev, everything.st_ino)
        })
    };
    Ok(hierarchies.iter().any(is_it))
}

fn refused_with<T>(
    wanted: Errno,
    tried: &rustix::io::Result<T>,
    what: &'static str,
) -> Result<(), ConfinementError> {
    match tried {
        Err(error) if *error == wanted => Ok(()),
        _ => Err(ConfinementError::NotHeld(what)),
    }
}

fn too_tight<E: Into<io::Error>>(need: &'static str) -> impl FnOnce(E) -> ConfinementError {
    move |error| ConfinementError::TooTight {
        need,
        source: error.into(),
    }
}
