//! Whose tickets are no longer good, in memory that all processes of the pool share: the registrar writes, the workers look.
//!
//! Words: [edition, everybody, heard, unused], then pairs of [user, moment]. A pair is claimed by its first word, and its
//! moment only grows; a writer that is killed in between leaves a pair that revokes nothing. Users stand there as hashes: of
//! two with the same one, a chance of 2⁻⁶⁴, each asks for another ticket when the other must.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{SystemTime, UNIX_EPOCH};

use protocol::Revocation;
use protocol::limits::TICKET_LIFE_S;
use supervisor::Scoreboard;

use crate::pool_memory;

/// A pair whose moment lies so far back, milliseconds, is of use to nobody: all tickets of then have ended.
const SPENT: u64 = 2 * TICKET_LIFE_S * 1000;

/// What a session's ticket is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    user: u64,
    /// Milliseconds since 1970, by the master's clock.
    issued: u64,
    /// Seconds since 1970.
    expires: u64,
}

impl Holder {
    pub(crate) fn new(user: &str, issued: u64, expires: u64) -> Self {
        Self {
            user: key_of(user),
            issued,
            expires,
        }
    }
}

/// The table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Revoked<'a> {
    header: &'a [AtomicU64; 4],
    pairs: &'a [[AtomicU64; 2]],
}

impl<'a> Revoked<'a> {
    /// The table of this pool.
    pub(crate) fn of(board: &'a Scoreboard) -> Option<Self> {
        let (header, rest) = pool_memory::revoked(board).split_first_chunk()?;
        let (pairs, _) = rest.as_chunks();
        Some(Self { header, pairs })
    }

    /// Takes over what a master says whose clock shows `now`, seconds since 1970.
    pub(crate) fn note(&self, revocations: &[Revocation], now: u64) {
        let [edition, everybody, heard, _] = self.header;
        for revocation in revocations {
            let word = match &revocation.user {
                Some(user) => self.moment_of(key_of(user.as_str()), now.saturating_mul(1000)),
                None => None,
            };
            // Where there is no room, to ask everybody for another ticket is the safe side.
            word.unwrap_or(everybody)
                .fetch_max(revocation.until, SeqCst);
        }
        if !revocations.is_empty() {
            edition.fetch_add(1, SeqCst);
        }
        heard.store(unix_now(), SeqCst);
    }

    /// Grows behind each change of what [`Self::covers`] says.
    pub(crate) fn edition(&self) -> u64 {
        let [edition, ..] = self.header;
        edition.load(SeqCst)
    }

    /// Whether the ticket is no longer good.
    pub(crate) fn covers(&self, holder: &Holder) -> bool {
        let [_, everybody, ..] = self.header;
        let is_revoked = |moment: &AtomicU64| holder.issued <= moment.load(SeqCst);
        is_revoked(everybody)
            || self
                .pairs
                .iter()
                .any(|[user, moment]| user.load(SeqCst) == holder.user && is_revoked(moment))
    }

    /// Whether a session must end although it was not revoked: its ticket has ended, and no master has been heard for so long
    /// that nobody knows whether it would get another one.
    pub(crate) fn has_lapsed(&self, holder: &Holder) -> bool {
        let [_, _, heard, _] = self.header;
        let now = unix_now();
        let silent_for = now.saturating_sub(heard.load(SeqCst));
        now > holder.expires && silent_for > TICKET_LIFE_S
    }

    /// The moment of this user's pair, claimed where there is none; `None`: there is no room.
    fn moment_of(&self, user: u64, now: u64) -> Option<&'a AtomicU64> {
        let own = self.pairs.iter().find(|[key, _]| key.load(SeqCst) == user);
        let claimed = || {
            self.pairs.iter().find(|[key, moment]| {
                let found = key.load(SeqCst);
                let is_free = found == 0 || moment.load(SeqCst).saturating_add(SPENT) < now;
                let exchange = || key.compare_exchange(found, user, SeqCst, SeqCst);
                is_free && exchange().is_ok()
            })
        };
        own.or_else(claimed).map(|[_, moment]| moment)
    }
}

/// Not 0, which is a free pair.
fn key_of(user: &str) -> u64 {
    let hash = blake3::hash(user.as_bytes());
    let key = hash.as_bytes().first_chunk().copied().unwrap_or_default();
    u64::from_be_bytes(key).max(1)
}

fn unix_now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use protocol::Text;

    use super::*;

    /// A table of its own.
    fn words(pairs: usize) -> Vec<AtomicU64> {
        (0..4 + 2 * pairs).map(|_| AtomicU64::new(0)).collect()
    }

    fn table(words: &[AtomicU64]) -> Revoked<'_> {
        let (header, rest) = words.split_first_chunk().unwrap();
        let (pairs, _) = rest.as_chunks();
        Revoked { header, pairs }
    }

    fn revocation(user: &str, until: u64) -> Revocation {
        let user = Some(Text::new(user));
        Revocation { user, until }
    }

    fn is_covered(table: &Revoked<'_>, user: &str, issued: u64) -> bool {
        table.covers(&Holder::new(user, issued, 0))
    }

    #[test]
    fn tickets_up_to_the_moment_are_covered_and_later_ones_are_not() {
        let words = words(3);
        let table = table(&words);
        assert!(!is_covered(&table, "ada", 1));
        table.note(&[revocation("ada", 10), revocation("", 5)], 0);
        assert_eq!(table.edition(), 1);
        let verdicts = [("ada", 10), ("ada", 11), ("bob", 1), ("", 5), ("", 6)]
            .map(|(user, issued)| is_covered(&table, user, issued));
        assert_eq!(verdicts, [true, false, false, true, false]);
        // What another master says later of an earlier moment changes nothing; what it says of a later one does.
        table.note(&[revocation("ada", 7)], 0);
        assert!(is_covered(&table, "ada", 10));
        table.note(&[revocation("ada", 12)], 0);
        assert!(is_covered(&table, "ada", 12));
        table.note(&[], 0);
        assert_eq!(table.edition(), 3);
    }

    #[test]
    fn everybody_is_revoked_where_it_is_said_and_where_there_is_no_room() {
        let words = words(2);
        let table = table(&words);
        table.note(
            &[Revocation {
                user: None,
                until: 3,
            }],
            0,
        );
        assert!(is_covered(&table, "ada", 3) && !is_covered(&table, "ada", 4));
        for (user, until) in [("ada", 10), ("bob", 10), ("eve", 10)] {
            table.note(&[revocation(user, until)], 0);
        }
        assert!(is_covered(&table, "eve", 10) && is_covered(&table, "joe", 10));
        assert!(!is_covered(&table, "eve", 11));
        // Pairs that can concern no ticket any more are used again.
        let now = (SPENT + 11) / 1000 + 1;
        table.note(&[revocation("joe", 1000 * now)], now);
        assert!(is_covered(&table, "joe", 1000 * now));
        assert!(!is_covered(&table, "eve", 1000 * now));
    }

    #[test]
    fn a_session_outlives_its_ticket_while_a_master_is_heard() {
        let words = words(1);
        let table = table(&words);
        let now = unix_now();
        let (ended, running) = (
            Holder::new("ada", 0, now - 5),
            Holder::new("ada", 0, now + 5),
        );
        assert!(table.has_lapsed(&ended) && !table.has_lapsed(&running));
        table.note(&[], now);
        assert!(!table.has_lapsed(&ended));
        words[2].store(now - TICKET_LIFE_S - 1, SeqCst);
        assert!(table.has_lapsed(&ended) && !table.has_lapsed(&running));
    }

    #[test]
    fn all_processes_that_write_at_once_find_their_place() {
        let words = words(64);
        std::thread::scope(|scope| {
            for writer in 0..4 {
                let words = &words;
                scope.spawn(move || {
                    for user in 0..16 {
                        let name = format!("user {writer} {user}");
                        table(words).note(&[revocation(&name, 10)], 0);
                    }
                });
            }
        });
        let table = table(&words);
        for writer in 0..4 {
            for user in 0..16 {
                assert!(is_covered(&table, &format!("user {writer} {user}"), 10));
            }
        }
        assert!(!is_covered(&table, "nobody", 1));
    }
}
