//! One folder or small file of a tree that is sent: under which name, and what is known of it.

use std::path::PathBuf;
use std::time::Instant;

use protocol::{Condition, Digest, Entry, RemotePath, UploadId};

use crate::session::Session;
use crate::{Status, Transferred};

/// Something to be sent.
#[derive(Debug)]
pub(crate) enum Outgoing {
    /// A folder to be made, known to the [`Outbox`](crate::tree_outbox::Outbox) by its number.
    Folder {
        number: usize,
        remote: RemotePath,
        local: PathBuf,
    },
    /// A file to be stored.
    File(Box<Job>),
}

/// A file on its way.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) local: PathBuf,
    pub(crate) remote: RemotePath,
    /// What must be true of the name when it is stored; `None`: it is only compared.
    pub(crate) condition: Option<Condition>,
    /// What has its name, if that may be the same.
    pub(crate) there: Option<Entry>,
    /// What was announced to a slave whose answer may have been lost.
    pub(crate) announced: Option<Digest>,
    /// Whether such an answer was ever lost: then a name that is taken may be taken by this very file.
    pub(crate) was_announced: bool,
    /// The upload it is from now on, once another writer has taken over the one it was.
    pub(crate) upload: Option<UploadId>,
    pub(crate) size: u64,
    pub(crate) digest: Option<Digest>,
    pub(crate) tries: u32,
    pub(crate) started: Instant,
}

impl Outgoing {
    /// A file to be stored on that condition.
    pub(crate) fn file(local: PathBuf, remote: RemotePath, condition: Condition) -> Self {
        Self::File(Box::new(Job::new((local, remote), Some(condition), None)))
    }

    /// A file that may be there already; if it is not, its name is taken.
    pub(crate) fn compare(local: PathBuf, remote: RemotePath, there: Entry) -> Self {
        Self::File(Box::new(Job::new((local, remote), None, Some(there))))
    }

    /// The same, known to be of so many bytes for now: they count as work that is left.
    pub(crate) fn of_size(mut self, size: u64) -> Self {
        if let Self::File(job) = &mut self {
            job.size = size;
        }
        self
    }

    /// Bytes of content, as far as they are known.
    pub(crate) fn size(&self) -> u64 {
        match self {
            Self::Folder { .. } => 0,
            Self::File(job) => job.size,
        }
    }
}

impl Job {
    fn new(
        (local, remote): (PathBuf, RemotePath),
        condition: Option<Condition>,
        there: Option<Entry>,
    ) -> Self {
        Self {
            local,
            remote,
            condition,
            there,
            announced: None,
            was_announced: false,
            upload: None,
            size: 0,
            digest: None,
            tries: 0,
            started: Instant::now(),
        }
    }

    pub(crate) fn transferred(&self, status: Status, session: &Session) -> Transferred {
        Transferred {
            remote: self.remote.clone(),
            local: self.local.clone(),
            bytes: self.size,
            resumed_at: match status {
                Status::Unchanged => self.size,
                Status::Done | Status::Renamed => 0,
            },
            seconds: self.started.elapsed().as_secs_f64(),
            digest: self.digest,
            verified: self.digest.is_some(),
            slave: Some(session.address()),
            slaves: Vec::new(),
            status,
        }
    }
}
