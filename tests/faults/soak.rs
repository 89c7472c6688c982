//! Mixed load for a long time, and whether a server ends up with more than it began with. `make soak` runs it at full size:
//! `MINI_FTP_SECONDS` (4) of load in spells of a minute, the same choices for the same `MINI_FTP_SEED` (drawn, and shown).
//!
//! Behind each spell everybody rests, and what every process then holds is noted: descriptors and threads must be no more
//! than before any load. Where there were enough spells, memory must not grow over the second half of them.

mod load;

use std::time::{Duration, Instant};

use crate::harness::{Gauge, PATIENCE, Reading, Setup, random_bytes, seed, setting, wait_for};
use load::{Load, PASSWORD};

const MEBIBYTE: f64 = 1024.0 * 1024.0;

/// Load between two rests.
const SPELL: Duration = Duration::from_secs(60);

/// Spells from which on a slope tells something.
const ENOUGH: usize = 6;

/// What flat means: growth in ten minutes that is still taken for noise of the allocator, bytes.
const FLAT: f64 = MEBIBYTE;

const TEN_MINUTES: f64 = 600.0;

#[test]
fn a_long_mixed_load_leaves_nothing_behind() {
    let seed = seed();
    let lasts = Duration::from_secs(setting("MINI_FTP_SECONDS", 4));
    eprintln!("MINI_FTP_SEED={seed} MINI_FTP_SECONDS={}", lasts.as_secs());
    let setup = Setup::new(2).observable().workers(2);
    let mut cluster = setup.account(["ada"], PASSWORD).start();
    cluster.write("small.bin", &random_bytes(1, 10_000));
    cluster.write("large.bin", &random_bytes(2, 3 * 1024 * 1024));
    for number in 0..20 {
        cluster.write(format!("tree/{number}.bin"), &random_bytes(number, 5_000));
    }
    let gauge = cluster.gauge();
    let (before, begun) = (gauge.read(), Instant::now());
    let load = Load::new(&cluster, seed);
    let (mut at_rest, mut loaded) = (Vec::new(), Vec::new());
    while begun.elapsed() < lasts {
        let spell = SPELL.min(lasts - begun.elapsed());
        load.run(spell, || loaded.push(gauge.read()));
        let rested = rest(&gauge, &before);
        eprintln!(
            "{:>5.0} s: {}",
            begun.elapsed().as_secs_f64(),
            rested.shown()
        );
        at_rest.push((begun.elapsed().as_secs_f64(), rested));
    }
    assert_eq!(cluster.gauge(), gauge, "processes");
    let peak = loaded
        .iter()
        .map(|held| held.total().threads)
        .max()
        .unwrap_or(0);
    eprintln!("{}, up to {peak} threads at once", load.shown());
    report(seed, &before, &at_rest);
    assert!(cluster.master().process.terminate(PATIENCE).success());
}

/// What is held once nobody asks for anything: threads without work end after ten seconds.
fn rest(gauge: &Gauge, before: &Reading) -> Reading {
    let _tells = Tells(gauge, before);
    wait_for("what was taken to be given back", 2 * PATIENCE, || {
        let now = gauge.read();
        now.is_within(before).then_some(now)
    })
}

/// Says what there was before, where that does not come back.
struct Tells<'a>(&'a Gauge, &'a Reading);

impl Drop for Tells<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("before: {}\nnow: {}", self.1.shown(), self.0.read().shown());
        }
    }
}

/// One line, and a failure where memory grows.
fn report(seed: u64, before: &Reading, at_rest: &[(f64, Reading)]) {
    let second_half = &at_rest[at_rest.len() / 2..];
    let (mut steepest, mut who) = (f64::MIN, "");
    for (process, name) in before.names().iter().enumerate() {
        let points = second_half.iter();
        let points: Vec<_> = points
            .map(|(at, now)| (*at, now.resident(process)))
            .collect();
        let growth = slope(&points) * TEN_MINUTES;
        if growth > steepest {
            (steepest, who) = (growth, name);
        }
    }
    let seconds = at_rest.last().map_or(0.0, |(at, _)| *at);
    let spells = at_rest.len();
    if spells < ENOUGH {
        eprintln!(
            "seed {seed}: {spells} spells of load in {seconds:.0} s: descriptors and threads as before"
        );
        return;
    }
    eprintln!(
        "seed {seed}: {spells} spells of load in {seconds:.0} s: descriptors and threads as before; memory grows by {:+.2} MiB in \
         10 minutes at most ({who})",
        steepest / MEBIBYTE
    );
    assert!(steepest <= FLAT, "{who}: {steepest} bytes");
}

/// By least squares: by how much the second figure grows for one of the first.
fn slope(points: &[(f64, f64)]) -> f64 {
    let count = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x_mean, y_mean) = (mean(|point| point.0), mean(|point| point.1));
    let products = points.iter().map(|(x, y)| (x - x_mean) * (y - y_mean));
    let squares: f64 = points.iter().map(|(x, _)| (x - x_mean).powi(2)).sum();
    if squares > 0.0 {
        products.sum::<f64>() / squares
    } else {
        0.0
    }
}

#[test]
fn a_slope_is_that_of_the_line() {
    let points: Vec<_> = (0..10)
        .map(|x| (f64::from(x), 3.0 * f64::from(x) + 7.0))
        .collect();
    assert!((slope(&points) - 3.0).abs() < 1e-9);
    assert!(slope(&[(1.0, 5.0)]).abs() < 1e-9);
}
