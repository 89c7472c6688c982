//! `ftpmaster invite` and `ftpmaster evict`: the fleet in the state directory, which a running master looks at.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use auth::{FleetError, FleetFile, Invitation, TooManyInvitations};
use protocol::{Fingerprint, SlaveId};
use thiserror::Error;

use crate::master::unix_now;

/// Why nobody is invited.
#[derive(Debug, Error)]
enum NotInvited {
    #[error(transparent)]
    TooMany(#[from] TooManyInvitations),
    #[error(transparent)]
    Fleet(#[from] FleetError),
}

/// Prints an invitation for one slave, to the master that is known by `master`.
///
/// # Errors
/// The fleet cannot be changed, or too many invitations are open.
pub(crate) fn invite(file: &FleetFile, master: Option<Fingerprint>, life: Duration) -> Result<()> {
    let invitation = Invitation::fresh(master).context("cannot draw a random number")?;
    let now = unix_now();
    let expires = now.saturating_add(life.as_secs().max(1));
    file.change(|fleet| Ok::<_, NotInvited>(fleet.invite(&invitation, expires, now)?))?;
    let line = format!("{}\n", invitation.reveal());
    let mut stdout = io::stdout();
    stdout
        .write_all(line.as_bytes())
        .context("cannot write the invitation")?;
    if stdout.is_terminal() {
        let hint =
            "good for one slave, which reads it from stdin: ftpslave PORT --master HOST --join -";
        cli::say(crate::PROGRAM, hint);
    }
    Ok(())
}

/// Shuts out the slave `name`: an identity, or an address at which a slave of `known` stands.
///
/// # Errors
/// The fleet cannot be changed, or there is no such slave.
pub(crate) fn evict(
    file: &FleetFile,
    name: &str,
    known: impl FnOnce() -> Result<Vec<(String, SlaveId)>>,
) -> Result<()> {
    let slave = match name.parse() {
        Ok(slave) => slave,
        Err(_) => {
            let known = known().context(
                "an address is looked up at the running master; without it name the identity that 'ftpmaster slaves' showed",
            )?;
            find(name, &known)?
        }
    };
    let is_new = file.change(|fleet| Ok::<_, FleetError>(fleet.evict(slave)))?;
    if !is_new {
        bail!("{slave} is shut out already");
    }
    Ok(())
}

fn find(name: &str, known: &[(String, SlaveId)]) -> Result<SlaveId> {
    let mut found = known.iter().filter(|(address, _)| address == name);
    match (found.next(), found.next()) {
        (Some((_, SlaveId([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]))), _) => {
            bail!("the slave at {name} has never said who it is")
        }
        (Some((_, slave)), None) => Ok(*slave),
        (Some(_), Some(_)) => {
            bail!("there are several slaves at {name}: name one by its identity")
        }
        (None, _) => bail!("the master knows no slave '{}'", cli::text(name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slave_is_found_by_its_address_where_that_is_its_own() {
        let known = [
            ("127.0.0.1:1".to_owned(), SlaveId([1; 16])),
            ("127.0.0.1:2".to_owned(), SlaveId([2; 16])),
            ("127.0.0.1:2".to_owned(), SlaveId([3; 16])),
            ("127.0.0.1:3".to_owned(), SlaveId([0; 16])),
        ];
        assert_eq!(find("127.0.0.1:1", &known).unwrap(), SlaveId([1; 16]));
        for (name, why) in [
            ("127.0.0.1:2", "by its identity"),
            ("127.0.0.1:3", "never said who it is"),
            ("127.0.0.1:4", "knows no slave"),
        ] {
            let refusal = find(name, &known).unwrap_err().to_string();
            assert!(refusal.contains(why), "{refusal}");
        }
    }
}
