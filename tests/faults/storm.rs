//! A storm over a cluster: about one fault a second, of every kind that this machine can make, drawn from a seed, while
//! clients store, fetch, move and remove files and keep a ledger of what they were told. Then everything is healed, and
//! the ledger must hold, byte for byte, and nothing may be left over.
//!
//! `make faults` runs it long. `MINI_FTP_SEED` (drawn, and shown), `MINI_FTP_SECONDS` (30), `MINI_FTP_SEEDS` (1, one storm
//! after another), `MINI_FTP_CLIENTS` (8) and `MINI_FTP_MILLISECONDS` (750, between two faults) can be set; the same seed
//! draws the same storm.

mod checks;
mod clocks;
mod disks;
mod files;
mod healing;
mod ledger;
mod lines;
mod network;
mod person;
mod processes;
mod report;
mod schedule;
mod work;
mod world;

use std::any::Any;
use std::collections::BTreeMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::thread::{Builder, Scope, scope, sleep};
use std::time::{Duration, Instant};

use crate::harness::{Choices, Client, seed, setting, skipped};
use ledger::Ledger;
use network::{Machine, Network};
use person::Person;
use report::Report;
use schedule::{Event, Kind};
use work::Work;
use world::{SLAVES, World};

/// Whether a fault has struck, or why not.
type Struck = Result<(), String>;

/// Kinds of faults that even a short storm has.
const LEAST_KINDS: usize = 12;

/// What all threads of a storm share.
struct Storm<'a> {
    world: &'a World<'a>,
    report: &'a Report,
    ledger: Ledger,
    /// Those who work all the time,
    people: Vec<Person<'a>>,
    /// those whom faults give something to do,
    helpers: Mutex<[Person<'a>; 2]>,
    /// and one who comes when all is over.
    auditor: Person<'a>,
    /// Held while there is a slave of another storage.
    stranger: Mutex<()>,
    is_over: AtomicBool,
    /// How often a damaged file was told to be one.
    told: AtomicU64,
}

/// How hard it blows.
#[derive(Clone, Copy, Debug)]
struct Force {
    seconds: u64,
    clients: usize,
    pause: Duration,
}

#[test]
fn nothing_that_was_acknowledged_is_lost_torn_or_mixed_whatever_goes_wrong() {
    let force = Force {
        seconds: setting("MINI_FTP_SECONDS", 30),
        clients: setting("MINI_FTP_CLIENTS", 8).clamp(1, 64) as usize,
        pause: Duration::from_millis(setting("MINI_FTP_MILLISECONDS", 750).max(50)),
    };
    let (first, storms) = (seed(), setting("MINI_FTP_SEEDS", 1));
    let mut all: BTreeMap<Kind, u64> = BTreeMap::new();
    let begun = Instant::now();
    for seed in (first..).take(storms as usize) {
        let Some(events) = weather(seed, force) else {
            return;
        };
        for (kind, count) in events {
            *all.entry(kind).or_default() += count;
        }
    }
    if storms > 1 {
        let (events, kinds): (u64, _) = (all.values().sum(), all.len());
        let took = begun.elapsed().as_secs();
        eprintln!(
            "storms: seeds {first} to {}, {took} s in all, {events} events of {kinds} kinds ({}), nothing found",
            first + storms - 1,
            counts(&all)
        );
    }
}

/// One storm; how often each kind of fault has struck, or `None` where the machine does not let us make one.
fn weather(seed: u64, force: Force) -> Option<BTreeMap<Kind, u64>> {
    let Force {
        seconds, clients, ..
    } = force;
    eprintln!("MINI_FTP_SEED={seed} MINI_FTP_SECONDS={seconds} MINI_FTP_CLIENTS={clients}");
    let folder = tempfile::Builder::new()
        .prefix("mini-ftp-storm-")
        .tempdir()
        .unwrap();
    let report = Report::new(folder.path().join("logs"));
    let machines = (0..2)
        .map(Machine::Master)
        .chain((0..SLAVES).map(Machine::Slave))
        .chain([Machine::Stranger])
        .chain((0..clients + 3).map(Machine::Client));
    let network = Network::lay(machines)
        .inspect_err(|reason| skipped(format_args!("a storm needs namespaces: {reason}")))
        .ok()?;
    // What flips on the way is found by TLS in every other storm, by nobody but us in the rest.
    let tls = ["auto", "never"][(seed % 2) as usize];
    let mebibytes = 128 + 24 * clients as u32;
    let world = World::raise(&network, folder.path(), (mebibytes, tls))?;
    let mut choices = Choices(seed);
    let events = schedule::draw(&mut choices, seconds, force.pause);
    let storm = Storm::over(&world, &report, clients);
    let outcome = catch_unwind(AssertUnwindSafe(|| storm.rage(&events, force, choices)));
    if let Err(panic) = outcome {
        report.found(format!("broke off: {}", said(&*panic)));
    }
    world
        .end()
        .into_iter()
        .for_each(|wrong| report.found(wrong));
    storm.check_after_the_end(folder.path());
    let struck = report.events();
    if struck.len() < LEAST_KINDS.min(events.len() * 3 / 4) {
        report.found(format!("only {} kinds of faults have struck", struck.len()));
    }
    eprintln!("{}", storm.summary(seed, seconds));
    let findings = report.findings();
    if !findings.is_empty() {
        let kept = keep(&storm, &events, folder);
        panic!("seed {seed}: {findings:#?}\nlogs, schedule and files are in '{kept}'");
    }
    Some(struck)
}

impl<'a> Storm<'a> {
    fn over(world: &'a World<'a>, report: &'a Report, clients: usize) -> Self {
        let person = |index: usize| {
            let options = ["--no-progress", "--wait", "15", "--tls", world.tls];
            // Half of them ask the other master first.
            let client = Client::new(World::hosts(index % 2)).options(options);
            Person::new((client, Machine::Client(index)), world.network, report)
        };
        Self {
            world,
            report,
            ledger: Ledger::default(),
            people: (0..clients).map(person).collect(),
            helpers: Mutex::new([person(clients), person(clients + 1)]),
            auditor: person(clients + 2),
            stranger: Mutex::default(),
            is_over: AtomicBool::new(false),
            told: AtomicU64::new(0),
        }
    }

    /// The whole of it: calm, storm, healing, checks.
    fn rage(&self, events: &[Event], force: Force, mut choices: Choices) {
        self.world.wait_for_slaves();
        let rest = self.world.holdings().expect("all processes are there");
        files::lay_out(self);
        for index in 0..self.people.len() {
            fs::create_dir(self.world.root().join(format!("c{index}"))).unwrap();
        }
        let begun = Instant::now();
        scope(|threads| {
            for (index, person) in self.people.iter().enumerate() {
                let work = Work {
                    storm: self,
                    person,
                    home: format!("/c{index}"),
                    choices: Choices(choices.next()),
                    pause: force.pause / 2,
                };
                self.spawn(threads, format!("client {index}"), || work.run());
            }
            scope(|faults| {
                for event in events {
                    sleep(event.at.saturating_sub(begun.elapsed()));
                    self.spawn(faults, event.to_string(), || self.strike(event));
                }
                sleep(Duration::from_secs(force.seconds).saturating_sub(begun.elapsed()));
                self.is_over.store(true, Relaxed);
            });
            self.heal();
        });
        self.check(&rest);
    }

    /// A thread whose panic is a finding.
    fn spawn<'scope>(
        &'scope self,
        threads: &'scope Scope<'scope, '_>,
        name: String,
        work: impl FnOnce() + Send + 'scope,
    ) {
        let guarded = move || {
            if let Err(panic) = catch_unwind(AssertUnwindSafe(work)) {
                self.report.found(format!("{name}: {}", said(&*panic)));
            }
        };
        Builder::new().spawn_scoped(threads, guarded).unwrap();
    }

    fn strike(&self, event: &Event) {
        use Kind as K;
        let struck = match event.kind {
            K::FillDisk
            | K::FailCallWithEio
            | K::FailCallWithEnospc
            | K::SlowDisk
            | K::UseUpDescriptors
            | K::FlipBitOnDisk => disks::strike(self, event),
            K::StepSlaveClock | K::StepMasterClock => self.step_clock(event),
            K::UploadTwice
            | K::EditWhileRead
            | K::TruncateWhileRead
            | K::ReplaceWhileRead
            | K::DeleteWhileRead => files::strike(self, event),
            kind if kind < K::CutSlaveToClients => processes::strike(self, event),
            _ => lines::strike(self, event),
        };
        match struck {
            Ok(()) => self.report.struck(event),
            Err(why) => self
                .report
                .write(&format!("did not strike: {event}: {why}")),
        }
    }

    fn step_clock(&self, event: &Event) -> Struck {
        const STEPS: [i64; 8] = [-86_400, -3_600, -60, -2, 2, 60, 3_600, 86_400];
        let server = match event.kind {
            Kind::StepMasterClock => 0,
            _ => 1 + event.dice as usize % SLAVES,
        };
        let clock = &self.world.clocks[server];
        clock.set_ahead(STEPS[(event.dice >> 8) as usize % STEPS.len()])?;
        sleep(event.lasts);
        clock.set_ahead(0)
    }

    fn summary(&self, seed: u64, seconds: u64) -> String {
        let report = self.report;
        let struck = report.events();
        let (events, kinds): (u64, _) = (struck.values().sum(), struck.len());
        let [commands, done, files, bytes] =
            [&report.commands, &report.done, &report.files, &report.bytes]
                .map(|count| count.load(Relaxed));
        format!(
            "storm: seed {seed}, {seconds} s, {events} events of {kinds} kinds ({}); {commands} commands ({done} done), {} \
             files acknowledged; rot told {} times; {files} files compared ({} MiB); {} found",
            counts(&struck),
            self.ledger.acknowledged(),
            self.told.load(Relaxed),
            bytes >> 20,
            report.findings().len()
        )
    }
}

fn counts(events: &BTreeMap<Kind, u64>) -> String {
    let each = events
        .iter()
        .map(|(kind, count)| format!("{kind:?} {count}"));
    each.collect::<Vec<_>>().join(", ")
}

fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("it panicked").to_owned()
}

/// Keeps what shows how it came to the findings; where.
fn keep(storm: &Storm<'_>, events: &[Event], folder: tempfile::TempDir) -> String {
    let path = folder.keep();
    let logs = path.join("logs");
    let lines: Vec<String> = events.iter().map(Event::to_string).collect();
    fs::write(logs.join("schedule"), lines.join("\n")).ok();
    for (name, said) in storm.world.logs() {
        fs::write(logs.join(name), said).ok();
    }
    copy(&storm.world.root(), &logs.join("root"));
    for (index, person) in storm.people.iter().enumerate() {
        copy(
            &person.client.folder(),
            &logs.join(format!("files-{index}")),
        );
    }
    logs.display().to_string()
}

fn copy(from: &Path, to: &Path) {
    Command::new("cp").arg("-a").args([from, to]).status().ok();
}

/// Locks what is whole even if somebody broke down who held it.
fn whole<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
