//! Choices that a seed makes, and the settings from outside that say how long and how hard a test tries.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

/// SplitMix64: enough to choose with. The same seed makes the same choices.
pub struct Choices(pub u64);

impl Choices {
    /// 64 bits.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, which is not 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// One of these, of which there is at least one.
    pub fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }
}

/// The seed that `MINI_FTP_SEED` names, or one that is drawn.
pub fn seed() -> u64 {
    setting("MINI_FTP_SEED", RandomState::new().hash_one(0))
}

/// The number in this variable of the environment, or `default` where it is not set.
pub fn setting(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{name} is no number: {text}")),
        Err(_) => default,
    }
}
