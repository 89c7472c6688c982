//! Ten thousand small files, both ways.

use std::net::Ipv4Addr;

use super::{Transfer, UPLOADS, World, share};
use crate::content::{plant, remove};
use crate::contest::{Asked, Contest, Standing, Unit};
use crate::harness::{Client, Cluster};
use crate::limits::netcat;
use crate::peers::Served;
use crate::peers::clients::pairs;

const GET: &str = "get -r, 10,000 files of 4 KiB";
const PUT: &str = "put -r, 10,000 files of 4 KiB, durable";

const OURS: &str = "ftpslave + ftpclient";
const LIMIT: &str = "tar | nc | tar";
const COUNT: usize = 10_000;

/// Both of them.
pub fn run(world: &mut World) {
    if !world.settings.wants(GET) && !world.settings.wants(PUT) {
        return;
    }
    let cluster = Cluster::start(1);
    plant(&cluster.path("tree"), COUNT);
    share(&cluster);
    let client = cluster.client().options(["-q"]);
    let peers = world.serve(&cluster.root(), Ipv4Addr::LOCALHOST.into());
    if world.settings.wants(GET) {
        get(world, &cluster, (&client, &peers));
    }
    if world.settings.wants(PUT) {
        put(world, &cluster, (&client, &peers));
    }
    world.workers_stay_small("trees", &cluster.slaves);
}

fn get(world: &mut World, cluster: &Cluster, (client, peers): (&Client, &[Served])) {
    let pairs = pairs(peers, &mut world.report);
    let (source, target) = (cluster.path("tree"), client.path("copy"));
    let transfer = || Transfer::tree(&world.settings, (&source, &target));
    let (received, ours) = (transfer(), transfer());
    let mut contest = Contest::new(Unit::Seconds);
    add_limit(&mut contest, cluster, &received);
    contest.add(OURS, |round| {
        let target = target.to_str().unwrap();
        ours.time(
            &mut client.command(["get", "-r", "-f", "tree", target]),
            round,
        )
    });
    for (pair, server) in pairs {
        if let Some(get) = pair.get_tree {
            let (received, target) = (&received, &target);
            contest.add(pair.name, move |round| {
                received.time(&mut get(server, "tree", target), round)
            });
        }
    }
    let standing = contest.hold(&world.settings);
    let peak = ours.peak();
    judge(world, GET, &standing);
    if let Some(seconds) = standing.entry(OURS).and_then(|entry| entry.median()) {
        let work = "small files a second, our client into a tmpfs";
        let figure = COUNT as f64 / seconds;
        world
            .report
            .figure(work, Unit::PerSecond, figure, (Asked::Nothing, ""));
    }
    world.memory("get -r: the client's most memory", peak);
}

fn put(world: &mut World, cluster: &Cluster, (client, peers): (&Client, &[Served])) {
    let pairs = pairs(peers, &mut world.report);
    let remote = format!("{UPLOADS}/back");
    let (source, target) = (cluster.path("tree"), cluster.path(&remote));
    let transfer = || Transfer::tree(&world.settings, (&source, &target));
    let (stored, ours) = (transfer(), transfer());
    let mut contest = Contest::new(Unit::Seconds);
    add_limit(&mut contest, cluster, &stored);
    contest.add(OURS, |round| {
        let source = source.to_str().unwrap();
        ours.time(
            &mut client.command(["put", "-r", "-f", source, &remote]),
            round,
        )
    });
    for (pair, server) in pairs {
        if let Some(put) = pair.put_tree {
            let (stored, remote, source) = (&stored, &remote, &source);
            contest.add(pair.name, move |round| {
                stored.time(&mut put(server, remote, source), round)
            });
        }
    }
    let standing = contest.hold(&world.settings);
    let peak = ours.peak();
    judge(world, PUT, &standing);
    world.memory("put -r: the client's most memory", peak);
}

fn add_limit<'a>(contest: &mut Contest<'a>, cluster: &'a Cluster, transfer: &'a Transfer<'a>) {
    contest.add(LIMIT, move |round| {
        let target = transfer.target;
        remove(target);
        std::fs::create_dir(target).unwrap();
        let (_sender, address) =
            netcat::send_tree(Ipv4Addr::LOCALHOST.into(), &cluster.root(), "tree");
        transfer.time(&mut netcat::receive_tree(address, target), round)
    });
}

fn judge(world: &mut World, work: &str, standing: &Standing) {
    world
        .report
        .judge(work, standing, (OURS, LIMIT), Asked::AtMost(1.5));
    for (who, least) in [("rsync daemon", 1.5), ("lftp", 8.0)] {
        let beside = format!("{work}, beside the fastest {who}");
        let asked = (|name: &str| name.contains(who), Asked::AtMost(1.0 / least));
        world.report.judge_best(&beside, standing, OURS, asked);
    }
}
