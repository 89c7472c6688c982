//! Who may do what: the table of requests and the rights they need, and the step from a connection to a session.

use std::time::{SystemTime, UNIX_EPOCH};

use admission::{Limit, Offence, Visit};
use auth::{Accounts, Attempt, ClientClaim, Gatekeeper, LoginError, SlaveKey, TicketError, check};
use protocol::{Condition, ErrorCode, RemotePath, Request, Rights, Secret, SlaveId, Ticket};
use supervisor::{Admission, Place};

use crate::revoked::Holder;

/// How far a connection has come.
#[derive(Debug)]
pub(super) enum Access {
    /// Nobody has begun a session: only questions about the slave are answered, and no place is taken.
    Outside(Option<Admission>),
    /// A session runs, in a place.
    Inside {
        /// Whose it is.
        pass: Pass,
        /// Given back when the session ends.
        _place: Place,
    },
}

/// Who a session is for, by a ticket or a login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pass {
    /// Empty for everybody.
    pub(super) user: String,
    /// What it may do.
    pub(super) rights: Rights,
    /// What it sees as `/`.
    pub(super) home: RemotePath,
    /// The most bytes that the files there may hold; `None` for any number.
    pub(super) quota: Option<u64>,
    /// By what its ticket is known, where it has one.
    pub(super) holder: Option<Holder>,
}

/// What a request needs before it is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// Nothing: answered to anybody.
    Nothing,
    /// A session with these rights.
    Session(Rights),
}

/// Whether carrying a request out leaves the storage as it is, for all that anybody sees: an upload that waits to be published
/// with others is asked after then.
pub(super) fn is_harmless(request: &Request) -> bool {
    match request {
        Request::StoreWhole { deferred, .. } => *deferred,
        request => matches!(need(request), Need::Nothing | Need::Session(Rights::READ)),
    }
}

/// The table. A new request does not compile without its row.
pub(super) fn need(request: &Request) -> Need {
    let writing = |may_replace: bool| match may_replace {
        true => Need::Session(Rights::WRITE.with(Rights::DELETE)),
        false => Need::Session(Rights::WRITE),
    };
    match request {
        Request::Probe { .. }
        | Request::Identify { .. }
        | Request::Present { .. }
        | Request::Login { .. } => Need::Nothing,
        Request::Stat { .. }
        | Request::List { .. }
        | Request::Retrieve { .. }
        | Request::RetrieveWhole { .. }
        | Request::Blocks { .. }
        | Request::Checksum { .. }
        | Request::DiskFree {} => Need::Session(Rights::READ),
        Request::Store { condition, .. } | Request::StoreWhole { condition, .. } => {
            writing(*condition != Condition::Absent)
        }
        Request::StoreEnd { .. }
        | Request::Abandon {}
        | Request::Flush {}
        | Request::Confirm { .. }
        | Request::Sync {}
        | Request::MakeDirectory { .. } => writing(false),
        Request::Rename { replace, .. } => writing(*replace),
        Request::SetTime { .. } => writing(true),
        Request::Remove { .. } | Request::RemoveDirectory { .. } => Need::Session(Rights::DELETE),
    }
}

/// Checks tickets and logins; made once for each worker.
#[derive(Debug)]
pub(crate) struct Doorkeeper {
    /// Who this slave is.
    pub(crate) slave: SlaveId,
    /// Its own key; `None` where it stands alone.
    pub(crate) ticket_key: Option<SlaveKey>,
    /// What clients without ticket or login may do; `None` lets nobody in without.
    pub(crate) open_rights: Option<Rights>,
    /// When that, and the accounts, began to count, milliseconds since 1970; 0 where that is not known.
    pub(crate) open_since: u64,
    /// Who may log in; `None` where there are no accounts, or the master keeps them.
    pub(crate) accounts: Option<(Accounts, Gatekeeper)>,
}

/// A refusal: the code, and what a person should know beyond it.
pub(super) type Refusal = (ErrorCode, &'static str);

impl Doorkeeper {
    /// Whether a ticket or a login must come first.
    pub(super) fn asks_who_comes(&self) -> bool {
        self.open_rights.is_none()
    }

    /// Whether this slave checks logins itself.
    pub(super) fn takes_logins(&self) -> bool {
        self.accounts.is_some()
    }

    /// The slave's own key, to prove who it is.
    pub(super) fn ticket_key(&self) -> Option<&SlaveKey> {
        self.ticket_key.as_ref()
    }

    pub(super) fn slave(&self) -> SlaveId {
        self.slave
    }

    /// What the bearer of this ticket may do. At a slave that stands alone a ticket is a mistake: it was meant for the one
    /// that had this port before, and whoever bears it must not take this storage for that one's.
    pub(super) fn admit(&self, ticket: &Ticket, secret: &Secret) -> Result<Pass, ErrorCode> {
        let Some(key) = &self.ticket_key else {
            tracing::warn!("ticket refused: this slave stands alone");
            return Err(ErrorCode::LoginRefused);
        };
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        let claim = ClientClaim {
            ticket: ticket.as_bytes(),
            secret,
        };
        match check(key, &self.slave, claim, now) {
            Ok(grant) => Ok(Pass {
                holder: Some(Holder::new(&grant.user, grant.issued, grant.expires)),
                user: grant.user,
                rights: grant.rights,
                home: grant.home,
                quota: grant.quota,
            }),
            Err(TicketError::Expired) => Err(ErrorCode::TicketExpired),
            Err(error) => {
                // Anybody can have this happen as often as they like: no warning.
                tracing::info!(%error, "ticket refused");
                Err(ErrorCode::LoginRefused)
            }
        }
    }

    /// What the owner of this account may do, if nobody else could hear the password. Takes its time.
    pub(super) fn log_in(
        &self,
        attempt: Attempt<'_>,
        visit: &Visit,
        is_private: bool,
    ) -> Result<Pass, Refusal> {
        let Some((accounts, gatekeeper)) = &self.accounts else {
            return Err((ErrorCode::Unsupported, "this slave has no accounts"));
        };
        if !is_private {
            return Err((ErrorCode::LoginRefused, IN_THE_CLEAR));
        }
        match gatekeeper.check(accounts, attempt) {
            Ok((name, account)) => Ok(Pass {
                user: name.to_string(),
                rights: account.rights,
                home: account.home.path().clone(),
                quota: account.quota,
                holder: self.holder(name.as_str()),
            }),
            Err(LoginError::Refused) => {
                visit.offend(Offence::AuthFailed);
                Err((ErrorCode::LoginRefused, ""))
            }
            Err(LoginError::Busy) => {
                visit.gate().hit(Limit::LoginQueue);
                Err((ErrorCode::Busy, Limit::LoginQueue.sentence()))
            }
            Err(error @ LoginError::Failed(_)) => {
                tracing::error!(%error, "cannot check a login");
                Err((ErrorCode::Internal, ""))
            }
        }
    }

    /// What a client may do that shows neither ticket nor login.
    pub(super) fn admit_anybody(&self) -> Result<Pass, Refusal> {
        match self.open_rights {
            Some(rights) => Ok(Pass {
                user: String::new(),
                rights,
                home: RemotePath::root(),
                quota: None,
                holder: self.holder(""),
            }),
            None if self.takes_logins() => Err((ErrorCode::LoginRequired, "")),
            None => Err((ErrorCode::LoginRequired, TICKETS_ALONE)),
        }
    }
}

impl Doorkeeper {
    /// By what a session is known that needs no ticket. It is over when another configuration says something else of its user.
    fn holder(&self, user: &str) -> Option<Holder> {
        let is_known = self.open_since > 0;
        is_known.then(|| Holder::new(user, self.open_since, u64::MAX))
    }
}

const TICKETS_ALONE: &str = "this slave serves the clients of its master: connect to the master, or start the slave with --standalone";

const IN_THE_CLEAR: &str = "passwords are not taken in the clear from another machine";

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;
    use std::sync::Arc;

    use admission::{Gate, Limits};
    use auth::{Account, PasswordHash};

    use super::*;

    #[test]
    fn passwords_that_others_could_hear_are_not_taken() {
        let mut accounts = Accounts::default();
        let account = Account {
            password: PasswordHash::of(b"right").unwrap(),
            rights: Rights::READ,
            home: "/pub".parse().unwrap(),
            quota: None,
        };
        accounts.add("ada".parse().unwrap(), account);
        let gatekeeper = Gatekeeper::new(NonZeroUsize::MIN, 64).unwrap();
        let door = Doorkeeper {
            slave: SlaveId([1; 16]),
            ticket_key: None,
            open_rights: None,
            open_since: 0,
            accounts: Some((accounts, gatekeeper)),
        };
        let words = admission::of_one_process().unwrap();
        let gate = Arc::new(Gate::new(words, 0, Limits::default()));
        let visit = gate.enter("192.0.2.1".parse().unwrap()).unwrap();
        let attempt = Attempt {
            user: "ada",
            password: b"right",
            source: visit.source(),
        };
        let pass = door.log_in(attempt, &visit, true).unwrap();
        assert_eq!(
            (pass.user.as_str(), pass.home.as_bytes()),
            ("ada", &b"/pub"[..])
        );
        let refused = door.log_in(attempt, &visit, false).unwrap_err();
        assert_eq!(refused.0, ErrorCode::LoginRefused);
    }
}
