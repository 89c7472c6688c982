//! One child, as its supervisor sees it.

use std::fmt;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus};
use std::time::Instant;

use rustix::process::Signal;

use crate::backoff::Life;
use crate::launch::Launch;
use crate::letter::{self, DRAIN, HELPER_ARGUMENT, Heading, Numbers, READY, WORKER_ARGUMENT};

/// A position in the pool that is to be held by one child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Post {
    Worker(usize),
    Helper,
}

impl fmt::Display for Post {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Worker(index) => write!(formatter, "worker {index}"),
            Self::Helper => formatter.write_str("helper"),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Starting,
    Ready,
    Draining,
}

#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) post: Post,
    pub(crate) generation: u64,
    pub(crate) slot: usize,
    pub(crate) phase: Phase,
    process: Child,
    /// `None` once the child has closed its end.
    lifeline: Option<UnixStream>,
    started: Instant,
}

/// What every child of a pool gets.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Endowment<'a> {
    pub(crate) scoreboard: BorrowedFd<'a>,
    pub(crate) listener: BorrowedFd<'a>,
}

/// A child that is dead and reaped.
#[derive(Debug)]
pub(crate) struct Departed {
    pub(crate) post: Post,
    pub(crate) slot: usize,
    pub(crate) generation: u64,
    pub(crate) phase: Phase,
    pub(crate) pid: u32,
    pub(crate) status: ExitStatus,
    pub(crate) life: Life,
}

impl Member {
    pub(crate) fn start(
        launch: &Launch,
        post: Post,
        heading: Heading,
        given: Endowment<'_>,
    ) -> io::Result<Self> {
        let (lifeline, far_end) = UnixStream::pair()?;
        lifeline.set_nonblocking(true)?;
        let (mut command, handover) = command(launch, post)?;
        let listener = (post != Post::Helper).then_some(given.listener);
        let numbers = Numbers {
            lifeline: far_end.as_raw_fd(),
            scoreboard: given.scoreboard.as_raw_fd(),
            listener: listener.map(|listener| listener.as_raw_fd()),
        };
        command.stdin(letter::write(heading, numbers, handover)?);
        let handed = [Some(far_end.as_fd()), Some(given.scoreboard), listener];
        let handed: Vec<BorrowedFd<'_>> = handed.into_iter().flatten().collect();
        let process = sys::spawn::spawn_with_descriptors(command, &handed)?;
        Ok(Self {
            post,
            generation: heading.generation,
            slot: heading.slot,
            phase: Phase::Starting,
            process,
            lifeline: Some(lifeline),
            started: Instant::now(),
        })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    pub(crate) fn lifeline(&self) -> Option<BorrowedFd<'_>> {
        self.lifeline.as_ref().map(AsFd::as_fd)
    }

    /// Whether it has just said that it is ready.
    pub(crate) fn became_ready(&mut self) -> bool {
        let mut byte = [0];
        match self
            .lifeline
            .as_mut()
            .map(|lifeline| lifeline.read(&mut byte))
        {
            Some(Ok(1)) if byte == [READY] && self.phase == Phase::Starting => {
                self.phase = Phase::Ready;
                true
            }
            Some(Err(error))
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) =>
            {
                false
            }
            Some(Ok(0) | Err(_)) => {
                // It is dying: left in the set it would end every sleep until it is dead.
                self.lifeline = None;
                false
            }
            _ => false,
        }
    }

    pub(crate) fn drain(&mut self) {
        self.phase = Phase::Draining;
        if let Some(lifeline) = &mut self.lifeline {
            // One byte into an empty buffer fails only if nobody is there to read it.
            drop(lifeline.write(&[DRAIN]));
        }
    }

    /// SIGKILL. A child that is dead already is reaped all the same.
    pub(crate) fn kill(&mut self) {
        drop(self.process.kill());
    }

    pub(crate) fn kill_and_wait(&mut self) {
        self.kill();
        drop(self.process.wait());
    }

    /// How it ended, if it has. Afterwards it is reaped.
    pub(crate) fn departed(&mut self) -> Option<Departed> {
        let status = match self.process.try_wait() {
            Ok(status) => status?,
            Err(error) => {
                tracing::error!(%error, pid = self.pid(), "cannot ask after a child");
                return None;
            }
        };
        // It may have said so just before it died.
        self.became_ready();
        let killed =
            status.signal() == Some(Signal::KILL.as_raw()) && self.phase != Phase::Starting;
        Some(Departed {
            post: self.post,
            slot: self.slot,
            generation: self.generation,
            phase: self.phase,
            pid: self.pid(),
            status,
            life: Life {
                length: self.started.elapsed(),
                killed,
            },
        })
    }
}

fn command(launch: &Launch, post: Post) -> io::Result<(Command, &[u8])> {
    let mut command = Command::new(&launch.program);
    match (post, &launch.helper) {
        (Post::Worker(_), _) => {
            command.arg(WORKER_ARGUMENT).args(&launch.arguments);
            Ok((command, launch.handover.as_bytes()))
        }
        (Post::Helper, Some(helper)) => {
            command.arg(HELPER_ARGUMENT).arg(&helper.name);
            Ok((command, helper.handover.as_bytes()))
        }
        (Post::Helper, None) => Err(io::ErrorKind::InvalidInput.into()),
    }
}
