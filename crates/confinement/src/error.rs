//! Why a process does not become what it should, or is not held as it should be. Either keeps it from serving.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why a process is not confined.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConfinementError {
    /// The kernel refused a step that it knows.
    #[error("cannot {step}")]
    Step {
        /// What was tried.
        step: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel has Landlock, and refused these rules.
    #[error("cannot restrict file access")]
    Landlock(#[from] landlock::RulesetError),
    /// The rules for system calls cannot be put into words for this processor.
    #[error("cannot make the filter of system calls")]
    Filter(#[from] seccompiler::BackendError),
    /// The kernel has filters, and refused this one.
    #[error("cannot restrict system calls")]
    Install(#[from] seccompiler::Error),
    /// Threads that run already would stay as they are.
    #[error("there are threads already")]
    Threads,
    /// A guard that the kernel has is in place and does not hold.
    #[error("the sandbox does not hold: {0} is possible")]
    NotHeld(&'static str),
    /// What the process needs is refused.
    #[error("the sandbox refuses what is needed: {need}")]
    TooTight {
        /// What was tried.
        need: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

/// Why a process does not become another user.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum UserError {
    /// Nobody of that name.
    #[error("there is no user '{0}'")]
    Unknown(String),
    /// Not started as root, and to be somebody else.
    #[error("only root can become another user: start it as root, or without --user")]
    NotRoot,
    /// Group 0 owns much that is root's.
    #[error("'{0}' has root's group: name a user that has another with --user")]
    RootsGroup(String),
    /// The owner of a file cannot be found out.
    #[error("cannot tell who owns '{}'", path.display())]
    Owner {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// A system call failed.
    #[error("cannot {step}")]
    Step {
        /// What was tried.
        step: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// The process is not what it should have become.
    #[error("did not become '{user}' for good: {left}")]
    NotDropped {
        /// Who it should be.
        user: String,
        /// What is left of who it was.
        left: &'static str,
    },
}

/// Names the step of an input/output error.
pub(crate) fn doing<E: Into<io::Error>>(step: &'static str) -> impl FnOnce(E) -> ConfinementError {
    move |error| ConfinementError::Step {
        step,
        source: error.into(),
    }
}
