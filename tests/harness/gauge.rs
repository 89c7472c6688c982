//! What the processes of servers hold: whoever ends up with more than before any work has leaked it.

use super::cluster::Server;
use super::proc::{descendants, open_descriptors, resident_bytes, thread_count};

/// The processes of some servers, by what they do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gauge(Vec<(String, u32)>);

/// What each of them holds at one moment.
#[derive(Clone, Debug)]
pub struct Reading(Vec<(String, Held)>);

/// What one process holds, or all of them together.
#[derive(Clone, Copy, Debug, Default)]
pub struct Held {
    pub descriptors: usize,
    pub threads: usize,
    /// Bytes of memory.
    pub resident: u64,
}

impl Gauge {
    /// All processes that these servers have now, each server under a name.
    pub fn of<'a>(servers: impl IntoIterator<Item = (String, &'a Server)>) -> Self {
        let mut processes = Vec::new();
        for (name, server) in servers {
            let workers = server.workers();
            let others = descendants(server.pid()).into_iter();
            let others = others.filter(|pid| !workers.contains(pid));
            // The order is that of what they do: a process that was replaced stands where the one before it did.
            let others = others.map(|pid| (format!("registrar of {name}"), pid));
            let workers = workers
                .iter()
                .map(|pid| (format!("worker of {name}"), *pid));
            processes.extend(others.chain(workers));
            processes.push((name, server.pid()));
        }
        Self(processes)
    }

    /// What they hold now.
    pub fn read(&self) -> Reading {
        let held = |pid: u32| Held {
            descriptors: open_descriptors(pid).len(),
            threads: thread_count(pid),
            resident: resident_bytes(pid),
        };
        let each = self.0.iter();
        Reading(each.map(|(name, pid)| (name.clone(), held(*pid))).collect())
    }

    /// Their process ids.
    pub fn processes(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.iter().map(|(_, pid)| *pid)
    }
}

impl Reading {
    /// Whether there are the same processes as then, and none holds more descriptors or threads than it did.
    pub fn is_within(&self, then: &Self) -> bool {
        let pairs = || self.0.iter().zip(&then.0);
        self.0.len() == then.0.len()
            && pairs().all(|((now, _), (then, _))| now == then)
            && pairs().all(|((_, now), (_, then))| {
                now.descriptors <= then.descriptors && now.threads <= then.threads
            })
    }

    /// What each process does.
    pub fn names(&self) -> Vec<&str> {
        self.0.iter().map(|(name, _)| name.as_str()).collect()
    }

    /// Memory of one process.
    pub fn resident(&self, process: usize) -> f64 {
        self.0[process].1.resident as f64
    }

    /// What all of them hold together.
    pub fn total(&self) -> Held {
        let add = |sum: Held, (_, held): &(String, Held)| Held {
            descriptors: sum.descriptors + held.descriptors,
            threads: sum.threads + held.threads,
            resident: sum.resident + held.resident,
        };
        self.0.iter().fold(Held::default(), add)
    }

    /// Descriptors, threads and KiB of memory of each process.
    pub fn shown(&self) -> String {
        let shown = |(name, held): &(String, Held)| {
            let kibibytes = held.resident / 1024;
            format!("{name} {}/{}/{kibibytes}", held.descriptors, held.threads)
        };
        self.0.iter().map(shown).collect::<Vec<_>>().join(", ")
    }
}

impl Held {
    /// The most of each.
    pub fn most(self, other: Self) -> Self {
        Self {
            descriptors: self.descriptors.max(other.descriptors),
            threads: self.threads.max(other.threads),
            resident: self.resident.max(other.resident),
        }
    }
}

#[test]
fn a_reading_is_within_another_if_nobody_holds_more_and_nobody_else_is_there() {
    let reading = |held: &[(&str, usize, usize)]| {
        let each = held.iter().map(|(name, descriptors, threads)| {
            let held = Held {
                descriptors: *descriptors,
                threads: *threads,
                resident: 1,
            };
            ((*name).to_owned(), held)
        });
        Reading(each.collect())
    };
    let then = reading(&[("worker", 5, 2), ("master", 9, 1)]);
    for (now, is_within) in [
        (reading(&[("worker", 5, 2), ("master", 9, 1)]), true),
        (reading(&[("worker", 4, 1), ("master", 9, 1)]), true),
        (reading(&[("worker", 6, 2), ("master", 8, 1)]), false),
        (reading(&[("worker", 5, 3), ("master", 9, 1)]), false),
        (reading(&[("worker", 5, 2)]), false),
        (reading(&[("registrar", 5, 2), ("master", 9, 1)]), false),
    ] {
        assert_eq!(now.is_within(&then), is_within, "{}", now.shown());
    }
    let total = then.total().most(Held::default());
    assert_eq!(
        (total.descriptors, total.threads, total.resident),
        (14, 3, 2)
    );
}
