//! Lines that are cut, lossy or narrow, connections that are reset, bits that flip on the way.

use std::thread::sleep;

use super::network::{Course, Machine, Peers, Undone};
use super::schedule::{Event, Kind};
use super::world::{BEHIND_PROXY, SLAVES};
use super::{Storm, Struck, whole};
use crate::harness::{Direction, Fault};

pub(super) fn strike(storm: &Storm<'_>, event: &Event) -> Struck {
    use Course::{In, Out};
    use Kind as K;
    use Peers::{Clients, Masters};
    match event.kind {
        K::CutSlaveToClients => slave_cut(storm, event, (Clients, &[Out])),
        K::CutClientsToSlave => slave_cut(storm, event, (Clients, &[In])),
        K::CutSlaveAndClients => slave_cut(storm, event, (Clients, &[Out, In])),
        K::CutSlaveToMasters => slave_cut(storm, event, (Masters, &[Out])),
        K::CutMastersToSlave => slave_cut(storm, event, (Masters, &[In])),
        K::CutSlaveAndMasters => slave_cut(storm, event, (Masters, &[Out, In])),
        K::CutClientsToMasters => masters_cut(storm, event, &[In]),
        K::CutMastersToClients => masters_cut(storm, event, &[Out]),
        K::CutClientsAndMasters => masters_cut(storm, event, &[Out, In]),
        K::FlipBitsOnTheWay | K::StallConnections => bend(storm, event),
        _ => line_of_slave(storm, event),
    }
}

fn slave_cut(storm: &Storm<'_>, event: &Event, (peers, courses): (Peers, &[Course])) -> Struck {
    let index = event.dice as usize % SLAVES;
    let _line = whole(&storm.world.slave_lines[index]);
    let cut = storm
        .world
        .network
        .cut(Machine::Slave(index), peers, courses)?;
    sleep(event.lasts);
    Ok(cut.hits())
}

fn masters_cut(storm: &Storm<'_>, event: &Event, courses: &[Course]) -> Struck {
    let _lines = whole(&storm.world.master_lines);
    let network = storm.world.network;
    let cuts = (0..2).map(|index| network.cut(Machine::Master(index), Peers::Clients, courses));
    let cuts = cuts.collect::<Result<Vec<_>, _>>()?;
    sleep(event.lasts);
    Ok(cuts.iter().map(Undone::hits).sum())
}

fn line_of_slave(storm: &Storm<'_>, event: &Event) -> Struck {
    let index = event.dice as usize % SLAVES;
    let _line = whole(&storm.world.slave_lines[index]);
    let (network, machine) = (storm.world.network, Machine::Slave(index));
    let hits = match event.kind {
        Kind::LosePackets => {
            let lossy = network.lose(machine)?;
            sleep(event.lasts);
            lossy.hits()
        }
        Kind::NarrowLine => {
            let narrow = network.narrow(machine, 1 + (event.dice >> 8) % 4)?;
            sleep(event.lasts);
            narrow.iter().map(Undone::hits).sum()
        }
        _ => network.reset(machine, storm.world.port_of(index))?,
    };
    Ok(hits)
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
    let before = proxy.bent();
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
    Ok(proxy.bent() - before)
}
