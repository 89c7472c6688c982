//! What a transfer is asked for, and what it gives back.

use std::net::SocketAddr;
use std::path::PathBuf;

use protocol::{Digest, RemotePath};

use crate::ClientError;

/// A file or tree to fetch.
#[derive(Clone, Debug)]
pub struct Download {
    /// What to fetch.
    pub remote: RemotePath,
    /// What it will be called here: the name itself, not the folder to put it in.
    pub local: PathBuf,
    /// What to do where that name is taken.
    pub conflict: Conflict,
}

/// A file or tree to send.
#[derive(Clone, Debug)]
pub struct Upload {
    /// What to send.
    pub local: PathBuf,
    /// What it will be called there: the name itself, not the folder to put it in.
    pub remote: RemotePath,
    /// What to do where that name is taken.
    pub conflict: Conflict,
}

/// What to do where the target exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Conflict {
    /// Leave the same content alone; fail with `exists` for any other.
    Refuse,
    /// Replace it without a look; nothing of an earlier try is used.
    Overwrite,
    /// Replace it without a look; what an earlier try left is gone on with.
    Replace,
    /// Leave the same content alone; store any other as `new` + the name, as often as it takes to be free.
    StoreBeside,
}

impl Conflict {
    /// Whether what has the name is replaced without a look at it.
    pub(crate) const fn replaces(self) -> bool {
        matches!(self, Self::Overwrite | Self::Replace)
    }
}

/// How a transfer ended well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// The content is under the name asked for.
    Done,
    /// The same content was there already; nothing was moved.
    Unchanged,
    /// The content is under another name, because the one asked for was taken.
    Renamed,
}

/// A transfer that ended well.
#[derive(Clone, Debug)]
pub struct Transferred {
    /// The remote name, as it is in the end.
    pub remote: RemotePath,
    /// The local name, as it is in the end.
    pub local: PathBuf,
    /// Bytes of the file.
    pub bytes: u64,
    /// Bytes that were there already.
    pub resumed_at: u64,
    /// How long it took.
    pub seconds: f64,
    /// BLAKE3 of the content; `None` where it was not to be verified.
    pub digest: Option<Digest>,
    /// Whether both sides' digests were compared.
    pub verified: bool,
    /// Who served last, or most; `None` where no slave was needed.
    pub slave: Option<SocketAddr>,
    /// Where several slaves served the content at once: all of them, the one that served most first, which is `slave`
    /// then. Empty otherwise.
    pub slaves: Vec<SocketAddr>,
    /// How it ended.
    pub status: Status,
}

/// One file of a tree, or a folder of it that could not be read or made, as its transfer ended.
#[derive(Debug)]
pub struct TreeItem {
    /// The remote name.
    pub remote: RemotePath,
    /// The local name.
    pub local: PathBuf,
    /// How it ended.
    pub result: Result<Transferred, ClientError>,
}

/// A tree, as its transfer ended.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TreeSummary {
    /// Files that ended well, unchanged ones included.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Names that failed.
    pub failed: u64,
    /// How long it took.
    pub seconds: f64,
}
