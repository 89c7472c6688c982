//! A running pool: its directory, its processes, what it said. Everything is killed when the value goes.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::program::{Boot, SUPERVISE, Settings};

/// Longer than anything takes on a loaded machine; a failing test waits for it, a passing one does not.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Service {
    supervisor: Child,
    said: Arc<Mutex<Vec<String>>>,
    directory: TempDir,
    pub(crate) settings: Settings,
}

/// A client of the service.
pub(crate) struct Client(BufReader<TcpStream>);

pub(crate) fn settings(workers: usize, places: u32) -> Settings {
    Settings {
        workers,
        places,
        helper: false,
        grace_ms: 10_000,
        silent_after_ms: 10_000,
        program: std::env::current_exe().unwrap(),
        worker_boots: Boot::Well,
        poison: PathBuf::new(),
    }
}

impl Service {
    /// Starts and waits until it listens.
    pub(crate) fn start(settings: Settings) -> Self {
        let service = Self::launch(settings);
        service.wait_for("listening ");
        service
    }

    pub(crate) fn launch(mut settings: Settings) -> Self {
        let directory = tempfile::tempdir().unwrap();
        settings.poison = directory.path().join("poison");
        let path = directory.path().join("settings");
        std::fs::write(&path, serde_json::to_vec(&settings).unwrap()).unwrap();
        let mut supervisor = Command::new(std::env::current_exe().unwrap())
            .arg(SUPERVISE)
            .arg(&path)
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(directory.path().join("log")).unwrap())
            .spawn()
            .unwrap();
        let (said, lines) = (
            Arc::new(Mutex::new(Vec::new())),
            BufReader::new(supervisor.stdout.take().unwrap()).lines(),
        );
        let writer = Arc::clone(&said);
        let listen = move || {
            for line in lines.map_while(Result::ok) {
                writer.lock().unwrap().push(line);
            }
        };
        std::thread::Builder::new().spawn(listen).unwrap();
        Self {
            supervisor,
            said,
            directory,
            settings,
        }
    }

    /// Writes new settings and sends SIGHUP.
    pub(crate) fn reload(&mut self, change: impl FnOnce(&mut Settings)) {
        change(&mut self.settings);
        std::fs::write(
            self.settings_path(),
            serde_json::to_vec(&self.settings).unwrap(),
        )
        .unwrap();
        self.signal(Signal::HUP);
    }

    pub(crate) fn settings_path(&self) -> PathBuf {
        self.directory.path().join("settings")
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.supervisor), signal).unwrap();
    }

    /// For the way out, where it may be gone already.
    fn try_signal(&self, signal: Signal) -> bool {
        kill_process(Pid::from_child(&self.supervisor), signal).is_ok()
    }

    pub(crate) fn exit(&mut self) -> ExitStatus {
        wait_until("the supervisor ends", || {
            self.supervisor.try_wait().unwrap()
        })
    }

    pub(crate) fn lines(&self, start: &str) -> Vec<String> {
        let said = self.said.lock().unwrap();
        said.iter()
            .filter_map(|line| line.strip_prefix(start))
            .map(str::to_owned)
            .collect()
    }

    pub(crate) fn wait_for(&self, start: &str) -> String {
        self.wait_for_count(start, 1).pop().unwrap()
    }

    pub(crate) fn wait_for_count(&self, start: &str, count: usize) -> Vec<String> {
        wait_until(start, || {
            Some(self.lines(start)).filter(|lines| lines.len() >= count)
        })
    }

    /// Processes that were ever ready, in that order.
    pub(crate) fn ready_pids(&self) -> Vec<i32> {
        let pid = |line: &String| line.split(' ').next().unwrap().parse().unwrap();
        self.lines("ready ").iter().map(pid).collect()
    }

    pub(crate) fn address(&self) -> String {
        self.wait_for("listening ")
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap()
    }

    pub(crate) fn connect(&self) -> Client {
        Client::connect(&self.address()).unwrap()
    }

    /// A client with a session.
    pub(crate) fn session(&self) -> Client {
        let mut client = self.connect();
        assert!(client.hello().is_some(), "busy");
        client
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "--- said ---\n{}\n--- log ---\n{}",
                self.said.lock().unwrap().join("\n"),
                self.log()
            );
        }
        // A stopped supervisor hears nothing until it goes on; the second SIGTERM makes it kill what is left.
        self.try_signal(Signal::CONT);
        let deadline = Instant::now() + Duration::from_secs(2);
        while Instant::now() < deadline && matches!(self.supervisor.try_wait(), Ok(None)) {
            self.try_signal(Signal::TERM);
            std::thread::sleep(Duration::from_millis(10));
        }
        drop(self.supervisor.kill());
        drop(self.supervisor.wait());
    }
}

impl Client {
    pub(crate) fn connect(address: &str) -> std::io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Begins a session, or says another line in it. The process that answers; `None`: busy.
    pub(crate) fn hello(&mut self) -> Option<i32> {
        self.try_hello().unwrap()
    }

    pub(crate) fn try_hello(&mut self) -> std::io::Result<Option<i32>> {
        self.0.get_mut().write_all(b"hello\n")?;
        let mut line = String::new();
        self.0.read_line(&mut line)?;
        match line.trim_end().strip_prefix("pid ") {
            Some(pid) => Ok(Some(pid.parse().map_err(std::io::Error::other)?)),
            None if line == "busy\n" => Ok(None),
            None => Err(std::io::Error::other(format!("unexpected answer {line:?}"))),
        }
    }

    /// Nothing has come, and nothing comes for a moment.
    pub(crate) fn hears_nothing_for(&mut self, moment: Duration) -> bool {
        self.0.get_ref().set_read_timeout(Some(moment)).unwrap();
        let nothing = self.0.get_mut().read(&mut [0]).is_err();
        self.0.get_ref().set_read_timeout(Some(PATIENCE)).unwrap();
        nothing
    }
}

pub(crate) fn kill(pid: i32, signal: Signal) {
    kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
}

/// Neither running nor stopped. (A zombie whose new parent does not reap is dead enough.)
pub(crate) fn is_dead(pid: i32) -> bool {
    let Ok(status) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return true;
    };
    status
        .rsplit(')')
        .next()
        .is_some_and(|rest| rest.trim_start().starts_with(['Z', 'X']))
}

pub(crate) fn wait_until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited in vain until: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
