//! Sessions that have done something and now rest: what they cost, and whether the others notice.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use super::{Transfer, World, share};
use crate::content::fill;
use crate::contest::{Asked, Contest, Unit};
use crate::harness::{Cluster, Setup, descendants};
use crate::load::{framed, ftp, xroot};
use crate::memory::Footprint;
use crate::peers::Served;

const MEMORY: &str = "memory of each of 5,000 idle sessions";
const FEWER: &str = "memory of each of 1,000 idle sessions";
const MEANWHILE: &str = "get, 512 MiB, beside 5,000 idle sessions";
const CROWDED: &str = "with them";
const ALONE: &str = "without them";
const COUNT: usize = 5000;
const FEWER_COUNT: usize = 1000;
const COUNT_OF_PEERS: usize = 300;
const LANES: usize = 50;
const MIB: u64 = 512;
const NAME: &str = "file.bin";

/// All of them.
pub fn run(world: &mut World) {
    if ![FEWER, MEMORY, MEANWHILE]
        .iter()
        .any(|work| world.settings.wants(work))
    {
        return;
    }
    let crowded = start();
    let pid = crowded.slaves[0].pid();
    let peers = match world.settings.wants(MEMORY) {
        true => peers(world, &crowded),
        false => String::new(),
    };
    let before = Footprint::of(&descendants(pid));
    let address = crowded.address();
    let open = |number| framed::idle(address, number % LANES, "/small").unwrap();
    let mut sessions: Vec<TcpStream> = (0..FEWER_COUNT).map(open).collect();
    if world.settings.wants(FEWER) {
        let grown = Footprint::of(&descendants(pid)) - before;
        let each = grown.kibibytes() / FEWER_COUNT as f64;
        let asked = (Asked::AtMost(64.0), &*grown.parts(FEWER_COUNT));
        world.report.figure(FEWER, Unit::Kibibytes, each, asked);
    }
    sessions.extend((FEWER_COUNT..COUNT).map(open));
    let grown = Footprint::of(&descendants(pid)) - before;
    if world.settings.wants(MEMORY) {
        let each = grown.kibibytes() / COUNT as f64;
        let with_threads = grown.threads >= COUNT as i64 / 2;
        let asked = Asked::AtMost(if with_threads { 40.0 } else { 8.0 });
        let parts = format!("{} a session; {peers}", grown.parts(COUNT));
        world
            .report
            .figure(MEMORY, Unit::Kibibytes, each, (asked, &parts));
    }
    if world.settings.wants(MEANWHILE) {
        meanwhile(world, &crowded);
    }
    world.workers_stay_small("5,000 idle sessions", &crowded.slaves);
    drop(sessions);
}

fn start() -> Cluster {
    let places = ["--sessions", "4096"];
    let cluster = Setup::new(1).without_master().slave_options(places).start();
    cluster.write("small", &[7; 4096]);
    share(&cluster);
    fill(&cluster.path(NAME), MIB);
    cluster
}

/// The same get from a slave that serves thousands and from one that serves nobody else.
fn meanwhile(world: &mut World, crowded: &Cluster) {
    let alone = start();
    let sides = [(ALONE, &alone), (CROWDED, crowded)].map(|(name, cluster)| {
        let client = cluster.client().options(["-q"]);
        (name, cluster.path(NAME), client.path(NAME), client)
    });
    let mut contest = Contest::new(Unit::Seconds);
    for (name, source, target, client) in &sides {
        let transfer = Transfer::file(&world.settings, (source, target));
        contest.add(*name, move |round| {
            transfer.time(&mut client.command(["get", "-f", NAME]), round)
        });
    }
    let standing = contest.hold(&world.settings);
    world
        .report
        .judge(MEANWHILE, &standing, (CROWDED, ALONE), Asked::AtMost(1.05));
}

/// What a session costs the peers, of which most start processes for it.
fn peers(world: &mut World, cluster: &Cluster) -> String {
    let served = world.serve(&cluster.root(), Ipv4Addr::LOCALHOST.into());
    let cost = |server: &Served| match each_of(server)? {
        Ok(each) => Some(format!(
            "{} {}",
            server.peer.name,
            Unit::Kibibytes.show(each)
        )),
        Err(error) => Some(format!("{}: {error}", server.peer.name)),
    };
    let shown: Vec<String> = served.iter().filter_map(cost).collect();
    shown.join(", ")
}

/// KiB a session; `None` for a server whose protocol this benchmark does not speak.
fn each_of(server: &Served) -> Option<std::io::Result<f64>> {
    let (address, login): (SocketAddr, _) = (server.address, server.peer.login);
    let family = || {
        let mut family = descendants(server.process.pid());
        family.push(server.process.pid());
        Footprint::of(&family)
    };
    let open = |number: usize| match server.peer.name {
        "vsftpd" | "pure-ftpd" => Some(ftp::idle(address, login, number % LANES)),
        "xrootd" => Some(xroot::idle(address, number % LANES)),
        _ => None,
    };
    let first = open(0)?;
    let before = family();
    let sessions: std::io::Result<Vec<TcpStream>> = (1..=COUNT_OF_PEERS).filter_map(open).collect();
    let grown = family() - before;
    drop(first);
    Some(sessions.map(|_| grown.kibibytes() / COUNT_OF_PEERS as f64))
}
