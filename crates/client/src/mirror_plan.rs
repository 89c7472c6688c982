//! What has to happen so that one tree equals another: a pure step from two trees to a list of changes.
//!
//! Nothing is ever removed on a guess. What the rules leave out, what belongs to a running transfer, what stands where the
//! source could not be looked into or holds something that is not moved: all that is guarded, with the folders it is in.

use std::collections::HashSet;

use protocol::{Entry, EntryKind, ErrorCode};

use crate::mirror_tree::Tree;
use crate::{ClientError, ClientErrorKind, Comparison, MirrorRules};

/// What keeps a name from being moved.
const LINK: &str = "a symbolic link";
const PARTIAL: &str = "a partial download";
const RESERVED: &str = "a reserved name";

/// A name that is removed, and what it is.
pub(crate) type Doomed = (Vec<u8>, EntryKind);

/// The changes, in the order in which they are made. Paths are relative to the root of the tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    /// What stands in the way of something of another kind: what is in a folder before the folder.
    pub(crate) clear: Vec<Doomed>,
    /// Folders to be made: a folder before those in it.
    pub(crate) folders: Vec<Vec<u8>>,
    /// Files whose content is moved.
    pub(crate) files: Vec<Vec<u8>>,
    /// Files of the same size on both sides, of which only the digests tell whether they are the same.
    pub(crate) doubtful: Vec<Vec<u8>>,
    /// What the source does not have: what is in a folder before the folder.
    pub(crate) remove: Vec<Doomed>,
    /// Names that cannot be dealt with.
    pub(crate) failed: Vec<(Vec<u8>, ClientError)>,
    /// Names of the source that are not moved.
    pub(crate) skipped: Vec<(Vec<u8>, &'static str)>,
    /// Folders below which nothing is removed, because the source could not be looked into there.
    pub(crate) kept: Vec<Vec<u8>>,
    /// Files that are the same.
    pub(crate) unchanged: u64,
    /// Files that are newer at the target, and stay so.
    pub(crate) newer: u64,
}

/// What is to be done about a file that both sides have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Same,
    Newer,
    Differs,
    Doubtful,
}

/// The changes that make `target` equal to `source`.
pub(crate) fn plan(source: &Tree, target: &Tree, rules: &MirrorRules<'_>) -> Changes {
    let mut planner = Planner {
        source,
        target,
        rules,
        outside: HashSet::new(),
        guarded: HashSet::new(),
        changes: Changes::default(),
    };
    if rules.delete {
        planner.guard();
    }
    for (path, entry) in &source.names {
        planner.take(path, entry);
    }
    planner.take_unreadable();
    if rules.delete {
        planner.remove();
    }
    planner.changes
}

/// Whether two files' times are the same, as far as both sides keep them: a file system may keep whole seconds, or another
/// unit, of a time that the other side knows to the nanosecond.
pub(crate) fn is_same_time(one: i64, other: i64) -> bool {
    let (unit, other_unit) = (unit(one), unit(other));
    one == other || (unit != other_unit && one.abs_diff(other) < unit.max(other_unit))
}

/// The coarsest usual unit that a time is a multiple of, nanoseconds.
fn unit(time: i64) -> u64 {
    const UNITS: [i64; 4] = [1_000_000_000, 1_000_000, 1_000, 100];
    let unit = UNITS.into_iter().find(|unit| time % unit == 0);
    unit.map_or(1, i64::unsigned_abs)
}

struct Planner<'a> {
    source: &'a Tree,
    target: &'a Tree,
    rules: &'a MirrorRules<'a>,
    /// Names of the source that are not moved, nor what is below them.
    outside: HashSet<&'a [u8]>,
    /// Names of the target that stay.
    guarded: HashSet<&'a [u8]>,
    changes: Changes,
}

impl<'a> Planner<'a> {
    /// Finds what must stay at the target, whatever the source has.
    fn guard(&mut self) {
        let mut shut: HashSet<&[u8]> = HashSet::new();
        for (path, entry) in &self.target.names {
            let in_source = self.source.names.get(path).map(|entry| entry.kind);
            let is_shut = shut.contains(parent(path))
                || own_name(path).is_some()
                || !(self.rules.includes)(path, entry.kind)
                || self.source.unreadable.contains_key(path)
                || matches!(in_source, Some(EntryKind::Link | EntryKind::Other));
            if is_shut {
                shut.insert(path);
            }
            if is_shut || self.target.unreadable.contains_key(path) {
                self.guard_name(path);
            }
        }
    }

    /// Guards a name, and with it the folders that it is in.
    fn guard_name(&mut self, path: &'a [u8]) {
        let mut path = path;
        while !path.is_empty() && self.guarded.insert(path) {
            path = parent(path);
        }
    }

    /// Decides about one name of the source; folders come before what is in them.
    fn take(&mut self, path: &'a [u8], entry: &Entry) {
        if self.outside.contains(parent(path)) || !(self.rules.includes)(path, entry.kind) {
            self.outside.insert(path);
            return;
        }
        let skipped = own_name(path).or(match entry.kind {
            EntryKind::File | EntryKind::Directory => None,
            EntryKind::Link => Some(LINK),
            EntryKind::Other => Some(ErrorCode::NotRegular.sentence()),
        });
        if let Some(why) = skipped {
            self.changes.skipped.push((path.to_vec(), why));
            self.outside.insert(path);
        } else if let Some(error) = self.target.unreadable.get(path) {
            self.fail(path, error.clone());
        } else if entry.kind == EntryKind::Directory {
            self.take_folder(path);
        } else {
            self.take_file(path, entry);
        }
    }

    fn take_folder(&mut self, path: &'a [u8]) {
        let there = self.target.names.get(path).map(|entry| entry.kind);
        if there == Some(EntryKind::Directory) {
            return;
        }
        if there.is_none_or(|kind| self.clear(path, kind)) {
            self.changes.folders.push(path.to_vec());
        }
    }

    fn take_file(&mut self, path: &'a [u8], entry: &Entry) {
        let verdict = match self.target.names.get(path) {
            Some(there) if there.kind == EntryKind::File => verdict(entry, there, self.rules),
            // A link is replaced by a rename, like a file.
            None => Verdict::Differs,
            Some(there) if there.kind == EntryKind::Link => Verdict::Differs,
            Some(there) if self.clear(path, there.kind) => Verdict::Differs,
            Some(_) => return,
        };
        match verdict {
            Verdict::Same => self.changes.unchanged += 1,
            Verdict::Newer => self.changes.newer += 1,
            Verdict::Differs => self.changes.files.push(path.to_vec()),
            Verdict::Doubtful => self.changes.doubtful.push(path.to_vec()),
        }
    }

    /// Makes way for something of another kind, if that is wanted and nothing guarded is lost.
    fn clear(&mut self, path: &'a [u8], kind: EntryKind) -> bool {
        if !self.rules.delete || self.guarded.contains(path) {
            self.fail(path, in_the_way(kind, self.rules.delete));
            return false;
        }
        let mut below: Vec<Doomed> = self
            .target
            .below(path)
            .map(|(path, entry)| (path.to_vec(), entry.kind))
            .collect();
        below.reverse();
        self.changes.clear.append(&mut below);
        self.changes.clear.push((path.to_vec(), kind));
        true
    }

    /// Leaves a name as it is on both sides, with all that is below it.
    fn fail(&mut self, path: &'a [u8], error: ClientError) {
        self.changes.failed.push((path.to_vec(), error));
        self.outside.insert(path);
        let below: Vec<&[u8]> = self.target.below(path).map(|(below, _)| below).collect();
        below.into_iter().for_each(|below| self.guard_name(below));
        self.guard_name(path);
    }

    /// Tells what could not be looked into: of the source, and of the target where nobody has told it yet.
    fn take_unreadable(&mut self) {
        for (path, error) in &self.source.unreadable {
            if self.is_left_out(path, self.source) {
                continue;
            }
            self.changes.failed.push((path.clone(), error.clone()));
            let is_there = self.target.names.contains_key(path)
                && (!self.source.names.contains_key(path)
                    || self.target.below(path).next().is_some());
            if self.rules.delete && is_there {
                self.changes.kept.push(path.clone());
            }
        }
        if self.rules.delete {
            for (path, error) in &self.target.unreadable {
                let is_new = !self.source.names.contains_key(path);
                if is_new && !self.is_left_out(path, self.target) {
                    self.changes.failed.push((path.clone(), error.clone()));
                }
            }
        }
    }

    /// Whether the rules leave out the folder `path` of `tree`, or one that it is in.
    fn is_left_out(&self, path: &[u8], tree: &Tree) -> bool {
        let kind = |path: &[u8]| {
            let entry = tree.names.get(path);
            entry.map_or(EntryKind::Directory, |entry| entry.kind)
        };
        std::iter::successors(Some(path), |path| Some(parent(path)))
            .take_while(|path| !path.is_empty())
            .any(|path| own_name(path).is_some() || !(self.rules.includes)(path, kind(path)))
    }

    fn remove(&mut self) {
        let cleared: HashSet<&[u8]> = self
            .changes
            .clear
            .iter()
            .map(|(path, _)| path.as_slice())
            .collect();
        let is_doomed = |path: &Vec<u8>| {
            !self.source.names.contains_key(path)
                && !self.guarded.contains(path.as_slice())
                && !cleared.contains(path.as_slice())
        };
        self.changes.remove = self
            .target
            .names
            .iter()
            .rev()
            .filter(|(path, _)| is_doomed(path))
            .map(|(path, entry)| (path.clone(), entry.kind))
            .collect();
    }
}

fn verdict(source: &Entry, target: &Entry, rules: &MirrorRules<'_>) -> Verdict {
    let is_same_time = is_same_time(source.modified_ns, target.modified_ns);
    if rules.update && target.modified_ns > source.modified_ns && !is_same_time {
        Verdict::Newer
    } else if source.size != target.size {
        Verdict::Differs
    } else if is_same_time && rules.comparison == Comparison::SizeAndTime {
        Verdict::Same
    } else {
        Verdict::Doubtful
    }
}

fn in_the_way(kind: EntryKind, delete: bool) -> ClientError {
    let what = match kind {
        EntryKind::Directory => "a folder",
        EntryKind::File => "a file",
        EntryKind::Link => "a symbolic link",
        EntryKind::Other => "a special file",
    };
    let why = if delete {
        ", and something in it stays"
    } else {
        ""
    };
    ClientError::new(
        ClientErrorKind::Remote(ErrorCode::Exists),
        format!("{what} is in the way{why}"),
    )
}

/// What a name is that no tree holds: one of the suite's own.
fn own_name(path: &[u8]) -> Option<&'static str> {
    let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
    let is_part = name.len() > b"..part".len() && name.first() == Some(&b'.');
    let lower = name.to_ascii_lowercase();
    if lower == b".mini-ftp" || lower.starts_with(b".mini-ftp.") {
        Some(RESERVED)
    } else if is_part && name.ends_with(b".part") {
        Some(PARTIAL)
    } else {
        None
    }
}

/// The folder that a path is in; the root is the empty path.
fn parent(path: &[u8]) -> &[u8] {
    let end = path.iter().rposition(|&byte| byte == b'/').unwrap_or(0);
    path.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests;
