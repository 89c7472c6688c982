//! Whose tickets are no longer good, for as long as there may be such tickets. Pure: moments are passed in.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{SystemTime, UNIX_EPOCH};

use auth::whose_rights_changed;
use protocol::limits::{MAX_REVOCATIONS, TICKET_LIFE_S};
use protocol::{Revocation, Text};

use crate::master::Settings;

/// A revocation is kept for the life of a ticket and this much longer, for clocks that differ; milliseconds.
const KEPT: u64 = (TICKET_LIFE_S + 60) * 1000;

/// The moments at which tickets are issued and revoked, milliseconds since 1970: they never go back, and those of later
/// tickets stand behind a revocation, however close they follow.
#[derive(Debug, Default)]
pub(crate) struct TicketClock(AtomicU64);

impl TicketClock {
    /// The moment for a ticket. To be taken before the settings are looked at by which it is made.
    pub(crate) fn now(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let wall = since.map_or(0, |since| {
            u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
        });
        self.0.fetch_max(wall, SeqCst).max(wall)
    }

    /// The moment up to which tickets are revoked. To be taken once the new settings count.
    pub(crate) fn revoke(&self) -> u64 {
        let until = self.now();
        self.0.fetch_max(until.saturating_add(1), SeqCst);
        until
    }
}

/// What slaves have to hear.
#[derive(Debug, Default)]
pub(crate) struct Revocations(Vec<Revocation>);

impl Revocations {
    /// The tickets of these users that were issued up to that moment are no longer good.
    pub(crate) fn add(&mut self, users: &[String], until: u64) {
        let users = users.iter().map(|user| Some(Text::new(user)));
        let new: Vec<Revocation> = users.map(|user| Revocation { user, until }).collect();
        let is_renewed = |old: &Revocation| new.iter().any(|new| new.user == old.user);
        self.0
            .retain(|old| old.until.saturating_add(KEPT) > until && !is_renewed(old));
        self.0.extend(new);
        if self.0.len() > MAX_REVOCATIONS {
            // To ask everybody for another ticket is the safe side.
            self.0 = vec![Revocation { user: None, until }];
        }
    }

    /// Nobody's tickets of up to that moment are good any more.
    pub(crate) fn add_everybody(&mut self, until: u64) {
        self.0.push(Revocation { user: None, until });
    }

    /// Those that a slave has not heard which knows all up to the moment `heard`.
    pub(crate) fn after(&self, heard: u64) -> Vec<Revocation> {
        let new = self.0.iter().filter(|revocation| revocation.until > heard);
        new.cloned().collect()
    }
}

/// Whose tickets say something else by the new settings, or would not be made.
pub(crate) fn whose_changed(old: &Settings, new: &Settings) -> Vec<String> {
    whose_rights_changed(
        (old.accounts.as_deref(), old.everybody),
        (new.accounts.as_deref(), new.everybody),
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use auth::tls::Reception;
    use auth::{Account, Accounts, PasswordHash};
    use protocol::Rights;

    use super::*;
    use crate::rotation::Policy;

    fn users(revocations: &[Revocation]) -> Vec<&str> {
        let users = revocations.iter();
        users
            .map(|revocation| revocation.user.as_ref().map_or("*", Text::as_str))
            .collect()
    }

    #[test]
    fn a_ticket_made_after_a_revocation_is_behind_it_however_fast() {
        let clock = TicketClock::default();
        for _ in 0..1000 {
            let before = clock.now();
            let until = clock.revoke();
            assert!(before <= until && until < clock.now());
        }
        // A wall clock that is set back does not bring revoked moments again.
        let ahead = clock.now() + 3_600_000;
        clock.0.store(ahead, SeqCst);
        assert!(clock.revoke() == ahead && clock.now() > ahead);
    }

    #[test]
    fn a_slave_hears_what_it_has_not_heard_and_what_was_said_while_it_was_away() {
        let mut revocations = Revocations::default();
        let names = |names: &[&str]| {
            names
                .iter()
                .map(|&name| name.to_owned())
                .collect::<Vec<_>>()
        };
        revocations.add(&names(&["ada", "bob"]), 10);
        revocations.add(&names(&["ada"]), 20);
        assert_eq!(users(&revocations.after(0)), ["bob", "ada"]);
        assert_eq!(users(&revocations.after(10)), ["ada"]);
        assert!(revocations.after(20).is_empty());
        // Tickets of before have all ended by now.
        revocations.add(&names(&["eve"]), 20 + KEPT);
        assert_eq!(users(&revocations.after(0)), ["eve"]);
    }

    #[test]
    fn too_many_are_everybody() {
        let mut revocations = Revocations::default();
        let names: Vec<String> = (0..=MAX_REVOCATIONS).map(|n| n.to_string()).collect();
        revocations.add(&names[1..], 10);
        assert_eq!(revocations.after(0).len(), MAX_REVOCATIONS);
        revocations.add(&names[..1], 20);
        assert_eq!(users(&revocations.after(10)), ["*"]);
    }

    #[test]
    fn whoever_may_do_something_else_has_changed() {
        let account = |rights, home: &str, password: &str| Account {
            password: PasswordHash::of(password.as_bytes()).unwrap(),
            rights,
            home: home.parse().unwrap(),
            quota: None,
        };
        let ada = account(Rights::ALL, "/", "x");
        let settings = |everybody, account: Option<Account>| {
            let mut accounts = Accounts::default();
            if let Some(account) = account {
                accounts.add("ada".parse().unwrap(), account);
            }
            Settings {
                policy: Policy::RoundRobin,
                everybody,
                accounts: Some(Arc::new(accounts)),
                reception: Reception::default(),
            }
        };
        let old = settings(Some(Rights::READ), Some(ada.clone()));
        let changed = |everybody, account| whose_changed(&old, &settings(everybody, account));
        assert!(changed(Some(Rights::READ), Some(ada.clone())).is_empty());
        assert_eq!(changed(None, Some(ada.clone())), [""]);
        assert_eq!(changed(Some(Rights::ALL), Some(ada.clone())), [""]);
        for other in [
            None,
            Some(account(Rights::ALL, "/", "x")), // the same password, set anew
            Some(Account {
                rights: Rights::READ,
                ..ada.clone()
            }),
            Some(Account {
                home: "/pub".parse().unwrap(),
                ..ada.clone()
            }),
            Some(Account {
                quota: Some(1024),
                ..ada.clone()
            }),
        ] {
            assert_eq!(changed(Some(Rights::READ), other), ["ada"]);
        }
        let none = Settings {
            accounts: None,
            ..old.clone()
        };
        assert_eq!(whose_changed(&old, &none), ["ada"]);
        assert!(whose_changed(&none, &old).is_empty());
    }
}
