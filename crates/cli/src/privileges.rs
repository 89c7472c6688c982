//! What both servers are told about the rights of their processes, and what they say of them.

use std::path::Path;

use clap::Args;
use confinement::{Kernel, Sandbox, User, UserError};

/// To be flattened into a server's arguments.
#[derive(Args, Clone, Debug, Default)]
pub struct Privileges {
    /// Become this user, when started as root; by default the owner of what is served or kept
    #[arg(long, value_name = "NAME", help_heading = "Rights")]
    pub user: Option<String>,

    /// Leave the processes all rights of their user: for finding faults, not for serving
    #[arg(long, help_heading = "Rights")]
    pub no_sandbox: bool,
}

impl Privileges {
    /// Whom the server shall become, of whose files `owned` is the first; `None`: it stays who it is.
    ///
    /// # Errors
    /// See [`User::choose`].
    pub fn user(&self, owned: &Path) -> Result<Option<User>, UserError> {
        User::choose(self.user.as_deref(), owned)
    }

    /// Whether its processes are confined.
    #[must_use]
    pub const fn sandbox(&self) -> Sandbox {
        match self.no_sandbox {
            true => Sandbox::Off,
            false => Sandbox::On,
        }
    }

    /// Says, a line each, what is not as it should be. For when the server is ready: one that cannot start has something
    /// else to say. (The kernel is asked before that: in a sandbox it looks as if it knew of none.)
    pub fn complain(&self, kernel: Kernel) {
        if rustix::process::geteuid().is_root() {
            tracing::warn!(
                "running as root, who may change every file: name a user with --user, or give the folder an owner"
            );
        }
        if self.sandbox() == Sandbox::Off {
            tracing::warn!(
                "--no-sandbox: whoever takes over a process of this server has all rights of its user"
            );
        } else if let Some(missing) = kernel.missing() {
            tracing::warn!("this kernel cannot restrict the server's processes in: {missing}");
        }
    }
}
