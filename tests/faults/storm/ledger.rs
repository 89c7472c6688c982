//! What the clients were told: the only truth that counts when the storm is over.
//!
//! A name's history is a list of attempts to make it stand for something. One that was acknowledged holds; one that was
//! not may have taken effect, whole, or not at all, until a later one is acknowledged. Attempts that overlap may have
//! come about in either order.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard};
use std::time::Instant;

use super::whole;

/// What stands at a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Absent,
    Folder,
    File(blake3::Hash),
}

impl State {
    pub(super) fn of(content: &[u8]) -> Self {
        Self::File(blake3::hash(content))
    }

    /// What stands there on this disk.
    pub(super) fn at(path: &Path) -> Self {
        match std::fs::read(path) {
            Ok(content) => Self::of(&content),
            Err(_) if path.is_dir() => Self::Folder,
            Err(_) => Self::Absent,
        }
    }
}

#[derive(Clone, Debug)]
struct Attempt {
    state: State,
    begun: Instant,
    /// `None`: it goes on.
    ended: Option<Instant>,
    is_acknowledged: bool,
}

/// A file that was moved, by a client that did not hear whether it was.
#[derive(Clone, Debug)]
struct Move {
    from: (String, usize),
    to: (String, usize),
    state: State,
}

#[derive(Debug, Default)]
struct Book {
    names: BTreeMap<String, Vec<Attempt>>,
    moves: Vec<Move>,
    acknowledged: u64,
}

/// The histories of all names.
#[derive(Debug, Default)]
pub(super) struct Ledger(Mutex<Book>);

/// Attempts that one command makes together.
#[derive(Debug)]
pub(super) struct Entry {
    attempts: Vec<(String, usize)>,
    is_move: bool,
}

impl Ledger {
    /// Before a command is given: what each name will stand for if it succeeds.
    pub(super) fn begin(&self, changes: impl IntoIterator<Item = (String, State)>) -> Entry {
        let mut book = self.lock();
        let mut attempts = Vec::new();
        for (name, state) in changes {
            let history = book.names.entry(name.clone()).or_default();
            attempts.push((name, history.len()));
            history.push(Attempt {
                state,
                begun: Instant::now(),
                ended: None,
                is_acknowledged: false,
            });
        }
        Entry {
            attempts,
            is_move: false,
        }
    }

    /// Before a file whose content is certain gets another name.
    pub(super) fn begin_move(&self, from: &str, to: &str, state: State) -> Entry {
        let changes = [(from.to_owned(), State::Absent), (to.to_owned(), state)];
        Entry {
            is_move: true,
            ..self.begin(changes)
        }
    }

    /// After the command: whether it was acknowledged.
    pub(super) fn end(&self, entry: &Entry, is_acknowledged: bool) {
        let mut book = self.lock();
        for (name, index) in &entry.attempts {
            let attempt = book.names.get_mut(name).and_then(|all| all.get_mut(*index));
            let attempt = attempt.expect("it was begun");
            attempt.ended = Some(Instant::now());
            attempt.is_acknowledged = is_acknowledged;
            let is_file = matches!(attempt.state, State::File(_));
            book.acknowledged += u64::from(is_acknowledged && is_file);
        }
        if let ([from, to], true, false) = (&entry.attempts[..], entry.is_move, is_acknowledged) {
            let state = book.names[&to.0][to.1].state;
            book.moves.push(Move {
                from: from.clone(),
                to: to.clone(),
                state,
            });
        }
    }

    /// What a name may stand for to somebody who has looked since `since`.
    pub(super) fn possible(&self, name: &str, since: Instant) -> Vec<State> {
        let book = self.lock();
        let none = Vec::new();
        let history = book.names.get(name).unwrap_or(&none);
        let holds = |attempt: &&Attempt| {
            attempt.is_acknowledged && attempt.ended.is_some_and(|end| end <= since)
        };
        let settled = history
            .iter()
            .filter(holds)
            .map(|attempt| attempt.begun)
            .max();
        let counts = |attempt: &&Attempt| {
            let is_over = |begun: Instant| attempt.ended.is_some_and(|end| end < begun);
            !settled.is_some_and(is_over)
        };
        let mut states: Vec<State> = Vec::new();
        if settled.is_none() {
            states.push(State::Absent);
        }
        for attempt in history.iter().filter(counts) {
            if !states.contains(&attempt.state) {
                states.push(attempt.state);
            }
        }
        states
    }

    /// What a name stands for, where only one thing is possible.
    pub(super) fn certain(&self, name: &str) -> Option<State> {
        match self.possible(name, Instant::now())[..] {
            [state] => Some(state),
            _ => None,
        }
    }

    /// All names that were ever to stand for something.
    pub(super) fn names(&self) -> Vec<String> {
        self.lock().names.keys().cloned().collect()
    }

    /// Files whose storing or moving was acknowledged, over the whole time.
    pub(super) fn acknowledged(&self) -> u64 {
        self.lock().acknowledged
    }

    /// Moved files that stand at neither name, though nobody has touched the names since; `at` says what stands there.
    pub(super) fn lost_on_the_way(&self, at: impl Fn(&str) -> State) -> Vec<String> {
        let book = self.lock();
        let is_last = |(name, index): &(String, usize)| book.names[name].len() == index + 1;
        let mut lost = Vec::new();
        for Move { from, to, state } in &book.moves {
            if is_last(from) && is_last(to) && at(&from.0) != *state && at(&to.0) != *state {
                lost.push(format!(
                    "'{}' was moved to '{}', and is at neither",
                    from.0, to.0
                ));
            }
        }
        lost
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        whole(&self.0)
    }
}

#[test]
fn the_ledger_allows_what_may_have_come_about_and_nothing_else() {
    let [one, two, three] = [b"1", b"2", b"3"].map(|content| State::of(content));
    let ledger = Ledger::default();
    let put = |state, is_acknowledged| {
        let entry = ledger.begin([("a".to_owned(), state)]);
        ledger.end(&entry, is_acknowledged);
    };
    let possible = || ledger.possible("a", Instant::now());
    assert_eq!(possible(), [State::Absent]);
    put(one, false);
    assert_eq!(possible(), [State::Absent, one]);
    put(two, true);
    assert_eq!(possible(), [two], "what was not acknowledged is over");
    let before = Instant::now();
    put(three, false);
    assert_eq!(possible(), [two, three]);
    put(one, true);
    assert_eq!(possible(), [one]);
    assert_eq!(
        ledger.possible("a", before),
        [two, three, one],
        "for one who looks since then"
    );
    // Two at once: either may have been the last.
    let both = [two, three].map(|state| ledger.begin([("a".to_owned(), state)]));
    both.into_iter().for_each(|entry| ledger.end(&entry, true));
    assert_eq!(possible(), [two, three]);
    put(State::Absent, true);
    assert_eq!(ledger.certain("a"), Some(State::Absent));
}

#[test]
fn the_ledger_misses_a_file_that_was_lost_while_it_was_moved() {
    let state = State::of(b"1");
    let ledger = Ledger::default();
    let entry = ledger.begin([("a".to_owned(), state)]);
    ledger.end(&entry, true);
    let entry = ledger.begin_move("a", "b", state);
    ledger.end(&entry, false);
    let found_at = |there: &'static str| {
        let at = move |name: &str| if name == there { state } else { State::Absent };
        ledger.lost_on_the_way(at).len()
    };
    assert_eq!([found_at("a"), found_at("b"), found_at("c")], [0, 0, 1]);
    let entry = ledger.begin([("a".to_owned(), State::Absent)]);
    ledger.end(&entry, true);
    assert_eq!(found_at("c"), 0, "it was removed since");
}
