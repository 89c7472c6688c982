//! Over a line on which an answer takes its time: a thousand small files, and one of 200 MiB.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::{IN_THE_CLEAR, Transfer, World, share};
use crate::content::{fill, plant, plant_flat, remove};
use crate::contest::{Asked, Contest, Unit};
use crate::delay::Line;
use crate::harness::{Client, Cluster, Setup};
use crate::limits::{netcat, stream};
use crate::peers::Served;
use crate::peers::clients::{Pair, pairs};

const SLAVE: &str = "ftpslave + ftpclient";
const MASTER: &str = "ftpmaster + ftpslave + ftpclient";
const BY_WILDCARD: &str = "ftpslave + ftpclient, by a wildcard";
const TREE_LIMIT: &str = "tar | nc | tar";
const FILE_LIMIT: &str = "sendfile → splice, 4 streams";
const MIB: u64 = 200;
const FILES: usize = 1000;
const IP: Ipv4Addr = Ipv4Addr::new(
    Line::SERVER[0],
    Line::SERVER[1],
    Line::SERVER[2],
    Line::SERVER[3],
);

/// Both, over both lines.
pub fn run(world: &mut World) {
    for (milliseconds, file_most) in [(20, 0.9), (50, 1.0)] {
        let tree = format!("get -r, 1,000 files of 4 KiB, {milliseconds} ms round trip");
        let file = format!("get, {MIB} MiB, {milliseconds} ms round trip");
        if !world.settings.wants(&tree) && !world.settings.wants(&file) {
            continue;
        }
        match Line::new(Duration::from_millis(milliseconds)) {
            Ok(line) => over(world, &line, (&tree, &file, file_most)),
            Err(why) => world.report.note(format!("{tree}, {file}: skipped: {why}")),
        }
    }
}

fn over(world: &mut World, line: &Line, (tree, file, file_most): (&str, &str, f64)) {
    let open = ["--anonymous", "read-write"];
    let alone = Setup::new(1)
        .at(IP)
        .slave_options(open)
        .slave_options(IN_THE_CLEAR)
        .without_master();
    let cluster = line.server.run(|| alone.start());
    plant(&cluster.path("tree"), FILES);
    plant_flat(&cluster.path("names"), FILES);
    fill(&cluster.path("file.bin"), MIB);
    share(&cluster);
    let led = Setup::new(1)
        .at(IP)
        .master_options(open)
        .master_options(IN_THE_CLEAR)
        .slave_options(IN_THE_CLEAR);
    let led = line.server.run(|| led.start());
    plant(&led.path("tree"), FILES);
    fill(&led.path("file.bin"), MIB);
    let client = cluster.client().options(["-q"]).options(IN_THE_CLEAR);
    let master = led.client().options(["-q"]).options(IN_THE_CLEAR);
    let peers = line
        .server
        .run(|| world.serve(&cluster.root(), IpAddr::V4(IP)));
    let scene = Scene {
        line,
        cluster: &cluster,
        client: &client,
        master: &master,
        peers: &peers,
    };
    if world.settings.wants(tree) {
        scene.tree(world, tree);
    }
    if world.settings.wants(file) {
        scene.file(world, (file, file_most));
    }
    world.workers_stay_small("over a long line", &cluster.slaves);
}

struct Scene<'a> {
    line: &'a Line,
    cluster: &'a Cluster,
    client: &'a Client,
    master: &'a Client,
    peers: &'a [Served],
}

impl Scene<'_> {
    fn tree(&self, world: &mut World, work: &str) {
        let (source, target) = (self.cluster.path("tree"), self.client.path("copy"));
        let pairs = self.pairs(world, |pair| pair.get_tree.is_some());
        let within =
            || Transfer::tree(&world.settings, (&source, &target)).within(&self.line.client);
        let (received, ours) = (within(), within());
        let (names, named) = (self.cluster.path("names"), self.client.path("named"));
        let by_wildcard =
            Transfer::tree(&world.settings, (&names, &named)).within(&self.line.client);
        let mut contest = Contest::new(Unit::Seconds);
        contest.add(BY_WILDCARD, |round| {
            std::fs::create_dir_all(&named).unwrap();
            let words = ["get", "-f", "names/*", named.to_str().unwrap()];
            by_wildcard.time(&mut self.client.command(words), round)
        });
        contest.add(TREE_LIMIT, |round| {
            remove(&target);
            std::fs::create_dir(&target).unwrap();
            let start = || netcat::send_tree(IP.into(), &self.cluster.root(), "tree");
            let (_sender, address) = self.line.server.run(start);
            received.time(&mut netcat::receive_tree(address, &target), round)
        });
        for (name, client) in [(SLAVE, self.client), (MASTER, self.master)] {
            let (ours, target) = (&ours, &target);
            contest.add(name, move |round| {
                let words = ["get", "-r", "-f", "tree", target.to_str().unwrap()];
                ours.time(&mut client.command(words), round)
            });
        }
        for (pair, server) in pairs {
            let (received, target, get) = (&received, &target, pair.get_tree.unwrap());
            contest.add(pair.name, move |round| {
                received.time(&mut get(server, "tree", target), round)
            });
        }
        let standing = contest.hold(&world.settings);
        let peak = ours.peak();
        for (who, how) in [(SLAVE, ""), (BY_WILDCARD, ", by a wildcard")] {
            let work = format!("{work}{how}");
            world
                .report
                .judge(&work, &standing, (who, TREE_LIMIT), Asked::AtMost(1.5));
        }
        world.memory(&format!("{work}: the client's most memory"), peak);
    }

    fn file(&self, world: &mut World, (work, most): (&str, f64)) {
        let (source, target) = (self.cluster.path("file.bin"), self.client.path("received"));
        let pairs = self.pairs(world, |pair| pair.get.is_some());
        let start = || stream::start(IP.into(), &source, stream::Shape::default());
        let (_sender, address) = self.line.server.run(start);
        let within =
            || Transfer::file(&world.settings, (&source, &target)).within(&self.line.client);
        let (received, ours) = (within(), within());
        let mut contest = Contest::new(Unit::Seconds);
        for (name, streams) in [(FILE_LIMIT, 4), ("1 stream", 1)] {
            let (received, target) = (&received, &target);
            contest.add(name, move |round| {
                let senders = vec![(address, 1); streams];
                let shape = stream::Shape::default();
                received.time(&mut stream::fetcher(&senders, target, shape), round)
            });
        }
        for (name, client) in [(SLAVE, self.client), (MASTER, self.master)] {
            let (ours, target) = (&ours, &target);
            contest.add(name, move |round| {
                let words = ["get", "-f", "file.bin", target.to_str().unwrap()];
                ours.time(&mut client.command(words), round)
            });
        }
        for (pair, server) in pairs {
            let (received, target, get) = (&received, &target, pair.get.unwrap());
            contest.add(pair.name, move |round| {
                received.time(&mut get(server, "file.bin", target), round)
            });
        }
        let standing = contest.hold(&world.settings);
        let peak = ours.peak();
        world
            .report
            .judge(work, &standing, (SLAVE, FILE_LIMIT), Asked::AtMost(most));
        world.memory(&format!("{work}: the client's most memory"), peak);
    }

    fn pairs(&self, world: &mut World, chosen: fn(&Pair) -> bool) -> Vec<(&'static Pair, &Served)> {
        let mut found = pairs(self.peers, &mut world.report);
        found.retain(|(pair, _)| chosen(pair));
        found
    }
}
