//! A program that runs beside the test: its output is kept, it is killed with all its children when dropped.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use super::proc::{descendants, is_stopped};
use super::wait::{PATIENCE, wait_for, wait_until};

/// A running (or ended) program.
#[derive(Debug)]
pub struct Process {
    label: String,
    child: Child,
    stdin: Option<ChildStdin>,
    output: Arc<Output>,
    status: Option<ExitStatus>,
}

#[derive(Debug, Default)]
struct Output {
    lines: Mutex<Lines>,
    arrived: Condvar,
}

#[derive(Debug, Default)]
struct Lines {
    stdout: Vec<String>,
    stderr: Vec<String>,
    open: usize,
}

impl Process {
    /// Starts `command` with all three streams held by the test; `label` stands before its lines where they are shown.
    pub fn spawn(label: &str, command: &mut Command) -> Self {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        // A program that has just been copied is held open for writing for as long as a child that another thread has forked
        // meanwhile has not begun its own program.
        let mut child = wait_for(
            "the program not to be written to",
            PATIENCE,
            || match command.spawn() {
                Err(error) if error.kind() == ErrorKind::ExecutableFileBusy => None,
                spawned => Some(spawned),
            },
        )
        .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let output = Arc::new(Output::default());
        output.lock().open = 2;
        collect(child.stdout.take(), &output, |lines| &mut lines.stdout);
        collect(child.stderr.take(), &output, |lines| &mut lines.stderr);
        Self {
            label: label.to_owned(),
            stdin: child.stdin.take(),
            child,
            output,
            status: None,
        }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The first line on stderr, from the start, that holds `text`; waits for it.
    pub fn wait_for_line(&self, text: &str, deadline: Duration) -> String {
        self.wait_in(|lines| &lines.stderr, text, deadline)
    }

    /// The first line on stdout, from the start, that holds `text`; waits for it.
    pub fn wait_for_output(&self, text: &str, deadline: Duration) -> String {
        self.wait_in(|lines| &lines.stdout, text, deadline)
    }

    fn wait_in(
        &self,
        stream: impl Fn(&Lines) -> &Vec<String>,
        text: &str,
        deadline: Duration,
    ) -> String {
        let end = Instant::now() + deadline;
        let mut lines = self.output.lock();
        loop {
            if let Some(line) = stream(&lines).iter().find(|line| line.contains(text)) {
                return line.clone();
            }
            let left = end.saturating_duration_since(Instant::now());
            assert!(
                lines.open > 0 && !left.is_zero(),
                "[{}] never said '{text}'",
                self.label
            );
            lines = self.output.arrived.wait_timeout(lines, left).unwrap().0;
        }
    }

    /// What it has written to stderr by now.
    pub fn stderr(&self) -> String {
        self.output.lock().stderr.join("\n")
    }

    /// What it has written to stdout by now.
    pub fn stdout(&self) -> String {
        self.output.lock().stdout.join("\n")
    }

    /// Types a line into it.
    pub fn type_line(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("stdin is closed");
        writeln!(stdin, "{line}").unwrap();
    }

    /// Ends its input.
    pub fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// Sends it, and it alone, a signal; one that has ended already hears nothing.
    pub fn signal(&self, signal: Signal) {
        if self.keeps_its_number() {
            signal_pid(self.pid(), signal);
        }
    }

    /// Whether its number is nobody else's: once it has ended and that was seen, it may be, within a minute on a busy machine.
    pub fn keeps_its_number(&self) -> bool {
        self.status.is_none()
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.poll().is_none()
    }

    /// Its exit status; waits for it.
    pub fn wait(&mut self, deadline: Duration) -> ExitStatus {
        let label = format!("[{}] to end", self.label);
        let status = wait_for(&label, deadline, || self.poll());
        self.drain();
        status
    }

    /// Its exit code as a shell shows it: 128 and the signal's number for one that a signal ended.
    pub fn wait_code(&mut self, deadline: Duration) -> i32 {
        code_of(self.wait(deadline))
    }

    /// Asks it to end, and waits.
    pub fn terminate(&mut self, deadline: Duration) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait(deadline)
    }

    /// Ends it at once, and waits. Its children live on: what becomes of them is often the question.
    pub fn kill(&mut self) -> ExitStatus {
        self.signal(Signal::KILL);
        self.wait(Duration::from_secs(10))
    }

    fn poll(&mut self) -> Option<ExitStatus> {
        if self.status.is_none() {
            self.status = self.child.try_wait().unwrap();
        }
        self.status
    }

    /// Waits a moment for what an ended program wrote last; a child of it may keep the streams open for longer.
    fn drain(&self) {
        let end = Instant::now() + Duration::from_secs(1);
        let mut lines = self.output.lock();
        while lines.open > 0 && Instant::now() < end {
            lines = self
                .output
                .arrived
                .wait_timeout(lines, end - Instant::now())
                .unwrap()
                .0;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.poll().is_none() {
            let family = descendants(self.pid());
            self.signal(Signal::KILL);
            family
                .into_iter()
                .for_each(|pid| signal_pid(pid, Signal::KILL));
            self.child.wait().ok();
        }
        if thread::panicking() {
            let lines = self.output.lock();
            for line in lines.stdout.iter().chain(&lines.stderr) {
                eprintln!("[{}] {line}", self.label);
            }
        }
    }
}

/// Sends a signal to a process; one that has ended already hears nothing.
pub fn signal_pid(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).unwrap();
    rustix::process::kill_process(pid, signal).ok();
}

/// Stops a process, and waits until all of it stands still.
pub fn stop_pid(pid: u32) {
    signal_pid(pid, Signal::STOP);
    wait_until("a stopped process", Duration::from_secs(10), || {
        is_stopped(pid)
    });
}

/// The exit code as a shell shows it.
pub fn code_of(status: ExitStatus) -> i32 {
    status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal))
        .unwrap()
}

impl Output {
    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.lines
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn collect(
    stream: Option<impl Read + Send + 'static>,
    output: &Arc<Output>,
    choose: fn(&mut Lines) -> &mut Vec<String>,
) {
    let stream = stream.expect("the stream is a pipe");
    let output = Arc::clone(output);
    let read = move || {
        for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
            choose(&mut output.lock()).push(String::from_utf8_lossy(&line).into_owned());
            output.arrived.notify_all();
        }
        output.lock().open -= 1;
        output.arrived.notify_all();
    };
    thread::Builder::new().spawn(read).unwrap();
}
