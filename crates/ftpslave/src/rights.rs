//! Who the slave is: started as root it reads its keys, and becomes somebody who cannot.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use auth::tls::Identity;
use auth::{OwnKeys, StateDirectory};
use cli::TlsUse;
use confinement::{User, UserError};
use protocol::SlaveId;
use rustix::fs::Access;
use storage::LocalDirectory;

use crate::args::Args;

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

/// Where a slave keeps what nobody else may know.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) state: StateDirectory,
    pub(crate) root: PathBuf,
    pub(crate) port: u16,
    pub(crate) slave: SlaveId,
    /// Whether this process was root when it read from there, and is no longer.
    pub(crate) is_out_of_reach: bool,
}

/// What nobody else may know: read while this process is who it was started as.
#[derive(Clone, Debug)]
pub(crate) struct Secrets {
    /// `None` where there is no master.
    pub(crate) keys: Option<OwnKeys>,
    /// What is shown over TLS; `None` where nobody speaks it.
    pub(crate) identity: Option<Identity>,
}

impl Secrets {
    pub(crate) fn of(args: &Args, place: &Place) -> anyhow::Result<Self> {
        Ok(Self {
            keys: match args.standalone {
                true => None,
                false => Some(place.keys()?),
            },
            identity: match (args.tls.tls, args.tls.files()?) {
                (TlsUse::Never, _) => None,
                (_, Some((certificate, key))) => Some(Identity::read(certificate, key)?),
                (_, None) => Some(place.identity()?),
            },
        })
    }

    /// Those that count after a reload: read again, but what is out of reach by now is as it was.
    pub(crate) fn again(&self, args: &Args, place: &Place) -> anyhow::Result<Self> {
        if !place.is_out_of_reach {
            return Self::of(args, place);
        }
        let files = args.tls.files()?;
        Ok(Self {
            keys: match args.standalone {
                true => None,
                false => Some(self.keys.clone().context("a master needs a restart")?),
            },
            identity: match (args.tls.tls, files) {
                (TlsUse::Never, _) => None,
                (_, Some((certificate, key))) => Some(Identity::read(certificate, key)?),
                (_, None) => Some(self.identity.clone().context("TLS needs a restart")?),
            },
        })
    }
}

impl Place {
    /// Those that it was given when it joined, else those that follow from the master's key.
    fn keys(&self) -> anyhow::Result<OwnKeys> {
        let root = self.root.as_os_str().as_bytes();
        if let Some(keys) = self.state.own_keys(root, self.port)? {
            return Ok(keys);
        }
        let key = self.state.master_key()?;
        Ok(OwnKeys {
            ticket: key.slave_key(&self.slave, 0),
            registration: key.registration_key(&self.slave, 0),
            master: None,
            invitation: String::new(),
        })
    }

    fn identity(&self) -> anyhow::Result<Identity> {
        Ok(self.state.identity(&format!("slave-{}", self.slave))?)
    }
}
