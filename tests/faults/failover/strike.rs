//! What befalls the slave that serves, and how it is made good again.

use std::time::Instant;

use rustix::process::Signal;

use super::world::World;
use crate::harness::{is_alive, owner_of_connection, signal_pid, wait_until};

/// A way to lose a slave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Strike {
    /// Every process of it is killed: the kernel closes its connections.
    Killed,
    /// The worker that serves is killed, nobody else.
    WorkerKilled,
    /// The connection is reset; the slave is well.
    Reset,
    /// Every process of it is stopped: its kernel goes on to accept and to acknowledge.
    Stopped,
    /// The worker that serves is stopped, nobody else.
    WorkerStopped,
    /// Nothing comes to it or from it.
    Parted,
    /// Nothing comes from it.
    Mute,
    /// Nothing comes to it.
    Deaf,
}

pub(super) const STRIKES: [Strike; 8] = [
    Strike::Killed,
    Strike::Stopped,
    Strike::WorkerKilled,
    Strike::Parted,
    Strike::Reset,
    Strike::Mute,
    Strike::WorkerStopped,
    Strike::Deaf,
];

impl Strike {
    /// Whether the client's kernel hears of it, rather than hearing nothing any more.
    pub(super) fn is_answered(self) -> bool {
        matches!(self, Self::Killed | Self::WorkerKilled | Self::Reset)
    }

    /// Strikes; the moment just before.
    pub(super) fn hit(self, world: &World, slave: usize) -> Instant {
        let address = World::address(slave);
        let place = world.place(slave);
        let worker = self.is_about_worker().then(|| serving_worker(world, slave));
        let begun = Instant::now();
        match self {
            Self::Killed => world.slaves[slave].signal_all(Signal::KILL),
            Self::Stopped => world.slaves[slave].signal_all(Signal::STOP),
            Self::WorkerKilled => signal_pid(worker.unwrap(), Signal::KILL),
            Self::WorkerStopped => signal_pid(worker.unwrap(), Signal::STOP),
            Self::Reset => {
                let port = world.slaves[slave].address.port();
                let words = format!("-K state established sport = :{port}");
                place.tool("ss", &words).unwrap();
            }
            Self::Parted => {
                let router = world.router();
                router
                    .ip(&format!("route add blackhole {address}/32"))
                    .unwrap();
                router
                    .ip(&format!("rule add from {address} blackhole"))
                    .unwrap();
            }
            Self::Mute => place.mute("line").unwrap(),
            Self::Deaf => {
                let route = format!("route add blackhole {address}/32");
                world.router().ip(&route).unwrap();
            }
        }
        begun
    }

    /// Makes everything as it was.
    pub(super) fn heal(self, world: &mut World, slave: usize) {
        let address = World::address(slave);
        match self {
            Self::Killed => {
                let family = world.slaves[slave].family();
                world.slaves[slave].process.kill();
                wait_until("the killed to be gone", crate::harness::PATIENCE, || {
                    !family.iter().any(|pid| is_alive(*pid))
                });
                world.restart(slave);
            }
            Self::Stopped | Self::WorkerStopped => world.slaves[slave].signal_all(Signal::CONT),
            Self::WorkerKilled | Self::Reset => {}
            Self::Parted => {
                let router = world.router();
                router
                    .ip(&format!("route del blackhole {address}/32"))
                    .unwrap();
                router
                    .ip(&format!("rule del from {address} blackhole"))
                    .unwrap();
            }
            Self::Mute => world.place(slave).unmute("line").unwrap(),
            Self::Deaf => {
                let route = format!("route del blackhole {address}/32");
                world.router().ip(&route).unwrap();
            }
        }
    }

    fn is_about_worker(self) -> bool {
        matches!(self, Self::WorkerKilled | Self::WorkerStopped)
    }
}

/// The process that holds the client's connection.
fn serving_worker(world: &World, slave: usize) -> u32 {
    let server = &world.slaves[slave];
    let (listens, workers) = (server.address, server.workers());
    let peers = world.clients_of(slave);
    let owner = |peer: &_| owner_of_connection(listens, *peer, &workers);
    let owner = world.place(slave).run(|| peers.iter().find_map(owner));
    owner.expect("a worker serves")
}
