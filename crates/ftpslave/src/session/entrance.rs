//! The step from a connection to a session: a ticket is shown, an account logs in, or nobody is asked.

use auth::Attempt;
use protocol::{
    ConnectionError, ErrorCode, Reply, Request, Rights, Secret, Secretive, Text, Ticket,
};
use supervisor::Admission;

use super::access::{Access, Need, Pass, need};
use super::{Session, Verdict};
use crate::revoked::Revoked;

/// What a client hears whose ticket its master has taken back; it asks for another one.
pub(super) const REVOKED: &str = "the ticket was revoked";

/// Refused logins that end a connection.
const MOST_REFUSALS: u32 = 3;

impl Session<'_> {
    /// Lets a request pass that may be answered now, beginning the session where nothing has to be shown for it.
    pub(super) fn enter(&mut self, id: u32, request: &Request) -> Result<(), Verdict> {
        let Need::Session(rights) = need(request) else {
            return Ok(());
        };
        if let Access::Outside(_) = self.access {
            match self.context.door.admit_anybody() {
                Ok(pass) => self.begin(id, pass)?,
                Err((code, detail)) => {
                    self.refuse(id, code, detail);
                    return Err(Verdict::Close);
                }
            }
        }
        if self.holds(rights) {
            return Ok(());
        }
        if let Request::Store { .. } = request {
            self.refused = Some(id);
        }
        self.refuse(id, ErrorCode::NotPermitted, "");
        Err(Verdict::GoOn)
    }

    fn holds(&self, rights: Rights) -> bool {
        matches!(&self.access, Access::Inside { pass, .. } if pass.rights.contains(rights))
    }

    /// Takes a place, and the account's home for the root.
    fn begin(&mut self, id: u32, pass: Pass) -> Result<(), Verdict> {
        let Access::Outside(admission) = &mut self.access else {
            return Ok(());
        };
        if !pass.home.is_root() {
            match self.context.whole_storage.beneath(&pass.home) {
                Ok(home) => self.storage = home,
                Err(error) => {
                    tracing::warn!(user = %pass.user, %error, "an account's home cannot be used");
                    self.refuse(id, error.code(), "the account's home cannot be used");
                    return Err(Verdict::GoOn);
                }
            }
        }
        match admission.take().and_then(Admission::begin) {
            Some(place) => {
                if let Some(ledger) = &mut self.ledger {
                    ledger.enter(&pass);
                }
                self.access = Access::Inside {
                    pass,
                    _place: place,
                };
                Ok(())
            }
            None => {
                let code = if self.context.roster.is_draining() {
                    ErrorCode::Draining
                } else {
                    ErrorCode::Busy
                };
                self.refuse(id, code, "");
                Err(Verdict::Close)
            }
        }
    }

    /// A ticket opens a session, or renews the rights of one that is its user's already.
    pub(super) fn present(
        &mut self,
        id: u32,
        ticket: &Ticket,
        secret: &Secret,
    ) -> Result<(), ConnectionError> {
        match self.context.door.admit(ticket, secret) {
            Ok(new) if self.is_revoked(&new) => {
                self.refuse(id, ErrorCode::TicketExpired, REVOKED);
            }
            Ok(new) => match &mut self.access {
                Access::Inside { pass, .. }
                    if (&pass.user, &pass.home) == (&new.user, &new.home) =>
                {
                    *pass = new.clone();
                    self.hold(&new);
                    self.welcome(id, &new);
                }
                Access::Inside { .. } => {
                    let detail = "this session is another user's";
                    self.refuse(id, ErrorCode::LoginRefused, detail);
                }
                Access::Outside(_) => {
                    if self.begin(id, new.clone()).is_ok() {
                        self.hold(&new);
                        self.welcome(id, &new);
                    }
                }
            },
            Err(code) => self.refuse(id, code, ""),
        }
        Ok(())
    }

    /// Has the worker end the session when its ticket is revoked. The table is looked at again by the next request: what was
    /// revoked in between is found by the worker or by us.
    fn hold(&mut self, pass: &Pass) {
        self.held.set(pass.holder);
        self.looked_at = None;
    }

    /// Whether the ticket by which this session runs is no longer good; a master would say so, or give another.
    pub(super) fn is_over(&mut self) -> bool {
        let Access::Inside { pass, .. } = &self.access else {
            return false;
        };
        let edition = Revoked::of(&self.context.scoreboard).map(|revoked| revoked.edition());
        if self.looked_at == Some(edition) {
            return false;
        }
        let is_over = self.is_revoked(pass);
        if !is_over {
            self.looked_at = Some(edition);
        }
        is_over
    }

    fn is_revoked(&self, pass: &Pass) -> bool {
        let revoked = Revoked::of(&self.context.scoreboard);
        let holder = pass.holder.as_ref();
        revoked.is_some_and(|revoked| holder.is_some_and(|holder| revoked.covers(holder)))
    }

    /// An account of this slave's own opens a session.
    pub(super) fn log_in(
        &mut self,
        id: u32,
        user: &Text,
        password: &Secretive,
    ) -> Result<Verdict, ConnectionError> {
        if let Access::Inside { .. } = self.access {
            self.refuse(id, ErrorCode::LoginRefused, "this session has begun");
            return Ok(Verdict::GoOn);
        }
        let peer = self.connection.stream().clone();
        let source = peer.origin()?;
        let attempt = Attempt {
            user: user.as_str(),
            password: password.reveal(),
            source,
        };
        match self.context.door.log_in(attempt, peer.is_private()) {
            Ok(pass) => match self.begin(id, pass.clone()) {
                Ok(()) => self.welcome(id, &pass),
                Err(verdict) => return Ok(verdict),
            },
            Err((code, detail)) => {
                self.refuse(id, code, detail);
                self.refused_logins += 1;
            }
        }
        Ok(match self.refused_logins {
            MOST_REFUSALS.. => Verdict::Close,
            _ => Verdict::GoOn,
        })
    }

    fn welcome(&mut self, id: u32, pass: &Pass) {
        let reply = Reply::Welcome {
            user: Text::new(&pass.user),
            rights: pass.rights,
        };
        self.connection.send(id, &reply);
    }
}
