//! The registry, driven with made-up times.

use std::time::Duration;

use protocol::SlaveStatus;

use super::*;
use crate::limits::{CONNECT, PROBE_INTERVAL, PROBE_SILENCE, QUESTION, SILENCE};
use crate::place::Place;

const STORAGE: StorageId = StorageId([7; 16]);

const FREE: Load = Load {
    sessions: 0,
    places: 4,
    draining: false,
};

fn id(number: u8) -> SlaveId {
    SlaveId([number; 16])
}

fn place(port: u16) -> Place {
    port.to_string().parse().unwrap()
}

fn addresses(port: u16) -> Vec<Address> {
    vec![Address::SameHost { port }]
}

fn newcomer(number: u8) -> Newcomer {
    Newcomer {
        id: id(number),
        storage: STORAGE,
        generation: 0,
        fingerprint: None,
        addresses: addresses(number.into()),
        connection: number.into(),
    }
}

fn found(number: u8) -> Found {
    Found {
        id: id(number),
        storage: STORAGE,
        keyed: true,
        generation: 0,
        fingerprint: None,
        addresses: addresses(number.into()),
        load: FREE,
    }
}

/// A registry whose clock the test moves.
struct World {
    registry: Registry,
    now: Instant,
}

impl World {
    fn new(places: &[u16]) -> Self {
        let mut registry = Registry::default();
        let places: Vec<Place> = places.iter().map(|&port| place(port)).collect();
        registry.set_places(&places);
        Self {
            registry,
            now: Instant::now(),
        }
    }

    fn with_registered(numbers: &[u8]) -> Self {
        let mut world = Self::new(&[]);
        for &number in numbers {
            world.register(number).unwrap();
        }
        world
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
    }

    fn register(&mut self, number: u8) -> Result<(), Refusal> {
        self.registry.register(newcomer(number), self.now)
    }

    fn heartbeat(&mut self, number: u8, load: Load) -> bool {
        self.registry
            .heartbeat(id(number), number.into(), load, self.now)
    }

    fn found(&mut self, port: u16, found: Found) -> Result<(), Refusal> {
        self.registry.found(&place(port), found, self.now)
    }

    fn ask(&mut self, tried: &[u8], takes_turn: bool) -> Vec<u8> {
        let tried: Vec<SlaveId> = tried.iter().map(|&number| id(number)).collect();
        let query = Query {
            policy: Policy::RoundRobin,
            tried: &tried,
            takes_turn,
        };
        let located = self.registry.locate(query, self.now);
        located
            .into_iter()
            .map(|candidate| candidate.id.0[0])
            .collect()
    }

    fn locate(&mut self) -> Vec<u8> {
        self.ask(&[], true)
    }

    fn states(&self) -> Vec<(u8, SlaveStatus)> {
        let states = self.registry.states(self.now);
        states
            .into_iter()
            .map(|state| (state.id.0[0], state.status))
            .collect()
    }
}

#[test]
fn registered_slaves_take_turns() {
    let mut world = World::with_registered(&[1, 2]);
    assert_eq!(world.locate(), [1, 2]);
    assert_eq!(world.locate(), [2, 1]);
    assert_eq!(world.locate(), [1, 2]);
}

#[test]
fn a_renewal_takes_no_turn() {
    let mut world = World::with_registered(&[1, 2]);
    assert_eq!(world.ask(&[], false), [1, 2]);
    assert_eq!(world.ask(&[], false), [1, 2]);
}

#[test]
fn those_that_were_tried_come_last() {
    let mut world = World::with_registered(&[1, 2, 3]);
    assert_eq!(world.ask(&[1, 2], true), [3, 1, 2]);
    assert_eq!(world.ask(&[1], true), [2, 3, 1]);
}

#[test]
fn nobody_is_offered_where_nobody_is_up() {
    let mut world = World::new(&[2122]);
    assert!(world.locate().is_empty());
    assert_eq!(world.states(), [(0, SlaveStatus::Down)]);
}

#[test]
fn a_silent_slave_is_down_until_it_speaks_again() {
    let mut world = World::with_registered(&[1, 2]);
    world.wait(SILENCE);
    assert!(world.heartbeat(2, FREE));
    world.wait(Duration::from_millis(1));
    assert_eq!(world.locate(), [2]);
    assert_eq!(
        world.states(),
        [(1, SlaveStatus::Down), (2, SlaveStatus::Up)]
    );
    assert!(world.heartbeat(1, FREE));
    assert_eq!(world.states(), [(1, SlaveStatus::Up), (2, SlaveStatus::Up)]);
}

#[test]
fn a_lost_connection_counts_at_once() {
    let mut world = World::with_registered(&[1, 2]);
    world.registry.lost(id(1), 1);
    assert_eq!(world.locate(), [2]);
    assert!(!world.heartbeat(1, FREE));
    world.register(1).unwrap();
    assert_eq!(world.states(), [(1, SlaveStatus::Up), (2, SlaveStatus::Up)]);
}

#[test]
fn a_draining_slave_is_left_out() {
    let mut world = World::with_registered(&[1, 2]);
    let draining = Load {
        draining: true,
        ..FREE
    };
    assert!(world.heartbeat(1, draining));
    assert_eq!(world.locate(), [2]);
    assert_eq!(world.states()[0], (1, SlaveStatus::Draining));
}

#[test]
fn a_full_slave_comes_after_those_with_free_places() {
    let mut world = World::with_registered(&[1, 2]);
    let full = Load {
        sessions: 4,
        ..FREE
    };
    assert!(world.heartbeat(1, full));
    assert_eq!(world.locate(), [2, 1]);
    assert_eq!(world.locate(), [2, 1]);
}

#[test]
fn the_least_busy_is_counted_with_those_just_sent_there() {
    let mut world = World::with_registered(&[1, 2]);
    world.heartbeat(1, FREE);
    world.heartbeat(
        2,
        Load {
            sessions: 2,
            ..FREE
        },
    );
    let mut first = || {
        let query = Query {
            policy: Policy::LeastBusy,
            tried: &[],
            takes_turn: true,
        };
        world.registry.locate(query, world.now)[0].id.0[0]
    };
    assert_eq!([first(), first(), first(), first()], [1, 1, 2, 1]);
}

#[test]
fn a_slave_of_another_storage_is_refused_and_told_how_to_mend_it() {
    let mut world = World::with_registered(&[1]);
    world.registry.lost(id(1), 1);
    let other = Newcomer {
        storage: StorageId([8; 16]),
        ..newcomer(2)
    };
    let refusal = world.registry.register(other, world.now).unwrap_err();
    assert_eq!(refusal.code(), ErrorCode::WrongStorage);
    assert!(refusal.to_string().contains("--root"), "{refusal}");
    assert_eq!(world.states(), [(1, SlaveStatus::Down)]);
}

#[test]
fn a_second_slave_with_the_same_identity_is_refused_while_the_first_lives() {
    let mut world = World::with_registered(&[1]);
    let double = Newcomer {
        addresses: addresses(99),
        connection: 99,
        ..newcomer(1)
    };
    let refusal = world.registry.register(double.clone(), world.now);
    assert_eq!(refusal, Err(Refusal::Duplicate));
    world.wait(SILENCE + Duration::from_millis(1));
    assert_eq!(world.registry.register(double, world.now), Ok(()));
    assert!(
        !world.heartbeat(1, FREE),
        "the first no longer speaks for it"
    );
}

#[test]
fn a_slave_that_comes_back_at_its_address_supersedes_itself() {
    let mut world = World::with_registered(&[1]);
    let again = Newcomer {
        connection: 99,
        ..newcomer(1)
    };
    assert_eq!(world.registry.register(again, world.now), Ok(()));
    world.registry.lost(id(1), 1);
    assert_eq!(
        world.locate(),
        [1],
        "the old connection's end means nothing"
    );
}

#[test]
fn places_from_the_command_line_are_offered_once_they_answer() {
    let mut world = World::new(&[1, 2]);
    world.found(2, found(2)).unwrap();
    assert_eq!(world.locate(), [2]);
    world.found(1, found(1)).unwrap();
    assert_eq!(world.states(), [(1, SlaveStatus::Up), (2, SlaveStatus::Up)]);
    world.registry.unreachable(&place(2));
    assert_eq!(world.locate(), [1]);
    // The next answer may take its time.
    world.wait(PROBE_INTERVAL + CONNECT + QUESTION);
    assert_eq!(world.locate(), [1]);
    world.wait(PROBE_SILENCE);
    assert!(world.locate().is_empty());
}

#[test]
fn a_slave_known_twice_is_one_entry_with_one_turn() {
    for registered_first in [true, false] {
        let mut world = World::new(&[1]);
        if registered_first {
            world.register(1).unwrap();
        }
        world.found(1, found(1)).unwrap();
        world.register(2).unwrap();
        if !registered_first {
            world.register(1).unwrap();
        }
        assert_eq!(world.states().len(), 2, "{:?}", world.states());
        assert_eq!(world.locate(), [1, 2]);
        assert_eq!(world.locate(), [2, 1]);
    }
}

#[test]
fn two_places_of_one_slave_are_one_entry() {
    let mut world = World::new(&[1, 2, 3]);
    for port in [1, 2, 3] {
        world.found(port, found(9)).unwrap();
    }
    assert_eq!(world.states(), [(9, SlaveStatus::Up)]);
    world.registry.unreachable(&place(1));
    assert_eq!(world.locate(), [9]);
    // Another slave starts at one of the places.
    world.found(1, found(5)).unwrap();
    assert_eq!(world.states(), [(9, SlaveStatus::Up), (5, SlaveStatus::Up)]);
}

#[test]
fn a_registration_that_ends_counts_more_than_what_a_probe_saw_before() {
    let mut world = World::new(&[1]);
    world.found(1, found(1)).unwrap();
    world.register(1).unwrap();
    world.registry.lost(id(1), 1);
    assert!(world.locate().is_empty());
    world.found(1, found(1)).unwrap();
    assert_eq!(world.locate(), [1]);
}

#[test]
fn a_mere_claim_never_passes_for_a_proved_identity() {
    let mut world = World::new(&[66]);
    world.register(1).unwrap();
    let claim = Found {
        keyed: false,
        addresses: addresses(66),
        ..found(1)
    };
    assert_eq!(world.found(66, claim.clone()), Err(Refusal::Duplicate));
    assert_eq!(world.registry.states(world.now)[1].addresses, addresses(1));
    assert_eq!(world.locate(), [1]);
    // The other way round, the proof ends the claim.
    let mut world = World::new(&[66]);
    world.found(66, claim).unwrap();
    world.found(66, found(1)).unwrap();
    assert_eq!(world.states(), [(1, SlaveStatus::Up)]);
}

#[test]
fn a_slave_that_has_no_time_for_a_probe_is_alive_and_full() {
    let mut world = World::new(&[1, 2]);
    world.registry.busy(&place(1), world.now);
    assert!(world.locate().is_empty(), "nobody knows yet who it is");
    world.found(1, found(1)).unwrap();
    world.wait(SILENCE);
    world.registry.busy(&place(1), world.now);
    world.found(2, found(2)).unwrap();
    world.wait(SILENCE);
    assert_eq!(world.locate(), [2, 1]);
}

#[test]
fn places_come_and_go_with_the_configuration() {
    let mut world = World::new(&[1, 2]);
    world.found(1, found(1)).unwrap();
    world.register(3).unwrap();
    world.registry.lost(id(3), 3);
    world.registry.set_places(&[place(1), place(4)]);
    assert_eq!(
        world.states(),
        [
            (1, SlaveStatus::Up),
            (3, SlaveStatus::Down),
            (0, SlaveStatus::Down)
        ]
    );
    world.found(2, found(2)).unwrap();
    assert_eq!(world.locate(), [1], "a late answer from a forgotten place");
}

#[test]
fn the_number_of_slaves_is_bounded() {
    let mut registry = Registry::default();
    let now = Instant::now();
    let newcomer = |number: usize| Newcomer {
        id: SlaveId(number.to_be_bytes().repeat(2).try_into().unwrap()),
        connection: 1,
        ..newcomer(1)
    };
    for number in 0..MAX_REGISTERED {
        registry.register(newcomer(number), now).unwrap();
    }
    assert_eq!(
        registry.register(newcomer(MAX_REGISTERED), now),
        Err(Refusal::TooMany)
    );
    for number in 0..MAX_REMEMBERED * 2 {
        registry.lost(newcomer(number).id, 1);
        registry
            .register(newcomer(number + MAX_REGISTERED), now)
            .unwrap();
    }
    assert_eq!(registry.states(now).len(), MAX_REMEMBERED);
}
