//! What each process of a cluster holds.

use crate::harness::{Cluster, open_descriptors, resident_bytes, thread_count};

/// All processes, by what they do.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Gauge(Vec<(String, u32)>);

/// What they hold at one moment, in the same order.
#[derive(Clone, Debug)]
pub(super) struct Reading(Vec<(String, Held)>);

#[derive(Clone, Copy, Debug)]
struct Held {
    descriptors: usize,
    threads: usize,
    resident: u64,
}

impl Gauge {
    pub(super) fn of(cluster: &mut Cluster) -> Self {
        let mut processes = vec![("master".to_owned(), cluster.master().pid())];
        for (number, slave) in cluster.slaves.iter().enumerate() {
            let number = number + 1;
            processes.push((format!("supervisor {number}"), slave.pid()));
            let workers = slave.workers();
            for pid in slave.family().into_iter().skip(1) {
                processes.push(match workers.contains(&pid) {
                    true => (format!("worker of {number}"), pid),
                    false => (format!("registrar {number}"), pid),
                });
            }
        }
        Self(processes)
    }

    pub(super) fn read(&self) -> Reading {
        let held = |pid: u32| Held {
            descriptors: open_descriptors(pid).len(),
            threads: thread_count(pid),
            resident: resident_bytes(pid),
        };
        let each = self.0.iter();
        Reading(each.map(|(name, pid)| (name.clone(), held(*pid))).collect())
    }
}

impl Reading {
    /// Whether no process holds more descriptors or threads than it did then.
    pub(super) fn is_within(&self, then: &Self) -> bool {
        self.0.iter().zip(&then.0).all(|((_, now), (_, then))| {
            now.descriptors <= then.descriptors && now.threads <= then.threads
        })
    }

    pub(super) fn names(&self) -> Vec<&str> {
        self.0.iter().map(|(name, _)| name.as_str()).collect()
    }

    pub(super) fn threads(&self) -> usize {
        self.0.iter().map(|(_, held)| held.threads).sum()
    }

    /// Memory of one process.
    pub(super) fn resident(&self, process: usize) -> f64 {
        self.0[process].1.resident as f64
    }

    /// Descriptors, threads and KiB of memory of each process.
    pub(super) fn shown(&self) -> String {
        let shown = |(name, held): &(String, Held)| {
            let kibibytes = held.resident / 1024;
            format!("{name} {}/{}/{kibibytes}", held.descriptors, held.threads)
        };
        self.0.iter().map(shown).collect::<Vec<_>>().join(", ")
    }
}
