//! What a typed word names: a path as it stands, or every path that its wildcards match. The same on both sides.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use client::{Client, ClientError, Listing};
use protocol::{Entry, EntryKind, ErrorCode, RemotePath};

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
    /// What a listing has said of it, where facts were asked for.
    pub(crate) entry: Option<Entry>,
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

/// The remote paths that `words` name, in their order; for a word that names none, why.
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
    names
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

/// What each of these names is: as a listing has said, else as the slave says now.
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
    let mut looked = Vec::new().into_iter();
    if let Some(first) = unknown.first() {
        let failure = Failure::of(cannot(verb, first.as_bytes()));
        let client = session.client()?;
        let entries = match look {
            Look::ToGet => client.stat_to_download(&unknown),
            _ => client.stat_each(&unknown, follow),
        };
        looked = entries.map_err(failure)?.into_iter();
    }
    let with_entry = |mut name: Named<RemotePath>| {
        let entry = match is_unknown(&name) {
            true => looked.next(),
            false => name.entry.take().map(Ok),
        };
        entry.map(|entry| (name, entry))
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
            entry: None,
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

/// A name in a folder.
type Child = (Vec<u8>, Option<Entry>);

/// Where names are looked up.
trait Names {
    type Path: Clone;

    /// The path that is written `typed`; `None` where there can be no such name.
    fn path(&self, typed: &[u8]) -> Option<Self::Path>;

    /// Whether there is such a name, be it a link that leads nowhere.
    fn exists(&mut self, path: &Self::Path) -> Result<bool, Failure>;

    /// The names in a folder, in no order, and, where they are the last component, what is known of each; none where it is no
    /// folder or cannot be read.
    fn children(&mut self, path: &Self::Path, is_last: bool) -> Result<Vec<Child>, Failure>;
}

/// Whether a word stands for itself alone.
pub(crate) fn is_plain(word: &Word) -> bool {
    !glob::has_wildcards(word.pattern()) && glob::unescaped(word.pattern()) == word.literal()
}

fn named<N: Names>(names: &mut N, word: &Word, verb: &str) -> Result<Vec<Named<N::Path>>, Failure> {
    let missing = || Failure::of(cannot(verb, word.literal()))(ErrorCode::NotFound);
    // A name that is there as it was typed is meant, whatever else its wildcards might match.
    if let Some(path) = names.path(word.literal())
        && (is_plain(word) || names.exists(&path)?)
    {
        return Ok(vec![Named::typed(path, word)]);
    }
    let found = matching(names, word.pattern())?;
    if found.is_empty() {
        return Err(missing());
    }
    Ok(found)
}

/// Goes down component by component, with every path that matches so far.
fn matching<N: Names>(names: &mut N, pattern: &[u8]) -> Result<Vec<Named<N::Path>>, Failure> {
    let mut found: Vec<Child> = vec![(Vec::new(), None)];
    // What a listing named is there; what was typed behind it may not be.
    let mut is_listed = false;
    let last = pattern.iter().filter(|&&byte| byte == b'/').count();
    for (index, component) in pattern.split(|&byte| byte == b'/').enumerate() {
        let component = Pattern::new(component);
        let literal = component.literal();
        is_listed = literal
            .as_ref()
            .is_none_or(|name| is_listed && name.is_empty());
        let mut deeper = Vec::new();
        for (mut prefix, _) in found {
            if index > 0 {
                prefix.push(b'/');
            }
            if let Some(name) = &literal {
                deeper.push(([prefix, name.clone()].concat(), None));
            } else if let Some(folder) = names.path(&prefix) {
                let children = names.children(&folder, index == last)?.into_iter();
                let matching = children.filter(|(name, _)| component.matches(name));
                deeper.extend(
                    matching.map(|(name, entry)| ([prefix.as_slice(), &name].concat(), entry)),
                );
            }
        }
        found = deeper;
    }
    found.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
    let mut there = Vec::with_capacity(found.len());
    for (shown, entry) in found {
        if let Some(path) = names.path(&shown)
            && (is_listed || names.exists(&path)?)
        {
            there.push(Named { path, shown, entry });
        }
    }
    Ok(there)
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

    fn children(&mut self, path: &RemotePath, is_last: bool) -> Result<Vec<Child>, Failure> {
        let mut names = Vec::new();
        let facts = self.facts && is_last;
        let listing = Listing {
            recursive: false,
            facts,
        };
        let listed = self.client.list(path, listing, &mut |mut entry| {
            let name = std::mem::take(&mut entry.name);
            names.push((name, Some(entry).filter(|_| facts)));
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

    fn children(&mut self, path: &PathBuf, _: bool) -> Result<Vec<Child>, Failure> {
        let folder = if path.as_os_str().is_empty() {
            Path::new(".")
        } else {
            path
        };
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let child = |entry: fs::DirEntry| (entry.file_name().into_vec(), None);
        Ok(entries.map(child).collect())
    }
}

#[cfg(test)]
mod tests {
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
        ] {
            let expected = expected.iter().map(|&name| name.to_owned()).collect();
            assert_eq!(found(folder.path(), typed), Some(expected), "{typed}");
        }
        for typed in ["*.bin", "a.txt/*", "'*.txt'*", "*/z"] {
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
