//! Failed logins, by where they come from: who fails again and again is not listened to for a while.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What a failure adds to a source's penalty.
const EACH: Duration = Duration::from_secs(5);

/// A penalty counts from here on, the third failure in a row: people mistype.
const FREE: Duration = Duration::from_secs(12);

/// No penalty is longer.
const LONGEST: Duration = Duration::from_secs(600);

/// Logins of one source that may be under way at once.
const MOST_PENDING: u32 = 10;

/// Sources that are remembered.
const MOST_SOURCES: usize = 4096;

/// Remembers who failed. This machine's own addresses have no penalties: all its users would share them.
#[derive(Debug, Default)]
pub(crate) struct Penalties {
    sources: Mutex<HashMap<IpAddr, Record>>,
}

#[derive(Clone, Copy, Debug)]
struct Record {
    until: Instant,
    pending: u32,
}

/// A login that is under way.
#[derive(Debug)]
pub(crate) struct Pending<'a> {
    penalties: &'a Penalties,
    source: Option<IpAddr>,
}

/// Whom an address belongs to: with IPv6 a single customer has a whole /64.
#[must_use]
pub fn source_of(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) if !ip.is_loopback() => {
            Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX)).into()
        }
        ip => ip,
    }
}

impl Penalties {
    /// Lets a login from `ip` begin, unless too many have failed from there of late, or are under way.
    pub(crate) fn begin(&self, ip: IpAddr, now: Instant) -> Option<Pending<'_>> {
        let source = Some(source_of(ip)).filter(|source| !source.is_loopback());
        if let Some(source) = source {
            let mut sources = self.lock();
            if !sources.contains_key(&source) {
                make_room(&mut sources, now);
            }
            let record = sources.entry(source).or_insert(Record {
                until: now,
                pending: 0,
            });
            let penalty = record.until.saturating_duration_since(now);
            if penalty >= FREE || record.pending >= MOST_PENDING {
                return None;
            }
            record.pending += 1;
        }
        Some(Pending {
            penalties: self,
            source,
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, Record>> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pending<'_> {
    /// Takes note that it was refused.
    pub(crate) fn failed(self, now: Instant) {
        let Some(source) = self.source else { return };
        if let Some(record) = self.penalties.lock().get_mut(&source) {
            record.until = (record.until.max(now) + EACH).min(now + LONGEST);
        }
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        let Some(source) = self.source else { return };
        if let Some(record) = self.penalties.lock().get_mut(&source) {
            record.pending = record.pending.saturating_sub(1);
        }
    }
}

/// Makes room for one more: whose penalty is over is forgotten first, then whose is over soonest.
fn make_room(sources: &mut HashMap<IpAddr, Record>, now: Instant) {
    if sources.len() < MOST_SOURCES {
        return;
    }
    sources.retain(|_, record| record.until > now || record.pending > 0);
    if sources.len() >= MOST_SOURCES {
        let soonest = sources.iter().min_by_key(|(_, record)| record.until);
        if let Some(source) = soonest.map(|(source, _)| *source) {
            sources.remove(&source);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// Failed logins until one is not let begin.
    fn failures(penalties: &Penalties, from: &str, now: Instant) -> usize {
        let mut count = 0;
        while let Some(pending) = penalties.begin(ip(from), now) {
            pending.failed(now);
            count += 1;
            assert!(count < 100, "never refused");
        }
        count
    }

    #[test]
    fn three_failures_are_free_and_the_next_waits() {
        let (penalties, now) = (Penalties::default(), Instant::now());
        assert_eq!(failures(&penalties, "10.0.0.1", now), 3);
        assert!(penalties.begin(ip("::ffff:10.0.0.1"), now).is_none());
        assert!(penalties.begin(ip("10.0.0.2"), now).is_some());
        let later = now + EACH;
        assert_eq!(failures(&penalties, "10.0.0.1", later), 1);
        assert!(penalties.begin(ip("10.0.0.1"), now + 2 * LONGEST).is_some());
    }

    #[test]
    fn a_success_costs_nothing() {
        let (penalties, now) = (Penalties::default(), Instant::now());
        for _ in 0..100 {
            drop(penalties.begin(ip("10.0.0.1"), now).unwrap());
        }
    }

    #[test]
    fn a_network_of_version_6_is_one_source() {
        let (penalties, now) = (Penalties::default(), Instant::now());
        failures(&penalties, "2001:db8::1", now);
        assert!(penalties.begin(ip("2001:db8::ffff:2"), now).is_none());
        assert!(penalties.begin(ip("2001:db8:0:1::1"), now).is_some());
    }

    #[test]
    fn one_source_has_so_many_logins_under_way() {
        let (penalties, now) = (Penalties::default(), Instant::now());
        let from = || penalties.begin(ip("10.0.0.1"), now);
        let mut pending: Vec<_> = std::iter::from_fn(from).take(100).collect();
        assert_eq!(pending.len(), 10);
        pending.pop();
        assert!(from().is_some());
    }

    #[test]
    fn this_machine_has_no_penalties() {
        let (penalties, now) = (Penalties::default(), Instant::now());
        for _ in 0..100 {
            penalties.begin(ip("127.0.0.1"), now).unwrap().failed(now);
            penalties.begin(ip("::1"), now).unwrap().failed(now);
        }
        assert!(penalties.lock().is_empty());
    }

    #[test]
    fn the_table_is_bounded_and_forgets_the_mildest() {
        let (penalties, now) = (Penalties::default(), Instant::now());
        failures(&penalties, "10.0.0.1", now);
        for number in 0..2 * MOST_SOURCES {
            let from = Ipv6Addr::from_bits(u128::try_from(number).unwrap() << 64);
            let pending = penalties.begin(from.into(), now).unwrap();
            pending.failed(now);
            assert!(penalties.lock().len() <= MOST_SOURCES);
        }
        assert!(penalties.begin(ip("10.0.0.1"), now).is_none());
    }
}
