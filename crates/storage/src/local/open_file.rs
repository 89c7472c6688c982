//! A local file that is open for reading.

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use protocol::{Digest, Entry, EntryKind, ErrorCode, RemotePath, Version};
use rustix::fs::{OFlags, Timespec, Timestamps, UTIME_OMIT};
use transfer::Source;

use super::confined::Root;
use super::digest_cache;
use super::digest_memory::DigestMemory;
use super::facts::{Facts, timespec};
use crate::OpenFile;
use crate::error::{Context, Result};

/// Opening neither waits for the other end of a pipe nor makes a terminal ours; on files both mean nothing.
const READ: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

/// A regular file and its facts when it was opened.
#[derive(Debug)]
pub(crate) struct LocalFile {
    file: File,
    facts: Facts,
    path: RemotePath,
    entry: Entry,
    version: Version,
    digests: Arc<DigestMemory>,
}

impl LocalFile {
    pub(crate) fn open(root: &Root, path: &RemotePath, expected: Option<&Version>) -> Result<Self> {
        let context = Context::new("open", path);
        let file = File::from(root.open(context, READ)?);
        let facts = Facts::of(&file).map_err(context.system())?;
        match facts.kind {
            EntryKind::File => {}
            EntryKind::Directory => return Err(context.refuse(ErrorCode::IsDirectory)),
            EntryKind::Link | EntryKind::Other => {
                return Err(context.refuse(ErrorCode::NotRegular));
            }
        }
        let version = facts
            .version()
            .ok_or_else(|| context.refuse(ErrorCode::Internal))?;
        if expected.is_some_and(|expected| *expected != version) {
            return Err(context.refuse(ErrorCode::Changed));
        }
        Ok(Self {
            file,
            facts,
            path: path.clone(),
            entry: facts.entry(Vec::new()),
            version,
            digests: Arc::clone(&root.digests),
        })
    }

    /// Sets the modification time, and keeps what is known of the content: its digest is believed for that time only, and for
    /// that of a file that somebody has written to since it was opened none is.
    pub(crate) fn set_time(&self, modified_ns: i64) -> Result<()> {
        let context = Context::new("set the time of", &self.path);
        let times = Timestamps {
            last_access: Timespec {
                tv_sec: 0,
                tv_nsec: UTIME_OMIT,
            },
            last_modification: timespec(modified_ns),
        };
        let before = Facts::of(&self.file).map_err(context.system())?;
        let digest = digest_cache::recall(&self.file, &before);
        rustix::fs::futimens(&self.file, &times).map_err(context.system())?;
        let after = Facts::of(&self.file).map_err(context.system())?;
        if let Some(digest) = digest
            && after.size == before.size
        {
            digest_cache::attach(&self.file, &after, &digest);
        }
        rustix::fs::fsync(&self.file).map_err(context.system())
    }

    /// Makes the content durable.
    pub(crate) fn flush(&self) -> Result<()> {
        rustix::fs::fsync(&self.file).map_err(Context::new("flush", &self.path).system())
    }

    fn context(&self) -> Context<'_> {
        Context::new("read", &self.path)
    }
}

impl OpenFile for LocalFile {
    fn entry(&self) -> &Entry {
        &self.entry
    }

    fn version(&self) -> &Version {
        &self.version
    }

    fn path(&self) -> &RemotePath {
        &self.path
    }

    fn source(&self, _offset: u64) -> Result<Source> {
        Ok(Source::File {
            file: self.file.try_clone().map_err(self.context().io())?,
            length: self.facts.size,
        })
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize> {
        rustix::io::pread(&self.file, buffer, offset).map_err(self.context().system())
    }

    fn unchanged(&self) -> Result<bool> {
        let now = Facts::of(&self.file).map_err(self.context().system())?;
        Ok(now.identity() == self.facts.identity())
    }

    fn untouched(&self) -> Result<bool> {
        let now = Facts::of(&self.file).map_err(self.context().system())?;
        // Whatever is done to a file moves its time of change: that it loses a name to another one, too.
        Ok(now.identity() == self.facts.identity() && now.changed_ns == self.facts.changed_ns)
    }

    fn has_settled(&self) -> bool {
        digest_cache::has_settled(self.facts.changed_ns)
    }

    fn content_settles_in(&self) -> Duration {
        digest_cache::settles_in(self.facts.modified_ns)
    }

    fn cached_digest(&self) -> Option<Digest> {
        digest_cache::recall(&self.file, &self.facts)
    }

    fn digest_of_whole(&self, content: &[u8]) -> Digest {
        let kept = || self.cached_digest();
        self.digests.digest_of(&self.facts, content, kept)
    }

    fn remember_digest(&self, digest: &Digest) {
        digest_cache::attach(&self.file, &self.facts, digest);
    }
}
