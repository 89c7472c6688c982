//! Processes that are killed, stopped, reloaded and ended, and servers that should not be there.

use std::fs;
use std::thread::sleep;

use rustix::process::Signal;

use super::network::Machine;
use super::schedule::{Event, Kind};
use super::world::SLAVES;
use super::{Storm, Struck, whole};
use crate::harness::{PATIENCE, Server, children, signal_pid};

const GONE: &str = "there is none at the moment";

pub(super) fn strike(storm: &Storm<'_>, event: &Event) -> Struck {
    match event.kind {
        Kind::KillClient | Kind::StopClient => client(storm, event),
        Kind::KillMaster | Kind::StopMaster | Kind::ReloadMaster | Kind::TerminateMaster => {
            master(storm, event)
        }
        Kind::SecondMaster => second_master(storm, event),
        Kind::OtherStorage => other_storage(storm, event),
        _ => slave(storm, event),
    }
}

fn client(storm: &Storm<'_>, event: &Event) -> Struck {
    let people = &storm.people;
    let first = event.dice as usize % people.len();
    let signal = match event.kind {
        Kind::KillClient => Signal::KILL,
        _ => Signal::STOP,
    };
    // Whoever has a client running, from the one on that the dice chose.
    let mut in_turn = people.iter().cycle().skip(first).take(people.len());
    let struck = in_turn.find_map(|person| Some((person, person.signal(signal)?)));
    let (person, pid) = struck.ok_or(GONE)?;
    if event.kind == Kind::StopClient {
        sleep(event.lasts);
        person.signal_if(pid, Signal::CONT);
    }
    Ok(1)
}

fn master(storm: &Storm<'_>, event: &Event) -> Struck {
    let mut master = storm.world.master(0);
    let server = master.as_mut().ok_or(GONE)?;
    storm.must_run("the master", server);
    match event.kind {
        Kind::KillMaster => drop(server.process.kill()),
        Kind::TerminateMaster => terminate(storm, server, event),
        Kind::ReloadMaster => {
            server.process.signal(Signal::HUP);
            return Ok(1);
        }
        _ => {
            server.process.signal(Signal::STOP);
            sleep(event.lasts);
            server.process.signal(Signal::CONT);
            return Ok(1);
        }
    }
    sleep(event.lasts);
    storm.world.restart(Machine::Master(0), server);
    Ok(1)
}

fn slave(storm: &Storm<'_>, event: &Event) -> Struck {
    let index = event.dice as usize % SLAVES;
    let mut slave = storm.world.slave(index);
    storm.must_run("a slave", &mut slave);
    let chosen = (event.dice >> 8) as usize;
    match event.kind {
        Kind::KillWorker => return one(&slave.workers(), chosen, Signal::KILL).map(|_| 1),
        Kind::KillRegistrar => {
            let registrar = slave.registrar().ok_or(GONE)?;
            signal_pid(registrar, Signal::KILL);
            return Ok(1);
        }
        Kind::ReloadSlave => {
            slave.process.signal(Signal::HUP);
            return Ok(1);
        }
        Kind::StopWorker => {
            let worker = one(&slave.workers(), chosen, Signal::STOP)?;
            return wake(&slave, &[worker], event);
        }
        Kind::StopRegistrar => {
            let registrar = slave.registrar().ok_or(GONE)?;
            signal_pid(registrar, Signal::STOP);
            return wake(&slave, &[registrar], event);
        }
        Kind::StopSupervisor => {
            slave.process.signal(Signal::STOP);
            return wake(&slave, &[], event);
        }
        Kind::StopSlave => {
            slave.signal_all(Signal::STOP);
            // Only now does the supervisor start no more of them.
            let family = slave.family();
            return wake(&slave, &family, event);
        }
        Kind::KillSupervisor => drop(slave.process.kill()),
        Kind::TerminateSlave => terminate(storm, &mut slave, event),
        _ => slave.kill(),
    }
    sleep(event.lasts);
    storm.world.restart(Machine::Slave(index), &mut slave);
    Ok(1)
}

impl Storm<'_> {
    /// Nobody has the right to end servers but a fault.
    fn must_run(&self, name: &str, server: &mut Server) {
        if !server.process.is_running() {
            let said = server.process.stderr();
            let last = said.lines().last().unwrap_or_default();
            self.report
                .found(format!("{name} has ended by itself: {last}"));
        }
    }
}

fn one(processes: &[u32], chosen: usize, signal: Signal) -> Result<u32, String> {
    let pid = processes.get(chosen % processes.len().max(1)).ok_or(GONE)?;
    signal_pid(*pid, signal);
    Ok(*pid)
}

/// Lets a slave's processes go on when the time has come, those that are still there: the supervisor replaces what hangs.
fn wake(slave: &Server, stopped: &[u32], event: &Event) -> Struck {
    sleep(event.lasts);
    let family = children(slave.pid());
    for pid in stopped.iter().filter(|pid| family.contains(pid)) {
        signal_pid(*pid, Signal::CONT);
    }
    slave.process.signal(Signal::CONT);
    Ok(1)
}

fn terminate(storm: &Storm<'_>, server: &mut Server, event: &Event) {
    let status = server.process.terminate(PATIENCE);
    if !status.success() {
        let said = server.process.stderr();
        let last = said.lines().last().unwrap_or_default();
        let kind = event.kind;
        storm
            .report
            .found(format!("{kind:?}: it ended with {status}: {last}"));
    }
}

/// How often a server has written this to its log.
fn times(server: &Server, words: &str) -> u64 {
    let said = server.process.stderr();
    said.matches(words).count() as u64
}

fn second_master(storm: &Storm<'_>, event: &Event) -> Struck {
    let mut second = storm.world.master(1);
    let server = second.insert(storm.world.start_master(1));
    sleep(event.lasts);
    let slaves = times(server, "registered at");
    match event.dice % 2 {
        0 => drop(server.process.kill()),
        _ => terminate(storm, server, event),
    }
    *second = None;
    Ok(slaves)
}

/// A slave of another storage must be sent nobody: whoever stored there would miss the file elsewhere.
fn other_storage(storm: &Storm<'_>, event: &Event) -> Struck {
    let _one_at_a_time = whole(&storm.stranger);
    let mut stranger = storm.world.start_stranger();
    sleep(event.lasts);
    let refusals = times(&stranger, "does not take this slave");
    terminate(storm, &mut stranger, event);
    let strays: Vec<_> = fs::read_dir(storm.world.other_root())
        .unwrap()
        .flatten()
        .map(|entry| entry.file_name())
        .filter(|name| name != ".mini-ftp")
        .collect();
    if !strays.is_empty() {
        let report = storm.report;
        report.found(format!("stored in another storage: {strays:?}"));
    }
    Ok(refusals)
}
