//! Streams of a file that has come, kept for the next one: over a line with latency a new one costs round trips, and begins
//! slowly.

use crate::session::Session;
use crate::stripe::plan::Origin;
use crate::stripe::roster::Roster;

/// Sessions that nobody uses at the moment. Each takes a place at its slave: whoever may need one empties it first.
#[derive(Debug, Default)]
pub(crate) struct Reserve {
    sessions: Vec<Session>,
}

impl Reserve {
    /// Takes in those that may be used for something else.
    pub(crate) fn add(&mut self, sessions: impl IntoIterator<Item = Session>) {
        for mut session in sessions {
            if session.is_at_rest() {
                // How far it came is no news to the next file.
                session.take_progress();
                self.sessions.push(session);
            }
        }
    }

    /// A session with that slave which the slave has not ended meanwhile.
    pub(crate) fn take(&mut self, roster: &Roster, origin: Origin) -> Option<Session> {
        let is_with = |session: &Session| roster.is_with(origin, session);
        while let Some(place) = self.sessions.iter().position(is_with) {
            let mut session = self.sessions.swap_remove(place);
            if session.is_at_rest() {
                return Some(session);
            }
        }
        None
    }

    /// Closes them all.
    pub(crate) fn empty(&mut self) {
        self.sessions.clear();
    }
}
