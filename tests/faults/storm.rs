//! A storm over a cluster: about one fault a second, of every kind that this machine can make, drawn from a seed, while
//! clients store, fetch, move and remove files and keep a ledger of what they were told. Then everything is healed, and
//! the ledger must hold, byte for byte, and nothing may be left over.
//!
//! A fault counts where somebody felt it: a call has failed, a packet was lost, a process was there. Those that were made and
//! felt by nobody are told beside.
//!
//! `make faults` runs it long. `MINI_FTP_SEED` (drawn, and shown), `MINI_FTP_SECONDS` (120), `MINI_FTP_SEEDS` (1, one storm
//! after another), `MINI_FTP_CLIENTS` (8; 0 has the seed choose 8 to 64) and `MINI_FTP_MILLISECONDS` (750, between two faults)
//! can be set; the same seed draws the same storm. It gives way to other programs, as it runs beside all other tests.

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
mod tally;
mod work;
mod world;

use std::any::Any;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::thread::{Builder, Scope, scope, sleep};
use std::time::{Duration, Instant};

use crate::harness::{Choices, Client, at_low_priority, done_as_superuser, seed, setting, skipped};
use ledger::Ledger;
use network::{Machine, Network};
use person::Person;
use report::Report;
use schedule::{Event, Kind};
use tally::Tally;
use work::Work;
use world::{SLAVES, World};

/// How many a fault has hit: processes, packets, calls, connections; 0 where nobody felt it. Or why it could not be made.
type Struck = Result<u64, String>;

/// Kinds of faults that are felt even in one storm, and in several together.
const LEAST_KINDS: usize = 12;
const LEAST_KINDS_OF_SEVERAL: usize = 25;

/// Numbers of clients where the seed says how many.
const CROWDS: [usize; 5] = [8, 16, 8, 32, 64];

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

/// Has everybody stop working when it is dropped.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// How hard it blows.
#[derive(Clone, Copy, Debug)]
struct Force {
    seconds: u64,
    /// 0 where the seed says how many.
    clients: usize,
    pause: Duration,
}

#[test]
fn nothing_that_was_acknowledged_is_lost_torn_or_mixed_whatever_goes_wrong() {
    if done_as_superuser() {
        return;
    }
    at_low_priority(storms);
}

fn storms() {
    let force = Force {
        seconds: setting("MINI_FTP_SECONDS", 120),
        clients: setting("MINI_FTP_CLIENTS", 8).min(64) as usize,
        pause: Duration::from_millis(setting("MINI_FTP_MILLISECONDS", 750).max(50)),
    };
    let (first, storms) = (seed(), setting("MINI_FTP_SEEDS", 1));
    let mut all = Tally::default();
    let begun = Instant::now();
    for seed in (first..).take(storms as usize) {
        let Some(events) = weather(seed, force) else {
            return;
        };
        all.note_all(&events);
    }
    if storms > 1 {
        let took = begun.elapsed().as_secs();
        eprintln!(
            "storms: seeds {first} to {}, {took} s in all, {all}, nothing found",
            first + storms - 1,
        );
        assert_eq!(all.lacks(LEAST_KINDS_OF_SEVERAL), None);
    }
}

/// One storm; how often each kind of fault has struck, or `None` where the machine does not let us make one.
fn weather(seed: u64, force: Force) -> Option<Tally> {
    let seconds = force.seconds;
    let clients = match force.clients {
        // Those with TLS and those without have every number.
        0 => CROWDS[(seed / 2) as usize % CROWDS.len()],
        clients => clients,
    };
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
    if let Some(lack) = struck.lacks(LEAST_KINDS) {
        report.found(lack);
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
            let machine = Machine::Client(index);
            Person::new(
                (client, format!("{machine:?}")),
                world.place(machine),
                report,
            )
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
        let rest = self.world.gauge().read();
        files::lay_out(self);
        for index in 0..self.people.len() {
            fs::create_dir(self.world.root().join(format!("c{index}"))).unwrap();
        }
        let begun = Instant::now();
        scope(|threads| {
            // However this ends: who works on would keep us here for ever.
            let over = Over(&self.is_over);
            for (index, person) in self.people.iter().enumerate() {
                let work = Work {
                    storm: self,
                    person,
                    home: format!("/c{index}"),
                    choices: Choices(choices.next()),
                    // Many together give little more to do than eight: processors are not what is to be short.
                    pause: force.pause * self.people.len().max(8) as u32 / 16,
                };
                self.spawn(threads, format!("client {index}"), || work.run());
            }
            scope(|faults| {
                for event in events {
                    sleep(event.at.saturating_sub(begun.elapsed()));
                    self.spawn(faults, event.to_string(), || self.strike(event));
                }
                sleep(Duration::from_secs(force.seconds).saturating_sub(begun.elapsed()));
                drop(over);
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
            Ok(hits) => self.report.struck(event, hits),
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
        let before = clock.told();
        clock.set_ahead(STEPS[(event.dice >> 8) as usize % STEPS.len()])?;
        sleep(event.lasts);
        clock.set_ahead(0)?;
        Ok(clock.told() - before)
    }

    fn summary(&self, seed: u64, seconds: u64) -> String {
        let report = self.report;
        let clients = self.people.len();
        let [commands, done, files, bytes] =
            [&report.commands, &report.done, &report.files, &report.bytes]
                .map(|count| count.load(Relaxed));
        format!(
            "storm: seed {seed}, {seconds} s, {clients} clients, {}; {commands} commands ({done} done, the longest in {:.1} s), {} \
             files acknowledged; rot told {} times; {files} files compared ({} MiB); {} found",
            report.events(),
            report.longest().as_secs_f64(),
            self.ledger.acknowledged(),
            self.told.load(Relaxed),
            bytes >> 20,
            report.findings().len()
        )
    }
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
