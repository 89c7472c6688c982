//! What a crew leaves behind: sessions for the next work, the slaves that were lost.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use protocol::Digest;

use crate::context::Context;
use crate::fault::Fault;
use crate::notice::Notice;
use crate::session::Session;

/// What is left when all streams have ended.
#[derive(Default)]
pub(crate) struct Ended {
    /// Sessions that may be used for something else, the one that was there first in front.
    pub(crate) at_rest: Vec<Session>,
    /// The one that ended last of those that may not.
    pub(crate) spent: Option<Session>,
    /// The digest of the whole, where a slave was asked for it and said it.
    pub(crate) digest: Option<Digest>,
    /// Why no stream is left; `None` where all is there.
    pub(crate) fault: Option<Fault>,
    /// Slaves that are lost,
    pub(super) lost: BTreeSet<SocketAddr>,
    /// and those of them that have not been told of yet.
    untold: Vec<(SocketAddr, String)>,
    /// Who has not answered the question for the digest.
    pub(super) mute: Option<SocketAddr>,
}

impl Ended {
    /// A stream was lost. Several with the same slave have lost it once.
    pub(super) fn lose(&mut self, mut session: Session, cause: String) {
        let slave = session.address();
        if self.lost.insert(slave) {
            self.untold.push((slave, cause));
            self.spent = Some(session);
        } else if session.take_progress()
            && let Some(spent) = &mut self.spent
        {
            spent.mark_progress();
        }
    }

    /// That slave serves again.
    pub(super) fn regain(&mut self, slave: SocketAddr) {
        self.lost.remove(&slave);
        self.untold.retain(|(lost, _)| *lost != slave);
    }

    /// Tells of the slaves that were lost, and who goes on.
    pub(super) fn tell(&mut self, context: &Context, next: Option<SocketAddr>) {
        for (slave, cause) in self.untold.drain(..) {
            context.notice(&Notice::SlaveLost { slave, cause, next });
        }
    }

    /// The same at the end, but for the one that is told of elsewhere.
    pub(crate) fn tell_rest(&mut self, context: &Context, except: Option<SocketAddr>) {
        self.untold.retain(|(slave, _)| Some(*slave) != except);
        self.tell(context, self.at_rest.first().map(Session::address));
    }

    /// The session to go on with: at rest, if one with a slave that answers is, and with `home` rather than another; or, behind a
    /// loss, the one that was lost last.
    pub(crate) fn session(&mut self, home: SocketAddr) -> Option<Session> {
        let is_loss = matches!(self.fault, Some(Fault::Lost(_) | Fault::Refused(_)));
        if is_loss && self.spent.is_some() {
            return self.spent.take();
        }
        let is_mute = |session: &Session| Some(session.address()) == self.mute;
        let answers = self.at_rest.iter().position(|session| !is_mute(session));
        if answers.is_none() && self.spent.as_ref().is_some_and(|spent| !is_mute(spent)) {
            return self.spent.take();
        }
        let is_home = |session: &Session| !is_mute(session) && session.address() == home;
        let place = self
            .at_rest
            .iter()
            .position(is_home)
            .or(answers)
            .unwrap_or(0);
        if place < self.at_rest.len() {
            return Some(self.at_rest.swap_remove(place));
        }
        self.spent.take()
    }
}
