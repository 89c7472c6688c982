//! Somebody at a machine of their own, who gives one command after another.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::network::{Machine, Network};
use super::report::Report;
use crate::harness::{Client, code_of, random_bytes, signal_pid, write_file};

/// How often is looked whether a command has ended.
const PAUSE: Duration = Duration::from_millis(10);

/// Longest that a command may run on when nothing is in its way any more.
pub(super) const LONGEST: Duration = Duration::from_secs(120);

/// A client program's user.
pub(super) struct Person<'a> {
    pub(super) client: Client,
    machine: Machine,
    network: &'a Network,
    report: &'a Report,
    /// The client that runs. Held while it is waited for, so that nobody signals a number that is another's by then.
    running: Mutex<Option<u32>>,
    log: Mutex<File>,
}

/// A command that has ended.
#[derive(Debug)]
pub(super) struct Ran {
    pub(super) begun: Instant,
    pub(super) code: i32,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

impl Ran {
    pub(super) fn is_done(&self) -> bool {
        self.code == 0
    }
}

impl<'a> Person<'a> {
    /// Somebody who asks `client`'s host from `machine`.
    pub(super) fn new(
        (client, machine): (Client, Machine),
        network: &'a Network,
        report: &'a Report,
    ) -> Self {
        for folder in ["src", "got"] {
            fs::create_dir(client.path(folder)).unwrap();
        }
        let log = report.log(&format!("{machine:?}"));
        Self {
            client,
            machine,
            network,
            report,
            running: Mutex::default(),
            log: Mutex::new(log),
        }
    }

    /// Writes what will be uploaded: the place, and the content.
    pub(super) fn source(&self, name: &str, seed: u64, length: usize) -> (String, Vec<u8>) {
        let content = random_bytes(seed, length);
        let path = self.client.path(format!("src/{name}"));
        // The same file stays as it is: the next try knows it again.
        if fs::read(&path).ok().as_ref() != Some(&content) {
            write_file(&path, &content);
        }
        (path.display().to_string(), content)
    }

    /// Where a remote file comes to.
    pub(super) fn target(&self, remote: &str) -> PathBuf {
        self.client.path(format!("got{remote}"))
    }

    /// Gives a command and waits for its end.
    pub(super) fn run(&self, command: &[&str]) -> Ran {
        self.finish(command, None)
    }

    /// Has commands read from stdin, a line each.
    pub(super) fn run_script(&self, script: &str) -> Ran {
        self.finish(&[], Some(script))
    }

    fn finish(&self, words: &[&str], script: Option<&str>) -> Ran {
        let begun = Instant::now();
        let files = ["in", "out", "err"].map(|name| self.client.home().join(name));
        fs::create_dir_all(self.client.home()).unwrap();
        fs::write(&files[0], script.unwrap_or_default()).unwrap();
        let mut command = self.client.command(words.iter().copied());
        command
            .stdin(File::open(&files[0]).map_or_else(|_| Stdio::null(), Stdio::from))
            .stdout(File::create(&files[1]).unwrap())
            .stderr(File::create(&files[2]).unwrap());
        let spawn = || {
            let mut running = self.running();
            let child = command.spawn().unwrap();
            *running = Some(child.id());
            child
        };
        let child = self.network.place(self.machine).run(spawn);
        let shown = script.map_or_else(|| words.join(" "), |script| script.replace('\n', "; "));
        let code = self.wait(child, &shown);
        let read = |index: usize| {
            let bytes = fs::read(&files[index]).unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        let ran = Ran {
            begun,
            code,
            stdout: read(1),
            stderr: read(2),
        };
        self.note(&shown, &ran);
        ran
    }

    fn wait(&self, mut child: Child, shown: &str) -> i32 {
        loop {
            let mut running = self.running();
            if let Some(status) = child.try_wait().unwrap() {
                *running = None;
                return code_of(status);
            }
            drop(running);
            if self.report.healed_for() > LONGEST {
                let facts = super::checks::what_it_does(child.id());
                let machine = self.machine;
                self.report
                    .found(format!("{machine:?} hangs in '{shown}':\n{facts}"));
                signal_pid(child.id(), Signal::KILL);
                child.wait().unwrap();
                *self.running() = None;
                return 137;
            }
            thread::sleep(PAUSE);
        }
    }

    fn note(&self, shown: &str, ran: &Ran) {
        let at = self.report.since_start();
        let took = ran.begun.elapsed();
        let said = ran.stderr.trim_end().replace('\n', " | ");
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let code = ran.code;
        writeln!(log, "{at:?} {shown} -> {code} in {took:?} {said}").unwrap();
    }

    /// Sends the client that runs a signal, and says which that was.
    pub(super) fn signal(&self, signal: Signal) -> Option<u32> {
        let running = self.running();
        let pid = (*running)?;
        signal_pid(pid, signal);
        Some(pid)
    }

    /// The same if it is this one still.
    pub(super) fn signal_if(&self, pid: u32, signal: Signal) {
        let running = self.running();
        if *running == Some(pid) {
            signal_pid(pid, signal);
        }
    }

    fn running(&self) -> MutexGuard<'_, Option<u32>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
