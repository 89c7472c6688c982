//! The first five minutes of somebody who has read the README and nothing else: two machines, five commands.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, eth, recv, socket_with};
use tempfile::TempDir;

use super::PASSWORD;
use crate::harness::{
    Client, Finished, PATIENCE, Place, Process, done_as_superuser, shell, skipped, wait_until,
};

/// Where the machine that serves is reached from the other one.
const SERVER: &str = "10.97.0.1";

/// What a file holds that is put.
const NOTE: &str = "canary-2b8f nobody else shall read this";

/// The commands of a document that begin with a machine's name, without their comments.
fn commands(document: &str) -> Vec<(String, String)> {
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join(document);
    let text = fs::read_to_string(document).unwrap();
    let (_, behind) = text.split_once("```sh\nnas$ ").expect("five commands");
    let (block, _) = behind.split_once("```").unwrap();
    let lines = block.lines().map(|line| match line.split_once("$ ") {
        Some((machine, command)) => (machine, command),
        None => ("nas", line),
    });
    let plain = |command: &str| command.split(" #").next().unwrap().trim().to_owned();
    lines
        .map(|(machine, command)| (machine.to_owned(), plain(command)))
        .collect()
}

/// Two machines, a line between them, and who listens there.
struct Machines {
    nas: Place,
    you: Place,
    wire: Arc<Mutex<Vec<u8>>>,
    directory: TempDir,
}

impl Machines {
    /// `None`, and a line that says so, where that is not allowed.
    fn new() -> Option<Self> {
        let made = Self::make();
        if let Err(problem) = &made {
            skipped(problem);
        }
        made.ok()
    }

    fn make() -> Result<Self, String> {
        let (nas, you) = (Place::new()?, Place::new()?);
        let far = you.path();
        nas.ip(&format!(
            "link add line type veth peer name line netns {}",
            far.display()
        ))?;
        for (place, address) in [(&nas, SERVER), (&you, "10.97.0.2")] {
            place.ip(&format!("addr add {address}/24 dev line"))?;
            place.ip("link set line up")?;
        }
        let wire = Arc::<Mutex<Vec<u8>>>::default();
        // Servers that other tests start meanwhile are not to have it, too.
        let flags = SocketFlags::CLOEXEC;
        let (family, kind) = (AddressFamily::PACKET, SocketType::RAW);
        let ear = you.run(|| socket_with(family, kind, flags, Some(eth::ALL)));
        listen(ear.map_err(|error| error.to_string())?, Arc::clone(&wire));
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("files")).unwrap();
        Ok(Self {
            nas,
            you,
            wire,
            directory,
        })
    }

    fn files(&self) -> PathBuf {
        self.directory.path().join("files")
    }

    /// One of the commands of a document, with this test's places in it.
    fn command(&self, line: &str, home: &Path) -> Command {
        let files = self.files();
        let line = line
            .replace("/srv/files", files.to_str().unwrap())
            .replace(" nas", &format!(" {SERVER}"));
        let mut command = shell(&line, home);
        let state = self.directory.path().join("state");
        command
            .env("FTPMASTER_STATE", &state)
            .env("FTPSLAVE_STATE", &state)
            .current_dir(&files);
        command
    }

    fn serve(&self, line: &str) -> Process {
        let home = self.directory.path().join("home");
        let process = self
            .nas
            .run(|| Process::spawn(line, &mut self.command(line, &home)));
        process.wait_for_line("listening on ", Duration::from_secs(20));
        process
    }

    /// Types at the other machine, where the password is known.
    fn type_there(&self, line: &str, client: &Client, words: &str, password: &str) -> Finished {
        let mut command = self.command(line, &client.home());
        command
            .env("FTPCLIENT_PASSWORD", password)
            .current_dir(client.folder());
        self.you.run(|| client.finish(command, words.as_bytes()))
    }

    fn was_heard(&self, bytes: &[u8]) -> bool {
        let wire = self.wire.lock().unwrap();
        wire.windows(bytes.len()).any(|window| window == bytes)
    }
}

/// Keeps all that passes, until the test's program ends.
fn listen(ear: OwnedFd, wire: Arc<Mutex<Vec<u8>>>) {
    let hear = move || {
        let mut packet = vec![0; 1 << 17];
        while let Ok((_, length @ 1..)) = recv(&ear, &mut packet[..], RecvFlags::empty()) {
            wire.lock().unwrap().extend_from_slice(&packet[..length]);
        }
    };
    thread::Builder::new().spawn(hear).unwrap();
}

#[test]
fn both_documents_begin_with_the_same_five_commands() {
    let readme = commands("README.md");
    assert_eq!(readme.len(), 5);
    assert_eq!(readme, commands("docs/OPERATIONS.md"));
}

#[test]
fn five_commands_give_an_account_and_a_session_that_is_protected_and_remembered() {
    if done_as_superuser() {
        return;
    }
    let Some(machines) = Machines::new() else {
        return;
    };
    let mut commands = commands("README.md").into_iter();
    let mut next = |machine| {
        let (on, line) = commands.next().unwrap();
        assert_eq!(on, machine, "{line}");
        line
    };
    let client = Client::new(SERVER);
    let added = machines.command(&next("nas"), &machines.directory.path().join("home"));
    client
        .finish(added, format!("{PASSWORD}\n").as_bytes())
        .succeeded();
    let master = next("nas");
    let mut running = machines.serve(&master);
    let _slaves = [next("nas"), next("nas")].map(|line| machines.serve(&line));
    let session = next("you");
    let other = Client::new(SERVER);
    wait_until("slaves to be registered", PATIENCE, || {
        machines.type_there(&session, &other, "ls\n", PASSWORD).code == 0
    });

    client.write("note.txt", NOTE.as_bytes());
    let words = "put note.txt\nmkdir old\nmv note.txt old\nget old/note.txt copy.txt\nrm -r old\n";
    let first = machines.type_there(&session, &client, words, PASSWORD);
    first.succeeded();
    assert_eq!(client.read("copy.txt"), NOTE.as_bytes());
    assert_eq!(first.stderr.lines().count(), 1, "{}", first.stderr);
    let news = format!("ftpclient: {SERVER}:2121 is new: SHA256:");
    assert!(first.stderr.starts_with(&news), "{}", first.stderr);
    let remembered = super::remembered(&client);
    assert!(
        remembered.starts_with(&format!("{SERVER}:2121 SHA256:")),
        "{remembered}"
    );
    let second = machines.type_there(&session, &client, "ls\n", PASSWORD);
    assert_eq!(second.succeeded().stderr, "");
    assert!(machines.was_heard(b"220 mini-ftp ready"), "nobody listened");
    for secret in [PASSWORD, NOTE, "note.txt"] {
        assert!(
            !machines.was_heard(secret.as_bytes()),
            "'{secret}' was on the line"
        );
    }

    machines
        .type_there(&session, &client, "ls\n", "wrong")
        .failed(4, "login refused");
    let clear = session.replace("-u ada", "--tls never");
    machines
        .type_there(&clear, &client, "ls\n", "")
        .failed(3, "the server demands TLS");
    running.kill();
    fs::remove_file(machines.directory.path().join("state/master.pem")).unwrap();
    let _running = machines.serve(&master);
    machines
        .type_there(&session, &client, "ls\n", PASSWORD)
        .failed(4, "remove line 1 of '");
}
