//! What the clients do all the time: store, fetch and compare, move and remove, one file or a few, the seed says which.

use std::fs;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::Storm;
use super::files::{EDITED, SHARED};
use super::ledger::State;
use super::person::{Person, Ran};
use crate::harness::Choices;

/// Names that each client stores at, and trees of so many files.
const NAMES: u64 = 10;
const TREES: u64 = 2;
const LEAVES: u64 = 6;

/// One client at its work.
pub(super) struct Work<'s, 'a> {
    pub(super) storm: &'s Storm<'a>,
    pub(super) person: &'s Person<'a>,
    /// Its folder, remotely.
    pub(super) home: String,
    pub(super) choices: Choices,
    /// Between two commands, at most.
    pub(super) pause: Duration,
}

impl Storm<'_> {
    /// Stores content of this seed and length.
    pub(super) fn put(
        &self,
        person: &Person<'_>,
        remote: &str,
        (seed, length): (u64, usize),
        options: &[&str],
    ) -> Ran {
        let name = remote.replace('/', "_");
        let (source, content) = person.source(&name, seed, length);
        let state = State::of(&content);
        // Without force an upload goes on where an earlier try of it ended.
        let possible = self.ledger.possible(remote, Instant::now());
        let replaces = |there: &State| *there != state && *there != State::Absent;
        let command: &[&str] = match possible.iter().any(replaces) || SHARED.contains(&remote) {
            true => &["put", "-f", &source, remote],
            false => &["put", &source, remote],
        };
        let command = [options, command].concat();
        let changes = vec![(remote.to_owned(), state)];
        self.changing(person, changes, |person| person.run(&command))
    }

    /// Fetches a file and compares it with what it may be.
    pub(super) fn get(&self, person: &Person<'_>, remote: &str, options: &[&str]) -> Ran {
        let target = person.target(remote);
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::remove_file(&target).ok();
        let shown = target.display().to_string();
        let command = [options, &["get", remote, &shown]].concat();
        let ran = self.counted(person.run(&command));
        let possible = self.ledger.possible(remote, ran.begun);
        let got = State::at(&target);
        let is_wrong = match got {
            State::Absent => ran.is_done(),
            got => !possible.contains(&got),
        };
        let is_missed = ran.stderr.contains("no such file") && !possible.contains(&State::Absent);
        if is_wrong || is_missed {
            self.report.found(format!(
                "get {remote}: {got:?}, possible are {possible:?}: {ran:?}"
            ));
        }
        ran
    }

    /// Runs commands that change what these names stand for.
    pub(super) fn changing(
        &self,
        person: &Person<'_>,
        changes: Vec<(String, State)>,
        run: impl FnOnce(&Person<'_>) -> Ran,
    ) -> Ran {
        let entry = self.ledger.begin(changes);
        let ran = self.counted(run(person));
        self.ledger.end(&entry, ran.is_done());
        ran
    }

    fn counted(&self, ran: Ran) -> Ran {
        self.report.commands.fetch_add(1, Relaxed);
        self.report
            .done
            .fetch_add(u64::from(ran.is_done()), Relaxed);
        let lacked_space = ran.stderr.contains("no space left on the server");
        let lacking = &self.report.lacked_space;
        lacking.fetch_add(u64::from(lacked_space), Relaxed);
        if ran.stderr.contains("panicked") || ran.code > 128 && ran.code != 128 + 9 {
            self.report.found(format!("a client broke down: {ran:?}"));
        }
        ran
    }
}

impl Work<'_, '_> {
    /// One command after the other until the storm is over.
    pub(super) fn run(mut self) {
        while !self.storm.is_over.load(Relaxed) {
            self.step();
            let pause = self.choices.below(1 + self.pause.as_millis() as u64);
            sleep(Duration::from_millis(pause));
        }
    }

    fn step(&mut self) {
        match self.choices.below(100) {
            0..30 => self.put_one(),
            30..48 => self.get_one(),
            48..55 => self.put_shared(),
            55..62 => self.get_at(&SHARED),
            62..68 => self.get_at(&EDITED),
            68..74 => self.put_tree(),
            74..80 => self.get_tree(),
            80..86 => self.rename(),
            86..91 => self.remove(),
            91..94 => self.folder(),
            94..97 => self.sum(),
            _ => self.several(),
        }
    }

    fn name(&mut self) -> String {
        format!("{}/f{}", self.home, self.choices.below(NAMES))
    }

    /// Seed and length: nothing, what fits one frame, what just does or does not, and some blocks.
    fn content(&mut self) -> (u64, usize) {
        let length = match self.choices.below(10) {
            0 => 0,
            1 | 2 => 1 + self.choices.below(200),
            3 | 4 => 57_000 + self.choices.below(700),
            5..8 => 60_000 + self.choices.below(500_000),
            _ => 1_000_000 + self.choices.below(3_000_000),
        };
        (self.choices.next(), length as usize)
    }

    /// Some transfers take as long as the faults do.
    fn options(&mut self) -> &'static [&'static str] {
        match self.choices.below(4) {
            0 => &["--limit-rate", "1M"],
            1 => &["--limit-rate", "300K"],
            _ => &[],
        }
    }

    fn put_one(&mut self) {
        let (name, content, options) = (self.name(), self.content(), self.options());
        let ran = self.storm.put(self.person, &name, content, options);
        // A person tries again: the upload goes on where it was, or begins anew.
        let mut again = self.choices.below(3);
        let mut is_done = ran.is_done();
        while !is_done && again > 0 && !self.storm.is_over.load(Relaxed) {
            is_done = self
                .storm
                .put(self.person, &name, content, options)
                .is_done();
            again -= 1;
        }
    }

    fn get_one(&mut self) {
        let (name, options) = (self.name(), self.options());
        self.storm.get(self.person, &name, options);
    }

    fn put_shared(&mut self) {
        let (name, content, options) =
            (self.choices.one_of(&SHARED), self.content(), self.options());
        self.storm.put(self.person, name, content, options);
    }

    fn get_at(&mut self, names: &[&'static str]) {
        let (name, options) = (self.choices.one_of(names), self.options());
        self.storm.get(self.person, name, options);
    }

    fn put_tree(&mut self) {
        let tree = format!("t{}", self.choices.below(TREES));
        let mut changes = Vec::new();
        for leaf in 0..LEAVES {
            let (seed, length) = self.content();
            let path = format!("{tree}/{}/{leaf}", leaf % 2);
            let (_, content) = self.person.source(&path, seed, length.min(300_000));
            changes.push((format!("{}/{path}", self.home), State::of(&content)));
        }
        let source = self.person.client.path(format!("src/{tree}"));
        let (source, into) = (source.display().to_string(), format!("{}/", self.home));
        self.storm.changing(self.person, changes, |person| {
            person.run(&["put", "-r", "-f", &source, &into])
        });
    }

    fn get_tree(&mut self) {
        let remote = format!("{}/t{}", self.home, self.choices.below(TREES));
        let target = self.person.target(&remote);
        fs::remove_dir_all(&target).ok();
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        let shown = target.display().to_string();
        let ran = self
            .storm
            .counted(self.person.run(&["get", "-r", &remote, &shown]));
        for leaf in 0..LEAVES {
            let path = format!("{}/{leaf}", leaf % 2);
            let possible = self
                .storm
                .ledger
                .possible(&format!("{remote}/{path}"), ran.begun);
            let got = State::at(&target.join(&path));
            let is_left_out = got == State::Absent && !ran.is_done();
            if !possible.contains(&got) && !is_left_out {
                self.storm.report.found(format!(
                    "get -r {remote}/{path}: {got:?}, possible are {possible:?}: {ran:?}"
                ));
            }
        }
    }

    fn rename(&mut self) {
        let (from, to) = (self.name(), self.name());
        let certain = self.storm.ledger.certain(&from);
        let (Some(state @ State::File(_)), true) = (certain, from != to) else {
            return;
        };
        let entry = self.storm.ledger.begin_move(&from, &to, state);
        let ran = self.storm.counted(self.person.run(&["mv", &from, &to]));
        self.storm.ledger.end(&entry, ran.is_done());
    }

    fn remove(&mut self) {
        let name = self.name();
        let changes = vec![(name.clone(), State::Absent)];
        self.storm.changing(self.person, changes, |person| {
            person.run(&["rm", "-f", &name])
        });
    }

    fn folder(&mut self) {
        let name = format!("{}/d{}", self.home, self.choices.below(3));
        let (command, state): (&[&str], _) = match self.choices.below(2) {
            0 => (&["mkdir", "-p", &name], State::Folder),
            _ => (&["rm", "-r", "-f", &name], State::Absent),
        };
        self.storm
            .changing(self.person, vec![(name.clone(), state)], |person| {
                person.run(command)
            });
    }

    fn sum(&mut self) {
        let name = self.name();
        let ran = self.storm.counted(self.person.run(&["sum", &name]));
        let possible = self.storm.ledger.possible(&name, ran.begun);
        let is_right = possible.iter().any(|state| match state {
            State::File(hash) => ran.stdout.contains(hash.to_hex().as_str()),
            _ => false,
        });
        if ran.is_done() && !is_right {
            self.storm
                .report
                .found(format!("sum {name}: {ran:?}, possible are {possible:?}"));
        }
    }

    /// A session of some commands.
    fn several(&mut self) {
        let mut script = String::new();
        let mut changes: Vec<(String, State)> = Vec::new();
        for _ in 0..3 {
            let (name, (seed, length)) = (self.name(), self.content());
            if changes.iter().any(|(other, _)| *other == name) {
                continue;
            }
            let file = name.replace('/', "_");
            let (source, content) = self.person.source(&file, seed, length.min(100_000));
            script.push_str(&format!("put -f {source} {name}\nls -l {}\n", self.home));
            changes.push((name, State::of(&content)));
        }
        self.storm
            .changing(self.person, changes, |person| person.run_script(&script));
    }
}
