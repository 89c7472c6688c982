//! The step from a connection to a session: a ticket is shown, an account logs in, or nobody is asked.

use std::sync::Arc;

use admission::{Limit, REFUSED_LOGINS};
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

/// What somebody hears who has reached a worker of before.
const CHANGED: &str = "it has changed who may do what: connect again";

impl Session<'_> {
    /// Lets a request pass that may be answered now, beginning the session where nothing has to be shown for it.
    pub(super) fn enter(&mut self, id: u32, request: &Request) -> Result<(), Verdict> {
        let Need::Session(rights) = need(request) else {
            return Ok(());
        };
        if let Access::Outside(_) = self.access {
            // Whatever came behind a ticket that was meant for another storage is not for everybody's session here.
            let admitted = match self.is_led_astray {
                true => Err((ErrorCode::LoginRequired, "")),
                false => self.context.door.admit_anybody(),
            };
            match admitted {
                Ok(pass) if self.is_revoked(&pass) => {
                    self.refuse(id, ErrorCode::TicketExpired, CHANGED);
                    return Err(Verdict::Close);
                }
                Ok(pass) => {
                    self.begin(id, pass.clone())?;
                    self.hold(&pass);
                }
                Err((code, detail)) => {
                    self.refuse(id, code, detail);
                    return Err(Verdict::Close);
                }
            }
        }
        // What is refused has been tried all the same.
        if let Some(ledger) = &mut self.ledger {
            ledger.begin(request, self.paces.moved());
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
        self.look_from(id, &pass)?;
        let Access::Outside(admission) = &mut self.access else {
            return Ok(());
        };
        if let Some(visit) = &mut self.visit
            && let Err(limit) = visit.begin(&pass.user)
        {
            self.refuse(id, ErrorCode::Busy, limit.sentence());
            return Err(Verdict::Close);
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
                if self.context.roster.is_draining() {
                    self.refuse(id, ErrorCode::Draining, "");
                } else {
                    self.turn_away(id, Limit::Sessions);
                }
                Err(Verdict::Close)
            }
        }
    }

    /// Says which limit is reached, and counts it.
    fn turn_away(&mut self, id: u32, limit: Limit) {
        self.context.gate.hit(limit);
        self.refuse(id, ErrorCode::Busy, limit.sentence());
    }

    /// Takes the account's home for the root, with its quota.
    fn look_from(&mut self, id: u32, pass: &Pass) -> Result<(), Verdict> {
        self.ahead.rest();
        if pass.home.is_root() && pass.quota.is_none() {
            self.storage = Arc::clone(&self.context.whole_storage);
            return Ok(());
        }
        let whole_storage = &self.context.whole_storage;
        match whole_storage.beneath(&pass.home, pass.quota) {
            Ok(home) => {
                self.storage = home;
                Ok(())
            }
            Err(error) => {
                tracing::warn!(user = %pass.user, %error, "an account's home cannot be used");
                self.refuse(id, error.code(), "the account's home cannot be used");
                Err(Verdict::GoOn)
            }
        }
    }

    /// A ticket opens a session, or renews the rights of one that is its user's already.
    pub(super) fn present(&mut self, id: u32, ticket: &Ticket, secret: &Secret) -> Verdict {
        match self.context.door.admit(ticket, secret) {
            Ok(new) if self.is_revoked(&new) => {
                self.refuse(id, ErrorCode::TicketExpired, REVOKED);
            }
            Ok(new) => match &mut self.access {
                Access::Inside { pass, .. }
                    if (&pass.user, &pass.home) == (&new.user, &new.home) =>
                {
                    let has_other_quota = pass.quota != new.quota;
                    *pass = new.clone();
                    self.hold(&new);
                    if !has_other_quota || self.look_from(id, &new).is_ok() {
                        self.welcome(id, &new);
                    }
                }
                Access::Inside { .. } => {
                    let detail = "this session is another user's";
                    self.refuse(id, ErrorCode::LoginRefused, detail);
                }
                Access::Outside(_) => match self.begin(id, new.clone()) {
                    Ok(()) => {
                        self.hold(&new);
                        self.welcome(id, &new);
                    }
                    Err(verdict) => return verdict,
                },
            },
            Err(code) => {
                self.is_led_astray = true;
                self.refuse(id, code, "");
            }
        }
        Verdict::GoOn
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
        // Whoever was not let in because all is full can begin no session: no hash is computed for that.
        let Some(visit) = self.visit.as_deref() else {
            self.turn_away(id, Limit::Sessions);
            return Ok(Verdict::Close);
        };
        if visit.is_shut_out() {
            self.turn_away(id, Limit::Penalty);
            return Ok(Verdict::Close);
        }
        let attempt = Attempt {
            user: user.as_str(),
            password: password.reveal(),
            source: visit.source(),
        };
        match self.context.door.log_in(attempt, visit, peer.is_private()) {
            Ok(pass) if self.is_revoked(&pass) => {
                self.refuse(id, ErrorCode::LoginRefused, CHANGED);
                return Ok(Verdict::Close);
            }
            Ok(pass) => match self.begin(id, pass.clone()) {
                Ok(()) => {
                    self.hold(&pass);
                    self.welcome(id, &pass);
                }
                Err(verdict) => return Ok(verdict),
            },
            Err((code, detail)) => {
                tracing::info!(%source, "a login fails: {code}");
                self.refuse(id, code, detail);
                self.refused_logins += 1;
            }
        }
        if self.refused_logins < REFUSED_LOGINS {
            return Ok(Verdict::GoOn);
        }
        self.context.gate.hit(Limit::RefusedLogins);
        Ok(Verdict::Close)
    }

    fn welcome(&mut self, id: u32, pass: &Pass) {
        let reply = Reply::Welcome {
            user: Text::new(&pass.user),
            rights: pass.rights,
        };
        self.connection.send(id, &reply);
    }
}
