//! A person at a terminal: what is typed, and what the screen is told.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, open};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use super::process::code_of;
use super::wait::{PATIENCE, wait_for};

/// Runs what stands behind it in a session of its own, whose terminal is its stdin: never that of whoever runs the tests.
pub const AT_ITS_TERMINAL: [&str; 2] = ["setsid", "--ctty"];

/// A terminal with a program in it, which ends with the test.
#[derive(Debug)]
pub struct Terminal {
    child: Child,
    screen: File,
    shown: Vec<u8>,
    seen: usize,
}

impl Terminal {
    /// Starts `command`, which [`AT_ITS_TERMINAL`] stands before, with all its streams at a new terminal.
    pub fn start(mut command: Command) -> Self {
        // Nobody else is to keep it open: its end is what hangs up.
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let screen = openpt(flags).unwrap();
        grantpt(&screen).unwrap();
        unlockpt(&screen).unwrap();
        let name = ptsname(&screen, Vec::new()).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let end = open(name, flags, Mode::empty()).unwrap();
        let stream = |end: &OwnedFd| Stdio::from(end.try_clone().unwrap());
        let child = command
            .env("TERM", "xterm")
            .stdin(stream(&end))
            .stdout(stream(&end))
            .stderr(stream(&end))
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        Self {
            child,
            screen: screen.into(),
            shown: Vec::new(),
            seen: 0,
        }
    }

    /// Types that; a line ends with `\r`, and control characters are what the keys send.
    pub fn type_text(&mut self, text: &str) {
        self.type_bytes(text.as_bytes());
    }

    /// The same, of whatever a terminal sends that speaks something else than UTF-8.
    pub fn type_bytes(&mut self, bytes: &[u8]) {
        self.screen.write_all(bytes).unwrap();
    }

    /// Waits until `text` is shown, behind what was waited for before. Returns what was shown up to and with it.
    pub fn wait_for(&mut self, text: &str) -> String {
        let end = Instant::now() + PATIENCE;
        loop {
            let new = String::from_utf8_lossy(&self.shown[self.seen..]).into_owned();
            if let Some(at) = new.find(text) {
                self.seen += at + text.len();
                return new[..at + text.len()].to_owned();
            }
            let is_open = self.read(end.saturating_duration_since(Instant::now()));
            assert!(
                is_open && Instant::now() < end,
                "never shown: '{text}', but {new:?}"
            );
        }
    }

    /// Waits for the end; returns the status, as a shell shows it, and all that was shown since the last wait.
    pub fn finish(&mut self) -> (i32, String) {
        let code = wait_for("the program's end", PATIENCE, || {
            self.read(Duration::from_millis(1));
            self.child.try_wait().unwrap().map(code_of)
        });
        while self.read(Duration::ZERO) {}
        let rest = String::from_utf8_lossy(&self.shown[self.seen..]).into_owned();
        (code, rest)
    }

    /// Takes what is there within `patience`; false once there will be no more, or if nothing came.
    fn read(&mut self, patience: Duration) -> bool {
        let limit = Timespec::try_from(patience).unwrap();
        let mut ready = [PollFd::new(&self.screen, PollFlags::IN)];
        if poll(&mut ready, Some(&limit)).unwrap() == 0 {
            return false;
        }
        let mut bytes = [0; 4096];
        // A terminal whose program has gone says so with an error.
        let count = self.screen.read(&mut bytes).unwrap_or(0);
        self.shown.extend_from_slice(&bytes[..count]);
        count > 0
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.child.kill().unwrap_or_default();
        self.child.wait().ok();
    }
}
