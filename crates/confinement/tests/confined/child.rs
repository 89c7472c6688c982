//! The confined process: enters the confinement of its role and tries one deed.

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, ExitCode, ExitStatus, Stdio};

use confinement::{Allowed, Confinement, Hierarchy, Network, Sandbox, User};

use crate::deeds;

/// The first argument of a process that is to be confined.
pub(crate) const CHILD: &str = "--confined";

/// Descriptors that a confined process may have, here.
pub(crate) const DESCRIPTORS: u64 = 99;

/// What a deed came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It was done.
    Done,
    /// It was refused, with this error.
    Refused(i32),
    /// The process was ended by this signal.
    Killed(i32),
    /// The process did not get so far, for this reason.
    NotConfined(String),
}

/// Does the deed in a process of that role, which has `folder`.
pub(crate) fn outcome(role: &str, deed: &str, folder: &Path) -> Outcome {
    outcome_of(command(role, deed, folder))
}

/// What comes of a [`command`].
pub(crate) fn outcome_of(mut command: Command) -> Outcome {
    let output = command.output().unwrap();
    read(output.status, &output.stdout)
}

/// The command that starts the process.
pub(crate) fn command(role: &str, deed: &str, folder: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([CHILD, role, deed]).arg(folder);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    command
}

fn read(status: ExitStatus, said: &[u8]) -> Outcome {
    use std::os::unix::process::ExitStatusExt;
    if let Some(signal) = status.signal() {
        return Outcome::Killed(signal);
    }
    let said = String::from_utf8_lossy(said).trim().to_owned();
    match (status.code(), said.parse()) {
        (Some(0), _) => Outcome::Done,
        (Some(1), Ok(error)) => Outcome::Refused(error),
        _ => Outcome::NotConfined(said),
    }
}

/// What the process does; its exit status and output are for [`outcome`] to read.
pub(crate) fn run(role: &str, deed: &str, folder: &str) -> ExitCode {
    // Workers are started with one.
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    if let Err(error) = confine(role, Path::new(folder)) {
        println!("{error}");
        return ExitCode::from(2);
    }
    if deed == WAIT {
        println!("confined");
        std::io::stdout().flush().unwrap();
        // Until the parent has looked.
        std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
        return ExitCode::SUCCESS;
    }
    match deeds::try_it(deed, Path::new(folder), &listener) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("{}", error.raw_os_error().unwrap_or_default());
            ExitCode::FAILURE
        }
    }
}

/// The deed of a process that says when it is confined and ends with its input.
pub(crate) const WAIT: &str = "wait";

fn confine(role: &str, folder: &Path) -> Result<(), Box<dyn std::error::Error>> {
    if role == "dropped" {
        // Whoever runs the tests may have none to give up.
        nix::unistd::setgroups(&[0, 54_323].map(nix::unistd::Gid::from_raw))?;
        let user = User::choose(None, folder)?.ok_or("nobody to become")?;
        return Ok(user.become_it()?);
    }
    if role == "threaded" {
        let idle = || std::thread::sleep(std::time::Duration::from_secs(60));
        std::thread::Builder::new().spawn(idle)?;
    }
    let folder = File::open(folder)?;
    let allowed = match role {
        "sweeper" => Allowed::Sweep,
        "keeper" => Allowed::Keep,
        "writer" => Allowed::Note,
        "lister" => Allowed::List,
        _ => Allowed::Serve,
    };
    let network = match role {
        "sweeper" => Network::To(vec![deeds::ports()[0]]),
        "keeper" => Network::Anywhere,
        _ => Network::None,
    };
    let sandbox = match role {
        "free" => Sandbox::Off,
        _ => Sandbox::On,
    };
    let hierarchies = [Hierarchy {
        folder: folder.as_fd(),
        allowed,
    }];
    let confinement = Confinement {
        hierarchies: &hierarchies,
        network,
        descriptors: DESCRIPTORS,
        sandbox,
    };
    Ok(confinement.enter()?)
}
