//! Deaths and departures.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, prlimit};

use super::{count_lines, kill, press_ctrl_c};
use crate::harness::{
    Cluster, PATIENCE, Process, Server, Session, Setup, is_alive, open_descriptors,
    owner_of_connection, peers_of, random_bytes, staged, stop_pid, wait_for, wait_until,
};

const MEBIBYTE: usize = 1024 * 1024;

/// The worker that serves this session.
fn worker_of(session: &Session, slave: &Server) -> u32 {
    let peer = session.connection_to(slave.address).unwrap();
    owner_of_connection(slave.address, peer, &slave.workers()).unwrap()
}

/// A download that takes a few seconds, once it has begun.
fn slow_download(cluster: &Cluster, rate: &str) -> (crate::harness::Client, Process) {
    let client = cluster.client().options(["--limit-rate", rate]);
    let download = client.spawn(["get", "big.bin"]);
    client.wait_for_content("big.bin");
    (client, download)
}

fn assert_port_is_free(server: &Server) {
    wait_for("the port to be free", PATIENCE, || {
        TcpListener::bind(server.address).ok()
    });
}

#[test]
fn a_killed_worker_is_replaced_within_a_second_while_the_other_sessions_go_on() {
    let cluster = Setup::new(1)
        .observable()
        .without_master()
        .workers(2)
        .sessions(1)
        .start();
    let slave = &cluster.slaves[0];
    let (mut first, mut second) = (
        Session::start(&cluster.client()),
        Session::start(&cluster.client()),
    );
    let (victim, survivor) = (worker_of(&first, slave), worker_of(&second, slave));
    kill(victim);
    let begun = Instant::now();
    // The only free place is the new worker's.
    let served = wait_for("a worker that serves", PATIENCE, || {
        let answer = cluster.client().run(["ls"]);
        (answer.code == 0).then(|| begun.elapsed())
    });
    assert!(served < Duration::from_secs(1), "{served:?}");
    second.ask("ls");
    assert_eq!(worker_of(&second, slave), survivor);
    first.ask("ls");
    let said = first.process.stderr();
    assert!(said.lines().count() <= 1, "{said}");
    assert!(!is_alive(victim));
    assert_eq!(slave.workers().len(), 2);
}

#[test]
fn a_pool_whose_workers_are_killed_again_and_again_stays_whole() {
    let cluster = Setup::new(1).without_master().workers(2).start();
    let slave = &cluster.slaves[0];
    for _ in 0..8 {
        kill(slave.workers()[0]);
        let begun = Instant::now();
        wait_until("two workers", PATIENCE, || slave.workers().len() == 2);
        assert!(begun.elapsed() < Duration::from_secs(1));
        cluster.client().run(["ls"]).succeeded();
    }
}

#[test]
fn a_worker_that_dies_at_once_is_restarted_with_growing_pauses_and_says_why() {
    let cluster = Setup::new(1).without_master().workers(1).start();
    let slave = &cluster.slaves[0];
    let hidden = cluster.root().with_extension("hidden");
    fs::rename(cluster.root(), &hidden).unwrap();
    kill(slave.workers()[0]);
    const DEATHS: usize = 5;
    let deaths: Vec<Instant> = (1..=DEATHS)
        .map(|count| {
            wait_until("a worker's death", PATIENCE, || {
                count_lines(&slave.process, "replaced in") >= count
            });
            Instant::now()
        })
        .collect();
    // Between two deaths lie the pause and a start that fails; the first was no failed start.
    let pauses: Vec<Duration> = deaths.windows(2).map(|pair| pair[1] - pair[0]).collect();
    for (pause, least) in pauses.iter().zip([100, 200, 400, 800]) {
        assert!(
            *pause + Duration::from_millis(50) >= Duration::from_millis(least),
            "{pauses:?}"
        );
    }
    assert!(count_lines(&slave.process, "cannot serve") >= DEATHS - 1);

    fs::rename(&hidden, cluster.root()).unwrap();
    wait_until("a worker that serves", PATIENCE, || {
        cluster.client().run(["ls"]).code == 0
    });
}

fn leaves_in_order(signal: Signal) {
    let mut cluster = Setup::new(1).without_master().start();
    let content = random_bytes(1, 8 * MEBIBYTE);
    cluster.write("big.bin", &content);
    let mut idle = Session::start(&cluster.client().options(["--retries", "0"]));
    let (client, mut download) = slow_download(&cluster, "4M");
    let family = cluster.slaves[0].family();

    match signal {
        Signal::INT => press_ctrl_c(&cluster.slaves[0]),
        _ => cluster.slaves[0].process.signal(signal),
    }
    assert_eq!(download.wait_code(PATIENCE), 0, "the transfer finishes");
    assert!(client.read("big.bin") == content);
    assert_eq!(cluster.slaves[0].process.wait_code(PATIENCE), 0);
    let left: Vec<u32> = family.into_iter().filter(|pid| is_alive(*pid)).collect();
    assert_eq!(left, Vec::<u32>::new(), "no orphan");
    assert_port_is_free(&cluster.slaves[0]);
    assert_eq!(peers_of(cluster.slaves[0].address), []);
    assert_eq!(staged(&cluster.root()), Vec::<PathBuf>::new());
    // The idle session finds its slave gone at its next word.
    idle.process.type_line("ls");
    assert_eq!(idle.process.wait_code(PATIENCE), 3);
}

#[test]
fn ctrl_c_lets_the_running_transfer_finish_ends_idle_sessions_and_leaves_nothing_behind() {
    leaves_in_order(Signal::INT);
}

#[test]
fn sigterm_lets_the_running_transfer_finish_ends_idle_sessions_and_leaves_nothing_behind() {
    leaves_in_order(Signal::TERM);
}

#[test]
fn the_grace_ends_a_transfer_that_does_not_finish() {
    let mut cluster = Setup::new(1).without_master().start();
    cluster.write("big.bin", &random_bytes(2, 32 * MEBIBYTE));
    let (client, download) = slow_download(&cluster, "2M");
    let begun = Instant::now();
    cluster.slaves[0].process.signal(Signal::TERM);
    assert_eq!(cluster.slaves[0].process.wait_code(PATIENCE), 0);
    let lasted = begun.elapsed();
    assert!(
        (Duration::from_secs(4)..Duration::from_secs(8)).contains(&lasted),
        "{lasted:?}, with a grace of 5 s"
    );
    download.signal(Signal::KILL);
    assert!(!client.path("big.bin").exists());
}

#[test]
fn a_second_signal_ends_the_slave_at_once() {
    let mut cluster = Setup::new(1).without_master().start();
    cluster.write("big.bin", &random_bytes(3, 32 * MEBIBYTE));
    let (_client, _download) = slow_download(&cluster, "2M");
    let family = cluster.slaves[0].family();
    cluster.slaves[0].process.signal(Signal::TERM);
    assert_port_is_free(&cluster.slaves[0]);
    assert!(cluster.slaves[0].process.is_running());
    let begun = Instant::now();
    cluster.slaves[0].process.signal(Signal::TERM);
    cluster.slaves[0].process.wait(PATIENCE);
    assert!(begun.elapsed() < Duration::from_secs(2));
    assert!(!family.into_iter().any(is_alive));
}

#[test]
fn sigint_shuts_master_slaves_and_clients_down_with_no_orphan_process() {
    let mut cluster = Cluster::start(2);
    let mut idle = Session::start(&cluster.client());
    let mut family = cluster.master().family();
    family.extend(cluster.slaves.iter().flat_map(Server::family));
    family.push(idle.process.pid());
    cluster.slaves.iter().for_each(press_ctrl_c);
    press_ctrl_c(cluster.master());
    assert_eq!(cluster.master().process.wait_code(PATIENCE), 0);
    for slave in &mut cluster.slaves {
        assert_eq!(slave.process.wait_code(PATIENCE), 0);
    }
    idle.process.signal(Signal::INT);
    let code = idle.process.wait_code(PATIENCE);
    assert_eq!(code, 130);
    assert!(!family.into_iter().any(is_alive));
}

#[test]
fn workers_leave_when_their_supervisor_is_killed_and_the_port_is_free_again() {
    let mut cluster = Setup::new(1).without_master().start();
    let content = random_bytes(4, 8 * MEBIBYTE);
    cluster.write("big.bin", &content);
    let (client, mut download) = slow_download(&cluster, "4M");
    let family = cluster.slaves[0].family();
    cluster.slaves[0].process.kill();
    assert_port_is_free(&cluster.slaves[0]);
    cluster.slaves[0].restart();
    cluster.client().run(["ls"]).succeeded();
    assert_eq!(download.wait_code(PATIENCE), 0, "the transfer finishes");
    assert!(client.read("big.bin") == content);
    wait_until("the orphans to leave", PATIENCE, || {
        !family.iter().any(|pid| is_alive(*pid))
    });
}

#[test]
fn a_stopped_worker_is_killed_and_replaced_while_the_other_one_serves() {
    let cluster = Setup::new(1).without_master().workers(2).start();
    let slave = &cluster.slaves[0];
    let victim = slave.workers()[0];
    stop_pid(victim);
    cluster.client().run(["ls"]).succeeded();
    wait_until("the stopped worker to be gone", PATIENCE, || {
        !is_alive(victim)
    });
    wait_until("another in its place", PATIENCE, || {
        slave.workers().len() == 2
    });
    cluster.client().run(["ls"]).succeeded();
}

fn pid_of(process: u32) -> Option<Pid> {
    Pid::from_raw(i32::try_from(process).unwrap())
}

#[test]
fn accepting_goes_on_when_descriptors_are_to_be_had_again() {
    let cluster = Setup::new(1)
        .observable()
        .without_master()
        .workers(1)
        .start();
    let slave = &cluster.slaves[0];
    let worker = slave.workers()[0];
    let is_open =
        |number: &u64| fs::symlink_metadata(format!("/proc/{worker}/fd/{number}")).is_ok();
    let none_left = Rlimit {
        current: (0..).find(|number| !is_open(number)),
        maximum: getrlimit(Resource::Nofile).maximum,
    };
    let usual = prlimit(pid_of(worker), Resource::Nofile, none_left).unwrap();
    let mut client = cluster.client().spawn(["ls"]);
    slave.process.wait_for_line("accepting pauses", PATIENCE);
    assert!(client.is_running());
    prlimit(pid_of(worker), Resource::Nofile, usual).unwrap();
    assert_eq!(client.wait_code(PATIENCE), 0);
    assert_eq!(slave.workers(), [worker]);
}

#[test]
fn clients_are_served_again_after_a_crowd_that_took_all_descriptors() {
    let cluster = Setup::new(1).without_master().workers(1).start();
    let slave = &cluster.slaves[0];
    let worker = slave.workers()[0];
    let few = Rlimit {
        current: Some(40),
        maximum: getrlimit(Resource::Nofile).maximum,
    };
    prlimit(pid_of(worker), Resource::Nofile, few).unwrap();
    let crowd: Vec<TcpStream> = (0..60)
        .map(|_| TcpStream::connect(slave.address).unwrap())
        .collect();
    slave.process.wait_for_line("accepting pauses", PATIENCE);
    drop(crowd);
    cluster.client().run(["ls"]).succeeded();
    assert_eq!(slave.workers(), [worker]);
}

#[test]
fn sessions_leave_no_descriptor_and_no_thread_behind() {
    let mut cluster = Setup::new(1).observable().workers(2).start();
    cluster.write("a.bin", &random_bytes(5, 300_000));
    let client = cluster.client();
    client.write("b.bin", b"upload");
    let use_everything = || {
        client.run(["get", "-f", "a.bin"]).succeeded();
        client.run(["put", "-f", "b.bin"]).succeeded();
        client.run(["get", "missing"]).failed(1, "no such file");
        client.run(["mkdir", "d"]).succeeded();
        client.run(["rmdir", "d"]).succeeded();
    };
    let threads = |pid: &u32| fs::read_dir(format!("/proc/{pid}/task")).unwrap().count();
    // What is opened once and kept is open when every worker has served, and keeps a thread for the next client.
    wait_until("each worker to serve", PATIENCE, || {
        use_everything();
        cluster.slaves[0]
            .workers()
            .iter()
            .all(|pid| threads(pid) > 1)
    });
    let mut processes = cluster.slaves[0].family();
    processes.extend(cluster.master().family());
    let of_one = |pid: &u32| (open_descriptors(*pid).len(), threads(pid));
    let held = || -> Vec<(usize, usize)> { processes.iter().map(of_one).collect() };
    wait_until("the sessions to end", PATIENCE, || {
        peers_of(cluster.slaves[0].address).is_empty()
    });
    let before = held();
    for _ in 0..6 {
        use_everything();
    }
    // Fewer, once a thread has rested for long.
    wait_until("descriptors and threads as before", PATIENCE, || {
        held()
            .iter()
            .zip(&before)
            .all(|(now, then)| now.0 <= then.0 && now.1 <= then.1)
    });
}
