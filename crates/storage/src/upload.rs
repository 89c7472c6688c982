//! What is asked of an upload, what it goes through, and what comes of it.

use std::any::Any;
use std::fmt::Debug;
use std::fs::File;

use protocol::{Condition, Digest, ErrorCode, RemotePath, UploadId, Version};
use transfer::Hashed;

use crate::error::{Result, StorageError};
use crate::{StillWanted, length_of};

/// An upload that is being received; nobody sees it before [`commit`](Self::commit). Dropping one keeps its bytes for a
/// resume when its request has an upload id, else removes them.
pub trait Upload: Any + Send + Debug {
    /// Where the next byte goes: the length of what an earlier try left.
    fn offset(&self) -> u64;

    /// The digests of the bytes before [`offset`](Self::offset): they let the client check that its own file begins so, and
    /// whoever receives the rest go on hashing.
    fn hashed(&self) -> &Hashed;

    /// Gives up what an earlier try left, because it is not how the client's file begins.
    ///
    /// # Errors
    /// When truncating fails.
    fn restart(&mut self) -> Result<()>;

    /// The staged file, for moving bytes inside the kernel, where there is one; written at explicit offsets.
    fn file(&self) -> Option<&File>;

    /// Writes at an offset.
    ///
    /// # Errors
    /// `NoSpace`, `TooLarge`…
    fn write_all_at(&mut self, content: &[u8], offset: u64) -> Result<()>;

    /// Makes the upload visible and durable: checks the digest, sets mode and time, flushes, checks the condition,
    /// renames, flushes the folder.
    ///
    /// # Errors
    /// `Corrupt` (what was received is removed), `Exists` or `Changed` when the condition does not hold, `Superseded` when
    /// another writer resumed this upload, `NoSpace`, `QuotaExceeded`, `IsDirectory`… The file of that name is then untouched.
    fn commit(self: Box<Self>, received: &Received) -> Result<Stored>;

    /// Closes the upload and keeps its bytes for a resume.
    fn keep(self: Box<Self>);

    /// Closes the upload and removes its bytes.
    fn discard(self: Box<Self>);
}

/// What an upload will be.
#[derive(Clone, Debug)]
pub struct UploadRequest {
    /// Where the file will be.
    pub path: RemotePath,
    /// Names the upload for resuming it; `None` for one that is never resumed.
    pub id: Option<UploadId>,
    /// Whether to go on with what an earlier try with this id left; otherwise that is removed.
    pub resume: bool,
    /// Bytes of the whole content, where known.
    pub size: Option<u64>,
    /// Modification time the file will have, nanoseconds since the epoch.
    pub modified_ns: i64,
    /// Permission bits the file will have, 0777, under the umask.
    pub mode: u16,
    /// What must be true of the name when the upload is published.
    pub condition: Condition,
    /// Asked before the upload is published; one that is not wanted any more ends as `Superseded`, and is kept for a resume
    /// if it has an id.
    pub wanted: StillWanted,
}

/// What was received for an upload, as the receiver saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Bytes of the whole content.
    pub length: u64,
    /// The digest computed while the bytes passed by, a resumed prefix included.
    pub computed: Digest,
    /// The digest that the sender announced.
    pub announced: Digest,
}

impl Received {
    /// What is known of a content that is at hand as a whole.
    ///
    /// # Errors
    /// `Corrupt` when `digest` is not that of `content`.
    pub fn verified(request: &UploadRequest, content: &[u8], digest: &Digest) -> Result<Self> {
        let computed = Digest(*blake3::hash(content).as_bytes());
        if computed != *digest {
            return Err(StorageError::new(
                "store",
                &request.path,
                ErrorCode::Corrupt,
            ));
        }
        Ok(Self {
            length: length_of(content),
            computed,
            announced: *digest,
        })
    }
}

/// What a storage keeps at hand from one upload of a batch to the next, so that it need not be found out again: of one
/// storage's own kind, and dropped with the batch.
#[derive(Debug, Default)]
pub struct AtHand(Option<Box<dyn Any + Send>>);

impl AtHand {
    /// What is kept, if it is of that kind.
    #[must_use]
    pub fn get<T: Any>(&self) -> Option<&T> {
        self.0.as_deref().and_then(|kept| kept.downcast_ref())
    }

    /// Keeps that instead.
    pub fn keep<T: Any + Send>(&mut self, kept: T) {
        self.0 = Some(Box::new(kept));
    }
}

/// An upload that is complete and waits to be published with others. Each holds a file descriptor.
#[derive(Debug)]
pub struct PendingCommit {
    /// The upload.
    pub upload: Box<dyn Upload>,
    /// What was received for it.
    pub received: Received,
}

/// A published upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The new file's version.
    pub version: Version,
    /// Its digest.
    pub digest: Digest,
}
