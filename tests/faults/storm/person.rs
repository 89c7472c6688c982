//! Somebody at a machine of their own, who gives one command after another.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::{Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::report::Report;
use super::whole;
use crate::harness::{
    Client, HERE, PATIENCE, Place, code_of, is_alive, random_bytes, signal_pid, what_it_does,
    write_file,
};

/// How often is looked whether a command has ended.
const PAUSE: Duration = Duration::from_millis(10);

/// As a shell shows the end of one that was killed.
const KILLED: i32 = 137;

/// Longest that a command may run when nothing is in its way: a client that goes on hangs.
const LONGEST: Duration = Duration::from_secs(90);

/// A client program's user.
pub(super) struct Person<'a> {
    pub(super) client: Client,
    name: String,
    place: &'a Place,
    report: &'a Report,
    /// [`LONGEST`].
    patience: Duration,
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
    /// Somebody of this name, who asks `client`'s host from `place`.
    pub(super) fn new(
        (client, name): (Client, String),
        place: &'a Place,
        report: &'a Report,
    ) -> Self {
        for folder in ["src", "got"] {
            fs::create_dir(client.path(folder)).unwrap();
        }
        let log = report.log(&name);
        Self {
            client,
            name,
            place,
            report,
            patience: LONGEST,
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
        let child = self.place.run(spawn);
        let shown = script.map_or_else(|| words.join(" "), |script| script.replace('\n', "; "));
        let ended = self.wait(child, begun);
        let read = |index: usize| {
            let bytes = fs::read(&files[index]).unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        let ran = Ran {
            begun,
            code: *ended.as_ref().unwrap_or(&KILLED),
            stdout: read(1),
            stderr: read(2),
        };
        if let Err(facts) = ended {
            let name = &self.name;
            let finding = format!("{name} hangs in '{shown}', and has said {ran:?}:\n{facts}");
            self.report.found(finding);
        }
        self.note(&shown, &ran);
        ran
    }

    /// The exit code; of one that hangs, and is killed therefore, what it was about.
    fn wait(&self, mut child: Child, begun: Instant) -> Result<i32, String> {
        loop {
            let mut running = self.running();
            if let Some(status) = child.try_wait().unwrap() {
                *running = None;
                return Ok(code_of(status));
            }
            drop(running);
            // Twice as long where faults are in its way: none lasts for more than seconds.
            let unhindered = begun.elapsed().min(self.report.healed_for());
            if unhindered > self.patience || begun.elapsed() > 2 * self.patience {
                let facts = what_it_does(child.id());
                let mut running = self.running();
                signal_pid(child.id(), Signal::KILL);
                child.wait().unwrap();
                *running = None;
                return Err(facts);
            }
            thread::sleep(PAUSE);
        }
    }

    fn note(&self, shown: &str, ran: &Ran) {
        let at = self.report.since_start();
        let took = ran.begun.elapsed();
        self.report.took(took);
        let said = ran.stderr.trim_end().replace('\n', " | ");
        let mut log = whole(&self.log);
        let code = ran.code;
        writeln!(log, "{at:?} {shown} -> {code} in {took:?} {said}").unwrap();
    }

    /// Whether a file is on its way to where [`Self::target`] puts it.
    pub(super) fn is_fetching(&self, remote: &str) -> bool {
        let is_arriving = self.client.is_arriving(format!("got{remote}"));
        is_arriving && self.running().is_some_and(is_alive)
    }

    /// Sends the client that runs a signal, and says which that was.
    pub(super) fn signal(&self, signal: Signal) -> Option<u32> {
        let running = self.running();
        let pid = (*running).filter(|pid| is_alive(*pid))?;
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
        whole(&self.running)
    }
}

#[test]
fn a_client_that_hangs_is_killed_and_found() {
    let folder = tempfile::tempdir().unwrap();
    let report = Report::new(folder.path().join("logs"));
    let asleep = ["sh", "-c", "echo well >&2; exec sleep 20"];
    let client = Client::new("nobody").behind(asleep.map(Into::into).to_vec());
    let mut person = Person::new((client, "Tom".to_owned()), &HERE, &report);
    person.patience = Duration::from_millis(500);
    for is_healed in [false, true] {
        let begun = Instant::now();
        let ran = person.run(&["get", "something"]);
        assert_eq!((ran.code, ran.stderr.as_str()), (KILLED, "well\n"));
        // Where all is well its time is over sooner, but for what has just begun.
        let least = if is_healed { 1 } else { 2 } * person.patience;
        assert!(begun.elapsed() >= least && begun.elapsed() < PATIENCE);
        let found = report.findings().pop().unwrap();
        let tells = ["Tom hangs in 'get something'", "well\\n", "sleep"];
        assert!(tells.iter().all(|part| found.contains(part)), "{found}");
        report.healed();
        thread::sleep(2 * person.patience);
    }
    assert_eq!(report.findings().len(), 2);
}
