//! A file that is open for reading.

use std::fmt::Debug;
use std::ops::ControlFlow;
use std::time::Duration;

use protocol::limits::BLOCK;
use protocol::{Digest, Entry, ErrorCode, RemotePath, Version};
use transfer::block_tree::{self, BLOCK_LENGTH};
use transfer::{ContentHasher, Source};

use crate::error::{Result, StorageError};
use crate::{Progress, length_of_prefix};

/// Hashing this many bytes takes longer than waiting until they have settled.
const WORTH_SETTLING: u64 = 64 * 1024 * 1024;

/// As long as that.
const LONGEST_SETTLING: Duration = Duration::from_millis(20);

/// A file that is open for reading, in one version.
pub trait OpenFile: Send + Debug {
    /// The file's facts when it was opened.
    fn entry(&self) -> &Entry;

    /// The version that was opened.
    fn version(&self) -> &Version;

    /// The path it was opened by.
    fn path(&self) -> &RemotePath;

    /// The content for the sending engine; a stream begins at `offset`, a file is read at offsets anyway.
    ///
    /// # Errors
    /// When the system has no descriptor left.
    fn source(&self, offset: u64) -> Result<Source>;

    /// Reads into `buffer` from `offset`; how many bytes there were, 0 at the end.
    ///
    /// # Errors
    /// When reading fails.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize>;

    /// Whether the file still is the version that was opened.
    ///
    /// # Errors
    /// When the system does not say.
    fn unchanged(&self) -> Result<bool>;

    /// Whether nothing at all was done to the file since it was opened, its names and attributes included, if it [had
    /// settled](Self::has_settled) then. The path still leads to it, unless a folder or link on the way is another one now.
    ///
    /// # Errors
    /// When the system does not say.
    fn untouched(&self) -> Result<bool>;

    /// Whether what was done to the file last is so long ago that whatever follows it has another time.
    fn has_settled(&self) -> bool;

    /// How long until whatever is written from then on has another time of modification: no time at all for a content that
    /// was not written just now.
    fn content_settles_in(&self) -> Duration;

    /// The digest that is kept beside this version, if any: to be announced, never to be believed by a receiver.
    fn cached_digest(&self) -> Option<Digest>;

    /// Keeps the digest beside the file, where the storage can; failing is no error, the next reader hashes again. For a
    /// content that [had settled](Self::content_settles_in) before it was read.
    fn remember_digest(&self, digest: &Digest);

    /// The digest to announce for `content`, which is all of a file of at most one block, as it has just been read: the kept
    /// one, which knows of a disk that has gone bad since, else its own.
    fn digest_of_whole(&self, content: &[u8]) -> Digest {
        self.cached_digest()
            .unwrap_or_else(|| block_tree::block_digest(0, content, true))
    }

    /// The digest of the whole, kept or computed; `None` when `progress` stopped it.
    ///
    /// # Errors
    /// `Changed` when the file became another version while it was read.
    fn digest(&self, progress: Progress<'_>) -> Result<Option<Digest>> {
        if let Some(digest) = self.cached_digest() {
            return Ok(Some(digest));
        }
        // Before anything is read: what is written meanwhile could have the time of what is there.
        let settles_in = self.content_settles_in();
        let is_worth_it = self.entry().size >= WORTH_SETTLING && settles_in <= LONGEST_SETTLING;
        if is_worth_it {
            std::thread::sleep(settles_in);
        }
        let has_settled = is_worth_it || settles_in.is_zero();
        let digest = self.digest_anew(progress)?;
        if let Some(digest) = digest.as_ref().filter(|_| has_settled) {
            self.remember_digest(digest);
        }
        Ok(digest)
    }

    /// The digest of what is on the disk now, whatever is kept; `None` when `progress` stopped it.
    ///
    /// # Errors
    /// `Changed` when the file became another version while it was read.
    fn digest_anew(&self, progress: Progress<'_>) -> Result<Option<Digest>> {
        let mut hasher = ContentHasher::new();
        let mut buffer = vec![0; BLOCK_LENGTH];
        while hasher.position() < self.entry().size {
            let length = self.read_at(&mut buffer, hasher.position())?;
            if length == 0 {
                return Err(self.changed());
            }
            hasher.update(buffer.get(..length).unwrap_or_default());
            if progress(hasher.position()).is_break() {
                return Ok(None);
            }
        }
        if !self.unchanged()? {
            return Err(self.changed());
        }
        Ok(Some(hasher.finalize()))
    }

    /// Hands the digests of `count` blocks from block `first` on to `sink`, fewer where the file ends before; `sink` may
    /// stop it.
    ///
    /// # Errors
    /// `Changed` when the file became another version while it was read.
    fn blocks(
        &self,
        first: u64,
        count: u64,
        sink: &mut dyn FnMut(u64, Digest) -> ControlFlow<()>,
    ) -> Result<()> {
        let size = self.entry().size;
        let end = first
            .saturating_add(count)
            .min(block_tree::block_count(size));
        let mut buffer = vec![0; BLOCK_LENGTH];
        for index in first..end {
            let start = index * BLOCK;
            let length = usize::try_from((size - start).min(BLOCK)).unwrap_or(BLOCK_LENGTH);
            let block = buffer.get_mut(..length).unwrap_or_default();
            let mut filled = 0;
            while let Some(rest) = block.get_mut(filled..).filter(|rest| !rest.is_empty()) {
                match self.read_at(rest, start + length_of_prefix(filled))? {
                    0 => return Err(self.changed()),
                    length => filled += length,
                }
            }
            let digest = block_tree::block_digest(index, block, size <= BLOCK);
            if sink(index, digest).is_break() {
                return Ok(());
            }
        }
        if self.unchanged()? {
            Ok(())
        } else {
            Err(self.changed())
        }
    }

    /// The error for a file that is another version by now.
    fn changed(&self) -> StorageError {
        StorageError::new("read", self.path(), ErrorCode::Changed)
    }
}
