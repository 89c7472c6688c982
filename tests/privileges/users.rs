//! Started as root, a server becomes somebody who is not.

use std::ffi::OsString;
use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::harness::{
    Client, PATIENCE, Process, Server, Setup, field, master_binary, skipped, slave_binary,
    status_of, user_command, wait_until, with_calls_that,
};

/// A user whom the machine has no name for.
const OWNER: (u32, u32) = (54_321, 54_322);

/// One that takes root to listen at.
const PRIVILEGED_PORT: u16 = 999;

/// A folder that everybody can reach, with copies of the programs that everybody can run.
struct Machine {
    directory: TempDir,
}

impl Machine {
    /// `None`, and a line that says so, where a test cannot become anybody.
    fn new() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            skipped("only root can become somebody else");
            return None;
        }
        let machine = Self {
            directory: tempfile::tempdir().unwrap(),
        };
        set_mode(machine.directory.path(), 0o755);
        for program in [master_binary(), slave_binary()] {
            fs::copy(program, machine.path(program.file_name().unwrap())).unwrap();
        }
        fs::create_dir(machine.path("root")).unwrap();
        Some(machine)
    }

    fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.directory.path().join(name)
    }

    fn start(&self, program: &str, port: u16, arguments: &[&str]) -> Server {
        let state = self.path("state");
        let mut words = vec!["--state".into(), state.into()];
        if program == "ftpslave" {
            words.extend(["--root".into(), self.path("root").into()]);
        }
        words.extend(arguments.iter().map(Into::into));
        if program == "ftpmaster" {
            words.push("--port".into());
        }
        let home = self.path(".");
        Server::start_at(port, program.to_owned(), &self.path(program), (words, home))
    }

    /// What a slave says that cannot start.
    fn complaint(&self, arguments: &[&str]) -> String {
        self.complaint_behind(&[], arguments)
    }

    /// The same, of one that another program starts.
    fn complaint_behind(&self, helper: &[OsString], arguments: &[&str]) -> String {
        let words = [helper, &[self.path("ftpslave").into()]].concat();
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        command.args(["0", "--standalone", "--state"]);
        command.arg(self.path("state")).args(arguments);
        command.arg("--root").arg(self.path("root"));
        let mut process = Process::spawn("ftpslave", &mut command);
        assert_eq!(process.wait_code(PATIENCE), 1);
        let said = process.stderr();
        assert_eq!(said.lines().count(), 1, "{said}");
        said
    }
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn owner(path: &Path) -> (u32, u32) {
    let facts = fs::symlink_metadata(path).unwrap();
    (facts.uid(), facts.gid())
}

/// Every process of the server is that user, and nothing else.
fn assert_is(server: &Server, (uid, gid): (u32, u32)) {
    for pid in server.family() {
        let status = status_of(pid);
        assert_eq!(field(&status, "Uid"), vec![uid.to_string(); 4], "{status}");
        assert_eq!(field(&status, "Gid"), vec![gid.to_string(); 4], "{status}");
        assert_eq!(field(&status, "Groups"), [""; 0], "{status}");
        for name in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            assert_eq!(field(&status, name), ["0000000000000000"], "{name}");
        }
    }
}

#[test]
fn a_slave_becomes_the_owner_of_its_root_and_keeps_what_only_root_can_have() {
    let Some(machine) = Machine::new() else {
        return;
    };
    let root = machine.path("root");
    chown(&root, Some(OWNER.0), Some(OWNER.1)).unwrap();
    set_mode(&root, 0o700);
    fs::create_dir(machine.path("state")).unwrap();
    set_mode(&machine.path("state"), 0o700);

    // Its keys are root's, like the master that made them, and so is a port below 1024.
    let [.., high, low] = std::process::id().to_be_bytes();
    let ip = Ipv4Addr::new(127, 254, high, low.max(1)).to_string();
    let master = machine.start("ftpmaster", 0, &["--bind", &ip]);
    master.process.wait_for_line("running as root", PATIENCE);
    let address = master.address.to_string();
    let arguments = ["--bind", &ip, "--workers", "2", "--master", &address];
    let slave = machine.start("ftpslave", PRIVILEGED_PORT, &arguments);

    let client = Client::new(master.address.to_string()).options(["--wait", "20"]);
    client.write("file", b"content");
    client.run(["put", "file"]).succeeded();
    client.run(["get", "-f", "file"]).succeeded();
    for made in ["file", ".mini-ftp", ".mini-ftp/storage-id"] {
        assert_eq!(owner(&root.join(made)), OWNER, "{made}");
    }
    assert_eq!(owner(&machine.path("state/master.key")), (0, 0));
    assert_is(&slave, OWNER);

    // The next workers are started by who has become somebody else.
    let before = slave.workers();
    slave.process.signal(Signal::HUP);
    wait_until("new workers", PATIENCE, || {
        let now = slave.workers();
        now.len() == 2 && !now.iter().any(|pid| before.contains(pid))
    });
    client.run(["get", "-f", "file"]).succeeded();
    assert_is(&slave, OWNER);
}

#[test]
fn a_slave_of_root_s_joins_with_the_state_of_another_user() {
    if !rustix::process::geteuid().is_root() {
        return skipped("only root uses the state of another user");
    }
    let mut cluster = Setup::new(0).start();
    let state = tempfile::tempdir().unwrap();
    chown(state.path(), Some(OWNER.0), Some(OWNER.1)).unwrap();
    let invitation = cluster.invite();
    let path = state.path().to_str().unwrap();
    cluster.add_slave(&["--state", path, "--join", &invitation]);
    let client = cluster.client().options(["--wait", "20"]);
    client.run(["ls"]).succeeded();
    let kept = fs::read_dir(state.path().join("slaves")).unwrap();
    let kept: Vec<PathBuf> = kept.map(|entry| entry.unwrap().path()).collect();
    assert_eq!(kept.len(), 2, "{kept:?}");
    for file in kept {
        assert_eq!(owner(&file), OWNER, "{}", file.display());
    }
}

#[test]
fn a_master_becomes_the_user_who_is_named_and_root_s_changes_reach_it() {
    let Some(machine) = Machine::new() else {
        return;
    };
    let Some(nobody) = nix::unistd::User::from_name("nobody").unwrap() else {
        return skipped("there is no user 'nobody'");
    };
    let nobody = (nobody.uid.as_raw(), nobody.gid.as_raw());
    let mut master = machine.start("ftpmaster", 0, &["--user", "nobody"]);
    assert_is(&master, nobody);
    let state = machine.path("state");
    let client = Client::new(master.address.to_string());
    client.run(["ls"]).failed(3, "no slave is up");

    user_command(&state, ["add", "ada"], "secret").succeeded();
    for made in [".", "master.key", "users.toml", "users.toml.lock"] {
        assert_eq!(owner(&state.join(made)), nobody, "{made}");
    }
    master.process.signal(Signal::HUP);
    wait_until("a login to be needed", PATIENCE, || {
        client.run(["ls"]).code == 4
    });
    // Started again it is the owner of its state, without being told.
    master.process.terminate(PATIENCE);
    drop(master);
    let master = machine.start("ftpmaster", 0, &[]);
    assert_is(&master, nobody);
    drop(master);

    // A state of another user is not theirs to keep.
    chown(&state, Some(OWNER.0), Some(OWNER.1)).unwrap();
    let mut command = Command::new(machine.path("ftpmaster"));
    command.arg("--state").arg(&state);
    command.args(["--port", "0", "--user", "nobody"]);
    let mut process = Process::spawn("ftpmaster", &mut command);
    assert_eq!(process.wait_code(PATIENCE), 1);
    let said = process.stderr();
    assert!(said.contains("chown -R nobody"), "{said}");
}

#[test]
fn who_cannot_become_the_user_or_serve_as_them_says_why() {
    let Some(machine) = Machine::new() else {
        return;
    };
    let root = machine.path("root");
    let said = machine.complaint(&["--user", "no-such-user"]);
    assert!(said.contains("there is no user 'no-such-user'"), "{said}");

    // What root's slave made earlier is not its successor's.
    fs::create_dir(root.join(".mini-ftp")).unwrap();
    chown(&root, Some(OWNER.0), Some(OWNER.1)).unwrap();
    let said = machine.complaint(&[]);
    assert!(said.contains("chown -R 54321"), "{said}");
    fs::remove_dir(root.join(".mini-ftp")).unwrap();

    chown(&root, Some(OWNER.0), Some(0)).unwrap();
    let said = machine.complaint(&[]);
    assert!(said.contains("root's group"), "{said}");

    chown(&root, Some(OWNER.0), Some(OWNER.1)).unwrap();
    set_mode(&machine.path("ftpslave"), 0o700);
    let said = machine.complaint(&[]);
    assert!(said.contains("may not run"), "{said}");
}

#[test]
fn a_server_that_did_not_become_its_user_for_good_does_not_start() {
    let Some(machine) = Machine::new() else {
        return;
    };
    chown(machine.path("root"), Some(OWNER.0), Some(OWNER.1)).unwrap();
    let steps = [
        ("setgroups", "further groups"),
        ("setresgid", "the group id"),
        ("setresuid", "the user id"),
    ];
    // Whoever runs the tests may have no groups to give up.
    let mut with_groups = ["setpriv", "--groups=54323"].map(OsString::from).to_vec();
    let works = Command::new("setpriv")
        .args(["--groups=54323", "true"])
        .output();
    if !works.is_ok_and(|output| output.status.success()) {
        return skipped("setpriv is missing");
    }
    for (call, left) in steps {
        // The kernel is kept from doing it, and says that it has.
        let Some(strace) = with_calls_that(call, "retval=0") else {
            return;
        };
        with_groups.truncate(2);
        with_groups.extend(strace);
        let said = machine.complaint_behind(&with_groups, &[]);
        let sentence = format!("did not become '54321' for good: {left}");
        assert!(said.contains(&sentence), "{call}: {said}");
    }
}
