//! What each role can do and what it cannot, and what `/proc` says of it.

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind};
use std::net::TcpListener;
use std::os::unix::fs::chown;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use confinement::Kernel;
use testing::skipped;

use crate::child::{DESCRIPTORS, Outcome, WAIT, command, outcome, outcome_of};
use crate::deeds::{NAMED, PORTS};

type Test = (&'static str, fn());

pub(crate) const TESTS: &[Test] = &[
    ("nothing_outside_the_folder_is_reached", outside),
    ("each_role_does_its_work", work),
    ("what_only_an_attacker_calls_ends_the_process", deadly),
    ("what_is_not_needed_is_refused", refused),
    ("ports_are_those_of_the_table", ports),
    ("sending_makes_no_connection", sending),
    ("no_other_protocol_passes_by_the_ports", protocols),
    ("a_worker_sends_to_no_named_socket", named_sockets),
    ("the_kernel_says_that_it_is_held", status),
    (
        "without_the_sandbox_limits_and_privileges_are_given_up_all_the_same",
        free,
    ),
    (
        "threads_that_run_already_keep_it_from_being_confined",
        threads,
    ),
    ("root_becomes_a_user_with_nothing_left", dropped),
];

/// A folder to be confined to, with a file, and one beside it that is not the process's.
struct Place {
    folder: PathBuf,
    _directory: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        for name in ["folder", "outside"] {
            fs::create_dir(directory.path().join(name)).unwrap();
            fs::write(directory.path().join(name).join("file"), "content").unwrap();
        }
        Self {
            folder: directory.path().join("folder"),
            _directory: directory,
        }
    }

    fn outcome(&self, role: &str, deed: &str) -> Outcome {
        outcome(role, deed, &self.folder)
    }

    #[track_caller]
    fn refuses(&self, role: &str, deed: &str, error: i32) {
        assert_eq!(
            self.outcome(role, deed),
            Outcome::Refused(error),
            "{role}: {deed}"
        );
    }

    #[track_caller]
    fn lets(&self, role: &str, deed: &str) {
        assert_eq!(self.outcome(role, deed), Outcome::Done, "{role}: {deed}");
    }
}

/// Whether the kernel has all guards; where not, what is tested is what is there.
fn kernel_has_everything() -> bool {
    let missing = Kernel::ask().missing();
    if let Some(missing) = &missing {
        skipped(format_args!("this kernel cannot forbid {missing}"));
    }
    missing.is_none()
}

fn outside() {
    if !kernel_has_everything() {
        return;
    }
    for role in ["server", "sweeper", "keeper", "writer", "lister"] {
        let place = Place::new();
        for deed in [
            "read outside",
            "read the status",
            "list outside",
            "write outside",
            "overwrite outside",
            "remove outside",
        ] {
            place.refuses(role, deed, libc::EACCES);
        }
        for deed in ["move outside", "move inside"] {
            let refusal = place.outcome(role, deed);
            let refusals = [libc::EACCES, libc::EXDEV].map(Outcome::Refused);
            assert!(refusals.contains(&refusal), "{role}: {deed}: {refusal:?}");
        }
        let content = fs::read(place.folder.with_file_name("outside").join("file"));
        assert_eq!(content.unwrap(), b"content");
    }
}

fn work() {
    let place = Place::new();
    for deed in ["read", "list", "write", "serve", "signal itself", "panic"] {
        place.lets("server", deed);
    }
    place.lets("keeper", "keep");
    place.lets("keeper", "look up a name");
    place.lets("writer", "write");
    place.lets("lister", "list");
    place.lets("sweeper", "look up a name");
    if kernel_has_everything() {
        place.refuses("sweeper", "write", libc::EACCES);
        place.refuses("writer", "remove", libc::EACCES);
        for deed in ["read", "write", "remove"] {
            place.refuses("lister", deed, libc::EACCES);
        }
    }
    place.lets("sweeper", "remove");
}

fn deadly() {
    if !kernel_has_everything() {
        return;
    }
    let place = Place::new();
    for role in ["server", "keeper"] {
        for deed in [
            "run a program",
            "start a process",
            "trace",
            "mount",
            "unshare",
            "become root",
            "make a pipe",
        ] {
            assert_eq!(
                place.outcome(role, deed),
                Outcome::Killed(libc::SIGSYS),
                "{role}: {deed}"
            );
        }
    }
}

fn refused() {
    if !kernel_has_everything() {
        return;
    }
    let place = Place::new();
    for role in ["server", "keeper"] {
        for deed in [
            "make a link",
            "signal its parent",
            "ask the terminal",
            "raise a limit",
        ] {
            place.refuses(role, deed, libc::ENOSYS);
        }
        place.refuses(role, "run what was written", libc::EACCES);
        place.refuses(role, "dump", libc::EPERM);
    }
}

fn ports() {
    if !kernel_has_everything() {
        return;
    }
    let place = Place::new();
    let listeners = Listeners::new();
    let outcome = |role: &str, deed: &str| listeners.outcome(&place, role, deed);
    let denied = || Outcome::Refused(libc::EACCES);
    for deed in ["connect", "connect elsewhere", "listen"] {
        assert_eq!(outcome("server", deed), Outcome::Refused(libc::ENOSYS));
    }
    assert_eq!(outcome("sweeper", "connect"), Outcome::Done);
    assert_eq!(outcome("sweeper", "connect elsewhere"), denied());
    assert_eq!(outcome("sweeper", "listen"), denied());
    assert_eq!(outcome("keeper", "connect elsewhere"), Outcome::Done);
    assert_eq!(outcome("keeper", "listen"), denied());
}

fn sending() {
    if !kernel_has_everything() {
        return;
    }
    let place = Place::new();
    let listeners = Listeners::new();
    for (role, deed) in [
        ("sweeper", "connect elsewhere by sending"),
        ("sweeper", "connect the listener elsewhere"),
        ("server", "connect the listener elsewhere"),
    ] {
        let refusal = listeners.outcome(&place, role, deed);
        assert_eq!(refusal, Outcome::Refused(libc::ENOSYS), "{role}: {deed}");
    }
}

fn protocols() {
    if !kernel_has_everything() {
        return;
    }
    let place = Place::new();
    let listeners = Listeners::new();
    for deed in [
        "connect elsewhere over MPTCP",
        "make a socket for SCTP",
        "make a raw socket",
    ] {
        let refusal = listeners.outcome(&place, "sweeper", deed);
        assert_eq!(refusal, Outcome::Refused(libc::ENOSYS), "{deed}");
    }
}

fn named_sockets() {
    if !kernel_has_everything() {
        return;
    }
    let place = Place::new();
    let socket = UnixDatagram::bind(place.folder.join(NAMED)).unwrap();
    socket.set_nonblocking(true).unwrap();
    place.refuses("server", "send to a named socket", libc::ENOSYS);
    let received = socket.recv(&mut [0]).map_err(|error| error.kind());
    assert_eq!(received, Err(ErrorKind::WouldBlock));
}

/// What is listened at outside: at a port that the table of a role can name, and at another one.
struct Listeners([TcpListener; 2]);

impl Listeners {
    fn new() -> Self {
        Self([0, 0].map(|port| TcpListener::bind(("127.0.0.1", port)).unwrap()))
    }

    fn outcome(&self, place: &Place, role: &str, deed: &str) -> Outcome {
        let [allowed, other] = self
            .0
            .each_ref()
            .map(|listener| listener.local_addr().unwrap().port());
        let mut command = command(role, deed, &place.folder);
        command.env(PORTS, format!("{allowed},{other}"));
        outcome_of(command)
    }
}

/// What `/proc` says of a process of that role, of the file `name`.
fn proc_of(role: &str, folder: &Path, name: &str) -> String {
    let mut child = command(role, WAIT, folder).spawn().unwrap();
    let mut line = String::new();
    let mut said = BufReader::new(child.stdout.take().unwrap());
    said.read_line(&mut line).unwrap();
    assert_eq!(line, "confined\n");
    let content = fs::read_to_string(format!("/proc/{}/{name}", child.id())).unwrap();
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
    content
}

/// The words behind `name` on its line.
fn field(content: &str, name: &str) -> Vec<String> {
    let line = content.lines().find_map(|line| line.strip_prefix(name));
    let words = line.unwrap_or_else(|| panic!("no '{name}' in {content}"));
    words.split_whitespace().map(str::to_owned).collect()
}

/// Capabilities over files (capabilities(7)): 1, 2 and 3.
const OVER_FILES: u64 = 0b1110;

fn assert_privileges_given_up(status: &str) {
    assert_eq!(field(status, "NoNewPrivs:"), ["1"]);
    let capabilities = |name| u64::from_str_radix(&field(status, name)[0], 16).unwrap();
    for name in ["CapInh:", "CapAmb:"] {
        assert_eq!(capabilities(name), 0, "{name}");
    }
    for name in ["CapPrm:", "CapEff:"] {
        assert_eq!(capabilities(name) & !OVER_FILES, 0, "{name}");
    }
    if is_root() {
        assert_eq!(capabilities("CapBnd:") & !OVER_FILES, 0);
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn status() {
    let place = Place::new();
    for role in ["server", "sweeper", "keeper"] {
        let status = proc_of(role, &place.folder, "status");
        assert_privileges_given_up(&status);
        if kernel_has_everything() {
            assert_eq!(field(&status, "Seccomp:"), ["2"]);
        }
        let limits = proc_of(role, &place.folder, "limits");
        assert_eq!(field(&limits, "Max core file size")[..2], ["0", "0"]);
        let most = DESCRIPTORS.to_string();
        assert_eq!(field(&limits, "Max open files")[..2], [&*most, &*most]);
    }
}

fn free() {
    let place = Place::new();
    let status = proc_of("free", &place.folder, "status");
    assert_privileges_given_up(&status);
    place.lets("free", "read outside");
    place.lets("free", "start a process");
    place.lets("free", "dump");
}

fn threads() {
    let place = Place::new();
    assert_eq!(
        place.outcome("threaded", "read"),
        Outcome::NotConfined("there are threads already".to_owned())
    );
}

fn dropped() {
    if !is_root() {
        return skipped("only root can become somebody else");
    }
    let place = Place::new();
    chown(&place.folder, Some(54_321), Some(54_322)).unwrap();
    let status = proc_of("dropped", &place.folder, "status");
    assert_eq!(field(&status, "Uid:"), ["54321"; 4]);
    assert_eq!(field(&status, "Gid:"), ["54322"; 4]);
    assert_eq!(field(&status, "Groups:"), [""; 0]);
    for name in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
        assert_eq!(field(&status, name), ["0000000000000000"], "{name}");
    }
}
