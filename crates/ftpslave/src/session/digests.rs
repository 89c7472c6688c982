//! Requests for the digests of what is stored, which may take as long as reading it.

use std::sync::Arc;

use protocol::limits::MAX_BLOCK_DIGESTS;
use protocol::{ConnectionError, Digest, ErrorCode, RemotePath, Reply, Version};
use storage::{OpenFile, Progress, StorageError};

use super::busy::Heartbeat;
use super::{Session, error_reply};

/// What hashing comes back with: `None` when it was told to stop.
pub(super) type Hashed = Result<Option<Digest>, StorageError>;

impl Session<'_> {
    pub(super) fn digest_with_heartbeat(
        &mut self,
        file: &dyn OpenFile,
        request: u32,
    ) -> Result<Hashed, ConnectionError> {
        self.hash_with_heartbeat(request, |progress| file.digest(progress))
    }

    fn hash_with_heartbeat(
        &mut self,
        request: u32,
        hash: impl FnOnce(Progress<'_>) -> Hashed,
    ) -> Result<Hashed, ConnectionError> {
        let mut heart = Heartbeat::new(&mut self.connection, request);
        let digest = hash(&mut |_| heart.beat());
        heart.finish()?;
        Ok(digest)
    }

    /// The digest of what is on the disk now. Where another one is kept, the disk is damaged, or somebody has changed the file
    /// and put its time back: that is for a person to look at, so the kept one stays.
    fn digest_anew(
        &mut self,
        file: &dyn OpenFile,
        request: u32,
    ) -> Result<Hashed, ConnectionError> {
        let digest = self.hash_with_heartbeat(request, |progress| file.digest_anew(progress))?;
        if let (Ok(Some(now)), Some(kept)) = (&digest, file.cached_digest())
            && *now != kept
        {
            tracing::error!(path = ?file.path(), "this file is not what the digest kept with it says");
        }
        Ok(digest)
    }

    pub(super) fn checksum(
        &mut self,
        request: u32,
        path: &RemotePath,
        fresh: bool,
    ) -> Result<(), ConnectionError> {
        let reply = match self.storage.open(path, None) {
            Err(error) => error_reply(&error),
            Ok(file) => {
                let digest = match fresh {
                    true => self.digest_anew(file.as_ref(), request)?,
                    false => self.digest_with_heartbeat(file.as_ref(), request)?,
                };
                match digest {
                    Ok(Some(digest)) => Reply::Sum {
                        digest,
                        size: file.entry().size,
                        version: file.version().clone(),
                    },
                    Ok(None) => error_reply(&StorageError::new("read", path, ErrorCode::Timeout)),
                    Err(error) => error_reply(&error),
                }
            }
        };
        self.connection.send(request, &reply);
        Ok(())
    }

    pub(super) fn blocks(
        &mut self,
        request: u32,
        path: &RemotePath,
        expected: &Version,
        (first, count): (u64, u32),
    ) -> Result<(), ConnectionError> {
        let storage = Arc::clone(&self.storage);
        let mut part = (first, Vec::new());
        let mut heart = Heartbeat::new(&mut self.connection, request);
        let result = storage.open(path, Some(expected)).and_then(|file| {
            file.blocks(first, u64::from(count), &mut |index, digest| {
                if part.1.len() >= MAX_BLOCK_DIGESTS {
                    let digests = std::mem::take(&mut part.1);
                    heart.send(&Reply::Blocks {
                        first: part.0,
                        digests,
                        more: true,
                    });
                    part.0 = index;
                }
                part.1.push(digest);
                heart.beat()
            })
        });
        heart.finish()?;
        let reply = match result {
            Ok(()) => Reply::Blocks {
                first: part.0,
                digests: part.1,
                more: false,
            },
            Err(error) => error_reply(&error),
        };
        self.connection.send(request, &reply);
        Ok(())
    }
}
