//! The words in which a child tells its supervisor, and a supervisor its caller, why it ended.

use std::io;
use std::process::{ExitCode, ExitStatus};

/// Why a worker or helper left, as an exit status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkerExit {
    /// It was asked to drain and has.
    Clean = 0,
    /// It could not start and never will with this configuration; its reason is on stderr.
    BootFailed = 3,
    /// Its supervisor died; it has drained.
    SupervisorGone = 4,
}

impl WorkerExit {
    pub(crate) fn read(status: ExitStatus) -> Option<Self> {
        [Self::Clean, Self::BootFailed, Self::SupervisorGone]
            .into_iter()
            .find(|exit| status.code() == Some(i32::from(exit.code())))
    }

    const fn code(self) -> u8 {
        match self {
            Self::Clean => 0,
            Self::BootFailed => 3,
            Self::SupervisorGone => 4,
        }
    }
}

impl From<WorkerExit> for ExitCode {
    fn from(exit: WorkerExit) -> Self {
        Self::from(exit.code())
    }
}

/// How the whole pool ended, when it was told to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Every child finished its sessions and left.
    Drained,
    /// The grace was over, or a second signal came: these many children were killed.
    Killed(usize),
}

/// Why the supervisor cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SupervisorError {
    /// The kernel refused something without which there is no pool.
    #[error("cannot {operation}")]
    System {
        /// What was tried.
        operation: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// No worker of the first configuration could start. The worker has said why on stderr.
    #[error("the workers cannot start")]
    BootFailed,
}

/// Names the operation of an input/output error.
pub(crate) fn doing(operation: &'static str) -> impl FnOnce(io::Error) -> SupervisorError {
    move |source| SupervisorError::System { operation, source }
}
