//! Tests of the local directory as a session uses it.
#![allow(clippy::print_stdout, reason = "a test that measures says so")]

use std::fs;
use std::ops::ControlFlow;
use std::path::PathBuf;

use protocol::{Condition, Digest, EntryKind, ErrorCode, RemotePath, UploadId};
use tempfile::TempDir;
use testing::skipped;

use super::LocalDirectory;
use crate::{
    AtHand, Found, ListOptions, PendingCommit, Received, Result, StillWanted, Storage,
    StorageError, Stored, Upload, UploadRequest, no_progress,
};

mod inherited;
mod modes;
mod namespace;
mod races;
mod reading;
mod uploads;

/// A served folder that goes with the test.
struct Served {
    folder: TempDir,
    storage: LocalDirectory,
}

impl Served {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let storage = LocalDirectory::open(folder.path()).unwrap();
        Self { folder, storage }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, content: &[u8]) {
        let path = self.at(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn staged(&self) -> Vec<PathBuf> {
        fs::read_dir(self.at(".mini-ftp/staging"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect()
    }

    fn begin(&self, request: &UploadRequest) -> Result<Box<dyn Upload>> {
        self.storage.begin_upload(request, &mut no_progress())
    }

    fn store(&self, request: &UploadRequest, content: &[u8]) -> Result<Stored> {
        self.storage
            .store_whole(request, (content, &digest(content)))
    }

    fn stage(&self, request: &UploadRequest, content: &[u8]) -> PendingCommit {
        let whole = (content, &digest(content));
        let staged = self
            .storage
            .stage_whole(request, whole, &mut AtHand::default());
        staged.unwrap()
    }

    /// The names in a listing, sorted; unreadable folders led by `!`.
    fn names(&self, folder: &str, options: ListOptions) -> Vec<Vec<u8>> {
        let mut names = Vec::new();
        self.storage
            .list(&path(folder), options, &mut |found| {
                names.push(match found {
                    Found::Entry(entry) => entry.name,
                    Found::Unreadable { name, .. } => [b"!", name.as_slice()].concat(),
                });
                ControlFlow::Continue(())
            })
            .unwrap();
        names.sort();
        names
    }
}

fn path(text: &str) -> RemotePath {
    RemotePath::try_from(text).unwrap()
}

fn digest(content: &[u8]) -> Digest {
    Digest(*blake3::hash(content).as_bytes())
}

fn received(content: &[u8]) -> Received {
    Received {
        length: content.len() as u64,
        computed: digest(content),
        announced: digest(content),
    }
}

fn upload(target: &str) -> UploadRequest {
    UploadRequest {
        path: path(target),
        id: None,
        resume: false,
        size: None,
        modified_ns: 1_700_000_000_123_456_789,
        mode: 0o644,
        condition: Condition::Any,
        wanted: StillWanted::default(),
    }
}

fn resumable(target: &str, id: u8) -> UploadRequest {
    UploadRequest {
        id: Some(UploadId([id; 32])),
        resume: true,
        ..upload(target)
    }
}

/// The code of an operation that must have failed.
fn code<T>(result: std::result::Result<T, StorageError>) -> ErrorCode {
    match result {
        Ok(_) => panic!("succeeded"),
        Err(error) => error.code(),
    }
}

#[test]
fn only_an_existing_folder_is_served() {
    let served = Served::new();
    served.write("file", b"");
    assert_eq!(
        code(LocalDirectory::open(&served.at("missing"))),
        ErrorCode::NotFound
    );
    assert_eq!(
        code(LocalDirectory::open(&served.at("file"))),
        ErrorCode::NotDirectory
    );
}

#[test]
fn the_storage_id_stays_and_is_one_for_all() {
    let folder = tempfile::tempdir().unwrap();
    let ids: Vec<_> = std::thread::scope(|scope| {
        let openers: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| LocalDirectory::open(folder.path()).unwrap().id()))
            .collect();
        openers
            .into_iter()
            .map(|opener| opener.join().unwrap())
            .collect()
    });
    assert!(ids.iter().all(|id| *id == ids[0]));
    let text = fs::read_to_string(folder.path().join(".mini-ftp/storage-id")).unwrap();
    assert_eq!(text, format!("{}\n", ids[0]));
    assert_eq!(
        fs::read_dir(folder.path().join(".mini-ftp/staging"))
            .unwrap()
            .count(),
        0
    );
}

#[test]
fn a_storage_folder_that_is_a_link_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(elsewhere.path(), folder.path().join(".mini-ftp")).unwrap();
    assert_eq!(
        code(LocalDirectory::open(folder.path())),
        ErrorCode::NotDirectory
    );
    assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 0);
}

#[test]
fn reserved_names_exist_for_no_request() {
    let served = Served::new();
    served.write("a/.mini-ftp.secret", b"x");
    std::os::unix::fs::symlink(".mini-ftp/staging", served.at("link")).unwrap();
    let storage = &served.storage;
    for name in ["/.mini-ftp", "/.mini-ftp/storage-id", "/a/.mini-ftp.secret"] {
        let name = path(name);
        assert_eq!(code(storage.stat(&name, true)), ErrorCode::BadName);
        assert_eq!(code(storage.open(&name, None)), ErrorCode::BadName);
        assert_eq!(code(storage.remove(&name, true)), ErrorCode::BadName);
        assert_eq!(code(storage.remove_directory(&name)), ErrorCode::BadName);
        assert_eq!(
            code(storage.make_directory(&name, true)),
            ErrorCode::BadName
        );
        assert_eq!(
            code(storage.rename(&name, &path("/b"), true)),
            ErrorCode::BadName
        );
        assert_eq!(
            code(storage.rename(&path("/a"), &name, true)),
            ErrorCode::BadName
        );
        let request = UploadRequest {
            path: name,
            ..upload("/a")
        };
        assert_eq!(code(served.begin(&request)), ErrorCode::BadName);
    }
    assert_eq!(
        code(
            storage.list(&path("/link"), ListOptions::default(), &mut |_| {
                ControlFlow::Continue(())
            })
        ),
        ErrorCode::BadName
    );
    let everything = ListOptions {
        recursive: true,
        facts: true,
    };
    assert_eq!(
        served.names("/", everything),
        [b"a".to_vec(), b"link".to_vec()]
    );
}

#[test]
fn the_root_stays() {
    let served = Served::new();
    let root = RemotePath::root();
    let storage = &served.storage;
    assert_eq!(
        storage.stat(&root, false).unwrap().kind,
        EntryKind::Directory
    );
    for refused in [
        storage.remove(&root, true),
        storage.remove_directory(&root),
        storage.rename(&root, &path("/a"), true),
        storage.rename(&path("/a"), &root, true),
        served
            .begin(&UploadRequest {
                path: root.clone(),
                ..upload("/a")
            })
            .map(drop),
    ] {
        assert_eq!(code(refused), ErrorCode::NotPermitted);
    }
    assert_eq!(
        code(storage.make_directory(&root, false)),
        ErrorCode::Exists
    );
    storage.make_directory(&root, true).unwrap();
}

#[test]
fn space_is_told() {
    let space = Served::new().storage.space().unwrap();
    assert!(space.total > 0 && space.available <= space.total);
}
