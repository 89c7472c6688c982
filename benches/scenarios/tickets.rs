//! What a slave does before it serves anybody: looking whether the ticket is good.

use std::hint::black_box;
use std::time::Instant;

use auth::{ClientClaim, Grant, SlaveKey, check, issue};
use protocol::{RemotePath, Rights, Secret, SlaveId};

use super::World;
use crate::contest::{Asked, Unit};

const CHECKS: &str = "tickets that one core checks";

/// Five microseconds each.
const LEAST: f64 = 200_000.0;

const TIMES: u32 = 100_000;

/// The best of the rounds: whatever else the machine did only adds to it.
pub fn run(world: &mut World) {
    if !world.settings.wants(CHECKS) {
        return;
    }
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
    let round = || {
        let begun = Instant::now();
        for _ in 0..TIMES {
            let claim = ClientClaim {
                ticket: black_box(&ticket),
                secret: &secret,
            };
            check(&key, &grant.slave, claim, 1).unwrap();
        }
        f64::from(TIMES) / begun.elapsed().as_secs_f64()
    };
    let best = (0..world.settings.rounds.max(1)).map(|_| round());
    let best = best.fold(0.0, f64::max);
    let asked = (Asked::AtLeast(LEAST), "");
    world.report.figure(CHECKS, Unit::PerSecond, best, asked);
}
