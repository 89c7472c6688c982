//! What one core does by itself: looking whether a ticket is good, which a slave does before it serves anybody, and hashing,
//! which every verified transfer has at both ends.

use std::hint::black_box;
use std::time::Instant;

use auth::{ClientClaim, Grant, SlaveKey, check, issue};
use protocol::{RemotePath, Rights, Secret, SlaveId};

use super::World;
use crate::contest::{Asked, Unit};

const CHECKS: &str = "tickets that one core checks";

/// Five microseconds each.
const LEAST: f64 = 200_000.0;

/// Tells machines apart, with AVX-512 from those without above all.
const HASHES: &str = "pieces of 1 MiB that one core hashes";

const PIECE: usize = 1 << 20;

/// Both.
pub fn run(world: &mut World) {
    if world.settings.wants(CHECKS) {
        check_tickets(world);
    }
    if world.settings.wants(HASHES) {
        let piece = vec![7; PIECE];
        let hash = || {
            black_box(blake3::hash(black_box(&piece)));
        };
        alone(world, (HASHES, 2048), hash, Asked::Nothing);
    }
}

fn check_tickets(world: &mut World) {
    let (key, secret) = (SlaveKey::from_bytes([1; 32]), Secret([2; 32]));
    let grant = Grant {
        user: "ada@example.org".to_owned(),
        rights: Rights::ALL,
        home: RemotePath::parse(b"/home/ada").unwrap(),
        quota: Some(1 << 40),
        slave: SlaveId([3; 16]),
        issued: 0,
        expires: 600,
    };
    let ticket = issue(&key, &grant, &secret).unwrap();
    let check = || {
        let claim = ClientClaim {
            ticket: black_box(&ticket),
            secret: &secret,
        };
        check(&key, &grant.slave, claim, 1).unwrap();
    };
    alone(world, (CHECKS, 100_000), check, Asked::AtLeast(LEAST));
}

/// How often a second a thing is done, the best of the rounds: whatever else the machine did only adds to it.
fn alone(world: &mut World, (work, times): (&str, u32), mut done: impl FnMut(), asked: Asked) {
    let mut round = || {
        let begun = Instant::now();
        (0..times).for_each(|_| done());
        f64::from(times) / begun.elapsed().as_secs_f64()
    };
    let best = (0..world.settings.rounds.max(1)).map(|_| round());
    let best = best.fold(0.0, f64::max);
    world
        .report
        .figure(work, Unit::PerSecond, best, (asked, ""));
}
