//! Wildcards, component by component, on either side.

use std::ffi::OsStr;
use std::fs::{self, FileType};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use client::{Client, ClientError, Listing};
use protocol::{Entry, EntryKind, ErrorCode, RemotePath};

use super::{Named, is_plain};
use crate::destination::is_closed;
use crate::failure::{Failure, cannot};
use crate::glob::Pattern;
use crate::words::Word;

/// A name that matches so far: how it is written, and what a listing has said of it.
#[derive(Default)]
pub(super) struct Candidate {
    shown: Vec<u8>,
    kind: Option<EntryKind>,
    entry: Option<Entry>,
}

impl Candidate {
    /// What is typed behind it says nothing new where it is only a `/`.
    fn then(mut self, literal: &[u8]) -> Self {
        if !literal.is_empty() {
            self.kind = None;
            self.entry = None;
        }
        self.shown.extend_from_slice(literal);
        self
    }
}

/// Where names are looked up.
pub(super) trait Names {
    type Path: Clone;

    /// The path that is written `typed`; `None` where there can be no such name.
    fn path(&self, typed: &[u8]) -> Option<Self::Path>;

    /// Whether there is such a name, be it a link that leads nowhere.
    fn exists(&mut self, path: &Self::Path) -> Result<bool, Failure>;

    /// Whether each of these is a folder or a link to one, in that order.
    fn are_folders(&mut self, paths: &[Self::Path]) -> Result<Vec<bool>, Failure>;

    /// The names in a folder, in no order, with what is known of each, facts only where they are the last component; none where it
    /// is no folder or cannot be read.
    fn children(&mut self, path: &Self::Path, is_last: bool) -> Result<Vec<Candidate>, Failure>;
}

/// Every path that `word` names: as it was typed, where that is there, else what its wildcards match.
pub(super) fn named<N: Names>(
    names: &mut N,
    word: &Word,
    verb: &str,
) -> Result<Vec<Named<N::Path>>, Failure> {
    let missing = || Failure::of(cannot(verb, word.literal()))(ErrorCode::NotFound);
    // A name that is there as it was typed is meant, whatever else its wildcards might match.
    if let Some(path) = names.path(word.literal())
        && (is_plain(word) || is_there(names, &path, word.literal())?)
    {
        return Ok(vec![Named::typed(path, word)]);
    }
    let found = matching(names, word.pattern())?;
    if found.is_empty() {
        return Err(missing());
    }
    Ok(found)
}

/// Whether there is such a name; where it ends in `/`, whether it names a folder.
fn is_there<N: Names>(names: &mut N, path: &N::Path, shown: &[u8]) -> Result<bool, Failure> {
    if is_closed(shown) {
        let are_folders = names.are_folders(std::slice::from_ref(path))?;
        return Ok(are_folders == [true]);
    }
    names.exists(path)
}

/// Goes down component by component, with every path that matches so far.
fn matching<N: Names>(names: &mut N, pattern: &[u8]) -> Result<Vec<Named<N::Path>>, Failure> {
    let mut found = vec![Candidate::default()];
    // What a listing named is there; what was typed behind it may not be.
    let mut is_listed = false;
    let last = pattern.iter().filter(|&&byte| byte == b'/').count();
    for (index, component) in pattern.split(|&byte| byte == b'/').enumerate() {
        if index > 0 {
            found.iter_mut().for_each(|above| above.shown.push(b'/'));
        }
        let component = Pattern::new(component);
        let literal = component.literal();
        is_listed = literal
            .as_ref()
            .is_none_or(|name| is_listed && name.is_empty());
        found = match literal {
            Some(name) => found.into_iter().map(|above| above.then(&name)).collect(),
            None => below(names, &found, (&component, index == last))?,
        };
    }
    found.sort_unstable_by(|one, other| one.shown.cmp(&other.shown));
    let mut there = Vec::with_capacity(found.len());
    for Candidate { shown, kind, entry } in found {
        if let Some(path) = names.path(&shown)
            && (is_listed || is_there(names, &path, &shown)?)
        {
            there.push(Named {
                path,
                shown,
                kind,
                entry,
            });
        }
    }
    Ok(there)
}

/// The names in these folders that match; those that something is typed behind, be it only a `/`, where they are folders.
fn below<N: Names>(
    names: &mut N,
    folders: &[Candidate],
    (component, is_last): (&Pattern, bool),
) -> Result<Vec<Candidate>, Failure> {
    let mut found = Vec::new();
    for folder in folders {
        let Some(path) = names.path(&folder.shown) else {
            continue;
        };
        let children = names.children(&path, is_last)?.into_iter();
        let matching = children.filter(|child| component.matches(&child.shown));
        found.extend(matching.map(|child| Candidate {
            shown: [folder.shown.as_slice(), &child.shown].concat(),
            ..child
        }));
    }
    match is_last {
        true => Ok(found),
        false => only_folders(names, found),
    }
}

/// Those that are folders or lead to one. Only where links lead is asked for.
fn only_folders<N: Names>(names: &mut N, found: Vec<Candidate>) -> Result<Vec<Candidate>, Failure> {
    let is_open = |kind| matches!(kind, None | Some(EntryKind::Link));
    let with_path = |found: Candidate| Some((names.path(&found.shown)?, found));
    let mut found: Vec<_> = found.into_iter().filter_map(with_path).collect();
    let links = found.iter().filter(|(_, found)| is_open(found.kind));
    let links: Vec<_> = links.map(|(path, _)| path.clone()).collect();
    let mut lead = names.are_folders(&links)?.into_iter();
    found.retain(|(_, found)| match is_open(found.kind) {
        true => lead.next() == Some(true),
        false => found.kind == Some(EntryKind::Directory),
    });
    Ok(found.into_iter().map(|(_, found)| found).collect())
}

/// Names in the storage, seen from `folder`; `facts`: those of what is found are wanted.
pub(super) struct Remote<'a> {
    pub(super) client: &'a mut Client,
    pub(super) folder: RemotePath,
    pub(super) facts: bool,
}

impl Remote<'_> {
    /// What the server said, unless it only said that there is nothing to find.
    fn unless_absent<T>(
        result: Result<T, ClientError>,
        path: &RemotePath,
    ) -> Result<Option<T>, Failure> {
        let failure = match result {
            Ok(value) => return Ok(Some(value)),
            Err(error) => Failure::of(cannot("list", path.as_bytes()))(error),
        };
        let absent = [
            ErrorCode::NotFound,
            ErrorCode::NotDirectory,
            ErrorCode::NotPermitted,
            ErrorCode::NameTooLong,
            ErrorCode::BadLink,
            ErrorCode::BadName,
        ];
        if absent.into_iter().any(|code| failure.is(code)) {
            Ok(None)
        } else {
            Err(failure)
        }
    }
}

impl Names for Remote<'_> {
    type Path = RemotePath;

    fn path(&self, typed: &[u8]) -> Option<RemotePath> {
        self.folder.resolve(typed).ok()
    }

    fn exists(&mut self, path: &RemotePath) -> Result<bool, Failure> {
        let entry = self.client.stat(path, false);
        Ok(Self::unless_absent(entry, path)?.is_some())
    }

    fn are_folders(&mut self, paths: &[RemotePath]) -> Result<Vec<bool>, Failure> {
        let Some(first) = paths.first() else {
            return Ok(Vec::new());
        };
        let looked = self.client.stat_each(paths, true);
        let looked = looked.map_err(Failure::of(cannot("list", first.as_bytes())))?;
        let is_folder = |(entry, path): (_, &RemotePath)| {
            let entry = Self::unless_absent(entry, path)?;
            Ok(entry.is_some_and(|entry: Entry| entry.kind == EntryKind::Directory))
        };
        looked.into_iter().zip(paths).map(is_folder).collect()
    }

    fn children(&mut self, path: &RemotePath, is_last: bool) -> Result<Vec<Candidate>, Failure> {
        let mut names = Vec::new();
        let facts = self.facts && is_last;
        let listing = Listing {
            recursive: false,
            facts,
        };
        let listed = self.client.list(path, listing, &mut |mut entry| {
            names.push(Candidate {
                shown: std::mem::take(&mut entry.name),
                kind: Some(entry.kind),
                entry: Some(entry).filter(|_| facts),
            });
        });
        Ok(Self::unless_absent(listed, path)?.map_or(Vec::new(), |_| names))
    }
}

/// Names on this machine, seen from `folder`.
pub(super) struct Local {
    pub(super) folder: PathBuf,
}

impl Names for Local {
    type Path = PathBuf;

    fn path(&self, typed: &[u8]) -> Option<PathBuf> {
        Some(self.folder.join(OsStr::from_bytes(typed)))
    }

    fn exists(&mut self, path: &PathBuf) -> Result<bool, Failure> {
        Ok(path.symlink_metadata().is_ok())
    }

    fn are_folders(&mut self, paths: &[PathBuf]) -> Result<Vec<bool>, Failure> {
        Ok(paths.iter().map(|path| path.is_dir()).collect())
    }

    fn children(&mut self, path: &PathBuf, _: bool) -> Result<Vec<Candidate>, Failure> {
        let folder = if path.as_os_str().is_empty() {
            Path::new(".")
        } else {
            path
        };
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let child = |entry: fs::DirEntry| Candidate {
            kind: entry.file_type().ok().map(kind),
            shown: entry.file_name().into_vec(),
            entry: None,
        };
        Ok(entries.map(child).collect())
    }
}

fn kind(file_type: FileType) -> EntryKind {
    match file_type {
        kind if kind.is_dir() => EntryKind::Directory,
        kind if kind.is_symlink() => EntryKind::Link,
        kind if kind.is_file() => EntryKind::File,
        _ => EntryKind::Other,
    }
}
