//! Who the slave is: started as root it reads its keys, and becomes somebody who cannot.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use anyhow::Context as _;
use auth::StateDirectory;
use confinement::{User, UserError};
use protocol::SlaveId;
use rustix::fs::Access;
use storage::LocalDirectory;

use crate::args::Args;
use crate::handover::Key;

/// Whom this process becomes: who serves a folder is its owner, unless somebody else is named.
pub(crate) fn user(args: &Args, root: &Path) -> anyhow::Result<Option<User>> {
    let user = args.privileges.user(root).map_err(|error| match error {
        UserError::Owner { source, .. } => {
            let shown = cli::name(root.as_os_str().as_bytes()).to_string();
            anyhow::Error::from(source).context(format!("cannot serve '{shown}'"))
        }
        error => error.into(),
    })?;
    if let Some(user) = &user
        && let Some(foreign) = LocalDirectory::own_folder_of_another(root, user.uid())
    {
        let (folder, user) = (
            cli::name(foreign.as_os_str().as_bytes()).to_string(),
            user.name(),
        );
        anyhow::bail!(
            "'{folder}' belongs to another user than '{user}', who is to serve it; mend it with: chown -R {user} '{folder}'"
        );
    }
    Ok(user)
}

/// Gives up being root, where this process is, and whatever else serving does not take.
pub(crate) fn become_user(user: Option<&User>, args: &Args, program: &Path) -> anyhow::Result<()> {
    if let Some(user) = user {
        user.become_it()
            .with_context(|| format!("cannot become '{}'", user.name()))?;
        rustix::fs::access(program, Access::EXEC_OK)
            .with_context(|| format!("'{}' may not run '{}'", user.name(), program.display()))?;
        tracing::info!("running as '{}'", user.name());
    }
    confinement::give_up_privileges(args.privileges.sandbox())?;
    Ok(())
}

/// The keys of a slave that has masters: read once, since they may be root's, who this process is no longer.
#[derive(Debug)]
pub(crate) struct Keys {
    pub(crate) ticket: Key,
    pub(crate) registration: Key,
}

impl Keys {
    pub(crate) fn of(
        args: &Args,
        state: &StateDirectory,
        slave: &SlaveId,
    ) -> anyhow::Result<Option<Self>> {
        if args.standalone {
            return Ok(None);
        }
        let key = state.master_key()?;
        Ok(Some(Self {
            ticket: Key::from(&key.slave_key(slave)),
            registration: Key::from(&key.registration_key()),
        }))
    }
}
