//! Every system call of an operation fails, one after the other, once: nobody is told that something is done which is not,
//! no file is torn, nobody hangs, nothing is left behind, and the next one is served.
//!
//! `MINI_FTP_EVERY` (one of so many failures is tried, drawn; 1 for all) and `MINI_FTP_SEED` can be set.

use std::fs;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::{Duration, Instant};

use storage::{LocalDirectory, Storage};

use self::calls::{Counts, Failure, counts, failures};
use self::deed::{DEEDS, Deed, Site};
use crate::harness::{
    Choices, Client, Finished, PATIENCE, Setup, open_descriptors, seed, setting, skipped, staged,
    thread_count, trace_into, wait_for, wait_until,
};

mod calls;
mod deed;

/// Longest that a client may take over a call that fails.
const LONGEST: Duration = Duration::from_secs(20);

/// One of so many failures is tried where nothing else is asked for.
const EVERY: u64 = 40;

/// Threads of sessions that have ended stay for a while.
const RESTING: usize = 3;

/// How a client may end.
const STATUSES: RangeInclusive<i32> = 0..=6;

/// The thread that waits for Ctrl-C, by a library that panics where its own pipe cannot be read; the transfer goes on without.
const SIGNALS: &str = "thread 'signals'";

/// What a client gives up soon: a failure may cost it its connection.
const OPTIONS: [&str; 6] = ["--retries", "2", "--timeout", "3", "--streams", "1"];

#[test]
fn each_call_of_the_slave_may_fail() {
    let Some(mut sweep) = Sweep::new() else {
        return skipped("a sweep takes strace, and the right to trace");
    };
    let mut told = Vec::new();
    for deed in &DEEDS {
        let made = sweep.calls_of_worker(deed);
        let tried = sweep.choose(failures(&made, &Counts::new()));
        let mut injected = 0;
        for failure in &tried {
            injected += sweep.fail_in_worker(deed, failure);
        }
        told.push(format!("{} {injected}", deed.name));
        sweep.assert_nothing_leaks(deed);
    }
    sweep.tell("slave", &told);
}

#[test]
fn each_call_of_the_client_may_fail() {
    let Some(mut sweep) = Sweep::new() else {
        return skipped("a sweep takes strace, and the right to trace");
    };
    // What it takes to start any program is not the operation.
    let started = sweep.calls_of_client(&["--version"]);
    let mut told = Vec::new();
    for deed in DEEDS
        .iter()
        .filter(|deed| deed.name.starts_with("put") || deed.name.starts_with("get"))
    {
        deed.prepare(&sweep.site);
        let made = sweep.calls_of_client(deed.words);
        let tried = sweep.choose(failures(&made, &started));
        let mut injected = 0;
        for failure in &tried {
            injected += sweep.fail_in_client(deed, failure);
        }
        told.push(format!("{} {injected}", deed.name));
        sweep.assert_nothing_leaks(deed);
    }
    sweep.tell("client", &told);
}

struct Sweep {
    site: Site,
    choices: Choices,
    seed: u64,
    every: u64,
    /// Where strace writes.
    logs: tempfile::TempDir,
    /// What the worker has open and how many threads it has before anybody is served.
    at_rest: (usize, usize),
    begun: Instant,
    /// What went wrong, all of it.
    wrong: Vec<String>,
}

impl Sweep {
    /// `None`, and a line that says so, where no call can be made to fail.
    fn new() -> Option<Self> {
        let seed = seed();
        let cluster = Setup::new(1).without_master().workers(1).start();
        let client = cluster.client().options(OPTIONS);
        let logs = tempfile::tempdir().unwrap();
        let worker = cluster.slaves[0].workers()[0];
        drop(trace_into(
            worker,
            &logs.path().join("log"),
            &["-e", "trace=none"],
        )?);
        let mut sweep = Self {
            site: Site { cluster, client },
            choices: Choices(seed),
            seed,
            every: setting("MINI_FTP_EVERY", EVERY),
            logs,
            at_rest: (0, 0),
            begun: Instant::now(),
            wrong: Vec::new(),
        };
        eprintln!("MINI_FTP_SEED={seed} MINI_FTP_EVERY={}", sweep.every);
        sweep.at_rest = sweep.held();
        for deed in &DEEDS {
            sweep.do_well(deed, "at first");
        }
        Some(sweep)
    }

    fn choose(&mut self, failures: Vec<Failure>) -> Vec<Failure> {
        let is_chosen = |_: &Failure| self.choices.below(self.every) == 0;
        failures.into_iter().filter(is_chosen).collect()
    }

    fn worker(&self) -> u32 {
        wait_for("a worker", PATIENCE, || {
            self.site.cluster.slaves[0].workers().first().copied()
        })
    }

    fn log(&self) -> std::path::PathBuf {
        self.logs.path().join("log")
    }

    fn traced<T>(&self, words: &[&str], work: impl FnOnce() -> T) -> T {
        // A worker that has just ended of its failure is replaced.
        let mut strace = wait_for("strace at a worker", PATIENCE, || {
            trace_into(self.worker(), &self.log(), words)
        });
        let result = work();
        strace.terminate(PATIENCE);
        result
    }

    fn calls_of_worker(&self, deed: &Deed) -> Counts {
        self.traced(&[], || self.do_well(deed, "watched"));
        counts(&read(&self.log()))
    }

    fn do_well(&self, deed: &Deed, when: &str) {
        let expected = deed.prepare(&self.site);
        let finished = self.site.client.run(deed.words.iter().copied());
        assert_eq!(finished.code, 0, "{} {when}: {finished:?}", deed.name);
        expected.is_met(&self.site, 0).unwrap();
    }

    /// How often the call was made and failed.
    fn fail_in_worker(&mut self, deed: &Deed, failure: &Failure) -> u64 {
        let words = failure.words();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        self.fail((deed, !deed.is_here), failure, |sweep| {
            let command = deed.words.iter().copied();
            sweep.traced(&words, || sweep.site.client.run(command))
        })
    }

    fn fail_in_client(&mut self, deed: &Deed, failure: &Failure) -> u64 {
        self.fail((deed, deed.is_here), failure, |sweep| {
            sweep.run_traced(&failure.words(), deed.words)
        })
    }

    /// With `stores`, on the side where something is stored: who cannot flush it there must not say that it is.
    fn fail(
        &mut self,
        (deed, stores): (&Deed, bool),
        failure: &Failure,
        run: impl FnOnce(&Self) -> Finished,
    ) -> u64 {
        let expected = deed.prepare(&self.site);
        let begun = Instant::now();
        let finished = run(self);
        let took = begun.elapsed();
        let made = read(&self.log()).contains("(INJECTED)");
        let found = expected.is_met(&self.site, finished.code);
        let told = format!("{}: {failure}: {finished:?}, after {took:?}", deed.name);
        let judged = found.and_then(|()| self.judge(&finished, took));
        if let Err(wrong) = judged {
            self.wrong.push(format!("{told}: {wrong}"));
        }
        if stores && made && failure.call == "fsync" && finished.code == 0 {
            self.wrong.push(format!("{told}: it is not flushed"));
        }
        self.do_well(deed, &told);
        u64::from(made)
    }

    fn calls_of_client(&self, words: &[&str]) -> Counts {
        self.run_traced(&[], words).succeeded();
        counts(&read(&self.log()))
    }

    fn run_traced(&self, strace: &[String], words: &[&str]) -> Finished {
        let plain = self.site.client.command(words.iter().copied());
        let mut command = std::process::Command::new("strace");
        command.args(["-f", "-o"]).arg(self.log()).args(strace);
        command.arg(plain.get_program()).args(plain.get_args());
        command.current_dir(plain.get_current_dir().unwrap());
        for (name, value) in plain.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        Client::new("nobody").finish(command, b"")
    }

    /// A client ends soon, and well or with a sentence; a notice of what it went through may stand before that.
    fn judge(&self, finished: &Finished, took: Duration) -> Result<(), String> {
        let said: Vec<&str> = finished.stderr.lines().collect();
        let panicked = |line: &&str| line.contains("panicked") && !line.contains(SIGNALS);
        let is_sentence = |line: &&str| line.starts_with("ftpclient: ");
        let slave = self.site.cluster.slaves[0].process.stderr();
        for (is_wrong, wrong) in [
            (took >= LONGEST, "it hangs"),
            (
                !STATUSES.contains(&finished.code),
                "a status that nobody knows",
            ),
            (said.iter().any(panicked), "a panic"),
            (slave.contains("panicked"), "a panic of the slave"),
            (
                finished.code != 0 && !said.iter().any(is_sentence),
                "no word of why",
            ),
        ] {
            if is_wrong {
                return Err(wrong.to_owned());
            }
        }
        Ok(())
    }

    /// How much is open, and how many threads there are.
    fn held(&self) -> (usize, usize) {
        let worker = self.worker();
        (open_descriptors(worker).len(), thread_count(worker))
    }

    /// Nobody is served any more: what is open is what was before anybody came, and what is staged is nobody's.
    fn assert_nothing_leaks(&self, deed: &Deed) {
        let told = format!("{}: as much to be open as before", deed.name);
        wait_until(&told, PATIENCE, || {
            let (descriptors, threads) = self.held();
            descriptors <= self.at_rest.0 && threads <= self.at_rest.1 + RESTING
        });
        let root = self.site.cluster.root();
        let storage = LocalDirectory::open(&root).unwrap();
        storage.sweep(Duration::ZERO, u64::MAX).unwrap();
        assert!(
            staged(&root).is_empty(),
            "{}: {:?}",
            deed.name,
            staged(&root)
        );
    }

    fn tell(&self, side: &str, told: &[String]) {
        assert!(
            self.wrong.is_empty(),
            "seed {}: {}",
            self.seed,
            self.wrong.join("\n")
        );
        eprintln!(
            "failing calls of the {side}: seed {}, one of {}: {} ({:?}); 0 false acknowledgements, 0 torn, 0 hung, 0 left",
            self.seed,
            self.every,
            told.join(", "),
            self.begun.elapsed()
        );
    }
}

fn read(log: &Path) -> String {
    let bytes = fs::read(log).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}
