//! Thousands of clients that stall, hundreds of wrong passwords a second, and one good user. `make abuse` runs it at full size:
//! `MINI_FTP_CLIENTS` (200) stall, `MINI_FTP_GUESSES` (60) come a second, for `MINI_FTP_SECONDS` (4); where
//! `MINI_FTP_MILLISECONDS` is set, the good user must be served within so many each time.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use protocol::{MasterReply, MasterRequest, Reply, SlaveOffer};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::crowd::{Crowd, From, Guesses, Stall, login, retrieve};
use super::{GOOD, PASSWORD, at, everywhere};
use crate::harness::{
    Cluster, Gauge, Held, PATIENCE, Reading, Wire, among_neighbours, done_as_superuser,
    random_bytes, wait_for, wait_until,
};

const MEBIBYTE: usize = 1024 * 1024;

/// What may stay in memory: the tables of who came from where, code that ran for the first time, and what the allocator keeps.
const LEFT_OVER: u64 = 32 * 1024 * 1024;

/// What may be more after the same once more: those tables fill up, and the caches of stacks.
const GROWTH: u64 = 8 * 1024 * 1024;

fn setting(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is no number: {text}")),
    )
}

/// What a user is offered who logs in at this address of the master.
fn offer(master: SocketAddr, user: &str, password: &str) -> SlaveOffer {
    let mut wire = Wire::open(master);
    let welcome: MasterReply = wire.ask(&login(user, password));
    assert!(
        matches!(welcome, MasterReply::Welcome { .. }),
        "{welcome:?}"
    );
    let locate = MasterRequest::Locate {
        tried: Vec::new(),
        renew: false,
    };
    match wire.ask(&locate) {
        MasterReply::Located { mut slaves, .. } => slaves.remove(0),
        other => panic!("{other:?}"),
    }
}

/// What the good user fetches.
fn content() -> Vec<u8> {
    random_bytes(1, 64 * 1024)
}

/// A good user logs in at `host` and fetches a file; how long that takes.
fn fetch(host: Ipv4Addr, (master, slave): (SocketAddr, SocketAddr)) -> Duration {
    let begun = Instant::now();
    let offer = offer(at(host, master), "ada", PASSWORD);
    let mut wire = Wire::open(at(host, slave));
    let welcome = wire.present(&offer);
    assert!(matches!(welcome, Reply::Welcome { .. }), "{welcome:?}");
    let (fetched, end) = wire.fetch(&retrieve("/small.bin"));
    assert!(fetched == content(), "{end:?}");
    begun.elapsed()
}

/// Attacks, so many times, while a good user is served at `host` again and again.
fn attack(times: usize, from: From, host: Ipv4Addr) {
    use_all_descriptors();
    let mut cluster = everywhere().observable().start();
    cluster.write("small.bin", &content());
    cluster.write("large.bin", &random_bytes(2, 64 * MEBIBYTE));
    let gauge = cluster.gauge();
    let before = gauge.read();
    fetch(host, (cluster.address(), cluster.slaves[0].address));

    let mut most = before.total().resident + LEFT_OVER;
    for _ in 0..times {
        let peak = be_attacked(&cluster, &gauge, from, host);
        let after = given_back(&gauge, &before);
        for (when, held) in [("before", before.total()), ("peak", peak), ("after", after)] {
            eprintln!("{when}: {}", shown(held));
        }
        assert!(after.resident <= most, "{} bytes", after.resident);
        most = after.resident + GROWTH;
    }
    assert!(cluster.master().process.terminate(PATIENCE).success());
    eprintln!("{}", super::logs(&mut cluster));
}

/// One attack; what was held at most.
fn be_attacked(cluster: &Cluster, gauge: &Gauge, from: From, host: Ipv4Addr) -> Held {
    let clients = setting("MINI_FTP_CLIENTS").unwrap_or(200) as usize;
    let guesses = setting("MINI_FTP_GUESSES").unwrap_or(60);
    let lasts = Duration::from_secs(setting("MINI_FTP_SECONDS").unwrap_or(4));
    let limit = setting("MINI_FTP_MILLISECONDS").map_or(PATIENCE, Duration::from_millis);
    let servers @ (master, slave) = (cluster.address(), cluster.slaves[0].address);
    let offer = offer(at(Ipv4Addr::LOCALHOST, master), "mallory", "let me in");
    let ways = [
        (Stall::Silent, master),
        (Stall::Silent, slave),
        (Stall::Dripping, master),
        (Stall::Dripping, slave),
        (Stall::MidLogin, master),
        (Stall::MidTransfer(offer), slave),
    ];
    let (connected, heard) = (Arc::<AtomicUsize>::default(), Arc::<Guesses>::default());
    let crowd = Crowd::stalled(clients, from, &ways, &connected);
    let guessers = Crowd::guessing(guesses, from, master, &heard);
    wait_until("the crowd to be there", PATIENCE, || {
        connected.load(Relaxed) >= clients / 4 && heard.refused.load(Relaxed) > 0
    });
    let (begun, mut took, mut peak) = (Instant::now(), Vec::new(), Held::default());
    while begun.elapsed() < lasts {
        took.push(fetch(host, servers));
        peak = peak.most(gauge.read().total());
        assert_eq!(cluster.gauge(), *gauge, "processes");
    }
    let inside = connected.load(Relaxed);
    drop((crowd, guessers));
    eprintln!("{from:?}: {inside} of {clients} clients stall; {heard:?}");
    let last = report(took);
    assert!(last <= limit, "{last:?}");
    peak
}

/// Says how the good user fared; the longest time.
fn report(mut took: Vec<Duration>) -> Duration {
    took.sort();
    let at = |percent: usize| took[(took.len() - 1) * percent / 100];
    let (median, late, last) = (at(50), at(99), at(100));
    let times = took.len();
    eprintln!("served {times} times, in {median:?} (p50), {late:?} (p99), {last:?} (max)");
    last
}

fn shown(held: Held) -> String {
    let mebibytes = held.resident / MEBIBYTE as u64;
    format!(
        "{} threads, {} descriptors, {mebibytes} MiB",
        held.threads, held.descriptors
    )
}

/// What is held once nobody is served, and no thread waits for somebody to serve: those rest for ten seconds before they end.
fn given_back(gauge: &Gauge, before: &Reading) -> Held {
    wait_for("everything to be given back", 4 * PATIENCE, || {
        let now = gauge.read();
        now.is_within(before).then(|| now.total())
    })
}

fn use_all_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    let all = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, all).unwrap();
}

/// The good user is on this machine, too, and has nothing but another name.
#[test]
fn whoever_stalls_and_guesses_here_holds_up_nobody_else() {
    attack(1, From::Here, Ipv4Addr::LOCALHOST);
}

#[test]
fn whoever_stalls_and_guesses_anywhere_holds_up_nobody_else() {
    if done_as_superuser() {
        return;
    }
    among_neighbours(|| attack(2, From::Everywhere, GOOD));
}
