//! One large file over TLS at both ends, both ways, beside HTTPS; and what a session over TLS takes that rests.

use std::net::{IpAddr, Ipv4Addr};

use super::{Transfer, UPLOADS, World, share};
use crate::content::fill;
use crate::contest::{Asked, Contest, Unit};
use crate::harness::{Cluster, Secured, Setup, descendants};
use crate::load::framed;
use crate::memory::Footprint;
use crate::peers::clients::OVER_TLS;
use crate::peers::{Served, find, nginx};

const GET: &str = "get over TLS, verified";
const PUT: &str = "put over TLS, verified and durable";
const MEMORY: &str = "memory of each of 1,000 idle sessions over TLS";
const ALWAYS: [&str; 2] = ["--tls", "always"];
const NAME: &str = "large.bin";
const COUNT: usize = 1000;
const LANES: usize = 50;

/// All of them.
pub fn run(world: &mut World) {
    let works = [GET, PUT].map(|work| format!("{work}, {} MiB", world.settings.mebibytes));
    if works.iter().any(|work| world.settings.wants(work)) {
        let cluster = Setup::new(1)
            .on_localhost()
            .master_options(ALWAYS)
            .slave_options(ALWAYS)
            .start();
        fill(&cluster.path(NAME), world.settings.mebibytes);
        share(&cluster);
        let ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let is_wanted =
            world.settings.wants_peer(nginx::OVER_TLS.name) && find(OVER_TLS.client).is_some();
        let served = is_wanted.then(|| Served::start(&nginx::OVER_TLS, &cluster.root(), ip));
        let served = served.and_then(|started| started.map_err(|why| world.report.note(why)).ok());
        for (work, is_get) in works.iter().zip([true, false]) {
            if world.settings.wants(work) {
                transfer(world, &cluster, served.as_ref(), (work, is_get));
            }
        }
        world.workers_stay_small("large file over TLS", &cluster.slaves);
    }
    if world.settings.wants(MEMORY) {
        idle(world);
    }
}

fn transfer(
    world: &mut World,
    cluster: &Cluster,
    served: Option<&Served>,
    (work, is_get): (&str, bool),
) {
    let client = cluster.client().options(ALWAYS).options(["-q"]);
    let source = cluster.path(NAME);
    let stored = format!("{UPLOADS}/back.bin");
    let (own, received) = match is_get {
        true => (client.path(NAME), client.path("received")),
        false => (cluster.path(&stored), cluster.path(&stored)),
    };
    let ours = Transfer::file(&world.settings, (&source, &own));
    let theirs = Transfer::file(&world.settings, (&source, &received));
    let mut contest = Contest::new(Unit::Seconds);
    contest.add(work, |round| {
        let words = match is_get {
            true => vec!["get", "-f", NAME],
            false => vec!["put", "-f", source.to_str().unwrap(), &stored],
        };
        ours.time(&mut client.command(words), round)
    });
    if let Some(server) = served {
        let command = || match (is_get, OVER_TLS.get, OVER_TLS.put) {
            (true, Some(get), _) => get(server, NAME, &received),
            (false, _, Some(put)) => put(server, &stored, &source),
            _ => unreachable!("it moves files both ways"),
        };
        contest.add(OVER_TLS.name, move |round| {
            theirs.time(&mut command(), round)
        });
    }
    let standing = contest.hold(&world.settings);
    let asked = Asked::AtMost(1.0 / 1.3);
    world
        .report
        .judge(work, &standing, (work, OVER_TLS.name), asked);
}

fn idle(world: &mut World) {
    let cluster = Setup::new(1).without_master().slave_options(ALWAYS).start();
    cluster.write("small", &[7; 4096]);
    let pid = cluster.slaves[0].pid();
    let before = Footprint::of(&descendants(pid));
    let open = |number| framed::idle_over_tls(cluster.address(), number % LANES, "/small").unwrap();
    let sessions: Vec<Secured> = (0..COUNT).map(open).collect();
    let grown = Footprint::of(&descendants(pid)) - before;
    let each = grown.kibibytes() / COUNT as f64;
    let asked = (Asked::AtMost(128.0), &*grown.parts(COUNT));
    world.report.figure(MEMORY, Unit::Kibibytes, each, asked);
    drop(sessions);
}
