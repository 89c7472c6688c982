//! Lines that are cut, lossy or narrow, connections that are reset, bits that flip on the way.

use std::thread::sleep;

use super::network::{Machine, Side};
use super::schedule::{Event, Kind};
use super::world::{BEHIND_PROXY, SLAVES};
use super::{Storm, Struck, whole};
use crate::harness::{Direction, Fault};

pub(super) fn strike(storm: &Storm<'_>, event: &Event) -> Struck {
    use Kind as K;
    use Side::{Clients, Masters};
    let index = event.dice as usize % SLAVES;
    let slave = Side::One(Machine::Slave(index));
    match event.kind {
        K::CutSlaveToClients => slave_cut(storm, event, &[(slave, Clients)]),
        K::CutClientsToSlave => slave_cut(storm, event, &[(Clients, slave)]),
        K::CutSlaveAndClients => slave_cut(storm, event, &[(slave, Clients), (Clients, slave)]),
        K::CutSlaveToMasters => slave_cut(storm, event, &[(slave, Masters)]),
        K::CutMastersToSlave => slave_cut(storm, event, &[(Masters, slave)]),
        K::CutSlaveAndMasters => slave_cut(storm, event, &[(slave, Masters), (Masters, slave)]),
        K::CutClientsToMasters => master_cut(storm, event, &[(Clients, Masters)]),
        K::CutMastersToClients => master_cut(storm, event, &[(Masters, Clients)]),
        K::CutClientsAndMasters => {
            master_cut(storm, event, &[(Clients, Masters), (Masters, Clients)])
        }
        K::FlipBitsOnTheWay | K::StallConnections => bend(storm, event),
        _ => line_of_slave(storm, event, index),
    }
}

fn slave_cut(storm: &Storm<'_>, event: &Event, cuts: &[(Side, Side)]) -> Struck {
    let index = event.dice as usize % SLAVES;
    let _line = whole(&storm.world.slave_lines[index]);
    cut(storm, event, cuts)
}

fn master_cut(storm: &Storm<'_>, event: &Event, cuts: &[(Side, Side)]) -> Struck {
    let _lines = whole(&storm.world.master_lines);
    cut(storm, event, cuts)
}

fn cut(storm: &Storm<'_>, event: &Event, cuts: &[(Side, Side)]) -> Struck {
    let network = storm.world.network;
    let cuts = cuts.iter().map(|(from, to)| network.cut(*from, *to));
    let _cuts = cuts.collect::<Result<Vec<_>, _>>()?;
    sleep(event.lasts);
    Ok(())
}

fn line_of_slave(storm: &Storm<'_>, event: &Event, index: usize) -> Struck {
    let _line = whole(&storm.world.slave_lines[index]);
    let (network, machine) = (storm.world.network, Machine::Slave(index));
    let _undone = match event.kind {
        Kind::LosePackets => network.lose(machine)?,
        Kind::NarrowLine => network.narrow(machine, 1 + (event.dice >> 8) % 4)?,
        _ => {
            let port = match index {
                BEHIND_PROXY => storm.world.proxy.address.port(),
                _ => storm.world.slave_port(index),
            };
            return network.reset(machine, port);
        }
    };
    sleep(event.lasts);
    Ok(())
}

/// The slave behind the proxy has its connections damaged, or silenced for good: that they stand is all they do.
fn bend(storm: &Storm<'_>, event: &Event) -> Struck {
    let _line = whole(&storm.world.slave_lines[BEHIND_PROXY]);
    let (dice, proxy) = (event.dice >> 8, &storm.world.proxy);
    let direction = match dice % 2 {
        0 => Direction::ToServer,
        _ => Direction::ToClient,
    };
    // From the first words to the midst of a large file.
    let bytes = (dice >> 1) % (1_u64 << (8 + (dice >> 40) % 12));
    proxy.always(match event.kind {
        Kind::StallConnections => Fault::StallAfter { direction, bytes },
        _ => Fault::FlipEvery {
            direction,
            bytes: bytes + 16,
        },
    });
    sleep(event.lasts);
    proxy.always(Fault::None);
    proxy.cut_all();
    Ok(())
}
