//! One large file, both ways.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

use super::{Transfer, UPLOADS, World, share};
use crate::content::fill;
use crate::contest::{Asked, Contest, Standing, Unit};
use crate::harness::{Client, Cluster, Place};
use crate::limits;
use crate::limits::netcat;
use crate::limits::stream::{Shape, fetcher};
use crate::peers::clients::pairs;

const FIRST: &str = "get, verified, first serving";
const CACHED: &str = "get, verified, digest cached";
const BARE: &str = "get --no-verify";
const PUT: &str = "put, verified and durable, first sending";
const PUT_KNOWN: &str = "put, verified and durable, digest known";
const CUBIC: &str = "get, verified, everyone with cubic";
const MEMORY: &str = "large file";

const LIMIT: &str = "sendfile → splice, cubic";
const NETCAT: &str = "cat | nc";
const LIMIT_FSYNC: &str = "sendfile → splice + fsync, cubic";
const LIMIT_HASHED: &str = "the same, hashed at both ends";
const NAME: &str = "large.bin";
const CUBIC_ALONE: Shape = Shape {
    cubic: true,
    fsync: false,
    hash: false,
};

/// All of them.
pub fn run(world: &mut World) {
    let works = [FIRST, CACHED, BARE, PUT, PUT_KNOWN, CUBIC].map(|work| world.named(work));
    if !works.iter().any(|work| world.settings.wants(work)) {
        return;
    }
    let cluster = Cluster::start(1);
    fill(&cluster.path(NAME), world.settings.mebibytes);
    share(&cluster);
    let client = cluster.client().options(["-q"]);
    if works[..3].iter().any(|work| world.settings.wants(work)) {
        get(world, &cluster, &client);
    }
    if works[3..5].iter().any(|work| world.settings.wants(work)) {
        put(world, &cluster, &client);
    }
    world.workers_stay_small(MEMORY, &cluster.slaves);
    drop(cluster);
    if world.settings.wants(&works[5]) {
        match Place::with_congestion_control("cubic") {
            Ok(place) => everyone_with_cubic(world, &place),
            Err(why) => world.report.note(format!("{}: skipped: {why}", works[5])),
        }
    }
}

impl World {
    fn named(&self, work: &str) -> String {
        format!("{work}, {} MiB", self.settings.mebibytes)
    }
}

fn get(world: &mut World, cluster: &Cluster, client: &Client) {
    let peers = world.serve(&cluster.root(), Ipv4Addr::LOCALHOST.into());
    let pairs = pairs(&peers, &mut world.report);
    let source = cluster.path(NAME);
    let (target, own) = (client.path("received"), client.path(NAME));
    let (_sender, address) =
        limits::stream::start(Ipv4Addr::LOCALHOST.into(), &source, CUBIC_ALONE);
    let into = |target| Transfer::file(&world.settings, (&source, target));
    let (received, downloaded) = (into(&target), into(&own));
    let mut contest = Contest::new(Unit::Seconds);
    add_limits(&mut contest, &received, address);
    let ask = |words: &[&str]| client.command(words.iter().copied());
    contest.add(FIRST, |round| {
        forget_digest(&source);
        downloaded.time(&mut ask(&["get", "-f", NAME]), round)
    });
    contest.add(CACHED, |round| {
        downloaded.time(&mut ask(&["get", "-f", NAME]), round)
    });
    contest.add(BARE, |round| {
        let mut command = with_option(client, "--no-verify", &["get", "-f", NAME]);
        downloaded.time(&mut command, round)
    });
    for (pair, server) in pairs {
        if let Some(get) = pair.get {
            let (received, target) = (&received, &target);
            contest.add(pair.name, move |round| {
                received.time(&mut get(server, NAME, target), round)
            });
        }
    }
    let standing = contest.hold(&world.settings);
    let peak = downloaded.peak();
    for (work, limit, most) in [
        (FIRST, LIMIT, 1.7),
        (CACHED, LIMIT, 1.4),
        (BARE, LIMIT, 1.15),
        (FIRST, NETCAT, 2.0),
    ] {
        let named = world.named(work);
        let asked = Asked::AtMost(most);
        world.report.judge(&named, &standing, (work, limit), asked);
    }
    let work = format!(
        "{}, beside the fastest FTP server + curl",
        world.named(CACHED)
    );
    let faster = (is_ftp_and_curl, Asked::AtMost(1.0 / 1.4));
    world.report.judge_best(&work, &standing, CACHED, faster);
    world.memory("large get: the client's most memory", peak);
}

fn add_limits<'a>(contest: &mut Contest<'a>, transfer: &'a Transfer<'a>, address: SocketAddr) {
    let (source, target) = (transfer.source, transfer.target);
    for (name, streams) in [(LIMIT, 1), ("4 streams", 4)] {
        contest.add(name, move |round| {
            let senders = vec![(address, 1); streams];
            transfer.time(&mut fetcher(&senders, target, CUBIC_ALONE), round)
        });
    }
    contest.add("cp", move |round| {
        transfer.time(&mut limits::files::copy(source, target), round)
    });
    contest.add(NETCAT, move |round| {
        let (_sender, address) = netcat::send_file(Ipv4Addr::LOCALHOST.into(), source);
        transfer.time(&mut netcat::receive_file(address, target), round)
    });
}

fn put(world: &mut World, cluster: &Cluster, client: &Client) {
    let peers = world.serve(&cluster.root(), Ipv4Addr::LOCALHOST.into());
    let pairs = pairs(&peers, &mut world.report);
    let source = cluster.path(NAME);
    let remote = format!("{UPLOADS}/back.bin");
    let target = cluster.path(&remote);
    let (_sender, address) =
        limits::stream::start(Ipv4Addr::LOCALHOST.into(), &source, CUBIC_ALONE);
    let stored = Transfer::file(&world.settings, (&source, &target));
    let mut contest = Contest::new(Unit::Seconds);
    let flushed = Shape {
        fsync: true,
        ..CUBIC_ALONE
    };
    let hashed = Shape {
        hash: true,
        ..flushed
    };
    let (_sender, hashing) = limits::stream::start(Ipv4Addr::LOCALHOST.into(), &source, hashed);
    for (name, sender, shape) in [
        (LIMIT_FSYNC, address, flushed),
        (LIMIT_HASHED, hashing, hashed),
    ] {
        let (stored, target) = (&stored, &target);
        contest.add(name, move |round| {
            stored.time(&mut fetcher(&[(sender, 1)], target, shape), round)
        });
    }
    let ours = Transfer::file(&world.settings, (&source, &target));
    let words = ["put", "-f", source.to_str().unwrap(), &remote];
    contest.add(PUT, |round| {
        forget_sent(client);
        ours.time(&mut client.command(words), round)
    });
    contest.add(PUT_KNOWN, |round| {
        know_sent(client, words);
        ours.time(&mut client.command(words), round)
    });
    for (pair, server) in pairs {
        if let Some(put) = pair.put {
            let (stored, remote, source) = (&stored, &remote, &source);
            contest.add(pair.name, move |round| {
                stored.time(&mut put(server, remote, source), round)
            });
        }
    }
    let standing = contest.hold(&world.settings);
    let peak = ours.peak();
    judge_put(world, &standing);
    world.memory("large put: the client's most memory", peak);
}

fn judge_put(world: &mut World, standing: &Standing) {
    for (work, limit, asked) in [
        (PUT, LIMIT_FSYNC, Asked::AtMost(1.5)),
        (PUT_KNOWN, LIMIT_FSYNC, Asked::AtMost(1.5)),
        (PUT, LIMIT_HASHED, Asked::Nothing),
    ] {
        let named = world.named(work);
        world.report.judge(&named, standing, (work, limit), asked);
    }
    let is_peer = |name: &str| ![LIMIT_FSYNC, LIMIT_HASHED, PUT, PUT_KNOWN].contains(&name);
    for work in [PUT, PUT_KNOWN] {
        let beside = "beside the fastest peer (nothing verified, nothing durable)";
        let beside = format!("{}, {beside}", world.named(work));
        let faster = (is_peer, Asked::AtMost(1.0));
        world.report.judge_best(&beside, standing, work, faster);
    }
}

/// The same congestion control for all, whatever the machine's default is and whatever a program asks for.
fn everyone_with_cubic(world: &mut World, place: &Place) {
    let cluster = place.run(|| Cluster::start(1));
    let source = cluster.path(NAME);
    fill(&source, world.settings.mebibytes);
    share(&cluster);
    let client = cluster.client().options(["-q"]);
    let peers = place.run(|| world.serve(&cluster.root(), Ipv4Addr::LOCALHOST.into()));
    let pairs = pairs(&peers, &mut world.report);
    let (_sender, address) =
        place.run(|| limits::stream::start(Ipv4Addr::LOCALHOST.into(), &source, CUBIC_ALONE));
    let (target, own) = (client.path("received"), client.path(NAME));
    let within = |target| Transfer::file(&world.settings, (&source, target)).within(place);
    let (received, downloaded) = (within(&target), within(&own));
    let mut contest = Contest::new(Unit::Seconds);
    contest.add(LIMIT, |round| {
        received.time(&mut fetcher(&[(address, 1)], &target, CUBIC_ALONE), round)
    });
    contest.add(CUBIC, |round| {
        downloaded.time(&mut client.command(["get", "-f", NAME]), round)
    });
    for (pair, server) in pairs.into_iter().filter(|(pair, _)| pair.client == "curl") {
        let (received, target, get) = (&received, &target, pair.get.unwrap());
        contest.add(pair.name, move |round| {
            received.time(&mut get(server, NAME, target), round)
        });
    }
    let standing = contest.hold(&world.settings);
    let work = world.named(CUBIC);
    world
        .report
        .judge(&work, &standing, (CUBIC, LIMIT), Asked::Nothing);
    let beside = format!("{work}, beside the fastest FTP server + curl");
    world.report.judge_best(
        &beside,
        &standing,
        CUBIC,
        (is_ftp_and_curl, Asked::AtMost(1.0)),
    );
}

fn is_ftp_and_curl(name: &str) -> bool {
    name.ends_with("ftpd + curl")
}

/// A digest is not believed for another time of modification.
fn forget_digest(file: &Path) {
    let file = File::options().write(true).open(file).unwrap();
    file.set_modified(SystemTime::now()).unwrap();
}

/// What the client has sent it hashes again.
fn forget_sent(client: &Client) {
    match std::fs::remove_dir_all(client.home().join("state/mini-ftp/digests")) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => panic!("{error}"),
        _ => {}
    }
}

/// What the client has sent it need not hash again, whoever was in turn before.
fn know_sent(client: &Client, words: [&str; 4]) {
    if !client.home().join("state/mini-ftp/digests").exists() {
        assert!(client.command(words).status().unwrap().success());
    }
}

/// The client's command with one more option; options stand before or after the host.
pub fn with_option(client: &Client, option: &str, words: &[&str]) -> Command {
    client.command([&[option], words].concat())
}
