//! Whether the ledger holds, and whether anything is left over.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use storage::{LocalDirectory, Storage};

use super::Storm;
use super::ledger::State;
use crate::harness::{Node, Reading, staged, tree, what_it_does};

/// Threads that nobody needs rest for ten seconds, what was reset for some more.
const UNTIL_AT_REST: Duration = Duration::from_secs(90);

impl Storm<'_> {
    /// After the healing, when no client works any more.
    pub(super) fn check(&self, rest: &Reading) {
        self.check_disk("after the storm");
        self.finish();
        self.check_disk("when all is finished");
        self.touch_edited();
        self.check_through_slaves();
        let kept = self.sweep();
        self.report
            .write(&format!("{kept} interrupted uploads are kept"));
        self.check_holdings(rest);
    }

    /// The stored bytes, looked at without any of the programs.
    fn check_disk(&self, when: &str) {
        let now = Instant::now();
        let found = states(&self.world.root());
        for name in self.ledger.names() {
            let possible = self.ledger.possible(&name, now);
            let there = found.get(&name).copied().unwrap_or(State::Absent);
            if !possible.contains(&there) {
                self.report.found(format!(
                    "{when}, on disk, {name}: {there:?}, possible are {possible:?}"
                ));
            }
            if let ([State::File(_)], State::File(_)) = (&possible[..], there) {
                self.report.compared(&self.world.path(&name));
            }
        }
        let known = self.ledger.names();
        for (name, state) in &found {
            if matches!(state, State::File(_)) && known.binary_search(name).is_err() {
                self.report
                    .found(format!("{when}: nobody has stored {name}"));
            }
        }
        let at = |name: &str| found.get(name).copied().unwrap_or(State::Absent);
        for lost in self.ledger.lost_on_the_way(at) {
            self.report.found(format!("{when}: {lost}"));
        }
    }

    /// The same, as a client that comes for the first time gets it.
    fn check_through_slaves(&self) {
        let on_disk = states(&self.world.root());
        let folders = fs::read_dir(self.world.root()).unwrap().flatten();
        for folder in folders.map(|entry| entry.file_name()) {
            let folder = folder.to_string_lossy().into_owned();
            if folder == ".mini-ftp" {
                continue;
            }
            let target = self.auditor.target(&format!("/{folder}"));
            let ran = self.auditor.run(&[
                "get",
                "-r",
                &format!("/{folder}"),
                &target.display().to_string(),
            ]);
            let got = states(&target);
            let prefix = format!("/{folder}");
            let expected: BTreeMap<String, State> = on_disk
                .iter()
                .filter_map(|(name, state)| Some((name.strip_prefix(&prefix)?, *state)))
                .filter(|(name, _)| name.starts_with('/'))
                .map(|(name, state)| (name.to_owned(), state))
                .collect();
            if !ran.is_done() || got != expected {
                self.report
                    .found(format!("through the slaves, /{folder} is another: {ran:?}"));
            }
            for (name, state) in &got {
                if matches!(state, State::File(_)) {
                    self.report
                        .compared(&target.join(name.trim_start_matches('/')));
                }
            }
        }
    }

    /// Processes, their descriptors and threads are what they were before the first client came.
    fn check_holdings(&self, rest: &Reading) {
        let begun = Instant::now();
        loop {
            let gauge = self.world.gauge();
            let now = gauge.read();
            if now.is_within(rest) {
                return;
            }
            if begun.elapsed() > UNTIL_AT_REST {
                let (now, rest) = (now.shown(), rest.shown());
                let held: Vec<String> = gauge.processes().map(what_it_does).collect();
                let held = held.join("\n");
                self.report
                    .found(format!("there are {now}, at rest {rest}\n{held}"));
                return;
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// When all programs have ended: nobody is left, and the sweep takes whatever is in the staging area.
    pub(super) fn check_after_the_end(&self, folder: &Path) {
        let left = processes_in(folder);
        if !left.is_empty() {
            self.report.found(format!("processes are left: {left:?}"));
        }
        for person in self.people.iter().chain([&self.auditor]) {
            let left = processes_in(&person.client.folder());
            if !left.is_empty() {
                self.report.found(format!("clients are left: {left:?}"));
            }
        }
        let root = self.world.root();
        let swept = LocalDirectory::open(&root).map(|storage| storage.sweep(Duration::ZERO, 0));
        let left = staged(&root);
        if !left.is_empty() {
            self.report
                .found(format!("the sweep ({swept:?}) has left {left:?}"));
        }
    }
}

/// Everything below a folder, by its name from there.
fn states(root: &Path) -> BTreeMap<String, State> {
    let name = |path: PathBuf| format!("/{}", path.display());
    let found = tree(root).into_iter();
    let states = found.map(|(path, node)| match node {
        Node::File(digest) => (
            name(path),
            State::File(blake3::Hash::from_hex(digest).unwrap()),
        ),
        Node::Folder | Node::Link(_) => (name(path), State::Folder),
    });
    states.collect()
}

/// Processes that work in a folder or below it.
fn processes_in(folder: &Path) -> Vec<String> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let works_there = |process: &fs::DirEntry| {
        fs::read_link(process.path().join("cwd")).is_ok_and(|cwd| cwd.starts_with(folder))
    };
    let told = |process: fs::DirEntry| {
        let line = fs::read(process.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        format!("{}: {line}", process.file_name().to_string_lossy())
    };
    processes.filter(works_there).map(told).collect()
}
