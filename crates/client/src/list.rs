//! Listings: streamed, checked name by name, and never telling a name twice however many slaves it takes.

use std::hash::{BuildHasher, RandomState};

use protocol::{Entry, RemotePath, Reply, Request, Unreadable, check_component};

use crate::fault::Attempt;
use crate::notice::Notice;
use crate::session::{Session, unexpected};
use crate::{Client, Result};

/// What a listing is to contain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Whether to descend; names are then paths below the folder, and a folder comes before what is in it.
    pub recursive: bool,
    /// Whether size, time, mode, version and digest are wanted, or names and kinds alone.
    pub facts: bool,
}

/// A name's fingerprint: in a listing of millions the names themselves would be too much to keep.
type Fingerprint = [u64; 2];

/// The names of a listing that was broken off, so that the next one goes on behind them. A slave tells no name twice by
/// itself: they are looked through only then.
#[derive(Debug, Default)]
struct Seen {
    /// What fingerprints are made with: drawn anew each time, so that nobody can make up two names of the same one.
    keys: [RandomState; 2],
    /// Told by the slaves before, in order.
    before: Vec<Fingerprint>,
    /// Told by this one.
    now: Vec<Fingerprint>,
}

impl Client {
    /// Gives every name in a folder to `visit`, unsorted, as it comes. The folders below it that could not be read are
    /// given back.
    ///
    /// # Errors
    /// As [`stat`](Self::stat).
    pub fn list(
        &mut self,
        path: &RemotePath,
        listing: Listing,
        visit: &mut dyn FnMut(Entry),
    ) -> Result<Vec<Unreadable>> {
        self.list_while(path, listing, &mut |entry| {
            visit(entry);
            Ok(())
        })
    }

    /// As [`list`](Self::list), and ends with the first error of `visit`.
    pub(crate) fn list_while(
        &mut self,
        path: &RemotePath,
        listing: Listing,
        visit: &mut dyn FnMut(Entry) -> Result<()>,
    ) -> Result<Vec<Unreadable>> {
        let request = Request::List {
            path: path.clone(),
            recursive: listing.recursive,
            facts: listing.facts,
        };
        let mut seen = Seen::default();
        let mut unreadable = Vec::new();
        let context = self.context.clone();
        self.attempt(|session| {
            seen.begin();
            let mut take = |entry: Entry| {
                if !is_below(&entry.name, listing.recursive) {
                    context.notice(&Notice::Skipped {
                        name: entry.name,
                        why: "no name that a server may give".to_owned(),
                    });
                    return Ok(false);
                }
                let is_new = seen.note(&entry.name);
                if is_new {
                    visit(entry)?;
                }
                Ok(is_new)
            };
            receive(session, &request, &mut take, &mut unreadable)
        })?;
        unreadable.sort_by(|a, b| a.name.cmp(&b.name));
        unreadable.dedup_by(|a, b| a.name == b.name);
        Ok(unreadable)
    }
}

impl Seen {
    /// A slave begins with the first name.
    fn begin(&mut self) {
        self.before.append(&mut self.now);
        self.before.sort_unstable();
    }

    /// Takes a name in; `false` where a slave before has told it.
    fn note(&mut self, name: &[u8]) -> bool {
        let fingerprint = self.fingerprint(name);
        let is_new = self.before.binary_search(&fingerprint).is_err();
        if is_new {
            self.now.push(fingerprint);
        }
        is_new
    }

    fn fingerprint(&self, name: &[u8]) -> Fingerprint {
        self.keys.each_ref().map(|key| key.hash_one(name))
    }
}

/// Receives a listing; `take` says whether a name is new.
fn receive(
    session: &mut Session,
    request: &Request,
    take: &mut dyn FnMut(Entry) -> Result<bool>,
    unreadable: &mut Vec<Unreadable>,
) -> Attempt<()> {
    let number = session.request(request);
    session.flush()?;
    loop {
        match session.answer(number)? {
            Reply::Entries {
                entries,
                unreadable: here,
                more,
            } => {
                // A listing that breaks off at the same place each time comes to an end.
                for entry in entries {
                    if take(entry)? {
                        session.mark_progress();
                    }
                }
                unreadable.extend(here);
                if !more {
                    return Ok(());
                }
            }
            other => return Err(unexpected(&other)),
        }
    }
}

/// Whether a listed name stays below the folder: one component, or with `recursive` several.
fn is_below(name: &[u8], recursive: bool) -> bool {
    if recursive {
        name.split(|&byte| byte == b'/')
            .all(|component| check_component(component).is_ok())
    } else {
        check_component(name).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_slave_goes_on_behind_the_names_that_are_told() {
        let mut seen = Seen::default();
        seen.begin();
        assert!(seen.note(b"b") && seen.note(b"a"));
        seen.begin();
        assert!(!seen.note(b"a") && seen.note(b"c") && !seen.note(b"b"));
        seen.begin();
        assert!(!seen.note(b"c") && !seen.note(b"a") && seen.note(b"d"));
    }

    #[test]
    fn only_names_below_the_folder_pass() {
        for name in [b"a".as_slice(), b"a/b", b"\n\xff", b"..."] {
            assert!(is_below(name, true));
        }
        assert!(!is_below(b"a/b", false));
        for name in [
            b"".as_slice(),
            b"/",
            b"/etc",
            b"..",
            b"a/../b",
            b"a//b",
            b"a/",
            b".",
            b"a\0",
        ] {
            assert!(!is_below(name, true), "{}", name.escape_ascii());
            assert!(!is_below(name, false));
        }
    }
}
