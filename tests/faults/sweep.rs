//! Every system call of an operation fails, one after the other, once: nobody is told that something is done which is not,
//! no file is torn, nobody hangs, nothing is left behind but what is gone on with, and the next one is served.
//!
//! `MINI_FTP_EVERY` (one of so many failures is tried, drawn; 1 for all) and `MINI_FTP_SEED` can be set.

use std::fmt;
use std::fs;
use std::ops::{AddAssign, RangeInclusive};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use self::calls::{Counts, Failure, counts, failures, has_failed};
use self::deed::{DEEDS, Deed, Expected};
use self::site::Site;
use crate::harness::{
    Choices, Finished, PATIENCE, done_as_superuser, open_descriptors, seed, setting, skipped,
    sweep_staging, thread_count, trace_into, wait_for, wait_until,
};

mod calls;
mod deed;
mod site;

/// Longest that a client may take over a call that fails.
const LONGEST: Duration = Duration::from_secs(20);

/// One of so many failures is tried where nothing else is asked for.
const EVERY: u64 = 120;

/// A call need not be made again that was made once: so often it is looked for.
const TRIES: u32 = 2;

/// What is asked for then, of a slave that starts a worker anew: the later, the more often it had to of late.
const PATIENTLY: [&str; 2] = ["--wait", "10"];

/// Threads of sessions that have ended stay for a while.
const RESTING: usize = 3;

/// How a client may end.
const STATUSES: RangeInclusive<i32> = 0..=6;

/// The thread that waits for Ctrl-C, by a library that panics where its own pipe cannot be read; the transfer goes on without.
const SIGNALS: &str = "thread 'signals'";

#[test]
fn each_call_of_the_slave_may_fail() {
    sweep(Side::Slave, Site::alone);
}

#[test]
fn each_call_of_the_client_may_fail() {
    sweep(Side::Client, Site::alone);
}

#[test]
fn each_call_of_the_master_may_fail() {
    sweep(Side::Master, Site::behind_master);
}

#[test]
fn each_call_of_the_slave_of_a_master_may_fail_within_tls() {
    sweep(Side::Slave, Site::behind_master);
}

#[test]
fn each_call_of_the_client_of_a_master_may_fail_within_tls() {
    sweep(Side::Client, Site::behind_master);
}

/// Whose calls fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Master,
    Slave,
    Client,
}

/// Failures that were tried, and those of them that came, as strace(1) says.
#[derive(Clone, Copy, Default)]
struct Tally {
    tried: u64,
    hit: u64,
}

fn sweep(side: Side, site: impl FnOnce() -> Site) {
    if done_as_superuser() {
        return;
    }
    let Some(mut sweep) = Sweep::new(side, site()) else {
        return skipped("a sweep takes strace, and the right to trace");
    };
    let started = sweep.calls_of_start();
    let mut told = Vec::new();
    let mut total = Tally::default();
    for deed in &DEEDS {
        let made = sweep.calls_of(deed);
        let mut tally = Tally::default();
        for failure in sweep.choose(failures(&made, &started)) {
            tally.tried += 1;
            let mut tries = 0..TRIES;
            tally.hit += u64::from(tries.any(|_| sweep.fail(deed, &failure)));
        }
        sweep.assert_nothing_leaks(deed);
        let line = format!("{} {tally}", deed.name);
        eprintln!("failing calls of the {}, {}: {line}", side, sweep.site.name);
        told.push(line);
        total += tally;
    }
    sweep.tell(total, &told);
}

struct Sweep {
    side: Side,
    site: Site,
    choices: Choices,
    seed: u64,
    every: u64,
    /// Where strace writes.
    logs: tempfile::TempDir,
    /// What the server has open and how many threads it has before anybody is served.
    at_rest: (usize, usize),
    begun: Instant,
    /// What went wrong, all of it.
    wrong: Vec<String>,
}

impl Sweep {
    /// `None` where no call can be made to fail.
    fn new(side: Side, site: Site) -> Option<Self> {
        let seed = seed();
        let logs = tempfile::tempdir().unwrap();
        let log = logs.path().join("log");
        drop(trace_into(site.worker(), &log, &["-e", "trace=none"]).ok()?);
        let mut sweep = Self {
            side,
            site,
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
        // The first visit is like no other: whom a client meets it remembers.
        let [first, ..] = &DEEDS;
        let expected = first.prepare(&sweep.site);
        sweep.go_on(first, &expected).unwrap();
        Some(sweep)
    }

    fn choose(&mut self, failures: Vec<Failure>) -> Vec<Failure> {
        let is_chosen = |_: &Failure| self.choices.below(self.every) == 0;
        failures.into_iter().filter(is_chosen).collect()
    }

    fn log(&self) -> PathBuf {
        self.logs.path().join("log")
    }

    fn read_log(&self) -> String {
        let bytes = fs::read(self.log()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// What it takes to start any client is not the operation.
    fn calls_of_start(&self) -> Counts {
        match self.side {
            Side::Master | Side::Slave => Counts::new(),
            Side::Client => {
                self.run(&["--version"], &[]).0.succeeded();
                let log = self.read_log();
                let (start, _) = log.split_once(" write(1,").expect("a version");
                counts(start)
            }
        }
    }

    fn calls_of(&self, deed: &Deed) -> Counts {
        let expected = deed.prepare(&self.site);
        let (finished, _) = self.run(deed.words, &[]);
        let code = finished.succeeded().code;
        expected.is_met(&self.site, code).unwrap();
        counts(&self.read_log())
    }

    /// Runs a command of the client, and says how long it took, with strace(1), which is told these words, at whose calls are swept.
    fn run(&self, words: &[&str], strace: &[String]) -> (Finished, Duration) {
        let mut command = self.site.client.command(words.iter().copied());
        let mut traced = None;
        match self.side {
            Side::Client => command = self.under_strace(&command, strace),
            Side::Master | Side::Slave => {
                let strace: Vec<&str> = strace.iter().map(String::as_str).collect();
                // A worker that has just ended of its failure is replaced.
                traced = Some(wait_for("strace at a server", PATIENCE, || {
                    trace_into(self.server(), &self.log(), &strace).ok()
                }));
            }
        }
        let begun = Instant::now();
        let finished = self.site.client.finish(command, b"");
        let took = begun.elapsed();
        if let Some(mut strace) = traced {
            // Asked to end, it can wait in vain for a process that ends as it is let go.
            strace.kill();
        }
        (finished, took)
    }

    /// The server's process whose calls are swept, or that serves the client whose are.
    fn server(&self) -> u32 {
        match self.side {
            Side::Master => self.site.master(),
            Side::Slave | Side::Client => self.site.worker(),
        }
    }

    fn under_strace(&self, plain: &Command, strace: &[String]) -> Command {
        let mut command = Command::new("strace");
        command.args(["-f", "-o"]).arg(self.log()).args(strace);
        command.arg(plain.get_program()).args(plain.get_args());
        command.current_dir(plain.get_current_dir().unwrap());
        for (name, value) in plain.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command
    }

    /// Whether the call was made, and failed.
    fn fail(&mut self, deed: &Deed, failure: &Failure) -> bool {
        let expected = deed.prepare(&self.site);
        let (finished, took) = self.run(deed.words, &failure.words());
        let has_failed = has_failed(&self.read_log());
        // Who cannot flush it where it is stored must not say that it is.
        let stores = match self.side {
            Side::Master => false,
            Side::Slave => !deed.is_here,
            Side::Client => deed.is_here,
        };
        let is_unflushed = stores && has_failed && failure.call == "fsync" && finished.code == 0;
        let judged = match is_unflushed {
            true => Err("it is not flushed".to_owned()),
            false => expected.is_met(&self.site, finished.code),
        };
        let judged = judged.and_then(|()| self.judge(&finished, took));
        if self.side == Side::Master {
            self.site.revive_master();
        }
        let judged = judged.and_then(|()| self.go_on(deed, &expected));
        if let Err(wrong) = judged {
            let told = format!("{}: {failure}: {finished:?}, after {took:?}", deed.name);
            eprintln!("{told}: {wrong}");
            self.wrong.push(format!("{told}: {wrong}"));
        }
        has_failed
    }

    /// A client ends soon, and well or with a sentence; a notice of what it went through may stand before that.
    fn judge(&self, finished: &Finished, took: Duration) -> Result<(), String> {
        let said: Vec<&str> = finished.stderr.lines().collect();
        let panicked = |line: &&str| line.contains("panicked") && !line.contains(SIGNALS);
        // That thread may write in the middle of a line.
        let is_mixed = said.iter().any(|line| line.contains(SIGNALS));
        let is_sentence = |line: &&str| {
            line.starts_with("ftpclient: ") || (is_mixed && line.contains("ftpclient: "))
        };
        let mut servers = self.site.cluster.servers();
        for (is_wrong, wrong) in [
            (took >= LONGEST, "it hangs"),
            (
                !STATUSES.contains(&finished.code),
                "a status that nobody knows",
            ),
            (said.iter().any(panicked), "a panic"),
            (
                servers.any(|server| server.process.stderr().contains("panicked")),
                "a panic of a server",
            ),
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

    /// The next one, who asks for the same, is served as soon as who has ended of the failure is replaced: all is done then, and
    /// nothing is kept of the first try any more.
    fn go_on(&self, deed: &Deed, expected: &Expected<'_>) -> Result<(), String> {
        let may_be_refused = deed.is_once && expected.is_done(&self.site);
        let words = PATIENTLY.iter().chain(deed.words);
        let next = self.site.client.run(words.copied());
        let unfinished = self.site.unfinished();
        let is_well = (next.code == 0 || may_be_refused) && expected.is_done(&self.site);
        match is_well && unfinished.is_empty() {
            true => Ok(()),
            false => Err(format!("then, {next:?}, and it keeps {unfinished:?}")),
        }
    }

    /// How much is open, and how many threads there are.
    fn held(&self) -> (usize, usize) {
        let server = self.server();
        (open_descriptors(server).len(), thread_count(server))
    }

    /// Nobody is served any more: what is open is what was before anybody came, and what is staged is nobody's.
    fn assert_nothing_leaks(&self, deed: &Deed) {
        let told = format!("{}: as much to be open as before", deed.name);
        wait_until(&told, PATIENCE, || {
            let (descriptors, threads) = self.held();
            descriptors <= self.at_rest.0 && threads <= self.at_rest.1 + RESTING
        });
        sweep_staging(&self.site.cluster.root());
    }

    fn tell(&self, total: Tally, told: &[String]) {
        let Self {
            side,
            site,
            seed,
            every,
            begun,
            wrong,
            ..
        } = self;
        assert!(wrong.is_empty(), "seed {seed}: {}", wrong.join("\n"));
        eprintln!(
            "failing calls of the {side}, {}: seed {seed}, one of {every}: {total}: {} ({:?}); 0 false acknowledgements, 0 torn, \
             0 hung, 0 left",
            site.name,
            told.join(", "),
            begun.elapsed()
        );
    }
}

impl fmt::Display for Side {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Master => "master",
            Self::Slave => "slave",
            Self::Client => "client",
        })
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} hit of {}", self.hit, self.tried)
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.tried += other.tried;
        self.hit += other.hit;
    }
}
