//! The program under test: a service that answers each line of a session with its own process id.
//!
//! A client that says `hello` begins a session and hears `pid N`, or `busy`. It talks about itself on stdout, a line
//! an event, for the harness to read.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{ExitCode, id};
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use supervisor::{
    Accepting, Connection, Ended, Event, Helper, HelperEvent, HelperLaunch, Launch, Owner, Pool,
    Scoreboard, Supervisor, Worker, WorkerExit,
};

pub(crate) const SUPERVISE: &str = "--supervise";

/// Read by the supervisor from a file, again on SIGHUP; handed on to workers and helper as their letter.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Settings {
    pub(crate) workers: usize,
    pub(crate) places: u32,
    pub(crate) helper: bool,
    pub(crate) grace_ms: u64,
    pub(crate) silent_after_ms: u64,
    pub(crate) program: PathBuf,
    pub(crate) worker_boots: Boot,
    /// While it exists, workers die at once.
    pub(crate) poison: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Boot {
    Well,
    Badly,
}

impl Settings {
    fn read(path: &str) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(path).ok()?).ok()
    }

    fn launch(&self) -> Launch {
        let handover = serde_json::to_vec(self).unwrap();
        let helper = HelperLaunch {
            name: "registrar".to_owned(),
            handover: handover.clone().into(),
        };
        Launch {
            program: self.program.clone(),
            arguments: Vec::new(),
            workers: self.workers.try_into().unwrap(),
            handover: handover.into(),
            helper: self.helper.then_some(helper),
            grace: Duration::from_millis(self.grace_ms),
        }
    }
}

struct Program {
    settings: String,
    address: String,
}

impl Owner for Program {
    fn ready(&mut self) {
        say(&format!("listening {}", self.address));
    }

    fn reload(&mut self) -> Option<Launch> {
        Settings::read(&self.settings).map(|settings| settings.launch())
    }

    fn reloaded(&mut self, _: &Scoreboard) {
        say("reloaded");
    }

    fn kept(&mut self) {
        say("kept");
    }

    fn departed(&mut self, slot: usize, board: &Scoreboard) {
        let held = board.program_words()[slot].swap(0, SeqCst);
        say(&format!("departed {slot} {held}"));
    }

    fn stopping(&mut self) {
        say("stopping");
    }
}

pub(crate) fn supervise(path: &str) -> ExitCode {
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::DEBUG)
        .with_ansi(false)
        .with_writer(std::io::stderr)
        .init();
    let settings = Settings::read(path).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut program = Program {
        settings: path.to_owned(),
        address: listener.local_addr().unwrap().to_string(),
    };
    let pool = Pool {
        listener,
        launch: settings.launch(),
        silent_after: Duration::from_millis(settings.silent_after_ms),
        program_words: 1024,
    };
    match Supervisor::new(pool).and_then(|supervisor| supervisor.run(&mut program)) {
        Ok(Ended::Drained) => say("ended drained"),
        Ok(Ended::Killed(_)) => say("ended killed"),
        Err(error) => {
            say(&format!("failed {error}"));
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

pub(crate) fn work() -> ExitCode {
    say(&format!("boot {}", id()));
    let Ok(mut worker) = Worker::from_inherited() else {
        return WorkerExit::BootFailed.into();
    };
    let settings: Settings = serde_json::from_slice(&worker.take_handover()).unwrap();
    if settings.poison.exists() {
        return ExitCode::from(1);
    }
    if settings.worker_boots == Boot::Badly {
        say("reason");
        return WorkerExit::BootFailed.into();
    }
    let words = worker.scoreboard().program_words();
    words[worker.slot()].store(u64::from(id()), SeqCst);
    // Said first, so that it stands in the log once the supervisor has announced the service.
    say(&format!("ready {} {}", id(), worker.generation()));
    worker.ready(settings.places).unwrap();
    say(&format!("serves {}", id()));
    let mut exit = WorkerExit::Clean;
    while !(worker.is_draining() && worker.is_idle()) {
        match worker.next(Accepting::Yes, Duration::from_secs(1)).unwrap() {
            Event::Connection(connection) => {
                std::thread::Builder::new()
                    .spawn(move || session(connection))
                    .unwrap();
            }
            Event::Overflow(mut stream, _) => drop(stream.write_all(b"busy\n")),
            Event::Tick | Event::Drain => {}
            Event::SupervisorGone => exit = WorkerExit::SupervisorGone,
        }
    }
    exit.into()
}

fn session(connection: Connection) {
    let mut lines = BufReader::new(connection.stream.try_clone().unwrap()).lines();
    let Some(Ok(_hello)) = lines.next() else {
        return;
    };
    let Some(_place) = connection.admission.begin() else {
        return answer(&connection.stream, "busy");
    };
    answer(&connection.stream, &format!("pid {}", id()));
    while let Some(Ok(_line)) = lines.next() {
        answer(&connection.stream, &format!("pid {}", id()));
    }
}

fn answer(mut stream: &TcpStream, line: &str) {
    drop(stream.write_all(format!("{line}\n").as_bytes()));
}

pub(crate) fn help() -> ExitCode {
    let mut helper = Helper::from_inherited().unwrap();
    assert!(!helper.take_handover().is_empty());
    helper.ready().unwrap();
    say(&format!("helper {}", id()));
    let mut seen = None;
    loop {
        match helper.next(Duration::from_secs(1)).unwrap() {
            HelperEvent::Tick => {}
            HelperEvent::Drain => return WorkerExit::Clean.into(),
            HelperEvent::SupervisorGone => return WorkerExit::SupervisorGone.into(),
        }
        let totals = helper.scoreboard().totals();
        let now = (totals.workers, totals.sessions, totals.free);
        if seen.replace(now) != Some(now) {
            say(&format!("totals {} {} {}", now.0, now.1, now.2));
        }
    }
}

/// One write a line, so that lines of several processes do not mix. The harness may be gone.
fn say(line: &str) {
    drop(std::io::stdout().write_all(format!("{line}\n").as_bytes()));
}
