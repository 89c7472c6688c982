//! Files in memory: what all slaves of a master have in common.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};

use protocol::{Digest, Entry, EntryKind, RemotePath, UploadId, Version};

/// A storage; clones are the same one.
#[derive(Clone, Default)]
pub(crate) struct Storage(Arc<Mutex<Stored>>);

#[derive(Default)]
pub(crate) struct Stored {
    pub(crate) files: BTreeMap<RemotePath, File>,
    pub(crate) folders: Vec<RemotePath>,
    /// Files of which a slave has said that they are durable, after another had stored them.
    pub(crate) confirmed: Vec<RemotePath>,
    pub(crate) staged: HashMap<UploadId, Vec<u8>>,
    versions: u64,
}

#[derive(Clone)]
pub(crate) struct File {
    pub(crate) content: Vec<u8>,
    pub(crate) version: Version,
    pub(crate) modified_ns: i64,
    pub(crate) mode: u16,
}

impl Storage {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Stored> {
        self.0.lock().unwrap()
    }

    pub(crate) fn put(&self, path: &str, content: &[u8]) {
        let path = RemotePath::try_from(path).unwrap();
        self.lock()
            .put(&path, content.to_vec(), 1_700_000_000_123_456_789, 0o640);
    }

    pub(crate) fn content(&self, path: &str) -> Option<Vec<u8>> {
        let path = RemotePath::try_from(path).unwrap();
        self.lock()
            .files
            .get(&path)
            .map(|file| file.content.clone())
    }
}

impl Stored {
    pub(crate) fn put(
        &mut self,
        path: &RemotePath,
        content: Vec<u8>,
        modified_ns: i64,
        mode: u16,
    ) -> Version {
        self.versions += 1;
        let version = Version::new(&self.versions.to_be_bytes()).unwrap();
        let file = File {
            content,
            version: version.clone(),
            modified_ns,
            mode,
        };
        self.files.insert(path.clone(), file);
        version
    }

    pub(crate) fn entry(&self, path: &RemotePath) -> Option<Entry> {
        let folder = path.is_root() || self.folders.contains(path);
        let file = self.files.get(path);
        (folder || file.is_some()).then(|| Entry {
            name: Vec::new(),
            kind: if folder {
                EntryKind::Directory
            } else {
                EntryKind::File
            },
            size: file.map_or(0, |file| file.content.len() as u64),
            modified_ns: file.map_or(0, |file| file.modified_ns),
            mode: file.map_or(0o755, |file| file.mode),
            version: file.map(|file| file.version.clone()),
            digest: None,
        })
    }
}

pub(crate) fn digest(content: &[u8]) -> Digest {
    Digest(*blake3::hash(content).as_bytes())
}
