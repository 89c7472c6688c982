//! Contents to transfer, and folders to compare.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use storage::{LocalDirectory, Storage};

/// `length` bytes that look random and are the same for the same `seed`.
pub fn random_bytes(seed: u64, length: usize) -> Vec<u8> {
    let mut content = vec![0; length];
    blake3::Hasher::new()
        .update(&seed.to_be_bytes())
        .finalize_xof()
        .fill(&mut content);
    content
}

/// Writes `content` to `path`, and makes the folders above.
pub fn write_file(path: &Path, content: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// Bytes that a file takes on disk, which for one with holes tells how much of it is there; 0 where there is none.
pub fn allocated(path: &Path) -> u64 {
    const UNIT: u64 = 512; // stat(2)
    fs::metadata(path).map_or(0, |facts| facts.blocks() * UNIT)
}

/// The digest as users see it.
pub fn digest_of(content: &[u8]) -> String {
    blake3::hash(content).to_hex().to_string()
}

/// What stands at one name of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    File(String),
    Folder,
    Link(PathBuf),
}

/// Everything beneath `root` by its path from there, contents by their digests; what the programs keep for themselves
/// (names that begin with `.mini-ftp`) is left out.
pub fn tree(root: &Path) -> BTreeMap<PathBuf, Node> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap().map(Result::unwrap) {
            if entry.file_name().as_bytes().starts_with(b".mini-ftp") {
                continue;
            }
            let path = entry.path();
            let kind = entry.file_type().unwrap();
            let node = if kind.is_dir() {
                folders.push(path.clone());
                Node::Folder
            } else if kind.is_symlink() {
                Node::Link(fs::read_link(&path).unwrap())
            } else {
                Node::File(digest_of(&fs::read(&path).unwrap()))
            };
            found.insert(path.strip_prefix(root).unwrap().to_owned(), node);
        }
    }
    found
}

/// What uploads in progress, or given up, have left in the storage.
pub fn staged(root: &Path) -> Vec<PathBuf> {
    let Ok(staging) = fs::read_dir(root.join(".mini-ftp/staging")) else {
        return Vec::new();
    };
    staging.map(|entry| entry.unwrap().path()).collect()
}

/// Has the storage's own sweep take all that is staged, for its age: so many, and nothing is left.
#[track_caller]
pub fn sweep_staging(root: &Path) -> u64 {
    let storage = LocalDirectory::open(root).unwrap();
    let swept = storage.sweep(Duration::ZERO, u64::MAX).unwrap();
    let left = staged(root);
    assert!(left.is_empty(), "the sweep took {swept} and left {left:?}");
    swept
}
