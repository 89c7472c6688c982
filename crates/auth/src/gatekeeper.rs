//! Checking a login, at a cost that strangers cannot drive up and that tells nothing of who has an account.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::time::Instant;

use thiserror::Error;

use crate::accounts::{Account, Accounts, UserName};
use crate::password::{PasswordError, PasswordHash};
use crate::penalties::Penalties;
use crate::queue::Queue;

/// Logins that may wait for a processor.
const MOST_WAITING: usize = 64;

/// Checks logins: so many hashes at once, a bounded number behind them, and penalties for sources that fail.
#[derive(Debug)]
pub struct Gatekeeper {
    queue: Queue,
    penalties: Penalties,
    decoy: PasswordHash,
}

/// A login as it came; its password shows itself to nobody.
#[derive(Clone, Copy)]
pub struct Attempt<'a> {
    /// Whom it claims to be.
    pub user: &'a str,
    /// What is to prove it.
    pub password: &'a [u8],
    /// Where it comes from.
    pub source: IpAddr,
}

impl fmt::Debug for Attempt<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Attempt({:?} from {})", self.user, self.source)
    }
}

/// Why a login fails.
#[derive(Debug, Error)]
pub enum LoginError {
    /// There is no such account, or the password is not its own: which of the two is not told.
    #[error("login refused")]
    Refused,
    /// Too many logins wait.
    #[error("too many logins at once")]
    Busy,
    /// Too many have failed from there of late.
    #[error("too many failed logins from this address")]
    TooMany,
    /// It could not be checked.
    #[error(transparent)]
    Failed(#[from] PasswordError),
}

impl Gatekeeper {
    /// One that computes `at_once` hashes at a time.
    ///
    /// # Errors
    /// The kernel has no randomness to give.
    pub fn new(at_once: NonZeroUsize) -> io::Result<Self> {
        Ok(Self {
            queue: Queue::new(at_once.get(), MOST_WAITING),
            penalties: Penalties::default(),
            decoy: PasswordHash::decoy()?,
        })
    }

    /// Whose login this is. Takes the time of a hash, and what it has to wait for one; as long for an account that is not
    /// there as for one that is.
    ///
    /// # Errors
    /// See [`LoginError`].
    pub fn check<'a>(
        &self,
        accounts: &'a Accounts,
        attempt: Attempt<'_>,
    ) -> Result<(&'a UserName, &'a Account), LoginError> {
        let begun = self.penalties.begin(attempt.source, Instant::now());
        let pending = begun.ok_or(LoginError::TooMany)?;
        let found = accounts.get(attempt.user);
        let hash = found.map_or(&self.decoy, |(_, account)| &account.password);
        let is_right = {
            let _turn = self.queue.enter().ok_or(LoginError::Busy)?;
            hash.matches(attempt.password)?
        };
        match found.filter(|_| is_right) {
            Some(account) => Ok(account),
            None => {
                pending.failed(Instant::now());
                Err(LoginError::Refused)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use protocol::Rights;

    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn accounts() -> Accounts {
        let mut accounts = Accounts::default();
        let account = Account {
            password: PasswordHash::of(b"right").unwrap(),
            rights: Rights::READ,
            home: "/pub".parse().unwrap(),
            quota: None,
        };
        accounts.add("ada".parse().unwrap(), account);
        accounts
    }

    fn gatekeeper() -> Gatekeeper {
        Gatekeeper::new(NonZeroUsize::MIN).unwrap()
    }

    fn attempt<'a>(user: &'a str, password: &'a str) -> Attempt<'a> {
        Attempt {
            user,
            password: password.as_bytes(),
            source: HERE,
        }
    }

    #[test]
    fn the_right_password_opens_its_own_account_alone() {
        let (gatekeeper, accounts) = (gatekeeper(), accounts());
        let (name, account) = gatekeeper
            .check(&accounts, attempt("ada", "right"))
            .unwrap();
        assert_eq!((name.as_str(), account.rights), ("ada", Rights::READ));
        for (user, password) in [
            ("ada", "wrong"),
            ("ada", ""),
            ("bob", "right"),
            ("", ""),
            ("ADA", "right"),
            ("ada\0", "right"),
        ] {
            let refused = gatekeeper.check(&accounts, attempt(user, password));
            assert!(
                matches!(refused, Err(LoginError::Refused)),
                "{user} {password}"
            );
        }
    }

    /// The shortest of several tries of each, so that a busy machine does not decide.
    #[test]
    fn a_name_that_nobody_has_takes_as_long_as_one_that_somebody_has() {
        let (gatekeeper, accounts) = (gatekeeper(), accounts());
        let took = |user| {
            let begun = Instant::now();
            gatekeeper
                .check(&accounts, attempt(user, "wrong"))
                .unwrap_err();
            begun.elapsed()
        };
        let (mut known, mut unknown) = (Duration::MAX, Duration::MAX);
        for _ in 0..5 {
            known = known.min(took("ada"));
            unknown = unknown.min(took("nobody"));
        }
        assert!(
            unknown > known / 2 && known > unknown / 2,
            "{known:?} {unknown:?}"
        );
    }

    #[test]
    fn who_fails_too_often_is_not_listened_to_even_with_the_right_password() {
        let (gatekeeper, accounts) = (gatekeeper(), accounts());
        let from = |ip: &str, password| {
            let source = ip.parse().unwrap();
            gatekeeper
                .check(
                    &accounts,
                    Attempt {
                        source,
                        ..attempt("ada", password)
                    },
                )
                .map(|_| ())
        };
        for _ in 0..3 {
            assert!(matches!(
                from("192.0.2.1", "wrong"),
                Err(LoginError::Refused)
            ));
        }
        assert!(matches!(
            from("192.0.2.1", "right"),
            Err(LoginError::TooMany)
        ));
        assert!(from("192.0.2.2", "right").is_ok());
    }

    #[test]
    fn a_full_queue_is_said_and_is_no_failure_of_the_client_s() {
        let (gatekeeper, accounts) = (gatekeeper(), accounts());
        let full = Gatekeeper {
            queue: Queue::new(1, 0),
            ..gatekeeper
        };
        let _turn = full.queue.enter();
        let busy = full.check(&accounts, attempt("ada", "right"));
        assert!(matches!(busy, Err(LoginError::Busy)));
    }
}
