//! Which certificate a server shows, and how it takes another one over.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use protocol::{Fingerprint, Reply, Request};
use rustix::process::Signal;
use tempfile::TempDir;

use super::over_tls;
use crate::harness::{
    Cluster, PATIENCE, Process, Setup, Wire, master_binary, secure, slave_binary, wait_until,
};

/// A certificate of an operator's own, and its key.
struct Files {
    folder: TempDir,
}

impl Files {
    fn new() -> Self {
        let files = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        files.renew();
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Puts a new pair in place; by what it is known.
    fn renew(&self) -> Fingerprint {
        let identity = auth::tls::Identity::generate(&["localhost".to_owned()]).unwrap();
        let text = String::from_utf8(identity.to_pem()).unwrap();
        let (key, certificate) = text.split_at(text.find("-----BEGIN CERTIFICATE").unwrap());
        fs::write(self.path("cert.pem"), certificate).unwrap();
        fs::write(self.path("key.pem"), key).unwrap();
        set_mode(&self.path("key.pem"), 0o600);
        identity.fingerprint()
    }

    fn options(&self) -> [String; 4] {
        let path = |name| self.path(name).to_str().unwrap().to_owned();
        [
            "--cert".to_owned(),
            path("cert.pem"),
            "--key".to_owned(),
            path("key.pem"),
        ]
    }
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn each_server_makes_a_key_of_its_own_keeps_it_and_says_by_what_it_is_known() {
    let mut cluster = Setup::new(2)
        .master_options(["-v"])
        .slave_options(["-v"])
        .start();
    let shown = |cluster: &mut Cluster| {
        let addresses: Vec<_> = [cluster.master().address]
            .into_iter()
            .chain(cluster.slaves.iter().map(|slave| slave.address))
            .collect();
        addresses
            .into_iter()
            .map(|address| secure(address, None).unwrap().key())
            .collect::<Vec<_>>()
    };
    let keys = shown(&mut cluster);
    assert!(keys[0] != keys[1] && keys[1] != keys[2] && keys[0] != keys[2]);
    let said = [
        cluster.master().process.stderr(),
        cluster.slaves[0].process.stderr(),
        cluster.slaves[1].process.stderr(),
    ];
    for (key, said) in keys.iter().zip(said) {
        assert!(said.contains(&key.to_string()), "{said}");
    }
    for entry in fs::read_dir(cluster.state()).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o077, 0);
        }
    }
    cluster.restart();
    assert_eq!(shown(&mut cluster), keys);
}

#[test]
fn hangup_takes_a_new_certificate_over_and_no_session_notices() {
    let files = Files::new();
    let options = files.options();
    let mut cluster = Setup::new(1)
        .master_options(options.clone())
        .slave_options(options)
        .start();
    let (master, slave) = (cluster.master().address, cluster.slaves[0].address);
    let mut old = over_tls(slave);
    let new = files.renew();
    let hang_up = |cluster: &mut Cluster| {
        cluster.master().process.signal(Signal::HUP);
        cluster.slaves[0].process.signal(Signal::HUP);
    };
    hang_up(&mut cluster);
    for server in [master, slave] {
        wait_until("the new key to be shown", PATIENCE, || {
            secure(server, Some(new)).is_ok()
        });
    }
    let reply: Reply = old.ask(&Request::Probe { worker: 0 });
    assert!(
        matches!(reply, Reply::Alive { .. } | Reply::Error { .. }),
        "{reply:?}"
    );
    // What cannot be used changes nothing, and is said.
    fs::write(files.path("cert.pem"), "nonsense").unwrap();
    hang_up(&mut cluster);
    let complains = |process: &Process| process.stderr().contains("there is no certificate in");
    wait_until("complaints", PATIENCE, || {
        complains(&cluster.master().process) && complains(&cluster.slaves[0].process)
    });
    for server in [master, slave] {
        secure(server, Some(new)).unwrap();
    }
}

#[test]
fn a_certificate_behind_a_link_is_taken_over_in_the_sandbox_too() {
    let (files, links) = (Files::new(), tempfile::tempdir().unwrap());
    let mut options = files.options();
    for (index, name) in [(1, "cert.pem"), (3, "key.pem")] {
        let link = links.path().join(name);
        symlink(files.path(name), &link).unwrap();
        options[index] = link.to_str().unwrap().to_owned();
    }
    let mut cluster = Setup::new(0).master_options(options).start();
    let new = files.renew();
    cluster.master().process.signal(Signal::HUP);
    let address = cluster.master().address;
    wait_until("the new key to be shown", PATIENCE, || {
        secure(address, Some(new)).is_ok()
    });
}

/// What a server says that does not start with these options.
fn refusal(program: &Path, options: &[String]) -> String {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join("root")).unwrap();
    let mut command = Command::new(program);
    command
        .args(options)
        .arg("--state")
        .arg(home.path().join("state"));
    if program == slave_binary() {
        command
            .args(["--standalone", "--root"])
            .arg(home.path().join("root"))
            .arg("0");
    } else {
        command.args(["--port", "0"]);
    }
    let mut process = Process::spawn("server", &mut command);
    assert_eq!(process.wait_code(PATIENCE), 1, "{}", process.stderr());
    process.stderr()
}

#[test]
fn a_certificate_that_cannot_be_shown_keeps_a_server_from_starting() {
    let files = Files::new();
    let other = Files::new();
    let options = files.options();
    for program in [master_binary(), slave_binary()] {
        let said = refusal(program, &options[..2]);
        assert!(said.contains("--cert goes with --key"), "{said}");
        let said = refusal(program, &options[2..]);
        assert!(said.contains("--key goes with --cert"), "{said}");
        let mut mixed = options.clone();
        mixed[3] = other.options()[3].clone();
        let said = refusal(program, &mixed);
        assert!(
            said.contains("certificate and the key cannot be used"),
            "{said}"
        );
        let mut missing = options.clone();
        missing[1] = files.path("missing").to_str().unwrap().to_owned();
        let said = refusal(program, &missing);
        assert!(
            said.contains("cannot read '") && said.contains("missing'"),
            "{said}"
        );
        set_mode(&files.path("key.pem"), 0o644);
        let said = refusal(program, &options);
        assert!(said.contains("chmod 600"), "{said}");
        set_mode(&files.path("key.pem"), 0o600);
    }
}

#[test]
fn keys_are_in_no_process_list_and_no_log() {
    let files = Files::new();
    let cluster = Setup::new(1)
        .observable()
        .without_master()
        .slave_options(files.options())
        .slave_options(["-vv"])
        .start();
    let _session: Wire<_> = over_tls(cluster.address());
    let key = fs::read_to_string(files.path("key.pem")).unwrap();
    let secret = key.lines().nth(1).unwrap();
    for pid in cluster.slaves[0].family() {
        for file in ["cmdline", "environ"] {
            let text = fs::read(format!("/proc/{pid}/{file}")).unwrap();
            assert!(!String::from_utf8_lossy(&text).contains(secret));
        }
    }
    assert!(!cluster.slaves[0].process.stderr().contains(secret));
}
