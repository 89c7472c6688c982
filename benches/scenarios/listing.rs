//! A folder of a hundred thousand names.

use std::fs::{self, File};
use std::io::{Read, Seek};
use std::net::Ipv4Addr;
use std::process::Command;

use super::{World, share};
use crate::command;
use crate::contest::{Asked, Contest, Sample, Unit};
use crate::harness::Cluster;
use crate::limits::files;
use crate::memory;
use crate::peers::clients;

const NAMES: &str = "ls, 100,000 names";
const FACTS: &str = "ls -l, 100,000 names";
const MEMORY: &str = "ls and ls -l, 100,000 names: what a worker's memory grows by";
const LIMIT: &str = "ls -U";
const OURS: &str = "ftpslave + ftpclient";
const COUNT: usize = 100_000;

/// Both of them.
pub fn run(world: &mut World) {
    if ![NAMES, FACTS].iter().any(|work| world.settings.wants(work)) {
        return;
    }
    let cluster = Cluster::start(1);
    let folder = cluster.path("many");
    fs::create_dir(&folder).unwrap();
    for number in 0..COUNT {
        File::create(folder.join(format!("file-{number:06}"))).unwrap();
    }
    share(&cluster);
    cluster.client().run(["ls"]).succeeded();
    let before = most_memory(&cluster);
    for (work, facts, most) in [(NAMES, false, 1.5), (FACTS, true, 3.0)] {
        if world.settings.wants(work) {
            list(world, &cluster, (work, facts, most));
        }
    }
    let grown = (most_memory(&cluster) - before) as f64 / 1024.0;
    let asked = Asked::AtMost(1024.0);
    world
        .report
        .figure(MEMORY, Unit::Kibibytes, grown, (asked, ""));
    world.workers_stay_small("listing", &cluster.slaves);
}

fn list(world: &mut World, cluster: &Cluster, (work, facts, most): (&str, bool, f64)) {
    let (folder, client) = (cluster.path("many"), cluster.client());
    let peers = world.serve(&cluster.root(), Ipv4Addr::LOCALHOST.into());
    let patience = world.settings.patience;
    // the limit of both is a listing of names alone
    let complete = |mut command: Command, more: usize| -> Sample {
        let mut output = tempfile::tempfile().unwrap();
        command.stdout(output.try_clone().unwrap());
        let finished = command::run(&mut command, patience)?;
        let lines = count_lines(&mut output);
        match lines == COUNT + more {
            true => Ok(finished.seconds),
            false => Err(format!("{lines} lines")),
        }
    };
    let mut contest = Contest::new(Unit::Seconds);
    contest.add(LIMIT, |_| complete(files::list(&folder, false), 0));
    if facts {
        contest.add("ls -lU", |_| complete(files::list(&folder, true), 1));
    }
    contest.add(OURS, |_| {
        let options = if facts {
            vec!["ls", "-l", "many"]
        } else {
            vec!["ls", "many"]
        };
        complete(client.command(options), 0)
    });
    for server in &peers {
        if clients::list(server, "many", facts).is_some() {
            contest.add(server.peer.name, move |_| {
                let mut command = clients::list(server, "many", facts).unwrap();
                command::run(&mut command, patience).map(|finished| finished.seconds)
            });
        }
    }
    let standing = contest.hold(&world.settings);
    world
        .report
        .judge(work, &standing, (OURS, LIMIT), Asked::AtMost(most));
}

fn most_memory(cluster: &Cluster) -> u64 {
    let workers = cluster.slaves[0].workers().into_iter();
    workers.map(memory::peak).max().unwrap_or(0)
}

fn count_lines(output: &mut File) -> usize {
    let mut text = Vec::new();
    output.rewind().unwrap();
    output.read_to_end(&mut text).unwrap();
    text.iter().filter(|&&byte| byte == b'\n').count()
}
