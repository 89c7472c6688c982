//! What a typed word names: a path as it stands, or every path that its wildcards match. The same on both sides.

mod matching;

use std::path::{Path, PathBuf};

use client::ClientError;
use protocol::{Entry, EntryKind, ErrorCode, RemotePath};

use crate::destination::is_closed;
use crate::failure::{Failure, cannot};
use crate::glob;
use crate::look::Look;
use crate::session::Session;
use crate::words::Word;
use matching::{Local, Remote, named};

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
    Ok(only(remote(session, word, verb)?, word, verb)?.path)
}

/// As [`one_remote`], and how it was written. A name that ends in `/` is refused as [`remote_each`] does it.
pub(crate) fn one_remote_itself(
    session: &mut Session,
    word: &Word,
    verb: &str,
) -> Result<Named<RemotePath>, Failure> {
    let mut names = [Ok(only(remote(session, word, verb)?, word, verb)?)];
    refuse_closed(session, &mut names, verb)?;
    let [name] = names;
    name
}

/// What the one name is that `word` stands for. One that ends in `/` is a folder, or a link that leads to one.
pub(crate) fn stat(
    session: &mut Session,
    word: &Word,
    verb: &str,
) -> Result<(RemotePath, Entry), Failure> {
    let name = only(remote(session, word, verb)?, word, verb)?;
    let follow = is_closed(&name.shown);
    let entry = session.client()?.stat(&name.path, follow);
    let entry = entry.and_then(|entry| name.fits(entry));
    let entry = entry.map_err(Failure::of(cannot(verb, name.path.as_bytes())))?;
    Ok((name.path, entry))
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
    Ok(only(local(folder, word, verb)?, word, verb)?.path)
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

/// Whether a word stands for itself alone.
pub(crate) fn is_plain(word: &Word) -> bool {
    !glob::has_wildcards(word.pattern()) && glob::unescaped(word.pattern()) == word.literal()
}

fn only<P>(mut names: Vec<Named<P>>, word: &Word, verb: &str) -> Result<Named<P>, Failure> {
    match (names.pop(), names.is_empty()) {
        (Some(only), true) => Ok(only),
        _ => Err(Failure::refused(
            cannot(verb, word.literal()),
            ErrorCode::BadName,
            "several names match",
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::fs;
    use std::os::unix::ffi::OsStrExt;
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
