//! Wall clocks of servers, each of which can be put forward and back while the server runs.
//!
//! The kernel has one wall clock for all, so a library that is loaded before the program's own answers for it. What the
//! kernel itself notes (times of files) stays as it is, as on a shared file system whose server has another clock.

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where a clock's file has how often a wrong time was told; before it, how wrong.
const TOLD_AT: usize = 8;

/// The library, made by the C compiler that links Rust's programs.
pub(super) struct Clocks(Option<PathBuf>);

/// The clock of one server.
pub(super) struct Clock {
    file: File,
    environment: Vec<OsString>,
}

impl Clocks {
    /// Makes the library in `folder`; where there is no C compiler, clocks are left alone, and a line says so.
    pub(super) fn in_folder(folder: &Path) -> Self {
        let [source, library] = ["clock.c", "clock.so"].map(|name| folder.join(name));
        fs::write(&source, include_str!("clock.c")).unwrap();
        let made = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .args([&library, &source])
            .args(["-ldl"])
            .status();
        let is_made = made.is_ok_and(|status| status.success());
        if !is_made {
            eprintln!("clocks are not stepped: there is no C compiler (cc)");
        }
        Self(is_made.then_some(library))
    }

    /// A clock that goes right.
    pub(super) fn clock(&self, file: &Path) -> Clock {
        fs::write(file, [0; 2 * TOLD_AT]).unwrap();
        let assign = |name: &str, value: &Path| {
            let mut word = OsString::from(name);
            word.push("=");
            word.push(value);
            word
        };
        let environment = self.0.as_ref().map_or_else(Vec::new, |library| {
            vec![assign("LD_PRELOAD", library), assign("STORM_CLOCK", file)]
        });
        Clock {
            file: File::options().read(true).write(true).open(file).unwrap(),
            environment,
        }
    }
}

impl Clock {
    /// Words for env(1), before the program that goes by this clock.
    pub(super) fn environment(&self) -> &[OsString] {
        &self.environment
    }

    /// So many seconds ahead of everybody else; whether that is possible.
    pub(super) fn set_ahead(&self, seconds: i64) -> Result<(), String> {
        if self.environment.is_empty() {
            return Err("this clock cannot be stepped".to_owned());
        }
        let written = self.file.write_all_at(&seconds.to_ne_bytes(), 0);
        written.map_err(|error| error.to_string())
    }

    /// How often its server has been told a time that was ahead or behind.
    pub(super) fn told(&self) -> u64 {
        let mut count = [0; 8];
        let read = self.file.read_exact_at(&mut count, TOLD_AT as u64);
        read.map_or(0, |()| u64::from_ne_bytes(count))
    }
}
