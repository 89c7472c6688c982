//! `ftpmaster user`: the accounts in the state directory.

use std::io::{self, IsTerminal, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};
use auth::{
    Account, Accounts, AccountsError, AccountsFile, PasswordHash, StateDirectory, UserName,
};
use protocol::Rights;
use thiserror::Error;

use crate::args::UserCommand;

/// Why an account is not changed.
#[derive(Debug, Error)]
enum ChangeError {
    #[error(
        "there is an account '{0}' already; give it another password with: ftpmaster user passwd {0}"
    )]
    Taken(UserName),
    #[error("there is no account '{0}'")]
    Unknown(UserName),
    #[error(transparent)]
    Accounts(#[from] AccountsError),
}

/// Does what was asked for with the accounts in the directory `state`.
///
/// # Errors
/// The accounts cannot be read or changed, there is no such account, or the password cannot be used.
pub(crate) fn run(command: &UserCommand, state: Option<&Path>) -> Result<()> {
    let file = StateDirectory::open(state)?.accounts_file()?;
    match command {
        UserCommand::List => list(&file),
        UserCommand::Add {
            user,
            read_only,
            home,
            quota,
        } => {
            // Said before a password is asked for, and found again when it counts.
            if is_there(&file, user)? {
                bail!(ChangeError::Taken(user.clone()));
            }
            let account = Account {
                password: new_password(user)?,
                rights: match read_only {
                    true => Rights::READ_ONLY,
                    false => Rights::ALL,
                },
                home: home.clone(),
                quota: *quota,
            };
            change(&file, |accounts| {
                let added = accounts.add(user.clone(), account);
                added.then_some(()).ok_or(ChangeError::Taken(user.clone()))
            })
        }
        UserCommand::Passwd { user } => {
            if !is_there(&file, user)? {
                bail!(ChangeError::Unknown(user.clone()));
            }
            let password = new_password(user)?;
            change(&file, |accounts| {
                let account = accounts.get_mut(user);
                account.ok_or(ChangeError::Unknown(user.clone()))?.password = password;
                Ok(())
            })
        }
        UserCommand::Quota { user, quota } => change(&file, |accounts| {
            let account = accounts.get_mut(user);
            account.ok_or(ChangeError::Unknown(user.clone()))?.quota = quota.0;
            Ok(())
        }),
        UserCommand::Remove { user } => change(&file, |accounts| {
            let removed = accounts.remove(user);
            removed
                .then_some(())
                .ok_or(ChangeError::Unknown(user.clone()))
        }),
    }
}

fn list(file: &AccountsFile) -> Result<()> {
    let accounts = file.read()?.unwrap_or_default();
    io::stdout()
        .write_all(table(&accounts).as_bytes())
        .context("cannot write the table")
}

fn is_there(file: &AccountsFile, user: &UserName) -> Result<bool> {
    let accounts = file.read()?.unwrap_or_default();
    Ok(accounts.get(user.as_str()).is_some())
}

fn change(
    file: &AccountsFile,
    work: impl FnOnce(&mut Accounts) -> Result<(), ChangeError>,
) -> Result<()> {
    Ok(file.change(work)?)
}

/// Asks for it twice at a terminal; elsewhere it is the next line of stdin.
fn new_password(user: &UserName) -> Result<PasswordHash> {
    let password = if io::stdin().is_terminal() {
        let typed = cli::ask_password(&format!("New password for {user}: "))?;
        if cli::ask_password("The same again: ")? != typed {
            bail!("the two passwords differ: nothing was changed");
        }
        typed
    } else {
        cli::read_password(&mut io::stdin().lock())
            .context("cannot read the password from stdin")?
    };
    Ok(PasswordHash::of(&password)?)
}

fn table(accounts: &Accounts) -> String {
    let longest = accounts.iter().map(|(name, _)| name.as_str().len());
    let width = longest.chain([4]).max().unwrap_or(4);
    let mut table = format!(
        "{:width$}  {:17}  {:>10}  HOME\n",
        "NAME", "RIGHTS", "QUOTA"
    );
    for (name, account) in accounts.iter() {
        let rights = [
            (Rights::READ, "read"),
            (Rights::WRITE, "write"),
            (Rights::DELETE, "delete"),
        ];
        let held: Vec<&str> = rights
            .into_iter()
            .filter(|(right, _)| account.rights.contains(*right))
            .map(|(_, word)| word)
            .collect();
        let home = account.home.to_string();
        let (rights, home) = (held.join(","), cli::name(home.as_bytes()));
        let quota = account.quota.map(cli::human_size);
        let quota = quota.map_or_else(|| "none".to_owned(), |quota| quota.to_string());
        table.push_str(&format!(
            "{name:width$}  {rights:17}  {quota:>10}  {home}\n"
        ));
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_aligned_and_safe_to_show() {
        let account = |rights, home: &str| Account {
            password: PasswordHash::of(b"x").unwrap(),
            rights,
            home: home.parse().unwrap(),
            quota: (home == "/").then_some(1536 * 1024 * 1024),
        };
        let mut accounts = Accounts::default();
        accounts.add("ada@example".parse().unwrap(), account(Rights::ALL, "/"));
        accounts.add("bob".parse().unwrap(), account(Rights::READ, "/\u{1b}[2J"));
        assert_eq!(
            table(&accounts),
            "NAME         RIGHTS                  QUOTA  HOME\n\
             ada@example  read,write,delete     1.5 GiB  /\n\
             bob          read                     none  /\\x1b[2J\n"
        );
    }
}
