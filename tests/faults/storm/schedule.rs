//! What happens when: drawn from the seed before anything runs, so that the same seed makes the same storm.

use std::fmt::{self, Display};
use std::time::Duration;

use crate::harness::Choices;

/// Everything that can go wrong here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    KillClient,
    KillWorker,
    KillSupervisor,
    KillRegistrar,
    KillSlave,
    KillMaster,
    StopClient,
    StopWorker,
    StopSupervisor,
    StopRegistrar,
    StopSlave,
    StopMaster,
    ReloadSlave,
    ReloadMaster,
    TerminateSlave,
    TerminateMaster,
    SecondMaster,
    OtherStorage,
    CutSlaveToClients,
    CutClientsToSlave,
    CutSlaveAndClients,
    CutSlaveToMasters,
    CutMastersToSlave,
    CutSlaveAndMasters,
    CutClientsToMasters,
    CutMastersToClients,
    CutClientsAndMasters,
    LosePackets,
    NarrowLine,
    ResetConnections,
    FlipBitsOnTheWay,
    StallConnections,
    FillDisk,
    FailCallWithEio,
    FailCallWithEnospc,
    SlowDisk,
    UseUpDescriptors,
    FlipBitOnDisk,
    StepSlaveClock,
    StepMasterClock,
    UploadTwice,
    EditWhileRead,
    TruncateWhileRead,
    ReplaceWhileRead,
    DeleteWhileRead,
}

impl Kind {
    /// One of each.
    pub(super) const ALL: [Self; 45] = [
        Self::KillClient,
        Self::KillWorker,
        Self::KillSupervisor,
        Self::KillRegistrar,
        Self::KillSlave,
        Self::KillMaster,
        Self::StopClient,
        Self::StopWorker,
        Self::StopSupervisor,
        Self::StopRegistrar,
        Self::StopSlave,
        Self::StopMaster,
        Self::ReloadSlave,
        Self::ReloadMaster,
        Self::TerminateSlave,
        Self::TerminateMaster,
        Self::SecondMaster,
        Self::OtherStorage,
        Self::CutSlaveToClients,
        Self::CutClientsToSlave,
        Self::CutSlaveAndClients,
        Self::CutSlaveToMasters,
        Self::CutMastersToSlave,
        Self::CutSlaveAndMasters,
        Self::CutClientsToMasters,
        Self::CutMastersToClients,
        Self::CutClientsAndMasters,
        Self::LosePackets,
        Self::NarrowLine,
        Self::ResetConnections,
        Self::FlipBitsOnTheWay,
        Self::StallConnections,
        Self::FillDisk,
        Self::FailCallWithEio,
        Self::FailCallWithEnospc,
        Self::SlowDisk,
        Self::UseUpDescriptors,
        Self::FlipBitOnDisk,
        Self::StepSlaveClock,
        Self::StepMasterClock,
        Self::UploadTwice,
        Self::EditWhileRead,
        Self::TruncateWhileRead,
        Self::ReplaceWhileRead,
        Self::DeleteWhileRead,
    ];
}

/// One fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Event {
    /// From the beginning of the storm.
    pub(super) at: Duration,
    pub(super) kind: Kind,
    /// Whom it strikes, and how exactly.
    pub(super) dice: u64,
    /// Until it is mended, where it needs mending.
    pub(super) lasts: Duration,
}

impl Display for Event {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            at,
            kind,
            dice,
            lasts,
        } = self;
        let (at, lasts) = (at.as_secs_f64(), lasts.as_secs_f64());
        write!(
            formatter,
            "{at:8.3} s {kind:?} dice {dice:016x} for {lasts:.3} s"
        )
    }
}

/// A storm of so many seconds: about one event every `pause`, no kind a second time before each had its turn.
pub(super) fn draw(choices: &mut Choices, seconds: u64, pause: Duration) -> Vec<Event> {
    let end = Duration::from_secs(seconds);
    let pause = pause.as_millis() as u64;
    let mut events = Vec::new();
    let mut deck: Vec<Kind> = Vec::new();
    let mut at = Duration::ZERO;
    loop {
        at += Duration::from_millis(pause / 2 + choices.below(pause));
        if at >= end {
            return events;
        }
        if deck.is_empty() {
            deck.extend(Kind::ALL);
        }
        let kind = deck.swap_remove(choices.below(deck.len() as u64) as usize);
        events.push(Event {
            at,
            kind,
            dice: choices.next(),
            lasts: Duration::from_millis(lasting(choices)),
        });
    }
}

/// Mostly short; now and then long enough for every deadline of a transfer.
fn lasting(choices: &mut Choices) -> u64 {
    match choices.below(6) {
        0 => 6_000 + choices.below(6_000),
        _ => 300 + choices.below(3_200),
    }
}

#[test]
fn the_same_seed_draws_the_same_storm_with_every_kind_in_it() {
    let pause = Duration::from_secs(1);
    let drawn = |seed| draw(&mut Choices(seed), 120, pause);
    let events = drawn(7);
    assert_eq!(events, drawn(7));
    assert_ne!(events, drawn(8));
    for kind in Kind::ALL {
        assert!(events.iter().any(|event| event.kind == kind), "{kind:?}");
    }
    assert!(events.is_sorted_by_key(|event| event.at));
}
