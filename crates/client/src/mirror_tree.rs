//! A tree as a mirror sees it, from either side: every name by its path below the root, and what could not be looked into.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use protocol::{Entry, EntryKind, ErrorCode, RemotePath};
use rustix::fs::FileType;

use crate::context::Context;
use crate::folder::{Facts, Folder};
use crate::{Client, ClientError, Listing, Result};

/// Every name below a root. A path sorts behind the folder that it is in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tree {
    /// By path; the entries themselves have no name.
    pub(crate) names: BTreeMap<Vec<u8>, Entry>,
    /// Folders whose names are not, or not all, known, and names of which nothing else is.
    pub(crate) unreadable: BTreeMap<Vec<u8>, ClientError>,
}

impl Client {
    /// The tree below a folder of the storage, by one listing.
    pub(crate) fn remote_tree(&mut self, path: &RemotePath) -> Result<Tree> {
        let mut tree = Tree::default();
        let listing = Listing {
            recursive: true,
            facts: true,
        };
        let unreadable = self.list(path, listing, &mut |mut entry| {
            let name = std::mem::take(&mut entry.name);
            tree.names.insert(name, entry);
        })?;
        for folder in unreadable {
            tree.unreadable.insert(folder.name, folder.code.into());
        }
        Ok(tree)
    }
}

/// The tree below a local folder. No symbolic link below it is followed.
pub(crate) fn local_tree(root: &Folder, context: &Context) -> Result<Tree> {
    let mut tree = Tree::default();
    take_folder(root, Path::new(""), &mut tree)?;
    let mut folders: Vec<PathBuf> = tree.folders_in(b"");
    while let Some(path) = folders.pop() {
        context.check()?;
        let taken = root
            .beneath(&path)
            .map_err(ClientError::from)
            .and_then(|folder| take_folder(&folder, &path, &mut tree));
        let key = path.as_os_str().as_bytes();
        match taken {
            Ok(()) => folders.extend(tree.folders_in(key)),
            // That a folder is gone says nothing of what was in it: it may come back with the next mount.
            Err(error) => drop(tree.unreadable.insert(key.to_owned(), error)),
        }
    }
    Ok(tree)
}

impl Tree {
    /// Everything below the folder `path`, the folder itself left out.
    pub(crate) fn below(&self, path: &[u8]) -> impl Iterator<Item = (&[u8], &Entry)> {
        let prefix = prefix(path);
        self.names
            .range(prefix.clone()..)
            .take_while(move |(name, _)| name.starts_with(&prefix))
            .map(|(name, entry)| (name.as_slice(), entry))
    }

    fn folders_in(&self, path: &[u8]) -> Vec<PathBuf> {
        let depth = prefix(path).len();
        self.below(path)
            .filter(|(name, entry)| {
                let own = name.get(depth..).unwrap_or_default();
                entry.kind == EntryKind::Directory && !own.contains(&b'/')
            })
            .map(|(name, _)| PathBuf::from(OsStr::from_bytes(name)))
            .collect()
    }
}

/// What every path below the folder `path` begins with.
fn prefix(path: &[u8]) -> Vec<u8> {
    let mut prefix = path.to_vec();
    if !prefix.is_empty() {
        prefix.push(b'/');
    }
    prefix
}

fn take_folder(folder: &Folder, path: &Path, tree: &mut Tree) -> Result<()> {
    let names = folder.names()?;
    for name in names {
        let key = path.join(&name).into_os_string().into_encoded_bytes();
        match folder.facts(&name) {
            Ok(Some(facts)) => drop(tree.names.insert(key, entry(&facts))),
            Ok(None) => drop(tree.unreadable.insert(key, ErrorCode::Changed.into())),
            Err(error) => drop(tree.unreadable.insert(key, error.into())),
        }
    }
    Ok(())
}

/// A local file's facts, as the protocol would tell them.
fn entry(facts: &Facts) -> Entry {
    let kind = match facts.kind {
        FileType::RegularFile => EntryKind::File,
        FileType::Directory => EntryKind::Directory,
        FileType::Symlink => EntryKind::Link,
        _ => EntryKind::Other,
    };
    Entry {
        name: Vec::new(),
        kind,
        size: facts.size,
        modified_ns: facts.modified_ns,
        mode: facts.mode,
        version: None,
        digest: None,
    }
}
