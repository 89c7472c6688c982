//! What a typed word names: a path as it stands, or every path that its wildcards match. The same on both sides.

use std::ffi::OsStr;
use std::fs::{self, FileType};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use client::{Client, ClientError, Listing};
use protocol::{Entry, EntryKind, ErrorCode, RemotePath};

use crate::destination::is_closed;
use crate::failure::{Failure, cannot};
use crate::glob::{self, Pattern};
use crate::look::Look;
use crate::session::Session;
use crate::words::Word;

/// A path that a word names, and how to write it: relative where the word was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Named<P> {
    pub(crate) path: P,
    pub(crate) shown: Vec<u8>,
    /// What a listing has said that it is; a link is a link.
    kind: Option<EntryKind>,
    /// What a listing has said of it, where facts were asked for.
    entry: Option<Entry>,
}

/// The remote paths that `word` names; with wildcards, at least one. `verb` is what is to be done with them.
pub(crate) fn remote(
    session: &mut Session,
    word: &Word,
    verb: &str,
) -> Result<Vec<Named<RemotePath>>, Failure> {
    remote_with(session, word, (verb, false))
}

/// The same, with facts about those that are found in a listing.
pub(crate) fn remote_with_facts(
    session: &mut Session,
    word: &Word,
    verb: &str,
) -> Result<Vec<Named<RemotePath>>, Failure> {
    remote_with(session, word, (verb, true))
}

/// The remote paths that `words` name, in their order; for a word that names none, why. One that ends in `/` names a folder, and
/// no link to one: what is then done with the path, which has no `/`, would be done with the link.
pub(crate) fn remote_each(
    session: &mut Session,
    words: &[Word],
    verb: &str,
) -> Vec<Result<Named<RemotePath>, Failure>> {
    let mut names = Vec::with_capacity(words.len());
    for word in words {
        match remote(session, word, verb) {
            Ok(named) => names.extend(named.into_iter().map(Ok)),
            Err(failure) => {
                let is_end = failure.ends_the_command();
                names.push(Err(failure));
                if is_end {
                    break;
                }
            }
        }
    }
    if let Err(failure) = refuse_closed(session, &mut names, verb) {
        names.retain(Result::is_err);
        names.push(Err(failure));
    }
    names
}

/// Refuses names that end in `/` and are no folders. Only what no listing has told is asked for.
fn refuse_closed(
    session: &mut Session,
    names: &mut [Result<Named<RemotePath>, Failure>],
    verb: &str,
) -> Result<(), Failure> {
    let is_unknown = |name: &&Named<RemotePath>| is_closed(&name.shown) && name.kind.is_none();
    let unknown = names.iter().flatten().filter(is_unknown);
    let unknown: Vec<_> = unknown.map(|name| name.path.clone()).collect();
    let mut looked = ask(session, &unknown, (verb, Look::AtName))?.into_iter();
    for name in names {
        let Ok(closed) = name else { continue };
        if !is_closed(&closed.shown) {
            continue;
        }
        let kind = match closed.kind {
            Some(kind) => Some(Ok(kind)),
            None => looked.next().map(|entry| entry.map(|entry| entry.kind)),
        };
        let error = match kind {
            Some(Ok(EntryKind::Directory)) => continue,
            Some(Err(error)) => error,
            Some(Ok(_)) | None => ErrorCode::NotDirectory.into(),
        };
        *name = Err(Failure::of(cannot(verb, closed.path.as_bytes()))(error));
    }
    Ok(())
}

/// What the slave says that each of these is; nobody is asked about none.
fn ask(
    session: &mut Session,
    paths: &[RemotePath],
    (verb, look): (&str, Look),
) -> Result<Vec<Result<Entry, ClientError>>, Failure> {
    let Some(first) = paths.first() else {
        return Ok(Vec::new());
    };
    let client = session.client()?;
    let entries = match look {
        Look::ToGet => client.stat_to_download(paths),
        Look::AtName => client.stat_each(paths, false),
        Look::Through | Look::ThroughOrHere => client.stat_each(paths, true),
    };
    entries.map_err(Failure::of(cannot(verb, first.as_bytes())))
}

fn remote_with(
    session: &mut Session,
    word: &Word,
    (verb, facts): (&str, bool),
) -> Result<Vec<Named<RemotePath>>, Failure> {
    let folder = session.folder.clone();
    // Nobody is asked about a plain name: what is done with it will show whether it is there.
    if is_plain(word) {
        let path = folder
            .resolve(word.literal())
            .map_err(Failure::of(cannot(verb, word.literal())))?;
        return Ok(vec![Named::typed(path, word)]);
    }
    let client = session.client()?;
    let mut names = Remote {
        client,
        folder,
        facts,
    };
    named(&mut names, word, verb)
}

/// A name, and what it is.
type Looked = (Named<RemotePath>, Result<Entry, ClientError>);

/// What each of these names is: as a listing has said, else as the slave says now. A file whose name ends in `/` is not there.
pub(crate) fn look(
    session: &mut Session,
    named: Vec<Named<RemotePath>>,
    (verb, look): (&str, Look),
) -> Result<Vec<Looked>, Failure> {
    let follow = look != Look::AtName;
    let is_unknown = |name: &Named<RemotePath>| {
        let entry = name.entry.as_ref();
        entry.is_none_or(|entry| follow && entry.kind == EntryKind::Link)
    };
    let unknown = named.iter().filter(|name| is_unknown(name));
    let unknown: Vec<_> = unknown.map(|name| name.path.clone()).collect();
    let mut looked = ask(session, &unknown, (verb, look))?.into_iter();
    let with_entry = |mut name: Named<RemotePath>| {
        let entry = match is_unknown(&name) {
            true => looked.next(),
            false => name.entry.take().map(Ok),
        };
        let entry = entry?.and_then(|entry| name.fits(entry));
        Some((name, entry))
    };
    Ok(named.into_iter().filter_map(with_entry).collect())
}

/// The one remote path that `word` names, for commands that take one.
pub(crate) fn one_remote(
    session: &mut Session,
    word: &Word,
    verb: &str,
) -> Result<RemotePath, Failure> {
    only(remote(session, word, verb)?, word, verb)
}

/// The local paths that `word` names, below `folder` where it is relative; with wildcards, at least one.
pub(crate) fn local(
    folder: &Path,
    word: &Word,
    verb: &str,
) -> Result<Vec<Named<PathBuf>>, Failure> {
    let folder = folder.to_owned();
    named(&mut Local { folder }, word, verb)
}

/// The one local path that `word` names.
pub(crate) fn one_local(folder: &Path, word: &Word, verb: &str) -> Result<PathBuf, Failure> {
    only(local(folder, word, verb)?, word, verb)
}

impl<P> Named<P> {
    /// As it was typed.
    fn typed(path: P, word: &Word) -> Self {
        Self {
            path,
            shown: word.literal().to_vec(),
            kind: None,
            entry: None,
        }
    }

    /// `entry`, unless it is a file and the name ends in `/`.
    pub(crate) fn fits(&self, entry: Entry) -> Result<Entry, ClientError> {
        match entry.kind {
            EntryKind::File | EntryKind::Other if is_closed(&self.shown) => {
                Err(ErrorCode::NotDirectory.into())
            }
            _ => Ok(entry),
        }
    }
}

fn only<P>(mut paths: Vec<Named<P>>, word: &Word, verb: &str) -> Result<P, Failure> {
    match (paths.pop(), paths.is_empty()) {
        (Some(only), true) => Ok(only.path),
        _ => Err(Failure::refused(
            cannot(verb, word.literal()),
            ErrorCode::BadName,
            "several names match",
        )),
    }
}

/// A name that matches so far: how it is written, and what a listing has said of it.
#[derive(Default)]
struct Candidate {
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
trait Names {
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

/// Whether a word stands for itself alone.
pub(crate) fn is_plain(word: &Word) -> bool {
    !glob::has_wildcards(word.pattern()) && glob::unescaped(word.pattern()) == word.literal()
}

fn named<N: Names>(names: &mut N, word: &Word, verb: &str) -> Result<Vec<Named<N::Path>>, Failure> {
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

struct Remote<'a> {
    client: &'a mut Client,
    folder: RemotePath,
    facts: bool,
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

struct Local {
    folder: PathBuf,
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::words;

    fn found(folder: &Path, typed: &str) -> Option<Vec<String>> {
        let commands = words::split(typed.as_bytes()).unwrap();
        let names = local(folder, &commands[0][0], "put").ok()?;
        names
            .into_iter()
            .map(|name| {
                assert_eq!(name.path, folder.join(OsStr::from_bytes(&name.shown)));
                String::from_utf8(name.shown).ok()
            })
            .collect()
    }

    #[test]
    fn wildcards_work_in_any_component() {
        let folder = tempfile::tempdir().unwrap();
        for path in [
            "b.txt",
            "a.txt",
            ".hidden.txt",
            "p1/x",
            "p1/y",
            "p2/x",
            "[z]*",
        ] {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        for (typed, expected) in [
            ("*.txt", &["a.txt", "b.txt"] as &[_]),
            (".*.txt", &[".hidden.txt"]),
            ("p*/x", &["p1/x", "p2/x"]),
            ("p?/y", &["p1/y"]),
            ("./p1/*", &["./p1/x", "./p1/y"]),
            ("[z]*", &["[z]*"]),
            ("'[z]*'", &["[z]*"]),
            ("p*/", &["p1/", "p2/"]),
            ("p1/../p[2]", &["p1/../p2"]),
            ("missing", &["missing"]),
            ("missing/", &["missing/"]),
        ] {
            let expected = expected.iter().map(|&name| name.to_owned()).collect();
            assert_eq!(found(folder.path(), typed), Some(expected), "{typed}");
        }
        for typed in ["*.bin", "a.txt/*", "'*.txt'*", "*/z"] {
            assert_eq!(found(folder.path(), typed), None, "{typed}");
        }
    }

    #[test]
    fn what_ends_in_a_slash_or_is_gone_into_is_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for name in ["p1/x", "p2/sub/x", "pfile", "p*"] {
            fs::create_dir_all(path(name).parent().unwrap()).unwrap();
            fs::write(path(name), "").unwrap();
        }
        for (target, link) in [("p1", "plink"), ("pfile", "plink-file"), ("gone", "pgone")] {
            symlink(target, path(link)).unwrap();
        }
        for (typed, expected) in [
            ("p*/", &["p1/", "p2/", "plink/"] as &[_]),
            ("p*/.", &["p1/.", "p2/.", "plink/."]),
            ("p*/..", &["p1/..", "p2/..", "plink/.."]),
            ("p*/x", &["p1/x", "plink/x"]),
            ("p*/*/", &["p2/sub/"]),
            ("p?/sub/", &["p2/sub/"]),
            ("p*", &["p*"]),
        ] {
            let expected = expected.iter().map(|&name| name.to_owned()).collect();
            assert_eq!(found(folder.path(), typed), Some(expected), "{typed}");
        }
        for typed in ["pf*/", "pf*/..", "p?/x/", "pg*/"] {
            assert_eq!(found(folder.path(), typed), None, "{typed}");
        }
    }

    #[test]
    fn a_backslash_from_the_shell_protects_a_wildcard() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a*"), "").unwrap();
        fs::write(folder.path().join("ab"), "").unwrap();
        let names = local(folder.path(), &Word::typed(OsStr::new(r"a\*")), "put").unwrap();
        assert_eq!(names.len(), 1);
        assert_eq!(names[0].shown, b"a*");
    }
}
