//! What the storm leaves to read: findings, counts, and the logs where something was found.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::schedule::Event;
use super::tally::Tally;
use super::whole;

/// Shared by all who take part.
pub(super) struct Report {
    folder: PathBuf,
    begun: Instant,
    healed: Mutex<Option<Instant>>,
    findings: Mutex<Vec<String>>,
    events: Mutex<Tally>,
    longest: Mutex<Duration>,
    log: Mutex<File>,
    /// Commands that ended, and those with status 0.
    pub(super) commands: AtomicU64,
    pub(super) done: AtomicU64,
    /// Commands that were told that the disk is full.
    pub(super) lacked_space: AtomicU64,
    /// Files and bytes that were compared after the storm.
    pub(super) files: AtomicU64,
    pub(super) bytes: AtomicU64,
}

impl Report {
    /// A report whose logs go to `folder`.
    pub(super) fn new(folder: PathBuf) -> Self {
        fs::create_dir_all(&folder).unwrap();
        let log = File::create(folder.join("events")).unwrap();
        Self {
            folder,
            begun: Instant::now(),
            healed: Mutex::default(),
            findings: Mutex::default(),
            events: Mutex::default(),
            longest: Mutex::default(),
            log: Mutex::new(log),
            commands: AtomicU64::new(0),
            done: AtomicU64::new(0),
            lacked_space: AtomicU64::new(0),
            files: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        }
    }

    /// A log of its own for somebody.
    pub(super) fn log(&self, name: &str) -> File {
        File::create(self.path(name)).unwrap()
    }

    /// Where that is.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    pub(super) fn since_start(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Something that must not be.
    pub(super) fn found(&self, what: String) {
        self.write(&format!("FOUND {what}"));
        eprintln!("found: {what}");
        whole(&self.findings).push(what);
    }

    /// What was found.
    pub(super) fn findings(&self) -> Vec<String> {
        whole(&self.findings).clone()
    }

    /// A fault has struck so often.
    pub(super) fn struck(&self, event: &Event, hits: u64) {
        whole(&self.events).note(event.kind, hits);
        self.write(&format!("struck: {event}: {hits} hits"));
    }

    /// A command took so long.
    pub(super) fn took(&self, time: Duration) {
        let mut longest = whole(&self.longest);
        *longest = time.max(*longest);
    }

    /// What the longest command took.
    pub(super) fn longest(&self) -> Duration {
        *whole(&self.longest)
    }

    /// A line for whoever reads the log of events.
    pub(super) fn write(&self, line: &str) {
        let at = self.since_start();
        writeln!(whole(&self.log), "{at:?} {line}").unwrap();
    }

    /// Events so far, by kind.
    pub(super) fn events(&self) -> Tally {
        whole(&self.events).clone()
    }

    /// Nothing is in anybody's way any more, from now on.
    pub(super) fn healed(&self) {
        *whole(&self.healed) = Some(Instant::now());
        self.write("healed");
    }

    /// For how long that has been so.
    pub(super) fn healed_for(&self) -> Duration {
        whole(&self.healed).map_or(Duration::ZERO, |then| then.elapsed())
    }

    /// A file was compared.
    pub(super) fn compared(&self, path: &Path) {
        self.files.fetch_add(1, Relaxed);
        let length = fs::metadata(path).map_or(0, |facts| facts.len());
        self.bytes.fetch_add(length, Relaxed);
    }
}
