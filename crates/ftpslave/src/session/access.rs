//! Who may do what: the table of requests and the rights they need, and the step from a connection to a session.

use std::time::{SystemTime, UNIX_EPOCH};

use auth::{ClientClaim, SlaveKey, TicketError, check};
use protocol::{Condition, ErrorCode, Request, Rights, Secret, SlaveId, Ticket};
use supervisor::{Admission, Place};

/// How far a connection has come.
#[derive(Debug)]
pub(super) enum Access {
    /// Nobody has begun a session: only questions about the slave are answered, and no place is taken.
    Outside(Option<Admission>),
    /// A session runs, in a place.
    Inside {
        /// What it may do.
        rights: Rights,
        /// Given back when the session ends.
        _place: Place,
    },
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
        Request::Probe { .. } | Request::Identify { .. } | Request::Present { .. } => Need::Nothing,
        Request::Stat { .. }
        | Request::List { .. }
        | Request::Retrieve { .. }
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
        | Request::MakeDirectory { .. } => writing(false),
        Request::Rename { replace, .. } => writing(*replace),
        Request::SetTime { .. } => writing(true),
        Request::Remove { .. } | Request::RemoveDirectory { .. } => Need::Session(Rights::DELETE),
    }
}

/// Checks tickets; made once for each worker.
#[derive(Debug)]
pub(crate) struct Doorkeeper {
    slave: SlaveId,
    ticket_key: Option<SlaveKey>,
    open_rights: Option<Rights>,
}

impl Doorkeeper {
    /// `open_rights` are those of clients without a ticket; `None` lets nobody in without.
    pub(crate) fn new(
        slave: SlaveId,
        ticket_key: Option<SlaveKey>,
        open_rights: Option<Rights>,
    ) -> Self {
        Self {
            slave,
            ticket_key,
            open_rights,
        }
    }

    /// Whether a ticket must be shown.
    pub(super) fn asks_for_ticket(&self) -> bool {
        self.open_rights.is_none()
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
    pub(super) fn admit(
        &self,
        ticket: &Ticket,
        secret: &Secret,
    ) -> Result<(String, Rights), ErrorCode> {
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
            Ok(grant) => Ok((grant.user, grant.rights)),
            Err(TicketError::Expired) => Err(ErrorCode::TicketExpired),
            Err(error) => {
                // Anybody can have this happen as often as they like: no warning.
                tracing::info!(%error, "ticket refused");
                Err(ErrorCode::LoginRefused)
            }
        }
    }

    /// What a client without a ticket may do.
    pub(super) fn admit_anybody(&self) -> Result<Rights, ErrorCode> {
        self.open_rights.ok_or(ErrorCode::LoginRequired)
    }
}
