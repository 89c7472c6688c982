//! The way to a slave: the offers at hand, then the masters in turn, told which slaves were tried in vain.

use protocol::limits::{MAX_REDIRECTS, MAX_SLAVES};
use protocol::{ErrorCode, MasterRequest, Request, SlaveId};

use crate::context::Context;
use crate::fault::Fault;
use crate::master::{First, Located, Offer, Reached, reach};
use crate::renewal::{Offers, Scout};
use crate::session::Session;
use crate::{ClientError, ClientErrorKind, Target};

/// Finds a slave, and another when that one fails.
#[derive(Debug)]
pub(crate) struct Route {
    targets: Vec<Target>,
    context: Context,
    offers: Offers,
    /// Whose turn this client took: it stays there while it can.
    home: Option<SlaveId>,
    /// Slaves found dead or busy since a master was asked last.
    failed: Vec<SlaveId>,
}

/// What one way through all slaves came upon.
#[derive(Default)]
struct Search<'a> {
    first: Option<&'a Request>,
    tried: Vec<SlaveId>,
    is_busy: bool,
    refusal: Option<ErrorCode>,
    slave_failure: Option<String>,
    master_failures: Vec<(String, Fault)>,
}

impl Route {
    pub(crate) fn new(targets: Vec<Target>, context: Context) -> Self {
        Self {
            offers: Offers::new(targets.clone(), context.clone()),
            targets,
            context,
            home: None,
            failed: Vec::new(),
        }
    }

    /// A way of its own to the same slaves, for another client.
    pub(crate) fn beside(&self, context: Context) -> Self {
        Self {
            offers: self.offers.lend(context.clone()),
            targets: self.targets.clone(),
            context,
            home: None,
            failed: Vec::new(),
        }
    }

    /// This slave served last.
    pub(crate) fn settle(&mut self, slave: Option<SlaveId>) {
        self.home = slave;
    }

    pub(crate) fn targets(&self) -> &[Target] {
        &self.targets
    }

    /// Somebody who looks for further slaves beside the one that serves.
    pub(crate) fn scout(&self) -> Scout {
        self.offers.scout()
    }

    /// This slave is lost, or will not serve: it comes last from now on.
    pub(crate) fn mark_failed(&mut self, slave: Option<SlaveId>) {
        let Some(slave) = slave else { return };
        if self.home == Some(slave) {
            self.home = None;
        }
        if !self.failed.contains(&slave) && self.failed.len() < MAX_SLAVES {
            self.failed.push(slave);
        }
    }

    /// Looks once for a slave that serves: each is tried once, the masters are asked anew while they know slaves that
    /// were not tried.
    ///
    /// What is asked `first` of the slave travels with the first words where that can be.
    pub(crate) fn find(&mut self, first: Option<&Request>) -> Result<Session, ClientError> {
        let mut search = Search {
            first,
            ..Search::default()
        };
        if let Some(session) = self.try_known(&mut search)? {
            return Ok(session);
        }
        for _ in 0..MAX_REDIRECTS {
            let mut tried = self.failed.clone();
            tried.extend(search.tried.iter().filter(|id| !self.failed.contains(id)));
            tried.truncate(MAX_SLAVES);
            let located = match self.ask_masters(tried, &mut search)? {
                Some(Found::Offers(located)) => located,
                Some(Found::Slave(session)) => return Ok(*session),
                None => break,
            };
            let is_new = |offer: &&Offer| !search.tried.contains(&offer.pass.id);
            let fresh: Vec<_> = located.offers.iter().filter(is_new).cloned().collect();
            self.offers.replace(located);
            if fresh.is_empty() {
                break;
            }
            for offer in fresh {
                search.tried.push(offer.pass.id);
                if let Some(session) = self.try_offer(&offer, &mut search)? {
                    self.failed.clear();
                    return Ok(session);
                }
            }
        }
        Err(search.into_error())
    }

    /// Tries what was offered before and has not failed since, the slave that served last first.
    fn try_known(&mut self, search: &mut Search<'_>) -> Result<Option<Session>, ClientError> {
        let mut known = self.offers.usable();
        known.retain(|offer| !self.failed.contains(&offer.pass.id));
        known.sort_by_key(|offer| Some(offer.pass.id) != self.home);
        for offer in known {
            let refusal = search.refusal.take();
            let session = self.try_offer(&offer, search)?;
            if session.is_some() {
                return Ok(session);
            }
            if search.refusal.is_none() {
                search.tried.push(offer.pass.id);
            }
            search.refusal = search.refusal.or(refusal);
        }
        // An old ticket that was refused says nothing about the new one.
        search.refusal = None;
        Ok(None)
    }

    fn try_offer(
        &mut self,
        offer: &Offer,
        search: &mut Search<'_>,
    ) -> Result<Option<Session>, ClientError> {
        match offer.open(search.first, &self.context) {
            Ok(session) => {
                self.home = Some(offer.pass.id);
                return Ok(Some(session));
            }
            Err(Fault::Failed(error)) => return Err(error),
            Err(Fault::Refused(ErrorCode::Busy)) => search.is_busy = true,
            Err(Fault::Refused(ErrorCode::Draining)) => {}
            Err(Fault::Refused(code)) => search.refusal = Some(code),
            Err(Fault::Lost(cause)) => search.slave_failure = Some(cause),
        }
        Ok(None)
    }

    fn ask_masters(
        &self,
        tried: Vec<SlaveId>,
        search: &mut Search<'_>,
    ) -> Result<Option<Found>, ClientError> {
        search.master_failures.clear();
        let question = MasterRequest::Locate {
            tried,
            renew: false,
        };
        let first = First {
            of_master: &question,
            of_slave: search.first,
        };
        for target in &self.targets {
            let reached = reach(target, first, &self.context);
            let found = reached.and_then(|reached| match reached {
                Reached::Slave(session) => Ok(Found::Slave(session)),
                Reached::Master(mut master) => master.locate(&question).map(Found::Offers),
            });
            match found {
                Ok(found) => return Ok(Some(found)),
                Err(Fault::Failed(error)) => return Err(error),
                Err(fault) => search.master_failures.push((target.to_string(), fault)),
            }
        }
        Ok(None)
    }
}

enum Found {
    Slave(Box<Session>),
    Offers(Located),
}

impl Search<'_> {
    /// Why nobody serves, in one sentence.
    fn into_error(self) -> ClientError {
        let is_busy = |fault: &Fault| matches!(fault, Fault::Refused(ErrorCode::Busy));
        if self.is_busy || self.master_failures.iter().any(|(_, fault)| is_busy(fault)) {
            return ClientError::new(ClientErrorKind::Busy, "every slave is busy");
        }
        if let Some(code) = self.refusal {
            return Fault::Refused(code).into_error();
        }
        let no_slave = ErrorCode::NoSlave.sentence();
        if let Some(cause) = self.slave_failure {
            let sentence = format!("{no_slave} ({cause})");
            return ClientError::new(ClientErrorKind::NoConnection, sentence);
        }
        if self.master_failures.is_empty() {
            return ClientError::new(ClientErrorKind::NoConnection, no_slave);
        }
        let needs_login = |fault: &Fault| matches!(fault, Fault::Refused(ErrorCode::LoginRequired));
        if self
            .master_failures
            .iter()
            .any(|(_, fault)| needs_login(fault))
        {
            return ErrorCode::LoginRequired.into();
        }
        // A master that answers knows better than one that does not.
        let knows = |fault: &Fault| matches!(fault, Fault::Refused(ErrorCode::NoSlave));
        if self.master_failures.iter().any(|(_, fault)| knows(fault)) {
            return ClientError::new(ClientErrorKind::NoConnection, no_slave);
        }
        let causes: Vec<_> = self
            .master_failures
            .iter()
            .map(|(target, fault)| format!("{target}: {}", fault.cause()))
            .collect();
        ClientError::new(ClientErrorKind::NoConnection, causes.join("; "))
    }
}
