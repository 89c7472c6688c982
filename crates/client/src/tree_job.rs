//! One small file of a tree that is fetched: under which name, or whether at all.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use protocol::{Digest, Entry, ErrorCode, RemotePath, Request, Version};
use rustix::fs::FileType;

use crate::content::digest_of;
use crate::context::Context;
use crate::folder::{Facts, Folder, local_name};
use crate::names::name_beside;
use crate::place::occupant;
use crate::{ClientError, Conflict, Result};

/// A file of the tree.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) remote: RemotePath,
    /// Its path beneath the root of the tree.
    pub(crate) relative: PathBuf,
    pub(crate) size: u64,
    /// As the listing said; `None` once that has turned out to be the past.
    pub(crate) version: Option<Version>,
    pub(crate) digest: Option<Digest>,
    pub(crate) tries: u32,
    pub(crate) started: Instant,
    /// The name under which it will be stored, once that is settled.
    pub(crate) name: Option<OsString>,
}

/// What to do with a file next.
#[derive(Debug)]
pub(crate) enum Next {
    /// Its content is wanted.
    Fetch,
    /// A local file of the same size has this digest: the remote one is wanted, to compare.
    Compare(Digest),
    /// The same content is there.
    Same(Digest),
}

/// Looks at what is there already.
#[derive(Debug)]
pub(crate) struct Decider<'a> {
    context: Context,
    root: &'a Folder,
    conflict: Conflict,
    folder: Option<(PathBuf, Folder)>,
}

impl Job {
    /// The file that a listing means by `entry`.
    pub(crate) fn new(remote: RemotePath, entry: Entry) -> Self {
        Self {
            remote,
            relative: PathBuf::from(OsString::from_vec(entry.name)),
            size: entry.size,
            version: entry.version,
            digest: entry.digest,
            tries: 0,
            started: Instant::now(),
            name: None,
        }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.relative.parent().unwrap_or(Path::new(""))
    }

    /// The name it has in the storage.
    pub(crate) fn own_name(&self) -> &OsStr {
        self.relative.file_name().unwrap_or_default()
    }

    pub(crate) fn retrieve(&self, verify: bool) -> Request {
        Request::Retrieve {
            path: self.remote.clone(),
            offset: 0,
            length: u64::MAX,
            expected: self.version.clone(),
            digest: verify,
        }
    }

    pub(crate) fn checksum(&self) -> Request {
        Request::Checksum {
            path: self.remote.clone(),
            fresh: false,
        }
    }
}

impl<'a> Decider<'a> {
    pub(crate) fn new(context: &Context, root: &'a Folder, conflict: Conflict) -> Self {
        Self {
            context: context.clone(),
            root,
            conflict,
            folder: None,
        }
    }

    pub(crate) fn replaces(&self) -> bool {
        self.conflict.replaces()
    }

    /// The folder at `path`, kept open while files of the same one follow one another.
    pub(crate) fn enter(&mut self, path: &Path) -> io::Result<&Folder> {
        if self.folder.as_ref().is_none_or(|(at, _)| at != path) {
            self.folder = Some((path.to_owned(), self.root.beneath(path)?));
        }
        let folder = self.folder.as_ref().map(|(_, folder)| folder);
        folder.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// What is to be done about a file whose name may be taken.
    pub(crate) fn decide(&mut self, job: &mut Job) -> Result<Next> {
        if job.name.is_some() {
            return Ok(Next::Fetch);
        }
        let replaces = self.replaces();
        let occupant = occupant(self.enter(job.folder())?, job.own_name())?;
        let Some(facts) = occupant.filter(|_| !replaces) else {
            job.name = Some(job.own_name().to_owned());
            return Ok(Next::Fetch);
        };
        if let Some(ours) = self.local_digest(job, &facts)? {
            match job.digest {
                None => return Ok(Next::Compare(ours)),
                Some(theirs) if theirs == ours => return Ok(Next::Same(ours)),
                Some(_) => {}
            }
        }
        self.store_beside(job)?;
        Ok(Next::Fetch)
    }

    /// The name is taken by something else: settles for another, where that is wanted.
    pub(crate) fn store_beside(&mut self, job: &mut Job) -> Result<()> {
        if self.conflict != Conflict::StoreBeside {
            return Err(ErrorCode::Exists.into());
        }
        let folder = self.enter(job.folder())?;
        let free = name_beside(job.own_name().as_encoded_bytes(), |name| {
            Ok(folder.facts(local_name(name))?.is_some())
        })?;
        job.name = Some(local_name(&free).to_owned());
        Ok(())
    }

    /// The digest of a local file that may be the same; `None` for one that is not.
    fn local_digest(&mut self, job: &Job, facts: &Facts) -> Result<Option<Digest>> {
        if facts.kind != FileType::RegularFile || facts.size != job.size {
            return Ok(None);
        }
        let opened = self.enter(job.folder())?.open_to_read(job.own_name());
        match opened {
            Ok(file) => digest_of(&file, facts.size, &self.context).map(Some),
            Err(_) => Ok(None),
        }
    }
}

/// Whether a file that failed so is worth another try.
pub(crate) fn is_worth_another_try(error: &ClientError) -> bool {
    error.is(ErrorCode::Changed) || error.is(ErrorCode::Corrupt)
}
