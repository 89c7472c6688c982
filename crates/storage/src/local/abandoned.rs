//! Staged files that nobody is writing: told from those that somebody is, and removed.

use std::io;
use std::time::Duration;

use protocol::{EntryKind, UploadId};
use rustix::fs::AtFlags;
use rustix::io::Errno;

use super::confined::RESERVED;
use super::facts::Facts;
use super::names::Name;
use super::staged::{ONCE, is_named};
use super::staging::{Place, nanoseconds_now};
use super::writer_lock::{Lock, lock};

/// Longer than any upload stands still that is still being received, or waits to be published.
const LONGEST_STILL: Duration = Duration::from_secs(10 * 60);

/// What has become of an upload that was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whereabouts {
    /// It was published, or removed.
    Gone,
    /// Nobody is writing it: it can be gone on with.
    Abandoned,
    /// Somebody is.
    Live,
}

impl Place {
    /// Removes abandoned files: those that are never resumed, those older than `max_age`, and the oldest until the rest of them
    /// takes at most `max_bytes`, but for the last one: an upload larger than that can be resumed, too.
    pub(crate) fn sweep(&self, max_age: Duration, max_bytes: u64) -> io::Result<u64> {
        let mut staged = Vec::new();
        let mut names = self.names()?;
        while let Some(Name { bytes: name, .. }) = names.next()? {
            if self.beside_target && !name.strip_prefix(RESERVED).is_some_and(is_dotted) {
                continue;
            }
            if let Ok(facts) = Facts::at(&self.folder, &name)
                && facts.kind == EntryKind::File
            {
                staged.push((facts.changed_ns, facts.allocated, name));
            }
        }
        staged.sort_unstable();
        let oldest = i64::try_from(nanoseconds_now())
            .unwrap_or(i64::MAX)
            .saturating_sub(i64::try_from(max_age.as_nanos()).unwrap_or(i64::MAX));
        let mut removed = 0;
        staged.retain(|(changed, _, name)| {
            let is_once = name
                .strip_prefix(self.lead().as_bytes())
                .is_some_and(|rest| rest.starts_with(ONCE.as_bytes()));
            let is_old = *changed < oldest;
            let is_gone = (is_old || is_once) && self.remove_abandoned(name, is_old);
            removed += u64::from(is_gone);
            !is_gone
        });
        let sum = |staged: &[(i64, u64, Vec<u8>)]| {
            let sizes = staged.iter().map(|(_, size, _)| *size);
            sizes.fold(0, u64::saturating_add)
        };
        if sum(&staged) > max_bytes {
            staged.retain(|(_, _, name)| !self.is_live(name));
        }
        let mut bytes = sum(&staged);
        staged.pop();
        for (_, size, name) in staged {
            if bytes <= max_bytes {
                break;
            }
            if self.remove_abandoned(&name, false) {
                bytes = bytes.saturating_sub(size);
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// What has become of an upload. On shared file systems, where locks prove nothing, one counts as abandoned when nothing
    /// was written for longer than any transfer may stand still.
    pub(crate) fn whereabouts(&self, id: &UploadId) -> Whereabouts {
        let Ok(generations) = self.generations(id) else {
            return Whereabouts::Live;
        };
        if generations.is_empty() {
            return Whereabouts::Gone;
        }
        let is_live = |generation: &u64| self.is_live(&self.name(id, *generation));
        match generations.iter().any(is_live) {
            true => Whereabouts::Live,
            false => Whereabouts::Abandoned,
        }
    }

    /// Whether somebody may be writing the file of that name.
    fn is_live(&self, name: &[u8]) -> bool {
        match self.look_at(name).map(|(file, _)| lock(&file)) {
            Ok(Lock::Ours) => false,
            Ok(Lock::Elsewhere) => true,
            Ok(Lock::Unknown) => !self.is_long_unchanged(name),
            Err(error) => Errno::from_io_error(&error) != Some(Errno::NOENT),
        }
    }

    /// Removes what is left of an upload that nobody is writing; whether nothing is.
    pub(crate) fn abandon(&self, id: &UploadId) -> bool {
        let remove = |generation: &u64| {
            let name = self.name(id, *generation);
            self.remove_abandoned(&name, self.is_long_unchanged(&name))
        };
        self.generations(id)
            .is_ok_and(|generations| generations.iter().all(remove))
    }

    fn is_long_unchanged(&self, name: &[u8]) -> bool {
        let now = i64::try_from(nanoseconds_now()).unwrap_or(i64::MAX);
        let still = i64::try_from(LONGEST_STILL.as_nanos()).unwrap_or(i64::MAX);
        Facts::at(&self.folder, name)
            .is_ok_and(|facts| facts.changed_ns < now.saturating_sub(still))
    }

    /// Removes a file that nobody is writing; whether it did. Where locks prove nothing, only its age tells.
    fn remove_abandoned(&self, name: &[u8], is_old: bool) -> bool {
        let looked = self.look_at(name).map(|(file, _)| file);
        let opened = looked.or_else(|error| match is_old {
            true => self.open(name),
            false => Err(error),
        });
        opened.is_ok_and(|file| {
            let is_abandoned = match lock(&file) {
                Lock::Ours => true,
                Lock::Unknown => is_old,
                Lock::Elsewhere => false,
            };
            is_abandoned
                && is_named(&file, &self.folder, name)
                && rustix::fs::unlinkat(&self.folder, name, AtFlags::empty()).is_ok()
        })
    }
}

fn is_dotted(rest: &[u8]) -> bool {
    rest.first() == Some(&b'.')
}
