//! The client program, run the way a person or a script runs it.

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::content::allocated;
use super::process::{Process, code_of};
use super::wait::{PATIENCE, wait_until};

/// Longest that a client which a test waits for may run.
const LONGEST_RUN: Duration = Duration::from_secs(120);

/// A person with a folder (and a home) of their own, who asks one host.
#[derive(Debug)]
pub struct Client {
    directory: TempDir,
    host: String,
    options: Vec<OsString>,
    helper: Vec<OsString>,
}

/// What a client that has ended left behind.
pub struct Finished {
    /// Exit status, as a shell shows it.
    pub code: i32,
    /// Results, byte for byte.
    pub raw: Vec<u8>,
    /// Results as text.
    pub stdout: String,
    /// Errors and notices.
    pub stderr: String,
}

impl fmt::Debug for Finished {
    /// Its words once, as text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "status {}, said:\n{}and for errors:\n{}",
            self.code, self.stdout, self.stderr
        )
    }
}

impl Client {
    /// A client of `host`, in whatever form the command line takes.
    pub fn new(host: impl Into<String>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("files")).unwrap();
        Self {
            directory,
            host: host.into(),
            options: Vec::new(),
            helper: Vec::new(),
        }
    }

    /// Is started by another program, as [`without_privileges`](super::without_privileges) names one.
    pub fn behind(mut self, helper: Vec<OsString>) -> Self {
        self.helper = helper;
        self
    }

    /// Adds options that stand before the host in every run.
    pub fn options<S: Into<OsString>>(mut self, options: impl IntoIterator<Item = S>) -> Self {
        self.options.extend(options.into_iter().map(Into::into));
        self
    }

    /// Asks another host from now on; the folder stays.
    pub fn move_to(&mut self, host: impl Into<String>) {
        self.host = host.into();
    }

    /// Logs in with a password that stands in a file of its own.
    pub fn with_login(self, user: &str, password: &str) -> Self {
        let file = self.home().join("password");
        super::write_file(&file, format!("{password}\n").as_bytes());
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        self.options(["-u", user, "--password-file"])
            .options([file])
    }

    /// Its home, where its settings would be.
    pub fn home(&self) -> PathBuf {
        self.directory.path().join("home")
    }

    /// The folder in which it runs: downloads land here.
    pub fn folder(&self) -> PathBuf {
        self.directory.path().join("files")
    }

    /// A path in that folder.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder().join(name)
    }

    /// Puts a file into that folder.
    pub fn write(&self, name: impl AsRef<Path>, content: &[u8]) -> PathBuf {
        let path = self.path(name);
        super::write_file(&path, content);
        path
    }

    /// Reads a file of that folder.
    pub fn read(&self, name: impl AsRef<Path>) -> Vec<u8> {
        let path = self.path(name);
        fs::read(&path).unwrap_or_else(|error| panic!("cannot read '{}': {error}", path.display()))
    }

    /// Waits until the download of `name` is under way: some content is there, not only the file that will hold it.
    pub fn wait_for_content(&self, name: &str) {
        wait_until("the download to be under way", PATIENCE, || {
            self.is_arriving(name)
        });
    }

    /// Whether some content of a file that is downloaded is there.
    pub fn is_arriving(&self, path: impl AsRef<Path>) -> bool {
        const MORE_THAN_ITS_FRAME: u64 = 64 * 1024;
        let path = self.path(path);
        let name = path.file_name().unwrap_or_default().display();
        allocated(&path.with_file_name(format!(".{name}.part"))) > MORE_THAN_ITS_FRAME
    }

    /// The names in that folder, hidden ones included, sorted.
    pub fn names(&self) -> Vec<OsString> {
        let mut names: Vec<_> = fs::read_dir(self.folder())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        names
    }

    /// Runs one command and waits for its end.
    pub fn run<S: Into<OsString>>(&self, command: impl IntoIterator<Item = S>) -> Finished {
        self.finish(self.command(command), b"")
    }

    /// Runs the commands in `script`, a line each, from stdin.
    pub fn run_script(&self, script: &str) -> Finished {
        self.finish(self.command::<OsString>([]), script.as_bytes())
    }

    /// Starts one command (or, without one, a session that reads commands from stdin) beside the test.
    pub fn spawn<S: Into<OsString>>(&self, command: impl IntoIterator<Item = S>) -> Process {
        Process::spawn("ftpclient", &mut self.command(command))
    }

    /// Runs the program with exactly these arguments.
    pub fn run_exactly<S: Into<OsString>>(
        &self,
        arguments: impl IntoIterator<Item = S>,
    ) -> Finished {
        let mut program = self.program();
        program.args(arguments.into_iter().map(Into::into));
        self.finish(program, b"")
    }

    /// Waits for the end of `command`, which reads `input`.
    pub fn finish(&self, command: Command, input: &[u8]) -> Finished {
        let shown = format!("{command:?}");
        let output = assert_cmd::Command::from_std(command)
            .timeout(LONGEST_RUN)
            .write_stdin(input)
            .output()
            .unwrap_or_else(|error| panic!("{shown}: {error}"));
        Finished {
            code: code_of(output.status),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            raw: output.stdout,
        }
    }

    /// The command that [`Self::run`] and [`Self::spawn`] start, to be changed before it is.
    pub fn command<S: Into<OsString>>(&self, command: impl IntoIterator<Item = S>) -> Command {
        let mut program = self.program();
        program
            .args(&self.options)
            .arg(&self.host)
            .args(command.into_iter().map(Into::into));
        program
    }

    fn program(&self) -> Command {
        let mut words = self.helper.clone();
        words.push(env!("CARGO_BIN_EXE_ftpclient").into());
        let mut program = Command::new(&words[0]);
        program.args(&words[1..]);
        private_environment(&mut program, &self.home());
        program.current_dir(self.folder());
        program
    }
}

impl Finished {
    /// Fails the test unless the client did all it was asked.
    #[track_caller]
    pub fn succeeded(&self) -> &Self {
        assert_eq!(
            self.code, 0,
            "stdout: {}\nstderr: {}",
            self.stdout, self.stderr
        );
        self
    }

    /// Fails the test unless the client ended with `code` and an error that holds `text`.
    #[track_caller]
    pub fn failed(&self, code: i32, text: &str) -> &Self {
        assert!(
            self.code == code && self.stderr.contains(text),
            "expected status {code} and '{text}', got {}\nstdout: {}\nstderr: {}",
            self.code,
            self.stdout,
            self.stderr
        );
        self
    }

    /// Fails the test unless the client ended with `code` and exactly this one line of error.
    #[track_caller]
    pub fn failed_exactly(&self, code: i32, line: &str) -> &Self {
        self.failed(code, line);
        assert_eq!(self.stderr.trim_end_matches('\n'), line);
        self
    }

    /// The results, a JSON object a line.
    #[track_caller]
    pub fn json(&self) -> Vec<serde_json::Value> {
        let parse = |line| {
            serde_json::from_str(line)
                .unwrap_or_else(|error| panic!("'{line}' is no JSON: {error}"))
        };
        self.stdout.lines().map(parse).collect()
    }
}

/// What a person types at a shell that finds the programs, away from their home and settings.
pub fn shell(line: &str, home: &Path) -> Command {
    let mut command = Command::new("sh");
    private_environment(&mut command, home);
    let ours = Path::new(env!("CARGO_BIN_EXE_ftpclient")).parent().unwrap();
    let mut path = OsString::from(ours);
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    // The shell gives its place to the program, which hears the signals then.
    command
        .arg("-c")
        .arg(format!("exec {line}"))
        .env("PATH", path);
    command
}

/// Keeps a program away from the home and the settings of whoever runs the tests.
pub(super) fn private_environment(command: &mut Command, home: &Path) {
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if [
            "FTPCLIENT_",
            "FTPMASTER_",
            "FTPSLAVE_",
            "RUST_LOG",
            "NOTIFY_SOCKET",
        ]
        .iter()
        .any(|ours| text.starts_with(ours))
        {
            command.env_remove(&name);
        }
    }
    command.env("HOME", home);
    for (name, folder) in [
        ("XDG_STATE_HOME", "state"),
        ("XDG_DATA_HOME", "data"),
        ("XDG_CONFIG_HOME", "config"),
    ] {
        command.env(name, home.join(folder));
    }
}
