//! How many a second: sessions, redirects, small files on one connection.

use std::net::{Ipv4Addr, SocketAddr};

use super::{World, share};
use crate::contest::{Asked, Contest, Unit};
use crate::harness::{Cluster, Setup};
use crate::limits;
use crate::load::{framed, ftp, http, rate, raw, xroot};
use crate::peers::Served;

const SESSIONS_1: &str = "sessions a second, 1 client";
const SESSIONS_64: &str = "sessions a second, 64 clients";
const REDIRECTS: &str = "redirects a second, 64 clients";
const SERIAL: &str = "small files a second, one connection, one after another";
const PIPELINED: &str = "small files a second, one connection, pipelined";

const LIMIT: &str = "accept + 64 bytes + close";
const SLAVE: &str = "ftpslave";
const MASTER: &str = "ftpmaster";
const KEEP_ALIVE: &str = "nginx keep-alive";
const WINDOW: usize = 256;

/// All of them.
pub fn run(world: &mut World) {
    if ![SESSIONS_1, SESSIONS_64, REDIRECTS, SERIAL, PIPELINED]
        .iter()
        .any(|work| world.settings.wants(work))
    {
        return;
    }
    let cluster = Setup::new(1).without_master().start();
    share(&cluster);
    cluster.write("one", &[7; 1024]);
    let paths: Vec<String> = (0..1000).map(|number| format!("/small/{number}")).collect();
    for path in &paths {
        cluster.write(path.trim_start_matches('/'), &[7; 4096]);
    }
    let peers = world.serve(&cluster.root(), Ipv4Addr::LOCALHOST.into());
    sessions(world, &cluster, &peers, (SESSIONS_1, 1));
    sessions(world, &cluster, &peers, (SESSIONS_64, 64));
    redirects(world);
    files(world, cluster.address(), &peers, &paths);
    world.workers_stay_small("rates", &cluster.slaves);
}

fn sessions(world: &mut World, cluster: &Cluster, peers: &[Served], (work, lanes): (&str, usize)) {
    if !world.settings.wants(work) {
        return;
    }
    let (lap, slave) = (world.settings.lap, cluster.address());
    let (_bare, limit) = limits::accept::start();
    let mut contest = Contest::new(Unit::PerSecond);
    contest.add(LIMIT, |_| {
        rate(lanes, lap, |lane| Ok(raw::sessions(limit, lane)))
    });
    contest.add(SLAVE, |_| {
        rate(lanes, lap, |lane| Ok(framed::sessions(slave, lane, "/one")))
    });
    for peer in peers {
        let (address, login) = (peer.address, peer.peer.login);
        match peer.peer.name {
            "nginx" => contest.add("nginx GET + close", move |_| {
                rate(lanes, lap, |lane| Ok(http::sessions(address, lane, "/one")))
            }),
            "xrootd" => contest.add("xrootd", move |_| {
                rate(lanes, lap, |lane| {
                    Ok(xroot::sessions(address, lane, "/one"))
                })
            }),
            name @ ("vsftpd" | "pure-ftpd") => contest.add(name, move |_| {
                rate(lanes, lap, |lane| {
                    Ok(ftp::sessions(address, login, lane, "one"))
                })
            }),
            _ => {}
        }
    }
    let standing = contest.hold(&world.settings);
    world
        .report
        .judge(work, &standing, (SLAVE, LIMIT), Asked::AtLeast(0.5));
}

fn redirects(world: &mut World) {
    const LANES: usize = 64;
    if !world.settings.wants(REDIRECTS) {
        return;
    }
    let cluster = Cluster::start(2);
    let (lap, master) = (world.settings.lap, cluster.address());
    let (_bare, limit) = limits::accept::start();
    let mut contest = Contest::new(Unit::PerSecond);
    contest.add(LIMIT, |_| {
        rate(LANES, lap, |lane| Ok(raw::sessions(limit, lane)))
    });
    contest.add(MASTER, |_| {
        rate(LANES, lap, |lane| Ok(framed::redirects(master, lane)))
    });
    let standing = contest.hold(&world.settings);
    world
        .report
        .judge(REDIRECTS, &standing, (MASTER, LIMIT), Asked::AtLeast(0.5));
}

fn files(world: &mut World, slave: SocketAddr, peers: &[Served], paths: &[String]) {
    if !world.settings.wants(SERIAL) && !world.settings.wants(PIPELINED) {
        return;
    }
    let lap = world.settings.lap;
    let mut contest = Contest::new(Unit::PerSecond);
    contest.add("ftpslave, serial", |_| {
        rate(1, lap, |_| framed::files(slave, paths, 1))
    });
    contest.add("ftpslave, pipelined", |_| {
        rate(1, lap, |_| framed::files(slave, paths, WINDOW))
    });
    for peer in peers {
        let (address, login) = (peer.address, peer.peer.login);
        match peer.peer.name {
            "nginx" => contest.add(KEEP_ALIVE, move |_| {
                rate(1, lap, |_| http::files(address, paths))
            }),
            "xrootd" => contest.add("xrootd", move |_| {
                rate(1, lap, |_| xroot::files(address, paths))
            }),
            name @ ("vsftpd" | "pure-ftpd") => {
                contest.add(name, move |_| {
                    rate(1, lap, |_| ftp::files(address, login, paths))
                });
            }
            _ => {}
        }
    }
    let standing = contest.hold(&world.settings);
    for (work, ours, least) in [
        (SERIAL, "ftpslave, serial", 1.3),
        (PIPELINED, "ftpslave, pipelined", 5.0),
    ] {
        world
            .report
            .judge(work, &standing, (ours, KEEP_ALIVE), Asked::AtLeast(least));
    }
}
