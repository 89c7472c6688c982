//! `get`: which remote names, and under which local ones.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use protocol::{Entry, EntryKind, ErrorCode, RemotePath};

use crate::destination::{Existing, Placement, Sources, is_closed, place};
use crate::direction::{Direction, Job};
use crate::failure::{Failure, cannot};
use crate::invocation::Invocation;
use crate::look::Look;
use crate::names;
use crate::session::Session;
use crate::transfer::Transfer;
use crate::words::Word;

/// Downloads.
pub(crate) fn get(session: &mut Session, invocation: &Invocation) -> Result<(), Failure> {
    let mut transfer = Transfer::new(session, Direction::Get, invocation)?;
    let (sources, last) = match invocation.words.split_last() {
        Some((last, sources)) if !sources.is_empty() => (sources, Some(last)),
        _ => (invocation.words.as_slice(), None),
    };
    let found = find(&mut transfer, sources, invocation.has(b'r'))?;
    let kind = match found.as_slice() {
        [] => return transfer.finish(),
        [only] if sources.len() == 1 && only.is_tree() => Sources::OneTree,
        [_] if sources.len() == 1 => Sources::OneFile,
        _ => Sources::Several,
    };
    let target = Target::find(transfer.session, last, kind)?;
    transfer.session.client()?.keep_streams(found.len() > 1);
    let moved = found
        .chunk_by(|one, next| one.is_file() && next.is_file())
        .try_for_each(|together| fetch(&mut transfer, &target, together));
    transfer.session.client()?.keep_streams(false);
    moved?;
    transfer.finish()
}

/// A name that is there.
struct Found {
    path: RemotePath,
    /// What it is, or what the link leads to.
    entry: Entry,
}

impl Found {
    fn is_tree(&self) -> bool {
        self.entry.kind == EntryKind::Directory
    }

    fn is_file(&self) -> bool {
        self.entry.kind == EntryKind::File
    }
}

fn fetch(transfer: &mut Transfer<'_>, target: &Target, found: &[Found]) -> Result<(), Failure> {
    let names: HashSet<_> = found.iter().map(|found| found.path.name()).collect();
    // Files of the same name follow one another: the later one finds the earlier.
    if transfer.moves_together() && found.len() > 1 && names.len() == found.len() {
        let files = found
            .iter()
            .map(|found| (found.path.clone(), found.entry.clone()));
        return transfer.fetch_files(files.collect(), &target.path);
    }
    found.iter().try_for_each(|found| {
        transfer.run(&Job {
            local: target.name_for(&found.path),
            remote: found.path.clone(),
            is_tree: found.is_tree(),
        })
    })
}

/// The files and trees that are there; what is not is told.
fn find(
    transfer: &mut Transfer<'_>,
    words: &[Word],
    recursive: bool,
) -> Result<Vec<Found>, Failure> {
    let mut named = Vec::new();
    for word in words {
        match names::remote_with_facts(transfer.session, word, "get") {
            Err(failure) => {
                let path = transfer.session.folder.resolve(word.literal()).ok();
                transfer.failed(path.as_ref(), None, &failure)?;
            }
            Ok(names) => named.extend(names),
        }
    }
    let looked = match names::look(transfer.session, named, ("get", Look::ToGet)) {
        Ok(looked) => looked,
        Err(failure) => {
            transfer.failed(None, None, &failure)?;
            return Ok(Vec::new());
        }
    };
    let mut found = Vec::with_capacity(looked.len());
    for (name, entry) in looked {
        let path = name.path;
        let tried = || cannot("get", path.as_bytes());
        let entry = match entry {
            Ok(entry) if entry.kind == EntryKind::Directory && !recursive => {
                Err(is_a_directory(tried()))
            }
            entry => entry.map_err(Failure::of(tried())),
        };
        match entry {
            Ok(entry) => found.push(Found { path, entry }),
            Err(failure) => transfer.failed(Some(&path), None, &failure)?,
        }
    }
    Ok(found)
}

/// A folder, without `-r`.
pub(crate) fn is_a_directory(tried: String) -> Failure {
    Failure::refused(
        tried,
        ErrorCode::IsDirectory,
        "is a directory (-r takes folders)",
    )
}

/// Where it all goes.
struct Target {
    path: PathBuf,
    is_folder: bool,
}

impl Target {
    fn find(session: &Session, last: Option<&Word>, sources: Sources) -> Result<Self, Failure> {
        let Some(word) = last else {
            return Ok(Self {
                path: session.local.clone(),
                is_folder: true,
            });
        };
        let path = session.local_path(word.literal());
        let tried = cannot("get into", word.literal());
        let existing = match fs::metadata(&path) {
            Ok(facts) if facts.is_dir() => Existing::Folder,
            Ok(_) => Existing::File,
            Err(error) if error.kind() == ErrorKind::NotADirectory => Existing::File,
            Err(_) => Existing::Nothing,
        };
        let placement = place(existing, is_closed(word.literal()), sources)
            .map_err(|_| Failure::of(tried.clone())(ErrorCode::NotDirectory))?;
        if placement == Placement::IntoNew {
            fs::create_dir(&path).map_err(Failure::of(tried))?;
        }
        Ok(Self {
            path,
            is_folder: placement != Placement::As,
        })
    }

    fn name_for(&self, remote: &RemotePath) -> PathBuf {
        match remote.name() {
            Some(name) if self.is_folder => self.path.join(OsStr::from_bytes(name)),
            // The root has no name: what is in it lands in the folder itself.
            None if self.path.as_os_str().is_empty() => PathBuf::from("."),
            _ => self.path.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::testing::session;

    /// What `get a LAST` would make of it, below a folder that holds `folder/` and `file`.
    fn local_name(last: Option<&str>, sources: Sources) -> Option<String> {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("folder")).unwrap();
        fs::write(folder.path().join("file"), "").unwrap();
        let session = session(folder.path());
        let word = last.map(|last| Word::typed(OsStr::new(last)));
        let target = Target::find(&session, word.as_ref(), sources).ok()?;
        let path = target.name_for(&RemotePath::try_from("/x/a").unwrap());
        if last == Some("new/") && sources != Sources::OneTree {
            assert!(folder.path().join("new").is_dir());
        }
        Some(
            path.strip_prefix(folder.path())
                .unwrap()
                .to_str()?
                .to_owned(),
        )
    }

    #[test]
    fn the_last_name_is_a_name_or_a_folder() {
        use Sources::{OneFile, OneTree, Several};
        for (last, sources, expected) in [
            (None, OneFile, Some("a")),
            (None, OneTree, Some("a")),
            (None, Several, Some("a")),
            (Some("b"), OneFile, Some("b")),
            (Some("file"), OneFile, Some("file")),
            (Some("folder"), OneFile, Some("folder/a")),
            (Some("folder/"), OneFile, Some("folder/a")),
            (Some("."), OneFile, Some("a")),
            (Some("new/"), OneFile, Some("new/a")),
            (Some("file/"), OneFile, None),
            (Some("file/b"), OneFile, Some("file/b")),
            (Some("missing/new/"), OneFile, None),
            (Some("b"), OneTree, Some("b")),
            (Some("b/"), OneTree, Some("b")),
            (Some("folder"), OneTree, Some("folder/a")),
            (Some("file"), OneTree, None),
            (Some("folder"), Several, Some("folder/a")),
            (Some("new/"), Several, Some("new/a")),
            (Some("b"), Several, None),
            (Some("file"), Several, None),
        ] {
            let name = local_name(last, sources);
            assert_eq!(name.as_deref(), expected, "{last:?} {sources:?}");
        }
    }

    #[test]
    fn the_root_s_content_lands_in_the_folder_itself() {
        let root = RemotePath::root();
        let here = session(Path::new(""));
        let target = Target::find(&here, None, Sources::OneTree).unwrap();
        assert_eq!(target.name_for(&root), Path::new("."));
        let there = session(Path::new("/x"));
        let target = Target::find(&there, None, Sources::OneTree).unwrap();
        assert_eq!(target.name_for(&root), Path::new("/x"));
    }
}
