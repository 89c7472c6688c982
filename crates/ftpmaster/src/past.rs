//! What this master's slaves served before it was started. They come back within a second or so; a slave of another storage that
//! is faster must not be taken for the first of them, or clients would store where nobody else looks.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use auth::{Served, ServedFile};
use protocol::{Address, StorageId};

use crate::limits::{CONNECT, MOST_PLACES_KEPT, SETTLING};

/// The memory of it.
#[derive(Debug)]
pub(crate) struct Past {
    file: ServedFile,
    before: Option<Served>,
    since: Instant,
    turns: Mutex<()>,
    kept: Mutex<Option<Served>>,
    /// Whether the last try failed: slaves are heard of each second, the operator need not be told so often.
    is_failing: AtomicBool,
}

impl Past {
    pub(crate) fn of(file: ServedFile) -> Self {
        let before = file.read();
        Self {
            file,
            kept: Mutex::new(before.clone()),
            before,
            since: Instant::now(),
            turns: Mutex::default(),
            is_failing: AtomicBool::new(false),
        }
    }

    /// Held by who asks this, decides and has it remembered: one after another.
    pub(crate) fn turn(&self) -> MutexGuard<'_, ()> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The storage whose slaves are to be waited for, though one of another storage is there first, at `addresses`. Not for long,
    /// and not where their machines say that nobody serves there any more.
    pub(crate) fn awaited_instead_of(
        &self,
        storage: StorageId,
        addresses: &[Address],
    ) -> Option<StorageId> {
        let before = self.before.as_ref()?;
        if before.storage == storage || self.has_settled() {
            return None;
        }
        let own: Vec<SocketAddr> = addresses.iter().filter_map(place).collect();
        let mut others = before.slaves.iter().filter(|slave| !own.contains(slave));
        others.any(may_live).then_some(before.storage)
    }

    /// Remembers what is served now, for the next one: until all can have come back, with those of before.
    pub(crate) fn keep<'a>(&self, storage: StorageId, slaves: impl Iterator<Item = &'a [Address]>) {
        // What a slave says itself stands before where it was seen.
        let places = slaves.filter_map(|addresses| addresses.iter().rev().find_map(place));
        let before = self.before.iter();
        let awaited = before.filter(|before| before.storage == storage && !self.has_settled());
        let awaited = awaited.flat_map(|before| before.slaves.iter().copied());
        let slaves: BTreeSet<SocketAddr> = places.chain(awaited).collect();
        let slaves: Vec<SocketAddr> = slaves.into_iter().take(MOST_PLACES_KEPT).collect();
        let now = Some(Served { storage, slaves });
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if *kept != now
            && let Some(served) = &now
        {
            match self.file.keep(served) {
                Ok(()) => {
                    *kept = now;
                    self.is_failing.store(false, Relaxed);
                }
                Err(error) if !self.is_failing.swap(true, Relaxed) => {
                    tracing::warn!(%error, "the storage is not remembered");
                }
                Err(_) => {}
            }
        }
    }

    fn has_settled(&self) -> bool {
        self.since.elapsed() > SETTLING
    }
}

/// Where a connection to this address goes from here.
fn place(address: &Address) -> Option<SocketAddr> {
    match address {
        Address::SameHost { port } => Some((Ipv4Addr::LOCALHOST, *port).into()),
        Address::Ip { ip, port } => Some((*ip, *port).into()),
        Address::Name { .. } => None,
    }
}

/// Whether somebody may be there: only a refusal says that nobody is.
fn may_live(slave: &SocketAddr) -> bool {
    match TcpStream::connect_timeout(slave, CONNECT) {
        Ok(_) => true,
        Err(error) => error.kind() != std::io::ErrorKind::ConnectionRefused,
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use auth::StateDirectory;

    const OURS: StorageId = StorageId([7; 16]);
    const OTHER: StorageId = StorageId([2; 16]);

    fn at(port: u16) -> [Address; 1] {
        [Address::SameHost { port }]
    }

    #[test]
    fn slaves_of_before_are_waited_for_while_somebody_is_where_they_were() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDirectory::open(Some(&folder.path().join("state"))).unwrap();
        let past = || Past::of(state.served_file().unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let first = past();
        assert_eq!(first.awaited_instead_of(OTHER, &at(1)), None);
        first.keep(OURS, [at(port).as_slice()].into_iter());
        let second = past();
        assert_eq!(second.awaited_instead_of(OTHER, &at(1)), Some(OURS));
        assert_eq!(second.awaited_instead_of(OURS, &at(1)), None);
        assert_eq!(
            second.awaited_instead_of(OTHER, &at(port)),
            None,
            "it is the one who is there"
        );
        second.keep(OURS, [at(1).as_slice()].into_iter());
        assert_eq!(
            past().awaited_instead_of(OTHER, &at(2)),
            Some(OURS),
            "who is not back yet is remembered"
        );
        drop(listener);
        assert_eq!(second.awaited_instead_of(OTHER, &at(1)), None);
    }
}
