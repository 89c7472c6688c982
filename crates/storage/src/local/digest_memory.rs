//! The digests of small contents that were served lately, in this process: what many fetch is hashed once.
//!
//! The digest that is told stays that of the bytes that were read. A file's facts tell which content it should be, and whether
//! a digest is kept beside the file; a checksum of what was read tells that it is, where somebody changed it without a trace
//! (through a mapping, say).

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use protocol::Digest;
use transfer::block_tree::block_digest;

use super::digest_cache::has_settled;
use super::facts::Facts;

/// So many files are remembered, in 1.3 MiB (a table is seven eighths full before it doubles): a tree of ten thousand that is
/// fetched again and again is. With one more all are forgotten.
const MOST_FILES: usize = 14_336;

/// What is remembered.
#[derive(Debug, Default)]
pub(crate) struct DigestMemory(Mutex<HashMap<State, Known>>);

/// A file in the state that its system tells: content, attributes, all that was done to it shows in its time of change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct State {
    device: (u32, u32),
    identity: [u8; 24],
    changed_ns: i64,
}

/// What is known of a file.
#[derive(Clone, Copy, Debug)]
enum Known {
    /// It was asked for once. Most never are again: no more is done for them.
    Seen,
    /// Its digest is kept beside it.
    Kept(Digest),
    /// No digest is kept beside it; that of a content with this checksum.
    Computed(u32, Digest),
}

impl DigestMemory {
    /// The digest to announce for the whole `content` of the file with these facts: the one that is kept beside it, which
    /// `kept` reads, else its own.
    pub(crate) fn digest_of(
        &self,
        facts: &Facts,
        content: &[u8],
        kept: impl FnOnce() -> Option<Digest>,
    ) -> Digest {
        let state = State::of(facts);
        let known = self.files().get(&state).copied();
        match known {
            Some(Known::Kept(digest)) => return digest,
            Some(Known::Computed(checksum, digest)) if checksum == crc32fast::hash(content) => {
                return digest;
            }
            _ => {}
        }
        let kept = kept();
        let digest = kept.unwrap_or_else(|| block_digest(0, content, true));
        if has_settled(facts.changed_ns) {
            let now_known = match (known, kept) {
                (None, _) => Known::Seen,
                (Some(_), Some(digest)) => Known::Kept(digest),
                (Some(_), None) => Known::Computed(crc32fast::hash(content), digest),
            };
            self.remember(state, now_known);
        }
        digest
    }

    fn remember(&self, state: State, known: Known) {
        let mut files = self.files();
        if files.len() >= MOST_FILES && !files.contains_key(&state) {
            files.clear();
        }
        files.insert(state, known);
    }

    fn files(&self) -> MutexGuard<'_, HashMap<State, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn of(facts: &Facts) -> Self {
        Self {
            device: facts.device,
            identity: facts.identity(),
            changed_ns: facts.changed_ns,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::time::{SystemTime, UNIX_EPOCH};

    use protocol::EntryKind;

    use super::*;

    const CONTENT: &[u8] = b"content";
    const ANOTHER: &[u8] = b"another";

    fn facts(changed_ns: i64) -> Facts {
        Facts {
            kind: EntryKind::File,
            size: 7,
            allocated: 4096,
            modified_ns: 1,
            changed_ns,
            mode: 0o644,
            inode: 1,
            device: (0, 1),
            links: 1,
            mount: 1,
        }
    }

    fn own(content: &[u8]) -> Digest {
        block_digest(0, content, true)
    }

    /// What a memory says of contents of one file one after another, and how often it looks for a kept digest meanwhile.
    fn told(facts: &Facts, contents: &[&[u8]], kept: Option<Digest>) -> (Vec<Digest>, u32) {
        let (memory, looks) = (DigestMemory::default(), Cell::new(0));
        let look = || {
            looks.set(looks.get() + 1);
            kept
        };
        let tell = |content: &&[u8]| memory.digest_of(facts, content, look);
        (contents.iter().map(tell).collect(), looks.get())
    }

    #[test]
    fn what_is_asked_for_again_is_known() {
        let (digests, looks) = told(&facts(1), &[CONTENT; 5], None);
        assert_eq!((digests, looks), (vec![own(CONTENT); 5], 2));
    }

    #[test]
    fn a_kept_digest_is_told_whatever_the_content_is() {
        let kept = Digest([1; 32]);
        let (digests, looks) = told(&facts(1), &[CONTENT, CONTENT, CONTENT, ANOTHER], Some(kept));
        assert_eq!((digests, looks), (vec![kept; 4], 2));
    }

    #[test]
    fn a_content_that_changed_without_a_trace_has_its_own_digest() {
        let contents = [CONTENT, CONTENT, ANOTHER, ANOTHER, CONTENT];
        let (digests, _) = told(&facts(1), &contents, None);
        assert_eq!(digests, contents.map(own));
    }

    #[test]
    fn what_changed_just_now_may_change_again_and_is_not_remembered() {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let soon = i64::try_from(now.as_nanos()).unwrap();
        let young = Facts {
            changed_ns: soon,
            ..facts(0)
        };
        let memory = DigestMemory::default();
        memory.digest_of(&young, CONTENT, || None);
        let age = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() - now;
        // On a machine that is busy with something else it may have settled meanwhile.
        assert!(memory.files().is_empty() || age.as_millis() >= 20);
    }

    #[test]
    fn another_state_of_a_file_is_another_file() {
        let memory = DigestMemory::default();
        let before = facts(1);
        for changed in [
            facts(2),
            Facts { inode: 2, ..before },
            Facts {
                device: (0, 2),
                ..before
            },
            Facts { size: 8, ..before },
            Facts {
                modified_ns: 2,
                ..before
            },
        ] {
            for _ in 0..2 {
                memory.digest_of(&before, CONTENT, || Some(Digest([1; 32])));
            }
            let told = memory.digest_of(&changed, CONTENT, || None);
            assert_eq!(told, own(CONTENT));
        }
    }

    #[test]
    fn so_many_files_are_remembered_and_no_more() {
        let memory = DigestMemory::default();
        for number in 0..2 * MOST_FILES as u64 {
            let file = Facts {
                inode: number,
                ..facts(1)
            };
            memory.digest_of(&file, CONTENT, || None);
            assert!(memory.files().len() <= MOST_FILES);
        }
    }
}
