//! Buffers in which content goes to the hashing thread: enough for one transfer to go on while that thread waits for a core, and
//! not many for all transfers of a process together.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvError};

/// What one transfer may have, in buffers of a block each.
const MOST: usize = 8;

/// What all of this process may have.
const MOST_IN_ALL: usize = 32;

/// What they have.
static LENT_IN_ALL: AtomicUsize = AtomicUsize::new(0);

/// The buffers of one transfer.
#[derive(Debug)]
pub(super) struct Buffers {
    /// Those that nothing is in any more.
    back: Receiver<Vec<u8>>,
    lent: usize,
    lent_in_all: &'static AtomicUsize,
}

impl Buffers {
    /// None yet. What is lent comes `back`, unless whoever sends that has ended.
    pub(super) fn new(back: Receiver<Vec<u8>>) -> Self {
        Self::counted(back, &LENT_IN_ALL)
    }

    fn counted(back: Receiver<Vec<u8>>, lent_in_all: &'static AtomicUsize) -> Self {
        Self {
            back,
            lent: 0,
            lent_in_all,
        }
    }

    /// An empty one. Waits for it where the transfer has others already, so that what is received stays in order; `None` where
    /// it has none and may have none.
    ///
    /// # Errors
    /// None comes back any more.
    pub(super) fn borrow(&mut self) -> Result<Option<Vec<u8>>, RecvError> {
        if let Ok(buffer) = self.back.try_recv() {
            return Ok(Some(buffer));
        }
        let more = |lent| (lent < MOST_IN_ALL).then_some(lent + 1);
        if self.lent < MOST
            && self
                .lent_in_all
                .fetch_update(Relaxed, Relaxed, more)
                .is_ok()
        {
            self.lent += 1;
            return Ok(Some(Vec::new()));
        }
        match self.lent {
            0 => Ok(None),
            _ => self.back.recv().map(Some),
        }
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        self.lent_in_all.fetch_sub(self.lent, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};

    use super::*;

    fn buffers(lent_in_all: &'static AtomicUsize) -> (Sender<Vec<u8>>, Buffers) {
        let (back, returned) = channel();
        (back, Buffers::counted(returned, lent_in_all))
    }

    #[test]
    fn a_transfer_has_a_few_and_then_those_that_come_back() {
        static LENT: AtomicUsize = AtomicUsize::new(0);
        let (back, mut buffers) = buffers(&LENT);
        assert!((0..MOST).all(|_| buffers.borrow() == Ok(Some(Vec::new()))));
        assert_eq!(LENT.load(Relaxed), MOST);
        back.send(vec![7]).unwrap();
        assert_eq!(buffers.borrow(), Ok(Some(vec![7])));
        drop(back);
        assert_eq!(buffers.borrow(), Err(RecvError));
        drop(buffers);
        assert_eq!(LENT.load(Relaxed), 0);
    }

    #[test]
    fn where_others_have_all_there_is_none_or_one_that_comes_back() {
        static LENT: AtomicUsize = AtomicUsize::new(MOST_IN_ALL - 1);
        let (back, mut first) = buffers(&LENT);
        let (_back, mut second) = buffers(&LENT);
        assert_eq!(first.borrow(), Ok(Some(Vec::new())));
        assert_eq!(second.borrow(), Ok(None));
        back.send(vec![7]).unwrap();
        assert_eq!(first.borrow(), Ok(Some(vec![7])));
        drop(first);
        assert_eq!(second.borrow(), Ok(Some(Vec::new())));
    }
}
