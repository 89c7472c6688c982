//! Checking a login, at a cost that strangers cannot drive up and that tells nothing of who has an account.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::time::Instant;

use thiserror::Error;

use crate::accounts::{Account, Accounts, UserName};
use crate::lanes::Lanes;
use crate::password::{PasswordError, PasswordHash};
use crate::queue::Queue;

/// Checks logins: so many hashes at once, and a bounded number behind them, which is fair.
#[derive(Debug)]
pub struct Gatekeeper {
    queue: Queue,
    lanes: Lanes,
    decoy: PasswordHash,
}

/// A login as it came; its password shows itself to nobody.
#[derive(Clone, Copy)]
pub struct Attempt<'a> {
    /// Whom it claims to be.
    pub user: &'a str,
    /// What is to prove it.
    pub password: &'a [u8],
    /// Whom it comes from; `None`: this machine, which all its users share.
    pub source: Option<IpAddr>,
}

impl fmt::Debug for Attempt<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Attempt({:?} from {:?})", self.user, self.source)
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
    /// It could not be checked.
    #[error(transparent)]
    Failed(#[from] PasswordError),
}

impl Gatekeeper {
    /// One that computes `at_once` hashes at a time, while no more than `waiting` wait for theirs.
    ///
    /// # Errors
    /// The kernel has no randomness to give.
    pub fn new(at_once: NonZeroUsize, waiting: usize) -> io::Result<Self> {
        Ok(Self {
            queue: Queue::new(at_once.get(), waiting),
            lanes: Lanes::default(),
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
        let claim = self
            .lanes
            .claim(attempt.source, attempt.user, Instant::now());
        let found = accounts.get(attempt.user);
        let hash = found.map_or(&self.decoy, |(_, account)| &account.password);
        let is_right = {
            let _turn = self.queue.enter(claim).ok_or(LoginError::Busy)?;
            hash.matches(attempt.password)?
        };
        let account = found.filter(|_| is_right);
        self.lanes.note(claim, account.is_some(), Instant::now());
        account.ok_or(LoginError::Refused)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
    use std::time::Duration;

    use protocol::Rights;

    use super::*;

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
        Gatekeeper::new(NonZeroUsize::MIN, 64).unwrap()
    }

    fn attempt<'a>(user: &'a str, password: &'a str) -> Attempt<'a> {
        Attempt {
            user,
            password: password.as_bytes(),
            source: None,
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

    /// The shortest of as many tries of each as it takes: a busy machine makes a try longer, nothing makes it shorter.
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
        let is_as_long = (0..50).any(|_| {
            known = known.min(took("ada"));
            unknown = unknown.min(took("nobody"));
            unknown > known / 2 && known > unknown / 2
        });
        assert!(is_as_long, "{known:?} {unknown:?}");
    }

    #[test]
    fn a_full_queue_is_said_and_is_no_failure_of_the_client_s() {
        let accounts = accounts();
        let full = Gatekeeper::new(NonZeroUsize::MIN, 0).unwrap();
        let here = full.lanes.claim(None, "ada", Instant::now());
        let _turn = full.queue.enter(here);
        let busy = full.check(&accounts, attempt("ada", "right"));
        assert!(matches!(busy, Err(LoginError::Busy)));
        assert_eq!(full.lanes.claim(None, "ada", Instant::now()), here);
    }

    /// Whoever floods the queue with wrong passwords, from however many addresses, and under the good user's own name.
    #[test]
    fn bad_logins_do_not_keep_a_good_one_waiting() {
        const CROWD: u8 = 20;
        let (gatekeeper, accounts) = (gatekeeper(), accounts());
        let (refused, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
        let guess = |number| {
            let source = Some(IpAddr::from([10, 0, 0, number]));
            let wrong = Attempt {
                source,
                ..attempt("ada", "wrong")
            };
            gatekeeper.check(&accounts, wrong).unwrap_err();
            refused.fetch_add(1, SeqCst)
        };
        std::thread::scope(|scope| {
            for number in 0..CROWD {
                let (guess, stop) = (&guess, &stop);
                scope.spawn(move || {
                    while !stop.load(SeqCst) {
                        guess(number);
                    }
                });
            }
            while refused.load(SeqCst) < usize::from(CROWD) {
                std::thread::yield_now();
            }
            let before = refused.load(SeqCst);
            let source = Some("192.0.2.1".parse().unwrap());
            let right = Attempt {
                source,
                ..attempt("ada", "right")
            };
            let welcome = gatekeeper.check(&accounts, right).is_ok();
            let meanwhile = refused.load(SeqCst) - before;
            stop.store(true, SeqCst);
            assert!(
                welcome && meanwhile < usize::from(CROWD) / 2,
                "{meanwhile} went before"
            );
        });
    }
}
