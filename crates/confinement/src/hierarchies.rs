//! The table of files and ports: what a confined process may still reach, landlock(7).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, NetPort, PathBeneath,
    Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus, Scope, make_bitflags,
};
use rustix::fs::{CWD, Mode, OFlags};

use crate::error::ConfinementError;
use crate::kernel::Kernel;

/// The version whose restrictions these tables were tried with. Later ones forbid more, which nobody has tried.
const TRIED: ABI = ABI::V7;

/// What may be done beneath a folder. Nothing may be executed anywhere, and no device, pipe, socket or link made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allowed {
    /// A served storage: files and folders are read, made, changed, moved and removed.
    Serve,
    /// Uploads that nobody goes on with: looked through, locked, removed.
    Sweep,
    /// Files that are made and written, and stay.
    Note,
    /// Folders are listed, and no file is opened.
    List,
    /// A program's own state: small files, replaced as a whole.
    Keep,
    /// Files are read, and folders not listed.
    Read,
}

impl Allowed {
    const fn rights(self) -> BitFlags<AccessFs> {
        match self {
            Self::Serve => make_bitflags!(AccessFs::{
                ReadFile | ReadDir | WriteFile | Truncate | MakeReg | MakeDir | RemoveFile | RemoveDir | Refer
            }),
            Self::Sweep => make_bitflags!(AccessFs::{ReadFile | ReadDir | WriteFile | RemoveFile}),
            Self::Note => {
                make_bitflags!(AccessFs::{ReadFile | ReadDir | WriteFile | Truncate | MakeReg})
            }
            Self::List => make_bitflags!(AccessFs::{ReadDir}),
            Self::Keep => make_bitflags!(AccessFs::{
                ReadFile | ReadDir | WriteFile | Truncate | MakeReg | MakeDir | RemoveFile | Refer
            }),
            Self::Read => make_bitflags!(AccessFs::{ReadFile}),
        }
    }

    pub(crate) const fn may_list(self) -> bool {
        !matches!(self, Self::Read)
    }
}

/// What looking up a host's name reads: settings, and the libraries that other name services come in.
const RESOLVER: [&str; 10] = [
    "/etc",
    "/run/systemd/resolve",
    "/run/resolvconf",
    "/run/NetworkManager",
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/lib",
    "/var/lib/sss",
];

/// A folder, open, and what may be done beneath it.
#[derive(Debug, Clone, Copy)]
pub struct Hierarchy<'a> {
    /// Held by the process: wherever it is moved, the right goes with it.
    pub folder: BorrowedFd<'a>,
    /// The right.
    pub allowed: Allowed,
}

/// What new connections a process may make. (Those that it accepts are its own in any case.)
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Network {
    /// None: it makes no socket at all.
    None,
    /// To these TCP ports, and what looking up names takes.
    To(Vec<u16>),
    /// To any TCP port, and what looking up names takes.
    Anywhere,
}

/// DNS, where an answer does not fit a datagram.
const DNS: u16 = 53;

impl Network {
    pub(crate) const fn looks_up_names(&self) -> bool {
        !matches!(self, Self::None)
    }

    /// Whether TCP connections to this port are refused.
    pub(crate) fn refuses(&self, port: u16) -> bool {
        match self {
            Self::None => true,
            Self::To(ports) => port != DNS && !ports.contains(&port),
            Self::Anywhere => false,
        }
    }

    fn handled(&self) -> BitFlags<AccessNet> {
        match self {
            Self::None | Self::To(_) => AccessNet::BindTcp | AccessNet::ConnectTcp,
            Self::Anywhere => AccessNet::BindTcp.into(),
        }
    }

    fn rules(&self) -> Vec<NetPort> {
        let ports = match self {
            Self::None | Self::Anywhere => &[],
            Self::To(ports) => ports.as_slice(),
        };
        let dns = matches!(self, Self::To(_)).then_some(DNS);
        let ports = ports.iter().copied().chain(dns);
        ports
            .map(|port| NetPort::new(port, AccessNet::ConnectTcp))
            .collect()
    }
}

/// Restricts this thread, and those that it starts, to the hierarchies, as far as the kernel can. Nothing is half done: a
/// kernel that would forbid moving files between folders altogether (version 1) restricts nothing.
pub(crate) fn restrict(
    kernel: Kernel,
    hierarchies: &[Hierarchy<'_>],
    network: &Network,
) -> Result<(), ConfinementError> {
    if !kernel.restricts_files() {
        return Ok(());
    }
    let resolver = match network.looks_up_names() {
        true => open_those_there(&RESOLVER),
        false => Vec::new(),
    };
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::SoftRequirement)
        .handle_access(AccessFs::Refer)?
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(TRIED))?
        .handle_access(network.handled())?
        .scope(Scope::from_all(TRIED))?
        .create()?;
    for Hierarchy { folder, allowed } in hierarchies {
        rules = rules.add_rule(PathBeneath::new(folder, allowed.rights()))?;
    }
    for folder in &resolver {
        rules = rules.add_rule(PathBeneath::new(folder.as_fd(), Allowed::Read.rights()))?;
    }
    for rule in network.rules() {
        rules = rules.add_rule(rule)?;
    }
    match rules.restrict_self()?.ruleset {
        RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced => Ok(()),
        RulesetStatus::NotEnforced => Err(ConfinementError::NotHeld("reading any file")),
    }
}

fn open_those_there(paths: &[&str]) -> Vec<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let open = |path: &&str| rustix::fs::openat(CWD, *path, flags, Mode::empty()).ok();
    paths.iter().filter_map(open).collect()
}
