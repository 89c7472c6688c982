//! `--join`: a slave that does not have its master's key is given keys of its own, once, for an invitation.
//!
//! The supervisor reads no byte from the network: a process of its own asks the master, keeps the keys in the state
//! directory and ends.

use std::ffi::OsStr;
use std::io::{self, BufRead, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, bail};
use auth::{Invitation, OwnKeys, RegistrationKey, SlaveKey, StateDirectory};
use confinement::{Allowed, Confinement, Hierarchy, Network};
use protocol::{MasterReply, MasterRequest, SlaveId};
use serde::{Deserialize, Serialize};

use crate::handover::sandbox;
use crate::line::{Encryption, LineError, Manner, ask, connect};

/// The first argument of the process that joins.
pub(crate) const ARGUMENT: &str = "--join-master";

/// A connection, what looking up a name opens, and the files of the state.
const DESCRIPTORS: u64 = 64;

/// Longest line that is read from stdin.
const LONGEST: u64 = 4096;

/// What the process that joins is told, on its stdin: arguments can be seen by others.
#[derive(Serialize, Deserialize)]
pub(crate) struct Errand {
    pub(crate) invitation: String,
    pub(crate) state: PathBuf,
    pub(crate) root: PathBuf,
    pub(crate) port: u16,
    pub(crate) slave: [u8; 16],
    pub(crate) masters: Vec<(String, u16)>,
    pub(crate) encryption: Encryption,
    pub(crate) sandboxed: bool,
}

/// The invitation that was typed, or the first line of stdin for `-`.
///
/// # Errors
/// It is none; what was typed is not repeated.
pub(crate) fn invitation(typed: &str) -> anyhow::Result<Invitation> {
    let mut line = String::new();
    let text = match typed {
        "-" => {
            let stdin = io::stdin().lock();
            io::BufReader::new(stdin.take(LONGEST))
                .read_line(&mut line)
                .context("cannot read the invitation from stdin")?;
            &line
        }
        text => text,
    };
    text.parse().context("--join")
}

/// Joins by another process, which keeps the keys.
///
/// # Errors
/// What that process says.
pub(crate) fn send(program: &Path, errand: &Errand) -> anyhow::Result<()> {
    let told = serde_json::to_vec(errand)?;
    let mut child = Command::new(program)
        .arg(ARGUMENT)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start a process that joins")?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(&told)?;
    }
    let ended = child.wait_with_output()?;
    if !ended.status.success() {
        let said = String::from_utf8_lossy(&ended.stdout);
        bail!("cannot join: {}", cli::text(said.trim()));
    }
    Ok(())
}

/// The process that joins: says on stdout why not.
pub(crate) fn run() -> ExitCode {
    match carry_out() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let sentence = cli::one_line(&error);
            io::stdout()
                .write_all(sentence.as_bytes())
                .unwrap_or_default();
            ExitCode::FAILURE
        }
    }
}

fn carry_out() -> anyhow::Result<()> {
    let errand: Errand = serde_json::from_reader(io::stdin().lock())
        .context("the supervisor's word is not understood")?;
    let invitation: Invitation = errand.invitation.parse()?;
    let state = StateDirectory::open(Some(&errand.state))?;
    let root = OsStr::as_bytes(errand.root.as_os_str());
    // Before the invitation is shown, which is good once; and from within the sandbox nothing is given to another user.
    let room = state.room_for_own_keys(root, errand.port)?;
    confine(&errand, &state)?;
    let mut failures = Vec::new();
    for (host, port) in &errand.masters {
        match redeem(&errand, &invitation, (host, *port)) {
            Ok(keys) => return Ok(room.keep(&keys)?),
            Err(error) => failures.push(format!("{host}:{port}: {error:#}")),
        }
    }
    bail!("{}", failures.join("; "))
}

/// What is heard from the network reaches nothing but the state, in which the keys are kept.
fn confine(errand: &Errand, state: &StateDirectory) -> anyhow::Result<()> {
    let confinement = Confinement {
        hierarchies: &[Hierarchy {
            folder: state.as_fd(),
            allowed: Allowed::Keep,
        }],
        network: Network::To(errand.masters.iter().map(|(_, port)| *port).collect()),
        descriptors: DESCRIPTORS,
        sandbox: sandbox(errand.sandboxed),
    };
    Ok(confinement.enter()?)
}

fn redeem(
    errand: &Errand,
    invitation: &Invitation,
    master: (&str, u16),
) -> anyhow::Result<OwnKeys> {
    let manner = Manner {
        encryption: errand.encryption,
        master: invitation.master().map(|master| master.0),
    };
    // On this machine, too, another program may have the master's port: by its key it is known.
    let knows_key = invitation.master().is_some() && errand.encryption != Encryption::Never;
    let mut connection = connect(master, manner, knows_key)?;
    let line = connection.stream();
    if !line.is_private()? {
        bail!("an invitation is not shown in the clear to another machine");
    }
    if line.is_encrypted() && invitation.master().is_none() {
        bail!("the invitation does not say by what the master is known");
    }
    let join = MasterRequest::Join {
        token: invitation.token(),
        slave: SlaveId(errand.slave),
    };
    let reply = ask(&mut connection, 1, &join)?;
    let MasterReply::Joined {
        ticket_key,
        registration_key,
    } = reply
    else {
        bail!(LineError::OutOfTurn);
    };
    Ok(OwnKeys {
        ticket: SlaveKey::from_bytes(ticket_key.0),
        registration: RegistrationKey::from_bytes(registration_key.0),
        master: invitation.master(),
        invitation: invitation.digest(),
    })
}
