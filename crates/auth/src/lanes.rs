//! Whom a login comes from, and how the last one from there ended.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::queue::{Claim, Standing};

/// Lanes of each kind that are remembered: refused ones cannot crowd out those that succeeded.
const MOST_REMEMBERED: usize = 4096;

/// How long a refused login counts against its lane.
const GRUDGE: Duration = Duration::from_secs(600);

/// Remembers how the last login of each lane ended.
#[derive(Debug, Default)]
pub(crate) struct Lanes {
    hasher: RandomState,
    past: Mutex<Past>,
}

#[derive(Debug, Default)]
struct Past {
    succeeded: HashMap<u64, Instant>,
    refused: HashMap<u64, Instant>,
}

impl Lanes {
    /// Where a login stands: with all others from its source. On this machine, which all its users share, with all others
    /// of the same name, whoever has an account and whoever not.
    pub(crate) fn claim(&self, source: Option<IpAddr>, user: &str, now: Instant) -> Claim {
        let lane = match source {
            Some(ip) => self.hasher.hash_one(ip),
            None => self.hasher.hash_one(user),
        };
        let past = self.lock();
        let is_fresh = |refused: &Instant| now.duration_since(*refused) < GRUDGE;
        let standing = if past.refused.get(&lane).is_some_and(is_fresh) {
            Standing::Bad
        } else if past.succeeded.contains_key(&lane) {
            Standing::Good
        } else {
            Standing::Unknown
        };
        Claim { lane, standing }
    }

    /// Takes note of how a login ended.
    pub(crate) fn note(&self, claim: Claim, succeeded: bool, now: Instant) {
        let mut past = self.lock();
        let Past {
            succeeded: good,
            refused: bad,
        } = &mut *past;
        let (ended, other) = if succeeded { (good, bad) } else { (bad, good) };
        other.remove(&claim.lane);
        if ended.len() >= MOST_REMEMBERED && !ended.contains_key(&claim.lane) {
            let oldest = ended
                .iter()
                .min_by_key(|(_, at)| **at)
                .map(|(lane, _)| *lane);
            oldest.and_then(|lane| ended.remove(&lane));
        }
        ended.insert(claim.lane, now);
    }

    fn lock(&self) -> MutexGuard<'_, Past> {
        self.past.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(number: u8) -> Option<IpAddr> {
        Some([10, 0, 0, number].into())
    }

    #[test]
    fn elsewhere_the_source_counts_and_here_the_name() {
        let (lanes, now) = (Lanes::default(), Instant::now());
        let claim = |source, user| lanes.claim(source, user, now);
        assert_eq!(claim(from(1), "ada"), claim(from(1), "bob"));
        assert_ne!(claim(from(1), "ada"), claim(from(2), "ada"));
        assert_ne!(claim(None, "ada"), claim(None, "bob"));
        assert_eq!(claim(None, "ada"), claim(None, "ada"));
    }

    #[test]
    fn the_last_login_decides_and_a_refused_one_is_forgotten_in_time() {
        let (lanes, now) = (Lanes::default(), Instant::now());
        let standing = |at| lanes.claim(from(1), "", at).standing;
        assert_eq!(standing(now), Standing::Unknown);
        let claim = lanes.claim(from(1), "", now);
        lanes.note(claim, true, now);
        assert_eq!(standing(now + GRUDGE * 10), Standing::Good);
        lanes.note(claim, false, now);
        assert_eq!(standing(now + GRUDGE / 2), Standing::Bad);
        assert_eq!(standing(now + GRUDGE), Standing::Unknown);
        lanes.note(claim, true, now);
        assert_eq!(standing(now), Standing::Good);
    }

    #[test]
    fn what_is_remembered_is_bounded_and_refused_ones_crowd_nobody_out() {
        let (lanes, now) = (Lanes::default(), Instant::now());
        let good = lanes.claim(from(1), "", now);
        lanes.note(good, true, now);
        for number in 0..MOST_REMEMBERED + 10 {
            let claim = lanes.claim(None, &number.to_string(), now);
            lanes.note(claim, false, now + Duration::from_nanos(number as u64));
        }
        assert_eq!(lanes.lock().refused.len(), MOST_REMEMBERED);
        assert_eq!(lanes.claim(from(1), "", now).standing, Standing::Good);
        assert_eq!(lanes.claim(None, "0", now).standing, Standing::Unknown);
    }
}
