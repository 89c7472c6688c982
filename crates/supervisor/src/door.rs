//! The listening socket as session threads see it.

use std::net::TcpListener;
use std::sync::Weak;

use crate::places::{Gate, Places};
use crate::worker::Connection;

/// Where a thread whose session has ended takes the next client itself, if one waits: being handed it costs a sleep and a
/// wake-up, which is much of a short session. Clones are the same door.
#[derive(Debug, Clone)]
pub struct Door {
    places: Places,
    /// Only the worker keeps it open: it is gone once the worker drains.
    listener: Weak<TcpListener>,
}

impl Door {
    pub(crate) const fn new(places: Places, listener: Weak<TcpListener>) -> Self {
        Self { places, listener }
    }

    /// Who waits to be served by this worker, by the same rules as [`Worker::next`](crate::Worker::next), without sleeping.
    /// What goes wrong is the main thread's to find and to tell.
    #[must_use]
    pub fn next(&self) -> Option<Connection> {
        if self.places.gate() != Gate::Open || self.places.is_ahead() {
            return None;
        }
        // Counted first, and the door looked for only then: a worker that drains meanwhile has either closed the door, or
        // sees that somebody comes and stays.
        let admission = self.places.admit();
        let listener = self.listener.upgrade()?;
        let (stream, peer) = listener.accept().ok()?;
        Some(Connection {
            stream,
            peer,
            admission,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, TcpStream};
    use std::sync::Arc;

    use super::*;
    use crate::scoreboard::Scoreboard;
    use crate::slot::SlotState;
    use crate::wake;

    struct House {
        board: Arc<Scoreboard>,
        slot: usize,
        places: Places,
        listener: Arc<TcpListener>,
        address: SocketAddr,
    }

    impl House {
        fn with_places(places: u64) -> Self {
            let board = Arc::new(Scoreboard::create(1, 0).unwrap().0);
            let slot = board.claim(SlotState::Starting, 1).unwrap();
            board.slot(slot).unwrap().open(places);
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            listener.set_nonblocking(true).unwrap();
            Self {
                slot,
                places: Places::new(Arc::clone(&board), slot, wake::pair().unwrap().0),
                board,
                address: listener.local_addr().unwrap(),
                listener: Arc::new(listener),
            }
        }

        fn door(&self) -> Door {
            Door::new(self.places.clone(), Arc::downgrade(&self.listener))
        }

        fn knock(&self) -> TcpStream {
            TcpStream::connect(self.address).unwrap()
        }
    }

    #[test]
    fn who_waits_is_taken_and_counted() {
        let house = House::with_places(1);
        assert!(house.door().next().is_none());
        assert!(
            house.places.is_empty(),
            "a look at the door leaves no trace"
        );
        let client = house.knock();
        let taken = house.door().next().unwrap();
        assert_eq!(taken.peer, client.local_addr().unwrap());
        assert!(!house.places.is_empty());
        drop(taken);
        assert!(house.places.is_empty());
    }

    #[test]
    fn nobody_is_taken_without_a_place() {
        let house = House::with_places(1);
        let sitting = house.places.admit().begin().unwrap();
        let _client = house.knock();
        assert!(house.door().next().is_none());
        drop(sitting);
        assert!(house.door().next().is_some());
    }

    #[test]
    fn nobody_is_taken_once_the_worker_drains() {
        let house = House::with_places(1);
        let _client = house.knock();
        house.board.slot(house.slot).unwrap().drain();
        assert!(house.door().next().is_none());
    }

    #[test]
    fn a_door_does_not_keep_the_port() {
        let House {
            places,
            listener,
            address,
            ..
        } = House::with_places(1);
        let door = Door::new(places, Arc::downgrade(&listener));
        drop(listener);
        assert!(TcpStream::connect(address).is_err());
        assert!(door.next().is_none());
        assert!(door.places.is_empty());
    }
}
