//! `ftpmaster invite`, `ftpslave --join` and `ftpmaster evict`.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use auth::Invitation;
use protocol::{ErrorCode, MasterReply, MasterRequest};

use super::{elsewhere, shown, text, wait_for_up};
use crate::harness::{Cluster, Finished, PATIENCE, Setup, Wire, slave_binary, wait_until};

/// A slave that cannot start, or joins and is ended: what it said. What it reads is the invitation.
fn try_to_join(cluster: &Cluster, words: &[&str], stdin: &str) -> Finished {
    let (_folder, state) = elsewhere();
    let mut command = Command::new(slave_binary());
    let master = cluster.address().to_string();
    command
        .args(["--state", text(&state), "--master", &master, "--root"])
        .arg(cluster.root())
        .args(words)
        .arg("0");
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(stdin.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    Finished {
        code: output.status.code().unwrap_or(-1),
        raw: output.stdout,
        stdout: String::new(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

#[test]
fn a_slave_elsewhere_joins_once_over_tls_and_needs_no_invitation_later() {
    let setup = Setup::new(0).master_options(["--tls", "always"]);
    let mut cluster = setup.start();
    let invitation = cluster.invite();
    let (secret, known) = invitation.split_once('@').unwrap();
    assert!(
        secret.len() == 32 && known.starts_with("SHA256:"),
        "{invitation}"
    );
    let (_folder, state) = elsewhere();
    let join = format!("--join={invitation}");
    cluster.add_slave(&["--state", text(&state), &join]);
    wait_for_up(&cluster, 1);

    // Used, it is of no use to anybody, and nobody could have read it where it was kept.
    for (words, stdin) in [
        (["--join", &invitation], ""),
        (["--join", "-"], invitation.as_str()),
    ] {
        let refused = try_to_join(&cluster, &words, stdin);
        refused.failed(1, "cannot join: ");
        refused.failed(
            1,
            "the invitation was used, has ended, or is another master's",
        );
        assert!(!refused.stderr.contains(secret), "{}", refused.stderr);
    }
    let kept = fs::read_to_string(cluster.state().join("slaves.toml")).unwrap();
    assert!(!kept.contains(secret), "{kept}");
    let keys = fs::read_dir(state.join("slaves")).unwrap();
    let keys = keys.map(|entry| entry.unwrap().path());
    let keys = keys
        .filter(|path| path.extension().is_some())
        .collect::<Vec<_>>();
    let mode = fs::metadata(&keys[0]).unwrap().permissions().mode();
    assert_eq!((keys.len(), mode & 0o7777), (1, 0o600));
    assert!(!fs::read_to_string(&keys[0]).unwrap().contains(secret));

    cluster.slaves[0].restart();
    wait_for_up(&cluster, 1);
    // A master with another key is a stranger, whatever it says.
    cluster.master().kill();
    fs::remove_file(cluster.state().join("master.pem")).unwrap();
    cluster.master().restart();
    let slave = &cluster.slaves[0].process;
    let line = slave.wait_for_line("does not take this slave", PATIENCE);
    assert!(line.contains("is known by SHA256:"), "{line}");
    assert_eq!(shown(&cluster).len(), 0);
}

#[test]
fn what_is_no_invitation_is_not_repeated_and_a_stranger_is_shown_none() {
    let cluster = Setup::new(0).start();
    let typed = "0123456789abcdef";
    let refused = try_to_join(&cluster, &["--join", typed], "");
    refused.failed(1, "that is no invitation");
    assert!(!refused.stderr.contains(typed), "{}", refused.stderr);
    try_to_join(&cluster, &["--join", "-"], "").failed(1, "that is no invitation");
    let both = try_to_join(&cluster, &["--join", "-", "--standalone"], "");
    both.failed(1, "--join goes with a master");

    // Another master than the one of the invitation does not see the secret, not even on this machine.
    let other = Setup::new(0).start();
    let invitation = cluster.invite();
    let refused = try_to_join(&other, &["--join", &invitation], "");
    refused.failed(1, "is known by SHA256:");
    // It is still good where it belongs.
    let mut cluster = cluster;
    let (_folder, state) = elsewhere();
    cluster.add_slave(&["--state", text(&state), "--join", &invitation]);
    wait_for_up(&cluster, 1);
    cluster.write("a.txt", b"hello\n");
    cluster.client().run(["get", "a.txt"]).succeeded();
}

#[test]
fn who_is_invited_does_not_join_as_a_slave_that_serves_with_the_master_key() {
    let mut cluster = Cluster::start(1);
    cluster.write("a.txt", b"hello\n");
    let invitation: Invitation = cluster.invite().parse().unwrap();
    let serving = &shown(&cluster)[0];
    let join = |identity: &str| -> MasterReply {
        let slave = identity.parse().unwrap();
        let token = invitation.token();
        Wire::open(cluster.address()).ask(&MasterRequest::Join { token, slave })
    };
    let MasterReply::Error { code, .. } = join(serving["identity"].as_str().unwrap()) else {
        panic!("joined as another one");
    };
    assert_eq!(code, ErrorCode::DuplicateSlave);
    // It was not used up.
    let joined = join(&"1".repeat(32));
    assert!(matches!(joined, MasterReply::Joined { .. }), "{joined:?}");
    cluster.slaves[0].restart();
    wait_for_up(&cluster, 1);
    cluster.client().run(["get", "a.txt"]).succeeded();
}

#[test]
fn an_invitation_ends() {
    let cluster = Setup::new(0).start();
    let invited = cluster.operator(["invite", "--life", "1s"]);
    let invitation = invited.succeeded().stdout.trim_end().to_owned();
    let kept = fs::read_to_string(cluster.state().join("slaves.toml")).unwrap();
    let ends = kept.split("expires = ").nth(1).unwrap();
    let ends: u64 = ends.lines().next().unwrap().parse().unwrap();
    wait_until("the invitation to end", PATIENCE, || {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        now.unwrap().as_secs() >= ends
    });
    let refused = try_to_join(&cluster, &["--join", &invitation], "");
    refused.failed(1, "the invitation was used, has ended");
}

#[test]
fn a_slave_without_invitation_or_key_never_receives_a_client() {
    let mut cluster = Setup::new(0).start();
    let (_folder, state) = elsewhere();
    cluster.add_slave(&["--state", text(&state)]);
    let slave = &cluster.slaves[0].process;
    let line = slave.wait_for_line("does not take this slave", PATIENCE);
    assert!(line.contains("ftpmaster invite"), "{line}");
    cluster.client().run(["ls"]).failed(3, "no slave is up");
    assert_eq!(shown(&cluster).len(), 0);
}

#[test]
fn an_evicted_slave_is_out_within_seconds_until_it_is_invited_again() {
    let mut cluster = Cluster::start(2);
    cluster.write("a.txt", b"hello\n");
    let gone = cluster.slaves[0].address.to_string();
    cluster.operator(["evict", &gone]).succeeded();
    wait_for_up(&cluster, 1);
    for _ in 0..4 {
        let got = cluster.client().options(["--json"]).run(["get", "a.txt"]);
        assert_ne!(got.succeeded().json()[0]["slave"], gone.as_str());
    }
    let slave = &cluster.slaves[0].process;
    slave.wait_for_line("this master has shut the slave out", PATIENCE);
    let of = |cluster: &Cluster, address: &str| {
        let slaves = shown(cluster).into_iter();
        let mut slaves = slaves.filter(|slave| slave["address"] == address);
        slaves.next().unwrap()
    };
    let identity = of(&cluster, &gone)["identity"].as_str().unwrap().to_owned();
    let again = cluster.operator(["evict", &identity]);
    again.failed_exactly(1, &format!("ftpmaster: {identity} is shut out already"));
    cluster
        .operator(["evict", "192.0.2.1:1"])
        .failed(1, "the master knows no slave '192.0.2.1:1'");
    // Nor does it come back by itself, neither it nor its master being started again.
    cluster.master().restart();
    cluster.slaves[0].restart();
    cluster.slaves[0]
        .process
        .wait_for_line("this master has shut the slave out", PATIENCE);
    wait_for_up(&cluster, 1);

    let invitation = cluster.invite();
    cluster.slaves[0].add_argument(format!("--join={invitation}"));
    cluster.slaves[0].restart();
    wait_for_up(&cluster, 2);
    assert_eq!(of(&cluster, &gone)["identity"], identity.as_str());
    // Sessions, too: its tickets are made with the keys that it was given.
    let stays = cluster.slaves.remove(1);
    drop(stays);
    wait_for_up(&cluster, 1);
    cluster.client().run(["get", "-f", "a.txt"]).succeeded();
}
