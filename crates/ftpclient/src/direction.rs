//! What differs between `get` and `put`: the words for each, and what the client is told to do.

use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use client::{
    Client, ClientError, ClientErrorKind, Conflict, Download, Transferred, TreeItem, TreeSummary,
    Upload,
};
use protocol::{ErrorCode, RemotePath};

use crate::failure::{Failure, cannot};

/// Who hears of each of many files.
pub(crate) type Finished<'a> = dyn FnMut(TreeItem) + Send + 'a;

/// Which way content moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Get,
    Put,
}

/// A file or tree to move, under the names that it has and will have.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) remote: RemotePath,
    pub(crate) local: PathBuf,
    pub(crate) is_tree: bool,
}

impl Direction {
    /// As in the command's name.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Put => "put",
        }
    }

    /// As the objects of a mirror have it.
    pub(crate) const fn mirror_word(self) -> &'static str {
        match self {
            Self::Get => "mirror-get",
            Self::Put => "mirror-put",
        }
    }

    /// From, or to, the slave.
    pub(crate) const fn preposition(self) -> &'static str {
        match self {
            Self::Get => "from",
            Self::Put => "to",
        }
    }

    /// The last component of the name that the content has in the end.
    pub(crate) fn destination_name(self, transferred: &Transferred) -> Vec<u8> {
        let name = match self {
            Self::Get => transferred.local.file_name().map(OsStrExt::as_bytes),
            Self::Put => transferred.remote.name(),
        };
        name.unwrap_or_default().to_vec()
    }

    /// The name that would be written to.
    pub(crate) fn destination(self, job: &Job) -> &[u8] {
        match self {
            Self::Get => job.local.as_os_str().as_bytes(),
            Self::Put => job.remote.as_bytes(),
        }
    }

    /// What a failure begins with: the name that is there, or should be.
    pub(crate) fn tried(self, job: &Job) -> String {
        match self {
            Self::Get => cannot(self.word(), job.remote.as_bytes()),
            Self::Put => cannot(self.word(), job.local.as_os_str().as_bytes()),
        }
    }

    /// The failure of a file or tree. Where it is the place to be written to that is missing, closed or taken by what is no file,
    /// that is named too: `cannot get '/a.bin': no such file` would send a person to look for the wrong one.
    pub(crate) fn failure(self, job: &Job, error: ClientError) -> Failure {
        let code = match (self, error.kind()) {
            (Self::Get, ClientErrorKind::Local(_)) => error.word(),
            (Self::Put, ClientErrorKind::Remote(code)) => code.word(),
            _ => return Failure::of(self.tried(job))(error),
        };
        let tried = || {
            let destination = cli::name(self.destination(job));
            format!("{} as '{destination}'", self.tried(job))
        };
        let is = |other: ErrorCode| code == other.word();
        if is(ErrorCode::NotFound) {
            Failure::refused(tried(), ErrorCode::NotFound, "no such folder")
        } else if self == Self::Get && is(ErrorCode::NotRegular) {
            let why = "not a regular file (cat writes to one)";
            Failure::refused(tried(), ErrorCode::NotRegular, why)
        } else if is(ErrorCode::NotPermitted) || is(ErrorCode::IsDirectory) {
            Failure::of(tried())(error)
        } else {
            Failure::of(self.tried(job))(error)
        }
    }

    pub(crate) fn file(
        self,
        client: &mut Client,
        job: &Job,
        conflict: Conflict,
    ) -> Result<Transferred, ClientError> {
        match self {
            Self::Get => client.download(&job.download(conflict)),
            Self::Put => client.upload(&job.upload(conflict)),
        }
    }

    pub(crate) fn tree(
        self,
        client: &mut Client,
        job: &Job,
        conflict: Conflict,
        finished: &mut Finished<'_>,
    ) -> Result<TreeSummary, ClientError> {
        match self {
            Self::Get => client.download_tree(&job.download(conflict), finished),
            Self::Put => client.upload_tree(&job.upload(conflict), finished),
        }
    }
}

impl Job {
    pub(crate) fn download(&self, conflict: Conflict) -> Download {
        Download {
            remote: self.remote.clone(),
            local: self.local.clone(),
            conflict,
        }
    }

    pub(crate) fn upload(&self, conflict: Conflict) -> Upload {
        Upload {
            local: self.local.clone(),
            remote: self.remote.clone(),
            conflict,
        }
    }
}
