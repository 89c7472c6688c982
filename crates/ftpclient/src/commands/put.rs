//! `put`: which local names, and under which remote ones.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use protocol::{EntryKind, ErrorCode, RemotePath};

use crate::commands::get::is_a_directory;
use crate::destination::{Existing, Placement, Sources, is_closed, place};
use crate::direction::{Direction, Job};
use crate::failure::{Failure, cannot};
use crate::invocation::Invocation;
use crate::names;
use crate::session::{Session, remote_seen_from};
use crate::transfer::Transfer;
use crate::words::Word;

/// Uploads.
pub(crate) fn put(session: &mut Session, invocation: &Invocation) -> Result<(), Failure> {
    let (sources, last) = match invocation.words.split_last() {
        Some((last, sources)) if !sources.is_empty() => (sources, Some(last)),
        _ => (invocation.words.as_slice(), None),
    };
    if let (Some(last), [source]) = (last, sources) {
        refuse_two_files(session, source, last)?;
    }
    let mut transfer = Transfer::new(session, Direction::Put, invocation)?;
    let found = find(&mut transfer, sources, invocation.has(b'r'))?;
    let kind = match found.as_slice() {
        [] => return transfer.finish(),
        [(_, true)] if sources.len() == 1 => Sources::OneTree,
        [_] if sources.len() == 1 => Sources::OneFile,
        _ => Sources::Several,
    };
    let target = Target::find(transfer.session, last, kind)?;
    let mut jobs = Vec::with_capacity(found.len());
    for (local, is_tree) in found {
        match target.name_for(&local) {
            Ok(remote) => jobs.push(Job {
                remote,
                local,
                is_tree,
            }),
            Err(failure) => transfer.failed(None, Some(&local), &failure)?,
        }
    }
    let both_plain = |one: &Job, next: &Job| is_plain_file(one) && is_plain_file(next);
    jobs.chunk_by(both_plain)
        .try_for_each(|together| send(&mut transfer, &target, together))?;
    transfer.finish()
}

/// A link is followed where it is named, so it is sent for itself.
fn is_plain_file(job: &Job) -> bool {
    fs::symlink_metadata(&job.local).is_ok_and(|facts| facts.is_file())
}

fn send(transfer: &mut Transfer<'_>, target: &Target, jobs: &[Job]) -> Result<(), Failure> {
    let names: HashSet<_> = jobs.iter().map(|job| job.remote.as_bytes()).collect();
    // Files of the same name follow one another: the later one finds the earlier.
    if transfer.moves_together() && jobs.len() > 1 && names.len() == jobs.len() {
        return transfer.send_files(jobs, &target.path);
    }
    jobs.iter().try_for_each(|job| transfer.run(job))
}

/// `put *.txt` where the shell found two files would upload one under the other's name.
fn refuse_two_files(session: &Session, source: &Word, last: &Word) -> Result<(), Failure> {
    let is_file = |name: &[u8]| session.local_path(name).is_file();
    // No glob matches the same name twice.
    if source.literal() == last.literal() || !is_file(last.literal()) {
        return Ok(());
    }
    let way = session
        .folder
        .resolve(last.literal())
        .ok()
        .and_then(|path| {
            let ways = [path.as_bytes().to_vec(), seen_from(&session.folder, &path)];
            ways.into_iter().find(|way| !is_file(way))
        });
    let (source, last) = (cli::name(source.literal()), cli::name(last.literal()));
    let mut sentence = format!(
        "put: '{last}' is a local file too; to upload both, name a folder last: put '{source}' '{last}' ."
    );
    if let Some(way) = way {
        let way = cli::name(&way);
        sentence += &format!("; to upload '{source}' as '{last}': put '{source}' '{way}'");
    }
    Err(Failure::Usage(sentence))
}

/// The relative name of `path` in that folder, by way of the root where it is not below.
fn seen_from(folder: &RemotePath, path: &RemotePath) -> Vec<u8> {
    match remote_seen_from(folder, path) {
        below if !below.starts_with(b"/") => below.to_vec(),
        _ => [&b"../".repeat(folder.components().count()), path.relative()].concat(),
    }
}

/// The files and trees that are there; what is not is told.
fn find(
    transfer: &mut Transfer<'_>,
    words: &[Word],
    recursive: bool,
) -> Result<Vec<(PathBuf, bool)>, Failure> {
    let mut found = Vec::new();
    for word in words {
        match names::local(&transfer.session.local, word, "put") {
            Err(failure) => transfer.failed(None, None, &failure)?,
            Ok(names) => {
                for name in names {
                    match is_tree(&name.path, recursive) {
                        Ok(is_tree) => found.push((name.path, is_tree)),
                        Err(failure) => transfer.failed(None, Some(&name.path), &failure)?,
                    }
                }
            }
        }
    }
    Ok(found)
}

fn is_tree(path: &Path, recursive: bool) -> Result<bool, Failure> {
    let tried = || cannot("put", path.as_os_str().as_bytes());
    let facts = fs::metadata(path).map_err(Failure::of(tried()))?;
    match (facts.is_dir(), recursive) {
        (true, false) => Err(is_a_directory(tried())),
        (is_folder, _) => Ok(is_folder),
    }
}

/// Where it all goes.
struct Target {
    path: RemotePath,
    is_folder: bool,
}

impl Target {
    fn find(session: &mut Session, last: Option<&Word>, sources: Sources) -> Result<Self, Failure> {
        let Some(word) = last else {
            return Ok(Self {
                path: session.folder.clone(),
                is_folder: true,
            });
        };
        let tried = cannot("put into", word.literal());
        let path = session
            .folder
            .resolve(word.literal())
            .map_err(Failure::of(tried.clone()))?;
        let client = session.client()?;
        let existing = match client.stat(&path, true).map_err(Failure::of(tried.clone())) {
            Ok(entry) if entry.kind == EntryKind::Directory => Existing::Folder,
            Ok(_) => Existing::File,
            Err(failure) if failure.is(ErrorCode::NotFound) => Existing::Nothing,
            Err(failure) => return Err(failure),
        };
        let placement = place(existing, is_closed(word.literal()), sources)
            .map_err(|_| Failure::of(tried.clone())(ErrorCode::NotDirectory))?;
        if placement == Placement::IntoNew {
            client
                .make_directory(&path, false)
                .map_err(Failure::of(tried))?;
        }
        Ok(Self {
            path,
            is_folder: placement != Placement::As,
        })
    }

    fn name_for(&self, local: &Path) -> Result<RemotePath, Failure> {
        if !self.is_folder {
            return Ok(self.path.clone());
        }
        let tried = || cannot("put", local.as_os_str().as_bytes());
        match own_name(local).map_err(Failure::of(tried()))? {
            Some(name) => self
                .path
                .join(name.as_bytes())
                .map_err(Failure::of(tried())),
            None => Ok(self.path.clone()),
        }
    }
}

/// The last component, also of `.` and `..`; none of `/`.
pub(crate) fn own_name(local: &Path) -> std::io::Result<Option<OsString>> {
    if let Some(name) = local.file_name() {
        // `Path` takes a closing `/.` off, as the shells do.
        return Ok(Some(name.to_owned()));
    }
    #[allow(
        clippy::disallowed_methods,
        reason = "asks what a folder is called; nothing is opened by the answer"
    )]
    let whole = fs::canonicalize(if local.as_os_str().is_empty() {
        Path::new(".")
    } else {
        local
    })?;
    Ok(whole.file_name().map(OsString::from))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;
    use crate::testing::session;

    #[test]
    fn two_local_files_are_taken_for_a_glob() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("b.txt"), "").unwrap();
        fs::create_dir(folder.path().join("folder")).unwrap();
        let mut session = session(folder.path());
        session.folder = RemotePath::try_from("/pub").unwrap();
        let word = |text| Word::typed(OsStr::new(text));
        for allowed in ["c.txt", "folder", "b.txt/", "/b.txt"] {
            assert!(refuse_two_files(&session, &word("a.txt"), &word(allowed)).is_ok());
        }
        let refusal = refuse_two_files(&session, &word("a.txt"), &word("b.txt")).unwrap_err();
        assert_eq!(
            refusal.to_string(),
            "put: 'b.txt' is a local file too; to upload both, name a folder last: put 'a.txt' 'b.txt' .; \
             to upload 'a.txt' as 'b.txt': put 'a.txt' '/pub/b.txt'"
        );
    }

    #[test]
    fn what_the_refusal_shows_is_not_refused() {
        let folder = tempfile::tempdir().unwrap();
        let local = |name| folder.path().join(name).to_str().unwrap().to_owned();
        let (source, last) = (local("a.txt"), local("b.txt"));
        fs::write(&source, "").unwrap();
        fs::write(&last, "").unwrap();
        let mut session = session(&folder.path().join("elsewhere"));
        let word = |text: &str| Word::typed(OsStr::new(text));
        assert!(refuse_two_files(&session, &word(&last), &word(&last)).is_ok());
        for remote in ["/", "/deep/down", folder.path().to_str().unwrap()] {
            session.folder = RemotePath::try_from(remote).unwrap();
            let refusal = refuse_two_files(&session, &word(&source), &word(&last)).unwrap_err();
            let sentence = refusal.to_string();
            let shown = sentence.split('\'').rev().nth(1).unwrap();
            assert_ne!(shown, last, "{sentence}");
            assert!(refuse_two_files(&session, &word(&source), &word(shown)).is_ok());
            let meant = session.folder.resolve(shown.as_bytes()).unwrap();
            assert_eq!(meant.as_bytes(), last.as_bytes(), "{sentence}");
        }
    }

    #[test]
    fn every_folder_but_the_root_has_a_name() {
        let folder = tempfile::tempdir().unwrap();
        let name = folder.path().file_name().map(OsString::from);
        fs::create_dir(folder.path().join("x")).unwrap();
        for path in ["", ".", "x/.."] {
            assert_eq!(own_name(&folder.path().join(path)).unwrap(), name, "{path}");
        }
        assert_eq!(own_name(Path::new("/")).unwrap(), None);
        assert!(own_name(Path::new(".")).unwrap().is_some());
    }

    #[test]
    fn folders_need_the_option() {
        let folder = tempfile::tempdir().unwrap();
        let refusal = is_tree(folder.path(), false).unwrap_err();
        assert!(refusal.is(ErrorCode::IsDirectory));
        assert!(is_tree(folder.path(), true).unwrap());
        let missing = is_tree(&folder.path().join("x"), true).unwrap_err();
        assert!(
            missing.to_string().ends_with("/x': no such file"),
            "{missing}"
        );
    }
}
