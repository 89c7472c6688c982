//! What is known of the bytes below one home, and what is promised to uploads that are not published yet. Pure: the rules
//! alone; [`LedgerFile`](super::LedgerFile) keeps it.
//!
//! The one rule on which all rests: `used` is never less than what the files hold that sessions with a quota have stored
//! there. A change writes down the most that it can come to before it begins, so whatever dies in its midst leaves too
//! much in the ledger and never too little; a count puts that right.

use protocol::{RemotePath, UploadId};

/// Uploads of one home that can be reserved for at the same time, abandoned ones included.
pub(crate) const MOST_RESERVATIONS: usize = 256;

/// For so long a count is believed where a store would be refused, seconds: what others changed since is not in it.
const BELIEVED_S: u64 = 60;

/// After so long the registrar counts again what has been changed since, seconds.
const STALE_S: u64 = 60 * 60;

/// The bytes of one home.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ledger {
    /// Drawn when the ledger was begun: one that was lost and begun anew is not taken for the old one.
    pub(crate) epoch: u64,
    /// The home's inode: another folder of that name holds other files.
    pub(crate) folder: u64,
    /// In which run of the machine it was written. What the last run wrote last may have been lost.
    pub(crate) boot: u128,
    /// Bytes that the files hold, or more; `None` before they were counted.
    pub(crate) used: Option<u64>,
    /// Whether `used` is what the last count found, changed by what was done since, and nothing more.
    pub(crate) exact: bool,
    /// When the files were counted last, seconds since the epoch.
    pub(crate) counted: u64,
    /// `changes` at that time.
    pub(crate) counted_changes: u64,
    /// How many changes there were.
    pub(crate) changes: u64,
    /// How many of them gave names that a count under way may have passed already.
    pub(crate) moves: u64,
    /// All bytes by which a name has ever come to hold more.
    pub(crate) added: u64,
    /// What is promised.
    pub(crate) reservations: Vec<Reservation>,
}

/// Bytes that an upload will add when it is published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reservation {
    pub(crate) upload: UploadId,
    pub(crate) bytes: u64,
    /// When it was made, seconds since the epoch.
    pub(crate) since: u64,
    /// The folder in which the upload is staged, from the home on; `None` for the storage's own.
    pub(crate) beside: Option<RemotePath>,
}

/// Where a ledger stood when a count began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    epoch: u64,
    changes: u64,
    moves: u64,
    added: u64,
}

impl Ledger {
    /// A ledger of which nothing is known but whose it is.
    pub(crate) const fn new(epoch: u64, folder: u64, boot: u128) -> Self {
        Self {
            epoch,
            folder,
            boot,
            used: None,
            exact: false,
            counted: 0,
            counted_changes: 0,
            changes: 0,
            moves: 0,
            added: 0,
            reservations: Vec::new(),
        }
    }

    /// Bytes that may still be added under that limit, by those for whom the uploads `own` are reserved.
    pub(crate) fn left(&self, limit: u64, own: &[UploadId]) -> u64 {
        self.left_beside(self.used, limit, own)
    }

    /// The same where the files hold that many bytes.
    pub(crate) fn left_beside(&self, used: Option<u64>, limit: u64, own: &[UploadId]) -> u64 {
        let others = self
            .reservations
            .iter()
            .filter(|reservation| !own.contains(&reservation.upload))
            .fold(0_u64, |sum, other| sum.saturating_add(other.bytes));
        let used = used.unwrap_or(u64::MAX);
        limit.saturating_sub(used.saturating_add(others))
    }

    /// Promises bytes to an upload, in place of what it was promised before.
    pub(crate) fn reserve(&mut self, reservation: Reservation) {
        self.release(&reservation.upload);
        if reservation.bytes > 0 {
            self.reservations.push(reservation);
        }
    }

    /// Takes a promise back.
    pub(crate) fn release(&mut self, upload: &UploadId) {
        self.reservations
            .retain(|reservation| reservation.upload != *upload);
    }

    /// The ledger without those promises.
    pub(crate) fn without(&self, taken: &[Reservation]) -> Self {
        let mut rest = self.clone();
        rest.reservations.retain(|kept| !taken.contains(kept));
        rest
    }

    /// Whether the files must be counted before anything is refused for want of room.
    pub(crate) fn is_doubtful(&self, now: u64) -> bool {
        // A clock that was set back makes every count an old one.
        let age = now.checked_sub(self.counted);
        self.used.is_none() || !self.exact || age.is_none_or(|age| age >= BELIEVED_S)
    }

    /// Whether the files shall be counted although nobody asks: something was changed since they were, and that is long ago.
    pub(crate) fn is_stale(&self, now: u64) -> bool {
        let is_touched = self.changes != self.counted_changes || !self.exact;
        is_touched
            && now
                .checked_sub(self.counted)
                .is_none_or(|age| age >= STALE_S)
    }

    pub(crate) const fn mark(&self) -> Mark {
        Mark {
            epoch: self.epoch,
            changes: self.changes,
            moves: self.moves,
            added: self.added,
        }
    }

    /// Takes over what a count that began at `mark` has found; whether it can: one in which names were moved may have
    /// missed what they stand for. What was added meanwhile may be in it or not, so it is added, and nothing that was
    /// removed is taken off: if there was any of that, the count is not exact.
    pub(crate) fn take_count(&mut self, mark: &Mark, found: u64, now: u64) -> bool {
        if self.epoch != mark.epoch || self.moves != mark.moves {
            return false;
        }
        let added = self.added.saturating_sub(mark.added);
        self.used = Some(found.saturating_add(added));
        self.exact = self.changes == mark.changes;
        self.counted = now;
        self.counted_changes = self.changes;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reservation(upload: u8, bytes: u64) -> Reservation {
        Reservation {
            upload: UploadId([upload; 32]),
            bytes,
            since: 1,
            beside: None,
        }
    }

    fn counted(used: u64) -> Ledger {
        let mut ledger = Ledger::new(7, 1, 2);
        let mark = ledger.mark();
        assert!(ledger.take_count(&mark, used, 100));
        ledger
    }

    #[test]
    fn nothing_is_left_before_the_files_are_counted() {
        let ledger = Ledger::new(7, 1, 2);
        assert_eq!(ledger.left(u64::MAX, &[]), 0);
        assert!(ledger.is_doubtful(0));
    }

    #[test]
    fn an_upload_is_reserved_for_once_and_its_own_room_is_left_to_it() {
        let mut ledger = counted(100);
        ledger.reserve(reservation(1, 500));
        ledger.reserve(reservation(1, 300));
        ledger.reserve(reservation(2, 50));
        assert_eq!(ledger.left(1000, &[]), 550);
        assert_eq!(ledger.left(1000, &[UploadId([1; 32])]), 850);
        assert_eq!(ledger.left(100, &[]), 0);
        ledger.release(&UploadId([2; 32]));
        assert_eq!(ledger.left(1000, &[]), 600);
    }

    #[test]
    fn a_count_is_believed_for_a_minute_and_one_that_is_not_exact_never() {
        let mut ledger = counted(100);
        assert!(!ledger.is_doubtful(100 + BELIEVED_S - 1));
        assert!(ledger.is_doubtful(100 + BELIEVED_S));
        assert!(ledger.is_doubtful(99), "the clock was set back");
        assert!(!ledger.is_stale(u64::MAX), "nothing was changed");
        ledger.changes += 1;
        assert!(!ledger.is_stale(100 + STALE_S - 1));
        assert!(ledger.is_stale(100 + STALE_S));
        ledger.exact = false;
        assert!(ledger.is_doubtful(100));
    }

    #[test]
    fn what_is_added_during_a_count_counts_and_moves_void_it() {
        let mut ledger = counted(100);
        let mark = ledger.mark();
        ledger.changes += 1;
        ledger.added += 30;
        assert!(ledger.take_count(&mark, 90, 200));
        assert_eq!((ledger.used, ledger.exact), (Some(120), false));
        let mark = ledger.mark();
        assert!(ledger.take_count(&mark, 130, 200));
        assert_eq!((ledger.used, ledger.exact), (Some(130), true));
        ledger.moves += 1;
        assert!(!ledger.take_count(&mark, 0, 300));
        // One that was begun anew meanwhile knows nothing of what was added before.
        let mut anew = Ledger::new(8, 1, 2);
        assert!(!anew.take_count(&mark, 0, 300));
    }
}
