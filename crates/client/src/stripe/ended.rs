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
    /// Slaves that were lost and not told of yet.
    pub(super) untold: Vec<(SocketAddr, String)>,
    pub(super) told: BTreeSet<SocketAddr>,
}

impl Ended {
    /// Tells of the slaves that were lost, but for the one that is told of elsewhere.
    pub(crate) fn tell_rest(&mut self, context: &Context, except: Option<SocketAddr>) {
        let next = self.at_rest.first().map(Session::address);
        for (slave, cause) in self.untold.drain(..) {
            if Some(slave) != except {
                context.notice(&Notice::SlaveLost { slave, cause, next });
            }
        }
    }

    /// The session to go on with, that with `home` rather than another; or, behind a loss, the one that was lost last.
    pub(crate) fn session(&mut self, home: SocketAddr) -> Option<Session> {
        let is_loss = matches!(self.fault, Some(Fault::Lost(_) | Fault::Refused(_)));
        if is_loss && self.spent.is_some() {
            return self.spent.take();
        }
        let is_home = |session: &Session| session.address() == home;
        let place = self.at_rest.iter().position(is_home).unwrap_or(0);
        if place < self.at_rest.len() {
            return Some(self.at_rest.swap_remove(place));
        }
        self.spent.take()
    }
}
