//! What this master's slaves served before it was started. They come back within a second or so; a slave of another storage that
//! is faster must not be taken for the first of them, or clients would store where nobody else looks.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use auth::{Served, ServedFile};
use protocol::{Address, StorageId};

use crate::limits::{CONNECT, MOST_PLACES_KEPT, SETTLING};
use crate::registry::Newcomer;

/// The memory of it.
#[derive(Debug)]
pub(crate) struct Past {
    file: ServedFile,
    before: Option<Served>,
    since: Instant,
    turns: Mutex<()>,
    kept: Mutex<Option<Served>>,
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
        }
    }

    /// Held by who asks this, decides and has it remembered: one after another.
    pub(crate) fn turn(&self) -> MutexGuard<'_, ()> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The storage whose slaves are to be waited for, though this one, of another storage, is there first. Not for long, and not
    /// where their machines say that nobody serves there any more.
    pub(crate) fn awaited_instead_of(&self, newcomer: &Newcomer) -> Option<StorageId> {
        let before = self.before.as_ref()?;
        if before.storage == newcomer.storage || self.since.elapsed() > SETTLING {
            return None;
        }
        let own: Vec<SocketAddr> = newcomer.addresses.iter().filter_map(place).collect();
        let mut others = before.slaves.iter().filter(|slave| !own.contains(slave));
        others.any(may_live).then_some(before.storage)
    }

    /// Remembers what is served now, for the next one.
    pub(crate) fn keep<'a>(&self, storage: StorageId, slaves: impl Iterator<Item = &'a [Address]>) {
        // What a slave says itself stands before where it was seen.
        let places = slaves.filter_map(|addresses| addresses.iter().rev().find_map(place));
        let mut slaves: Vec<SocketAddr> = places.collect();
        slaves.sort_unstable();
        slaves.dedup();
        slaves.truncate(MOST_PLACES_KEPT);
        let now = Some(Served { storage, slaves });
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if *kept != now
            && let Some(served) = &now
        {
            match self.file.keep(served) {
                Ok(()) => *kept = now,
                Err(error) => tracing::warn!(%error, "the storage is not remembered"),
            }
        }
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

    use auth::StateDirectory;
    use protocol::SlaveId;

    use super::*;

    fn newcomer(storage: u8, port: u16) -> Newcomer {
        Newcomer {
            id: SlaveId([1; 16]),
            storage: StorageId([storage; 16]),
            generation: 0,
            fingerprint: None,
            addresses: vec![Address::SameHost { port }],
            connection: 0,
        }
    }

    #[test]
    fn slaves_of_before_are_waited_for_while_somebody_is_where_they_were() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDirectory::open(Some(&folder.path().join("state"))).unwrap();
        let past = || Past::of(state.served_file().unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let first = past();
        assert_eq!(first.awaited_instead_of(&newcomer(2, 1)), None);
        let addresses = [Address::SameHost { port }];
        first.keep(StorageId([7; 16]), [addresses.as_slice()].into_iter());
        let second = past();
        let ours = Some(StorageId([7; 16]));
        assert_eq!(second.awaited_instead_of(&newcomer(2, 1)), ours);
        assert_eq!(second.awaited_instead_of(&newcomer(7, 1)), None);
        assert_eq!(
            second.awaited_instead_of(&newcomer(2, port)),
            None,
            "it is the one who is there"
        );
        drop(listener);
        assert_eq!(second.awaited_instead_of(&newcomer(2, 1)), None);
    }
}
