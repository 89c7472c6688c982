//! Who comes in without a master: accounts of the slave's own, everybody; and whose sessions end when that changes.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use auth::{Accounts, AccountsFile, whose_rights_changed};
use protocol::{Revocation, Rights, Text};

use crate::args::Args;

/// Who may come in, from a moment on.
#[derive(Debug)]
pub(crate) struct Openness {
    /// Those of `--users`; `None` where there are no accounts, or the master keeps them.
    pub(crate) accounts: Option<Accounts>,
    /// What a client without a ticket or login may do; `None`: nobody comes without.
    pub(crate) everybody: Option<Rights>,
    /// Sessions begin under this one as if at this moment, milliseconds since 1970: what comes behind another one is later.
    pub(crate) since: u64,
}

impl Openness {
    /// That of a configuration. A file of accounts that is named must be there: without it everybody would come in.
    pub(crate) fn read(args: &Args, before: Option<&Self>) -> anyhow::Result<Self> {
        let accounts = match &args.users {
            None => None,
            Some(path) => {
                let found = AccountsFile::at(path)?.read()?;
                let found =
                    found.with_context(|| format!("there are no accounts in '{}'", path.display()));
                Some(found?)
            }
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
        let earliest = before.map_or(1, |before| before.since.saturating_add(2));
        Ok(Self {
            accounts,
            everybody: args.open_rights(),
            since: u64::try_from(now)?.max(earliest),
        })
    }

    /// Whose sessions of before are not to go on under this one.
    pub(crate) fn revoked_since(&self, before: &Self) -> Vec<Revocation> {
        let old = (before.accounts.as_ref(), before.everybody);
        let new = (self.accounts.as_ref(), self.everybody);
        let users = whose_rights_changed(old, new).into_iter();
        let until = self.since.saturating_sub(1);
        users
            .map(|user| Revocation {
                user: Some(Text::new(&user)),
                until,
            })
            .collect()
    }
}
