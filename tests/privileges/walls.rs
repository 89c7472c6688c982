//! Every process has what it was given, and finds out when a wall around it does not stand.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{assert_privileges_given_up, is_filtered};
use crate::harness::{
    Cluster, PATIENCE, Process, Server, Setup, children, done_as_superuser, master_binary,
    open_descriptors, random_bytes, skipped, slave_binary, wait_for, wait_until, with_calls_that,
};

/// What a process has open, each by its kind, sorted.
fn kinds(pid: u32, cluster: &Cluster) -> Vec<&'static str> {
    let root = cluster.root();
    let (staging, quota) = (root.join(".mini-ftp/staging"), root.join(".mini-ftp/quota"));
    let kind = |target: &PathBuf| match target.to_str() {
        Some("/dev/null") => "null",
        Some("/proc/sys/net/ipv4/tcp_congestion_control") => "congestion",
        Some(text) if text.starts_with("pipe:") => "pipe",
        Some(text) if text.starts_with("socket:") => "socket",
        _ if *target == root => "root",
        _ if *target == staging => "staging",
        _ if *target == quota => "quota",
        _ => "something else",
    };
    let mut kinds: Vec<_> = open_descriptors(pid).iter().map(kind).collect();
    kinds.sort_unstable();
    kinds
}

/// The registrar of a slave.
fn registrar(slave: &Server) -> u32 {
    wait_for("the registrar", PATIENCE, || slave.registrar())
}

#[test]
fn every_process_is_held_and_has_open_what_it_needs() {
    if done_as_superuser() {
        return;
    }
    let mut cluster = Setup::new(1).workers(2).start();
    let (slave, master) = (cluster.slaves[0].pid(), cluster.master().pid());
    let registrar = registrar(&cluster.slaves[0]);
    let workers = cluster.slaves[0].workers();
    assert_eq!(workers.len(), 2);
    for pid in workers.iter().chain([&slave, &master, &registrar]) {
        assert_privileges_given_up(*pid);
        assert_eq!(is_filtered(*pid), *pid != slave, "{pid}");
    }
    if !rustix::process::geteuid().is_root() {
        return skipped("in part: only root sees the descriptors of a sandboxed process");
    }
    // Stdin, stdout and stderr; the lifeline, a pair that wakes with a copy for signals, and a connection to the master; the
    // folders.
    let of_registrar = vec![
        "null", "pipe", "pipe", "quota", "root", "socket", "socket", "socket", "socket", "socket",
        "staging",
    ];
    // The same with the listener for the connection, and what tells the machine's default congestion control.
    let of_worker = [&["congestion"], of_registrar.as_slice()].concat();
    let expected = [of_worker.clone(), of_worker, of_registrar];
    for (pid, expected) in workers.into_iter().chain([registrar]).zip(expected) {
        wait_until("the descriptors of the table", PATIENCE, || {
            kinds(pid, &cluster) == expected
        });
    }
}

#[test]
fn without_the_sandbox_it_says_so() {
    let cluster = Setup::new(1)
        .without_master()
        .slave_options(["--no-sandbox"]);
    let cluster = cluster.start();
    let slave = &cluster.slaves[0];
    slave.process.wait_for_line("--no-sandbox: ", PATIENCE);
    for worker in slave.workers() {
        assert!(!is_filtered(worker));
    }
}

#[test]
fn a_child_closes_what_its_supervisor_left_open() {
    if done_as_superuser() {
        return;
    }
    // The supervisor's own guard is taken away, and something is left open by whoever started it.
    let Some(strace) = with_calls_that("close_range", "retval=0") else {
        return;
    };
    if !rustix::process::geteuid().is_root() {
        return skipped("only root sees the descriptors of a sandboxed process");
    }
    let mut helper: Vec<OsString> = ["sh", "-c", "exec 9</; exec \"$@\"", "sh"]
        .map(OsString::from)
        .to_vec();
    helper.extend(strace);
    let cluster = Setup::new(1).without_master().behind(helper).start();
    let of_the_machine = |pid: u32| open_descriptors(pid).contains(&PathBuf::from("/"));
    let tracer = &cluster.slaves[0];
    let supervisor = children(tracer.pid())[0];
    assert!(of_the_machine(supervisor));
    // The registrar is not waited for before clients are served.
    wait_until("two workers and a registrar without it", PATIENCE, || {
        let family = children(supervisor);
        family.len() == 3 && !family.into_iter().any(of_the_machine)
    });
}

/// Starts a server that must not serve, since a wall does not stand; what it says.
fn refusal(helper: &[OsString], program: &Path, arguments: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(&helper[0]);
    command.args(&helper[1..]).arg(program).args(arguments);
    command.arg("--state").arg(folder.path().join("state"));
    // The folder that a slave serves where none is named.
    std::fs::create_dir(folder.path().join("_FTPROOT")).unwrap();
    let mut process = Process::spawn("server", command.current_dir(folder.path()));
    assert_eq!(process.wait_code(PATIENCE), 1, "{}", process.stderr());
    process.stderr()
}

#[test]
fn a_server_whose_walls_do_not_stand_does_not_start() {
    let walls = [
        ("landlock_restrict_self", "opening a folder of others"),
        ("seccomp", "every system call"),
    ];
    // Nothing is asked of a master before the walls of the process that joins stand.
    let join = format!("--join={}", "0".repeat(32));
    for (call, open) in walls {
        // The kernel is kept from doing it, and says that it has.
        let Some(helper) = with_calls_that(call, "retval=0") else {
            return;
        };
        for (program, arguments) in [
            (slave_binary(), &["0", "--standalone"][..]),
            (slave_binary(), &["0", &join]),
            (master_binary(), &["--port=0"]),
        ] {
            let said = refusal(&helper, program, arguments);
            let sentence = format!("the sandbox does not hold: {open} is possible");
            assert!(said.contains(&sentence), "{call}: {said}");
        }
    }
}

#[test]
fn what_the_kernel_does_not_have_is_said_in_one_line_and_the_rest_holds() {
    let Some(helper) = with_calls_that("landlock_create_ruleset", "error=ENOSYS") else {
        return;
    };
    let cluster = Setup::new(1).without_master().behind(helper).start();
    let slave = &cluster.slaves[0];
    let line = slave
        .process
        .wait_for_line("this kernel cannot restrict", PATIENCE);
    assert!(
        line.contains("files (Landlock") && !line.contains("seccomp"),
        "{line}"
    );
    let said = slave.process.stderr();
    assert_eq!(said.matches("this kernel").count(), 1, "{said}");
    let content = random_bytes(1, 100_000);
    cluster.write("file", &content);
    let client = cluster.client();
    client.run(["get", "file"]).succeeded();
    assert!(client.read("file") == content);
}
