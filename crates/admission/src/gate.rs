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

    /// It ends so far, in the ordinary way or at a limit: counts that, and holds a bad end against its source.
    pub fn end(&self, stage: Stage, limit: Option<Limit>) {
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
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use sys::shared_memory::SharedWords;

    use super::*;
    use crate::memory::{WORDS, give_back, prepare};

    /// The gates of two processes over the same memory.
    fn gates(limits: Limits) -> [Arc<Gate>; 2] {
        let words = Arc::new(SharedWords::create(WORDS).unwrap().0);
        prepare(words.words()).unwrap();
        [0, 1].map(|slot| Arc::new(Gate::new(Arc::<SharedWords>::clone(&words), slot, limits)))
    }

    fn limits() -> Limits {
        Limits {
            connections: 20,
            per_source: 5,
            per_user: 3,
            pending: "8:100:8".parse().unwrap(),
            ..Limits::default()
        }
    }

    fn enter(gate: &Arc<Gate>, ip: &str) -> Result<Visit, Limit> {
        gate.enter(ip.parse().unwrap())
    }

    /// Visits from there until one is refused, in one process and the other by turns; why it was.
    fn fill(gates: &[Arc<Gate>; 2], ip: &str) -> (Vec<Visit>, Limit) {
        let mut visits = Vec::new();
        for gate in gates.iter().cycle().take(1000) {
            match enter(gate, ip) {
                Ok(visit) => visits.push(visit),
                Err(limit) => return (visits, limit),
            }
        }
        panic!("never refused");
    }

    fn hits(gate: &Gate, limit: Limit) -> u64 {
        gate.memory().counters.read(limit)
    }

    #[test]
    fn one_source_has_so_many_connections_over_all_processes() {
        let gates = gates(limits());
        let (mut inside, limit) = fill(&gates, "10.0.0.1");
        assert_eq!((inside.len(), limit), (5, Limit::PerSource));
        assert_eq!(hits(&gates[0], Limit::PerSource), 1);
        assert!(enter(&gates[0], "::ffff:10.0.0.1").is_err());
        assert!(enter(&gates[0], "10.0.0.2").is_ok());
        inside.pop();
        assert!(enter(&gates[0], "10.0.0.1").is_ok());
        let (inside, limit) = fill(&gates, "2001:db8::1");
        assert_eq!((inside.len(), limit), (5, Limit::PerSource));
        assert!(enter(&gates[1], "2001:db8::ffff:2").is_err());
        assert!(enter(&gates[1], "2001:db8:0:1::1").is_ok());
    }

    #[test]
    fn one_network_has_so_many_connections_that_have_not_begun() {
        let gates = gates(limits());
        let (mut first, _) = fill(&gates, "10.0.0.1");
        let (_second, limit) = fill(&gates, "10.0.0.2");
        assert_eq!(limit, Limit::Pending);
        assert!(enter(&gates[0], "10.0.1.1").is_ok());
        first[0].begin("").unwrap();
        assert!(enter(&gates[1], "10.0.0.3").is_ok());
    }

    #[test]
    fn all_together_are_so_many_and_this_machine_counts_for_the_whole_alone() {
        let gates = gates(limits());
        let (inside, limit) = fill(&gates, "127.0.0.1");
        assert_eq!((inside.len(), limit), (20, Limit::Connections));
        assert!(matches!(
            enter(&gates[0], "10.0.0.1"),
            Err(Limit::Connections)
        ));
        drop(inside);
        let mut sessions: Vec<_> = (0..20).map(|_| enter(&gates[0], "::1").unwrap()).collect();
        assert!(sessions.iter_mut().all(|visit| visit.begin("ada").is_ok()));
    }

    #[test]
    fn one_user_has_so_many_sessions_wherever_they_come_from() {
        let gates = gates(limits());
        let log_in = |number: u8, user: &str| {
            let mut visit = enter(&gates[usize::from(number % 2)], &format!("10.0.{number}.1"))?;
            visit.begin(user)?;
            Ok(visit)
        };
        let mut sessions: Vec<Visit> = (0..3)
            .map(|number| log_in(number, "ada").unwrap())
            .collect();
        let refused: Result<Visit, Limit> = log_in(4, "ada");
        assert_eq!(refused.err(), Some(Limit::PerUser));
        assert!(log_in(4, "bob").is_ok() && log_in(5, "").is_ok());
        // As somebody else now.
        sessions[0].begin("bob").unwrap();
        assert!(log_in(6, "ada").is_ok());
    }

    #[test]
    fn nothing_stays_behind_and_a_killed_process_gives_back_what_it_held() {
        let gates = gates(limits());
        let (mut inside, _) = fill(&gates, "10.0.0.1");
        for visit in inside.iter_mut().take(3) {
            visit.begin("ada").unwrap();
        }
        // Nobody drops what a killed process held.
        for visit in inside.drain(..) {
            if visit.gate.slot == 0 {
                std::mem::forget(visit);
            }
        }
        give_back(gates[0].words.words(), 0);
        let memory = gates[1].memory();
        let (inside, _) = fill(&gates, "10.0.0.1");
        assert_eq!(inside.len(), 5);
        drop(inside);
        assert!(
            memory
                .tally
                .0
                .iter()
                .all(|[_, word]| word.load(Relaxed) == 0)
        );
    }

    #[test]
    fn who_misbehaves_is_shut_out_of_all_processes_and_this_machine_is_not() {
        let gates = gates(limits());
        let offend = |ip| {
            let visit = enter(&gates[0], ip).unwrap();
            assert!(!visit.is_shut_out());
            for _ in 0..4 {
                visit.offend(Offence::AuthFailed);
            }
            visit.is_shut_out()
        };
        assert!(offend("10.0.0.1") && !offend("127.0.0.1"));
        assert!(matches!(enter(&gates[1], "10.0.0.1"), Err(Limit::Penalty)));
        assert!(enter(&gates[1], "10.0.0.2").is_ok());
        let [lenient, _] = self::gates(Limits {
            penalties: false,
            ..limits()
        });
        let visit = enter(&lenient, "10.0.0.1").unwrap();
        (0..4).for_each(|_| visit.offend(Offence::AuthFailed));
        assert!(!visit.is_shut_out() && enter(&lenient, "10.0.0.1").is_ok());
    }

    #[test]
    fn who_comes_to_no_login_is_shut_out_in_time_and_who_rests_is_not() {
        let gate = &gates(limits())[0];
        let ends_until_shut_out = |ip: &str, stage, limit| {
            let ends = (0..20).take_while(|_| {
                enter(gate, ip).is_ok_and(|visit| {
                    visit.end(stage, limit);
                    true
                })
            });
            ends.count()
        };
        assert_eq!(ends_until_shut_out("10.0.1.1", Stage::Arrived, None), 12);
        assert_eq!(
            ends_until_shut_out("10.0.2.1", Stage::Arrived, Some(Limit::FirstByte)),
            2
        );
        assert_eq!(
            ends_until_shut_out("10.0.3.1", Stage::Outside, Some(Limit::Login)),
            2
        );
        assert_eq!(ends_until_shut_out("10.0.4.1", Stage::Outside, None), 20);
        assert_eq!(
            ends_until_shut_out("10.0.5.1", Stage::Inside, Some(Limit::Idle)),
            20
        );
        assert_eq!(
            [Limit::FirstByte, Limit::Login, Limit::Idle].map(|limit| hits(gate, limit)),
            [2, 2, 20]
        );
    }

    #[test]
    fn a_session_that_breaks_down_costs_its_source() {
        let gates = gates(limits());
        let visit = enter(&gates[0], "10.0.0.1").unwrap();
        catch_unwind(AssertUnwindSafe(move || {
            let _visit = visit;
            panic!("the session breaks");
        }))
        .unwrap_err();
        assert!(matches!(enter(&gates[1], "10.0.0.1"), Err(Limit::Penalty)));
    }
}
