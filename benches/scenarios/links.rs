//! One file from three slaves, each behind a line of its own, and one of the slaves killed half-way.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use super::{IN_THE_CLEAR, Transfer, World, share_folder};
use crate::content::fill;
use crate::contest::{Asked, Contest, Entry, Standing, Unit};
use crate::harness::{Client, PATIENCE, Server, master_binary, slave_binary, wait_until};
use crate::limits::stream::{self, Shape, fetcher};
use crate::peers::Served;
use crate::peers::clients::{aria2, xrdcp_metalink};
use crate::star::Star;

const EQUAL: &str = "get, 1 GiB, three slaves behind 1000 Mbit/s each";
const UNEQUAL: &str = "get, 1 GiB, three slaves behind 1000 + 500 + 100 Mbit/s";
const KILLED: &str = "get, 1 GiB, three slaves, one killed half-way";

const OURS: &str = "ftpmaster + 3 ftpslave + ftpclient";
const LIMIT: &str = "three plain range fetches";
const REMAINING: &str = "what the remaining lines allow";
const NAME: &str = "file.bin";
const MIB: u64 = 1024;

/// All of them.
pub fn run(world: &mut World) {
    for (work, rates, killed) in [
        (EQUAL, [1000; 3], Some(KILLED)),
        (UNEQUAL, [1000, 500, 100], None),
    ] {
        let killed = killed.filter(|killed| world.settings.wants(killed));
        if !world.settings.wants(work) && killed.is_none() {
            continue;
        }
        match Star::new(&rates) {
            Ok(star) => behind(world, &star, (work, &rates, killed)),
            Err(why) => world.report.note(format!("{work}: skipped: {why}")),
        }
    }
}

fn behind(world: &mut World, star: &Star, (work, rates, killed): (&str, &[u64], Option<&str>)) {
    let mut suite = Suite::start(star);
    let senders: Vec<_> = (0..rates.len())
        .map(|number| {
            let start = || {
                stream::start(
                    Star::address(number).into(),
                    &suite.source(),
                    Shape::default(),
                )
            };
            star.servers[number].run(start)
        })
        .collect();
    let addresses = senders.iter().map(|(_, address)| *address);
    let addresses: Vec<(SocketAddr, u64)> = addresses.zip(rates.iter().copied()).collect();
    let standing = contest(world, star, (&suite, &addresses));
    world
        .report
        .judge(work, &standing, (OURS, LIMIT), Asked::AtMost(1.03));
    if let (Some(work), Some(whole)) = (killed, standing.entry(LIMIT).and_then(Entry::median)) {
        kill_one(world, (star, &mut suite), (work, whole));
    }
    world.workers_stay_small(work, &suite.slaves);
}

fn contest(
    world: &mut World,
    star: &Star,
    (suite, senders): (&Suite, &[(SocketAddr, u64)]),
) -> Standing {
    let (source, target) = (suite.source(), suite.client.path("received"));
    let nginx = serve_everywhere(world, star, ("nginx", suite));
    let xrootd = serve_everywhere(world, star, ("xrootd", suite));
    let transfer = || Transfer::file(&world.settings, (&source, &target)).within(&star.hub);
    let (received, ours) = (transfer(), transfer());
    let mut contest = Contest::new(Unit::Seconds);
    let shape = Shape::default();
    contest.add(LIMIT, |round| {
        received.time(&mut fetcher(senders, &target, shape), round)
    });
    contest.add(OURS, |round| ours.time(&mut suite.get(&target), round));
    if !nginx.is_empty() {
        contest.add("3 nginx + aria2", |round| {
            let servers: Vec<&Served> = nginx.iter().collect();
            received.time(&mut aria2(&servers, NAME, &target), round)
        });
    }
    if !xrootd.is_empty() {
        contest.add("3 xrootd + xrdcp, metalink", |round| {
            let servers: Vec<&Served> = xrootd.iter().collect();
            let link = xrdcp_metalink(&servers, NAME, (MIB << 20, &target));
            received.time(&mut { link }, round)
        });
    }
    let standing = contest.hold(&world.settings);
    let peak = ours.peak();
    world.memory("striped get: the client's most memory", peak);
    standing
}

/// The second slave dies when half of the bytes are through; `whole` is how long they would take undisturbed.
fn kill_one(world: &mut World, (star, suite): (&Star, &mut Suite), (work, whole): (&str, f64)) {
    let (source, target) = (suite.source(), suite.client.path("received"));
    let transfer = Transfer::file(&world.settings, (&source, &target)).within(&star.hub);
    let mut contest = Contest::new(Unit::Seconds);
    contest.add(OURS, |round| {
        let mut command = suite.get(&target);
        let slave = &mut suite.slaves[1];
        let sample = thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(Duration::from_secs_f64(whole / 2.0));
                slave.kill();
            });
            transfer.time(&mut command, round)
        });
        star.servers[1].run(|| slave.restart());
        star.hub.run(|| suite.wait_for_slaves());
        sample
    });
    let mut standing = contest.hold(&world.settings);
    standing.entries.push(Entry {
        name: REMAINING.to_owned(),
        figures: vec![whole / 2.0 * (1.0 + 3.0 / 2.0)],
        failure: None,
    });
    world
        .report
        .judge(work, &standing, (OURS, REMAINING), Asked::AtMost(1.1));
}

/// The same peer in every server's network; empty where it is missing.
fn serve_everywhere(world: &mut World, star: &Star, (name, suite): (&str, &Suite)) -> Vec<Served> {
    let Some(peer) = world.peers.iter().find(|peer| peer.name == name) else {
        return Vec::new();
    };
    let start = |number: usize| {
        let place = &star.servers[number];
        place.run(|| Served::start(peer, &suite.root(), Star::address(number).into()))
    };
    let served: Result<Vec<Served>, String> = (0..star.servers.len()).map(start).collect();
    served.unwrap_or_else(|why| {
        world.report.note(why);
        Vec::new()
    })
}

/// A master in the client's network, and a slave in each server's.
struct Suite {
    // Servers stand before the folder they work in: fields are dropped in this order.
    slaves: Vec<Server>,
    _master: Server,
    client: Client,
    folder: TempDir,
}

impl Suite {
    fn start(star: &Star) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["root", "state", "home"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        fs::set_permissions(folder.path().join("state"), private).unwrap();
        let (root, home) = (folder.path().join("root"), folder.path().join("home"));
        share_folder(&root);
        fill(&root.join(NAME), MIB);
        let common = |bind: String| {
            let mut words = vec!["--bind".into(), bind, "--state".into()];
            words.push(folder.path().join("state").display().to_string());
            words.extend(IN_THE_CLEAR.map(str::to_owned));
            words
        };
        let start = |label: &str, program: &Path, words: Vec<String>| {
            let words = words.into_iter().map(Into::into).collect();
            Server::start(label.to_owned(), program, words, home.clone())
        };
        let master = star.hub.run(|| {
            let mut words = common("0.0.0.0".to_owned());
            words.extend(["--anonymous", "read-write", "--port"].map(str::to_owned));
            start("ftpmaster", master_binary(), words)
        });
        let port = master.address.port();
        let slaves = star.servers.iter().enumerate().map(|(number, place)| {
            let mut words = common(Star::address(number).to_string());
            words.extend(["--root".to_owned(), root.display().to_string()]);
            let master = format!("{}:{port}", Star::hub_address(number));
            words.extend(["--master".to_owned(), master]);
            place.run(|| start(&format!("ftpslave {number}"), slave_binary(), words))
        });
        let suite = Self {
            slaves: slaves.collect(),
            _master: master,
            client: Client::new(format!("127.0.0.1:{port}"))
                .options(["-q"])
                .options(IN_THE_CLEAR),
            folder,
        };
        star.hub.run(|| suite.wait_for_slaves());
        suite
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    fn source(&self) -> PathBuf {
        self.root().join(NAME)
    }

    fn get(&self, target: &Path) -> std::process::Command {
        self.client
            .command(["get", "-f", NAME, target.to_str().unwrap()])
    }

    fn wait_for_slaves(&self) {
        wait_until("the slaves to be up", PATIENCE, || {
            let answer = self.client.run(["slaves"]).stdout;
            let is_up = |line: &&str| line.split_whitespace().any(|word| word == "up");
            answer.lines().filter(is_up).count() == self.slaves.len()
        });
    }
}
