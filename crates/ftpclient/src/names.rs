//! What a typed word names: a path as it stands, or every path that its wildcards match. The same on both sides.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use client::{Client, Listing};
use protocol::{ErrorCode, RemotePath};

use crate::failure::{Failure, cannot};
use crate::glob::{self, Pattern};
use crate::session::Session;
use crate::words::Word;

/// A path that a word names, and how to write it: relative where the word was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Named<P> {
    pub(crate) path: P,
    pub(crate) shown: Vec<u8>,
}

/// The remote paths that `word` names; with wildcards, at least one. `verb` is what is to be done with them.
pub(crate) fn remote(
    session: &mut Session,
    word: &Word,
    verb: &str,
) -> Result<Vec<Named<RemotePath>>, Failure> {
    let folder = session.folder.clone();
    // Nobody is asked about a plain name: what is done with it will show whether it is there.
    if is_plain(word) {
        let path = folder
            .resolve(word.literal())
            .map_err(Failure::of(cannot(verb, word.literal())))?;
        let shown = word.literal().to_vec();
        return Ok(vec![Named { path, shown }]);
    }
    let client = session.client()?;
    named(&mut Remote { client, folder }, word, verb)
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

/// Where names are looked up.
trait Names {
    type Path: Clone;

    /// The path that is written `typed`; `None` where there can be no such name.
    fn path(&self, typed: &[u8]) -> Option<Self::Path>;

    /// Whether there is such a name, be it a link that leads nowhere.
    fn exists(&mut self, path: &Self::Path) -> Result<bool, Failure>;

    /// The names in a folder, in no order; none where it is no folder or cannot be read.
    fn children(&mut self, path: &Self::Path) -> Result<Vec<Vec<u8>>, Failure>;
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
        let shown = word.literal().to_vec();
        return Ok(vec![Named { path, shown }]);
    }
    let found = matching(names, word.pattern())?;
    if found.is_empty() {
        return Err(missing());
    }
    Ok(found)
}

/// Goes down component by component, with every path that matches so far.
fn matching<N: Names>(names: &mut N, pattern: &[u8]) -> Result<Vec<Named<N::Path>>, Failure> {
    let mut found: Vec<Vec<u8>> = vec![Vec::new()];
    // What a listing named is there; what was typed behind it may not be.
    let mut is_listed = false;
    for (index, component) in pattern.split(|&byte| byte == b'/').enumerate() {
        let component = Pattern::new(component);
        let literal = component.literal();
        is_listed = literal
            .as_ref()
            .is_none_or(|name| is_listed && name.is_empty());
        let mut deeper = Vec::new();
        for mut prefix in found {
            if index > 0 {
                prefix.push(b'/');
            }
            if let Some(name) = &literal {
                deeper.push([prefix, name.clone()].concat());
            } else if let Some(folder) = names.path(&prefix) {
                let mut children = names.children(&folder)?;
                children.retain(|name| component.matches(name));
                deeper.extend(
                    children
                        .iter()
                        .map(|name| [&prefix, name.as_slice()].concat()),
                );
            }
        }
        found = deeper;
    }
    found.sort_unstable();
    let mut there = Vec::with_capacity(found.len());
    for shown in found {
        if let Some(path) = names.path(&shown)
            && (is_listed || names.exists(&path)?)
        {
            there.push(Named { path, shown });
        }
    }
    Ok(there)
}

struct Remote<'a> {
    client: &'a mut Client,
    folder: RemotePath,
}

impl Remote<'_> {
    /// What the server said, unless it only said that there is nothing to find.
    fn unless_absent<T>(
        result: Result<T, client::ClientError>,
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

    fn children(&mut self, path: &RemotePath) -> Result<Vec<Vec<u8>>, Failure> {
        let mut names = Vec::new();
        let listing = Listing {
            recursive: false,
            facts: false,
        };
        let listed = self
            .client
            .list(path, listing, &mut |entry| names.push(entry.name));
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

    fn children(&mut self, path: &PathBuf) -> Result<Vec<Vec<u8>>, Failure> {
        let folder = if path.as_os_str().is_empty() {
            Path::new(".")
        } else {
            path
        };
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        Ok(entries.map(|entry| entry.file_name().into_vec()).collect())
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
