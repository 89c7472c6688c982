//! What a person does when the storm is over: look that all is well again, and finish what was interrupted.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use rustix::process::Signal;

use super::Storm;
use super::files::EDITED;
use super::ledger::State;
use super::world::SLAVES;
use crate::harness::{PATIENCE, staged, wait_until};

impl Storm<'_> {
    /// Every fault has been undone by whoever made it; from here on nobody has an excuse.
    pub(super) fn heal(&self) {
        // First of all: from now on what hangs is ended.
        self.report.healed();
        let wounds = self.world.network.wounds();
        assert!(wounds.is_empty(), "not healed: {wounds}");
        self.world.wait_for_slaves();
    }

    /// Uploads nobody knows the outcome of are made again, downloads that were interrupted are ended: none may fail now.
    pub(super) fn finish(&self) {
        let now = Instant::now();
        for name in self.ledger.names() {
            let Some(person) = self.owner(&name) else {
                continue;
            };
            let source = person
                .client
                .path(format!("src/{}", name.replace('/', "_")));
            let is_open = self.ledger.possible(&name, now).len() > 1;
            if let (true, Ok(content)) = (is_open, fs::read(&source)) {
                let changes = vec![(name.clone(), State::of(&content))];
                let source = source.display().to_string();
                let ran = self.changing(person, changes, |person| {
                    person.run(&["put", "-f", &source, &name])
                });
                self.must_be_done(&ran.is_done(), || format!("put {name}: {ran:?}"));
            }
        }
        for person in &self.people {
            let folder = person.client.path("got");
            for part in parts(&folder) {
                let remote = remote_of(&part, &folder);
                if !self.world.path(&remote).is_file() {
                    continue;
                }
                let ran = self.get(person, &remote, &[]);
                let is_well = ran.is_done() && !part.exists();
                self.must_be_done(&is_well, || format!("get {remote} with a part: {ran:?}"));
            }
        }
    }

    fn must_be_done(&self, is_done: &bool, what: impl FnOnce() -> String) {
        if !is_done {
            self.report.found(format!("after the storm: {}", what()));
        }
    }

    /// Whose name this is, if it is one client's alone.
    fn owner(&self, name: &str) -> Option<&super::Person<'_>> {
        let (home, rest) = name.strip_prefix("/c")?.split_once('/')?;
        let index: usize = home.parse().ok()?;
        rest.starts_with('f').then(|| &self.people[index])
    }

    /// Files whose content was changed in place count as new ones: a digest is believed for one time only.
    pub(super) fn touch_edited(&self) {
        for name in EDITED {
            if let Ok(file) = fs::File::options().write(true).open(self.world.path(name)) {
                file.set_modified(SystemTime::now()).unwrap();
            }
        }
    }

    /// What can never be resumed is swept; how many interrupted uploads are kept.
    pub(super) fn sweep(&self) -> usize {
        for index in 0..SLAVES {
            // The new registrar sweeps first of all.
            self.world.slave(index).process.signal(Signal::HUP);
        }
        let is_once = |path: &PathBuf| {
            let name = path.file_name().unwrap().as_bytes();
            name.starts_with(b"once-")
        };
        wait_until("the sweep", 4 * PATIENCE, || {
            !staged(&self.world.root()).iter().any(is_once)
        });
        staged(&self.world.root()).len()
    }
}

/// Downloads that were interrupted.
fn parts(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap().flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            if path.is_dir() {
                folders.push(path);
            } else if name.as_bytes().starts_with(b".") && name.as_bytes().ends_with(b".part") {
                found.push(path);
            }
        }
    }
    found
}

/// `got/c0/.f1.part` is of `/c0/f1`.
fn remote_of(part: &Path, folder: &Path) -> String {
    let name = part.file_name().unwrap().to_string_lossy();
    let name = name.trim_start_matches('.').trim_end_matches(".part");
    let below = part.parent().unwrap().strip_prefix(folder).unwrap();
    format!("/{}/{name}", below.display())
}
