//! A disk that is full, slow or broken, a process without descriptors, a bit that flips at rest.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::sleep;
use std::time::Instant;

use rustix::fs::FallocateFlags;
use rustix::process::{Pid, Resource, Rlimit, prlimit};

use super::schedule::{Event, Kind};
use super::world::SLAVES;
use super::{Storm, Struck, files, whole};
use crate::harness::{PATIENCE, free_descriptors, limit_of, trace_into};

/// What fails, as strace(1) has it. Calls that this machine does not know are left out by the question mark.
const EIO: [&str; 10] = [
    "fsync",
    "pwrite64",
    "?renameat",
    "renameat2",
    "linkat",
    "openat2",
    "?unlink,unlinkat",
    "sendfile",
    "splice",
    "pread64",
];
const ENOSPC: [&str; 5] = ["fsync", "pwrite64", "splice", "fsetxattr", "openat2"];

pub(super) fn strike(storm: &Storm<'_>, event: &Event) -> Struck {
    match event.kind {
        Kind::FillDisk => fill(storm, event),
        Kind::FlipBitOnDisk => rot(storm, event),
        Kind::UseUpDescriptors => use_up_descriptors(storm, event),
        _ => fail_calls(storm, event),
    }
}

fn fill(storm: &Storm<'_>, event: &Event) -> Struck {
    let _disk = whole(&storm.world.whole_disk);
    let path = storm.world.beside_root("ballast");
    let ballast = File::create(&path).map_err(|error| error.to_string())?;
    let lacked = || storm.report.lacked_space.load(Relaxed);
    let (begun, before) = (Instant::now(), lacked());
    let mut length = 0;
    // What becomes free meanwhile is taken, too.
    while begun.elapsed() < event.lasts {
        let free =
            rustix::fs::fstatvfs(&ballast).map_or(0, |facts| facts.f_bavail * facts.f_frsize);
        if free > 0 {
            let more = rustix::fs::fallocate(&ballast, FallocateFlags::empty(), length, free);
            length += more.map_or(0, |()| free);
        }
        sleep(event.lasts / 20);
    }
    fs::remove_file(&path).map_err(|error| error.to_string())?;
    Ok(lacked() - before)
}

/// A call of one worker fails now and then, or takes long.
fn fail_calls(storm: &Storm<'_>, event: &Event) -> Struck {
    let dice = (event.dice >> 8) as usize;
    let every = 1 + (dice >> 1) % 5;
    let (call, what) = match event.kind {
        Kind::SlowDisk => ("fsync,?fdatasync", "delay_enter=700000".to_owned()),
        Kind::FailCallWithEio => (
            EIO[(dice >> 8) % EIO.len()],
            format!("error=EIO:when=1+{every}"),
        ),
        _ => (
            ENOSPC[(dice >> 8) % ENOSPC.len()],
            format!("error=ENOSPC:when=1+{every}"),
        ),
    };
    let said = match event.kind {
        Kind::SlowDisk => "(DELAYED)",
        _ => "(INJECTED)",
    };
    let slave = storm.world.slave(event.dice as usize % SLAVES);
    let worker = *slave.workers().get(dice % 2).ok_or("no such worker")?;
    storm.report.write(&format!("{call} {what} in {worker}"));
    let (trace, inject) = (format!("trace={call}"), format!("inject={call}:{what}"));
    watch(storm, event, (worker, &["-e", &trace, "-e", &inject]), said)
}

/// Has strace look at a process as long as the event lasts, and counts the lines in which it says this word.
fn watch(storm: &Storm<'_>, event: &Event, (worker, words): (u32, &[&str]), said: &str) -> Struck {
    let log = storm
        .report
        .path(&format!("strace-{}", event.at.as_millis()));
    let mut strace = trace_into(worker, &log, words)?;
    sleep(event.lasts);
    strace.terminate(PATIENCE);
    let lines = fs::read_to_string(&log).map_err(|error| error.to_string())?;
    Ok(lines.lines().filter(|line| line.contains(said)).count() as u64)
}

/// A worker can open nothing more, or so little that its next session does not get far.
fn use_up_descriptors(storm: &Storm<'_>, event: &Event) -> Struck {
    let slave = storm.world.slave(event.dice as usize % SLAVES);
    let workers = slave.workers();
    let worker = workers
        .get((event.dice >> 8) as usize % 2)
        .ok_or("no such worker")?;
    let pid = Pid::from_raw(*worker as i32).ok_or("no such worker")?;
    let maximum = limit_of(*worker, "Max open files").parse().ok();
    let limit = |wanted: Rlimit| {
        prlimit(Some(pid), Resource::Nofile, wanted).map_err(|error| error.to_string())
    };
    let left = (event.dice >> 16) as usize % 3;
    let before = limit(Rlimit {
        current: free_descriptors(*worker).nth(left),
        maximum,
    })?;
    // Calls that make descriptors; none of them carries content.
    const OPENING: &str = "trace=openat,openat2,accept4,socket,dup,fcntl,pipe2";
    let struck = watch(storm, event, (*worker, &["-e", OPENING]), "EMFILE");
    limit(before)?;
    struck
}

/// Stored bytes change, and neither size nor time tells: whoever fetches the files is told.
fn rot(storm: &Storm<'_>, event: &Event) -> Struck {
    let helpers = whole(&storm.helpers);
    let [witness, _] = &*helpers;
    let before = storm.told.load(Relaxed);
    for remote in files::ROTTEN {
        let path = storm.world.path(remote);
        flip(&path, event.dice).map_err(|error| error.to_string())?;
        let begun = Instant::now();
        loop {
            let ran = storm.get(witness, remote, &[]);
            storm.told.fetch_add(u64::from(ran.code == 5), Relaxed);
            // Other faults may keep the witness from hearing of it.
            if ran.code == 5 || begun.elapsed() > event.lasts {
                break;
            }
            sleep(event.lasts / 20);
        }
        flip(&path, event.dice).map_err(|error| error.to_string())?;
    }
    Ok(storm.told.load(Relaxed) - before)
}

fn flip(path: &Path, dice: u64) -> io::Result<()> {
    let modified = fs::metadata(path)?.modified()?;
    let file = File::options().read(true).write(true).open(path)?;
    let mut byte = [0];
    let offset = dice % file.metadata()?.len();
    file.read_exact_at(&mut byte, offset)?;
    file.write_all_at(&[byte[0] ^ 4], offset)?;
    file.set_modified(modified)
}
