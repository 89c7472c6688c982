//! What is measured, a file for each of the issues a person has with a file server.

pub mod idle;
pub mod large;
pub mod latency;
pub mod links;
pub mod listing;
pub mod one_core;
pub mod rates;
pub mod tls;
pub mod trees;

use std::cell::Cell;
use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::command;
use crate::content::{check_file, check_tree, remove};
use crate::contest::{Asked, Sample, Unit};
use crate::harness::{Cluster, HERE, Place, Server};
use crate::memory;
use crate::peers::{Peer, Served, give_away};
use crate::report::Report;
use crate::settings::Settings;

/// What every scenario is given.
pub struct World {
    pub settings: Settings,
    pub report: Report,
    /// Servers of others that are installed and wanted.
    pub peers: Vec<&'static Peer>,
}

impl World {
    /// Starts every peer over `root` in the network of this thread; one that does not start is named in the report.
    pub fn serve(&mut self, root: &Path, ip: IpAddr) -> Vec<Served> {
        let mut served = Vec::new();
        for peer in &self.peers {
            match Served::start(peer, root, ip) {
                Ok(server) => served.push(server),
                Err(why) => self.report.note(why),
            }
        }
        served
    }

    /// Judges the most memory that a worker of `slaves` ever took.
    pub fn workers_stay_small(&mut self, scenario: &str, slaves: &[Server]) {
        let peaks = slaves.iter().flat_map(Server::workers).map(memory::peak);
        self.memory(
            &format!("{scenario}: a worker's most memory"),
            peaks.max().unwrap_or(0),
        );
    }

    /// Judges the most memory that a process took, in bytes.
    pub fn memory(&mut self, work: &str, peak: u64) {
        let asked = Asked::AtMost(64.0 * 1024.0);
        let kibibytes = peak as f64 / 1024.0;
        self.report
            .figure(work, Unit::Kibibytes, kibibytes, (asked, ""));
    }
}

/// Where peers store what is sent to them, in the served folder.
pub const UPLOADS: &str = "up";

/// Lets servers that run as another user read what a cluster serves, and write to one folder of it.
pub fn share(cluster: &Cluster) {
    share_folder(&cluster.root());
}

/// The same for any folder below one of ours.
pub fn share_folder(root: &Path) {
    fs::set_permissions(root.parent().unwrap(), PermissionsExt::from_mode(0o755)).unwrap();
    fs::create_dir(root.join(UPLOADS)).unwrap();
    give_away(&root.join(UPLOADS));
}

/// A transfer that is timed, checked and undone, over and over.
pub struct Transfer<'a> {
    source: &'a Path,
    /// Where the copy appears; it is removed before and after.
    pub target: &'a Path,
    check: fn(&Path, &Path, usize) -> Result<(), String>,
    place: &'a Place,
    patience: Duration,
    peak: Cell<u64>,
}

impl<'a> Transfer<'a> {
    /// Of a file.
    pub fn file(settings: &Settings, (source, target): (&'a Path, &'a Path)) -> Self {
        Self {
            source,
            target,
            check: check_file,
            place: &HERE,
            patience: settings.patience,
            peak: Cell::new(0),
        }
    }

    /// Of a tree.
    pub fn tree(settings: &Settings, ends: (&'a Path, &'a Path)) -> Self {
        Self {
            check: check_tree,
            ..Self::file(settings, ends)
        }
    }

    /// By programs that run in another network.
    pub fn within(mut self, place: &'a Place) -> Self {
        self.place = place;
        self
    }

    /// Runs the command that makes the copy.
    pub fn time(&self, command: &mut Command, round: usize) -> Sample {
        let (place, patience) = (self.place, self.patience);
        let finished = place.run(|| command::run(command, patience));
        let checked = finished.and_then(|finished| {
            (self.check)(self.source, self.target, round)?;
            Ok(finished)
        });
        remove(self.target);
        let finished = checked?;
        self.peak.set(self.peak.get().max(finished.peak));
        Ok(finished.seconds)
    }

    /// The most memory that one of the commands had, bytes.
    pub fn peak(&self) -> u64 {
        self.peak.get()
    }
}

/// Beyond this machine the programs would speak TLS; what they are measured beside does not.
const IN_THE_CLEAR: [&str; 2] = ["--tls", "never"];
