//! How many may come in: a bound for all, and a lower one for each address, so that no one neighbour takes every place.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use auth::source_of;

use crate::limits::{MAX_CLIENTS, MAX_PER_SOURCE};

/// Counts who is inside.
#[derive(Debug, Default)]
pub(crate) struct Admission {
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    of: HashMap<IpAddr, usize>,
}

/// A place inside, given back when dropped.
#[derive(Debug)]
pub(crate) struct Admitted {
    admission: Arc<Admission>,
    source: IpAddr,
}

impl Admission {
    /// A place for a connection from `ip`, if there is one.
    pub(crate) fn admit(self: &Arc<Self>, ip: IpAddr) -> Option<Admitted> {
        let source = source_of(ip);
        let mut counts = self.counts();
        let from_there = counts.of.get(&source).copied().unwrap_or_default();
        if counts.all >= MAX_CLIENTS || (from_there >= MAX_PER_SOURCE && !source.is_loopback()) {
            return None;
        }
        counts.all += 1;
        counts.of.insert(source, from_there + 1);
        Some(Admitted {
            admission: Arc::clone(self),
            source,
        })
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut counts = self.admission.counts();
        counts.all = counts.all.saturating_sub(1);
        match counts.of.get_mut(&self.source) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                counts.of.remove(&self.source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn enter(admission: &Arc<Admission>, text: &str, times: usize) -> Vec<Admitted> {
        (0..times)
            .map_while(|_| admission.admit(ip(text)))
            .collect()
    }

    #[test]
    fn one_neighbour_cannot_take_every_place() {
        let admission = Arc::new(Admission::default());
        let mut inside = enter(&admission, "10.0.0.1", MAX_PER_SOURCE + 1);
        assert_eq!(inside.len(), MAX_PER_SOURCE);
        assert!(admission.admit(ip("10.0.0.2")).is_some());
        assert!(admission.admit(ip("::ffff:10.0.0.1")).is_none());
        inside.pop();
        assert!(admission.admit(ip("10.0.0.1")).is_some());
    }

    #[test]
    fn a_network_of_version_6_counts_as_one_neighbour() {
        let admission = Arc::new(Admission::default());
        let _inside = enter(&admission, "2001:db8::1", MAX_PER_SOURCE);
        assert!(admission.admit(ip("2001:db8::ffff:2")).is_none());
        assert!(admission.admit(ip("2001:db8:0:1::1")).is_some());
    }

    #[test]
    fn this_machine_counts_for_the_whole_only() {
        let admission = Arc::new(Admission::default());
        let inside = enter(&admission, "127.0.0.1", MAX_CLIENTS + 1);
        assert_eq!(inside.len(), MAX_CLIENTS);
        assert!(admission.admit(ip("10.0.0.1")).is_none());
        drop(inside);
        assert!(admission.admit(ip("10.0.0.1")).is_some());
        assert!(admission.counts().of.is_empty());
    }
}
