//! Streams of a file that has come, kept for the next one: over a line with latency a new one costs round trips, and begins
//! slowly.

use crate::Client;
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

    /// Closes those with a slave that was lost: whether it is there again shows only where one is opened anew.
    pub(crate) fn give_up(&mut self, roster: &Roster, origin: Origin) {
        self.sessions
            .retain(|session| !roster.is_with(origin, session));
    }

    /// Closes them all.
    pub(crate) fn empty(&mut self) {
        self.sessions.clear();
    }
}

impl Client {
    /// Whether further files are about to be fetched: the streams of one are kept for the next, each of which takes a place at
    /// its slave meanwhile. Says what was so before.
    pub fn keep_streams(&mut self, keeps: bool) -> bool {
        if !keeps {
            self.release_streams();
        }
        std::mem::replace(&mut self.keeps_streams, keeps)
    }

    /// Gives back the places of the streams that are kept: for a while in which nothing is fetched.
    pub fn release_streams(&mut self) {
        self.reserve.empty();
    }

    /// The streams that are kept, where a slave serves: one that has to be found may need their places.
    pub(crate) fn take_streams(&mut self) -> Reserve {
        if !self.is_served() {
            self.release_streams();
        }
        std::mem::take(&mut self.reserve)
    }

    /// Takes back what a file has left of them.
    pub(crate) fn put_streams(&mut self, left: Reserve) {
        if self.keeps_streams {
            self.reserve = left;
        }
    }
}
