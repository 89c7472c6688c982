//! The decisions: who is let in, who may log in, and who is shut out.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use crate::limits::{Limit, Limits};
use crate::memory::{Memory, Words};
use crate::penalties::{Offence, now};
use crate::source::{is_shared, network_of, source_of};

/// The key under which everybody counts; it needs no secret, since nobody can choose another one.
const EVERYBODY: u64 = 0;

/// Decides for one process, by what all of them hold.
#[derive(Debug)]
pub struct Gate {
    words: Arc<dyn Words>,
    slot: usize,
    limits: RwLock<Limits>,
    /// Held while this process changes what it holds: one thread at a time.
    changing: Mutex<()>,
    dice: (RandomState, AtomicU64),
}

/// A connection that was let in. It counts until it is dropped; where a panic does that, its source pays for it.
#[derive(Debug)]
pub struct Visit {
    gate: Arc<Gate>,
    /// Where it comes from; `None` on this machine, which counts for the whole alone.
    from: Option<IpAddr>,
    /// By which that is known in the tables.
    source: Option<u64>,
    network: u64,
    /// What it holds.
    held: Held,
}

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It has said nothing of the protocol.
    Arrived,
    /// It has to show who it is.
    Outside,
    /// It may ask.
    Inside,
}

/// The keys under which a visit counts.
#[derive(Debug, Default)]
struct Held {
    all: Option<u64>,
    source: Option<u64>,
    network: Option<u64>,
    user: Option<u64>,
}

impl Gate {
    /// That of the process in `slot` of its pool; a server of one process has any.
    #[must_use]
    pub fn new(words: Arc<dyn Words>, slot: usize, limits: Limits) -> Self {
        Self {
            words,
            slot,
            limits: RwLock::new(limits),
            changing: Mutex::default(),
            dice: (RandomState::new(), AtomicU64::new(0)),
        }
    }

    /// What counts here now.
    #[must_use]
    pub fn limits(&self) -> Limits {
        *self.limits.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// What counts from now on. Who is inside stays.
    pub fn set_limits(&self, limits: Limits) {
        *self.limits.write().unwrap_or_else(PoisonError::into_inner) = limits;
    }

    /// The counters, for a [`Reporter`](crate::Reporter).
    #[must_use]
    pub fn words(&self) -> &[AtomicU64] {
        self.words.words()
    }

    /// Lets a connection from `ip` in, or says why not.
    ///
    /// # Errors
    /// The limit that is reached; its counter has counted it.
    pub fn enter(self: &Arc<Self>, ip: IpAddr) -> Result<Visit, Limit> {
        let memory = self.memory();
        let key = |kind, ip: IpAddr| match ip {
            IpAddr::V4(ip) => memory.key(kind, &ip.octets()),
            IpAddr::V6(ip) => memory.key(kind, &ip.octets()),
        };
        let is_shared = is_shared(ip);
        let mut visit = Visit {
            gate: Arc::clone(self),
            from: (!is_shared).then(|| source_of(ip)),
            source: (!is_shared).then(|| key("source", source_of(ip))),
            network: if is_shared {
                0
            } else {
                key("network", network_of(ip))
            },
            held: Held::default(),
        };
        // What was taken until then is given back with the visit.
        visit.arrive().inspect_err(|limit| self.hit(*limit))?;
        Ok(visit)
    }

    /// Counts that somebody ran into a limit.
    pub fn hit(&self, limit: Limit) {
        self.memory().counters.count(limit);
    }

    fn memory(&self) -> Memory<'_> {
        Memory::of(self.words.words())
    }

    /// One more of a key; how many others there are. `None`: it cannot be counted.
    fn take(&self, key: u64) -> Option<u64> {
        let _changing = self.change();
        let all = self.memory().tally.add(self.slot, key)?;
        Some(all.saturating_sub(1))
    }

    fn give_back(&self, key: u64) {
        let _changing = self.change();
        self.memory().tally.remove(self.slot, key);
    }

    fn change(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number from 0 to 99 that nobody can foresee.
    fn throw(&self) -> u64 {
        let (state, thrown) = &self.dice;
        state.hash_one(thrown.fetch_add(1, Relaxed)) % 100
    }
}

impl Visit {
    fn arrive(&mut self) -> Result<(), Limit> {
        if self.is_shut_out() {
            return Err(Limit::Penalty);
        }
        let gate = Arc::clone(&self.gate);
        let limits = gate.limits();
        let within =
            |others: Option<u64>, most: u32| others.is_some_and(|others| others < u64::from(most));
        let others = gate.take(EVERYBODY);
        self.held.all = others.map(|_| EVERYBODY);
        if !within(others, limits.connections) {
            return Err(Limit::Connections);
        }
        let Some(source) = self.source else {
            return Ok(());
        };
        let others = gate.take(source);
        self.held.source = others.map(|_| source);
        if !within(others, limits.per_source) {
            return Err(Limit::PerSource);
        }
        let others = gate.take(self.network);
        self.held.network = others.map(|_| self.network);
        if others.is_none_or(|others| limits.pending.refuse(others, gate.throw())) {
            return Err(Limit::Pending);
        }
        Ok(())
    }

    /// It logs in, as nobody in particular where `user` is empty: from now on it is not pending, and counts for the user.
    ///
    /// # Errors
    /// [`Limit::PerUser`]: the user has so many sessions already; its counter has counted it.
    pub fn begin(&mut self, user: &str) -> Result<(), Limit> {
        if let Some(network) = self.held.network.take() {
            self.gate.give_back(network);
        }
        if let Some(before) = self.held.user.take() {
            self.gate.give_back(before);
        }
        if user.is_empty() || self.source.is_none() {
            return Ok(());
        }
        let key = self.gate.memory().key("user", user.as_bytes());
        let others = self.gate.take(key);
        self.held.user = others.map(|_| key);
        if others.is_some_and(|others| others < u64::from(self.gate.limits().per_user)) {
            return Ok(());
        }
        self.gate.hit(Limit::PerUser);
        Err(Limit::PerUser)
    }

    /// It ends so far, in the ordinary way or at a limit: counts that, and holds a bad end against its source; but not that of
    /// one that has left.
    pub fn end(&self, stage: Stage, limit: Option<Limit>) {
        if self.held.all.is_none() {
            return;
        }
        if let Some(limit) = limit {
            self.gate.hit(limit);
        }
        match (stage, limit) {
            (Stage::Inside, _) | (Stage::Outside, None) => {}
            (Stage::Arrived, None) => self.offend(Offence::NoAuth),
            (Stage::Arrived | Stage::Outside, Some(_)) => self.offend(Offence::GraceExceeded),
        }
    }

    /// It no longer counts, though it is still there.
    pub fn leave(&mut self) {
        let Held {
            all,
            source,
            network,
            user,
        } = std::mem::take(&mut self.held);
        for key in [all, source, network, user].into_iter().flatten() {
            self.gate.give_back(key);
        }
    }

    /// Its source did something wrong.
    pub fn offend(&self, offence: Offence) {
        if let Some(source) = self.source.filter(|_| self.gate.limits().penalties) {
            self.gate
                .memory()
                .penalties
                .add(source, offence.penalty(), now());
        }
    }

    /// Whether its source is not listened to, for what it did since the visit began.
    #[must_use]
    pub fn is_shut_out(&self) -> bool {
        self.source
            .is_some_and(|source| self.gate.memory().penalties.is_shut_out(source, now()))
            && self.gate.limits().penalties
    }

    /// Whose it is: an address, or a network of IPv6. `None`: this machine's, which all its users share.
    #[must_use]
    pub const fn source(&self) -> Option<IpAddr> {
        self.from
    }

    /// The gate it came in by.
    #[must_use]
    pub fn gate(&self) -> &Gate {
        &self.gate
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.offend(Offence::Crashed);
        }
        self.leave();
    }
}

#[cfg(test)]
mod tests;
