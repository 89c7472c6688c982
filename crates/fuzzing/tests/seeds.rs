//! Every seed of `fuzz/seeds` through its target: what was found once stays mended.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a seed that cannot be read is a failed test, and the one that was named last is the one that failed"
)]

use std::fs;
use std::path::{Path, PathBuf};

fn seeds(name: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/seeds")
        .join(name);
    let entries =
        fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    entries.map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn every_seed_passes_its_target() {
    for target in fuzzing::ALL {
        let seeds = seeds(target.name);
        assert!(seeds.len() > 1, "{} has no seeds", target.name);
        for seed in seeds {
            println!("{}", seed.display());
            target.run(&fs::read(seed).unwrap());
        }
    }
}

/// An input that ends anywhere, or has a wrong byte, is where most decoders go wrong: before any fuzzer has run.
#[test]
fn every_seed_that_is_cut_or_changed_passes_too() {
    for target in fuzzing::ALL {
        for seed in seeds(target.name) {
            println!("{}", seed.display());
            let whole = fs::read(seed).unwrap();
            let step = whole.len() / 16 + 1;
            for place in (0..whole.len()).step_by(step) {
                target.run(&whole[..place]);
                let mut changed = whole.clone();
                changed[place] ^= 1 << (place % 8);
                target.run(&changed);
            }
        }
    }
}
