//! A whole tree, from a local folder to the storage: one listing of what is there, then folders and small files
//! pipelined, large files one by one.

use std::collections::{HashMap, HashSet, VecDeque};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use protocol::{Condition, Entry, EntryKind, ErrorCode, RemotePath};

use crate::names::{name_beside, renamed};
use crate::notice::Notice;
use crate::source_file::SourceFile;
use crate::tree_download::{below, stop_if_hopeless};
use crate::tree_outgoing::Outgoing;
use crate::tree_report::TreeReport;
use crate::tree_send::TreeSend;
use crate::upload_key::UploadKey;
use crate::walk::{Walk, walk};
use crate::{Client, Conflict, Listing, Result, TreeItem, TreeSummary, Upload};

/// Files larger than this are sent one by one, so that each can be gone on with, bytes.
pub(crate) const LARGE: u64 = 8 * 1024 * 1024;

/// A file that is sent for itself.
#[derive(Debug)]
pub(crate) struct Large {
    pub(crate) local: PathBuf,
    pub(crate) remote: RemotePath,
    pub(crate) conflict: Conflict,
}

/// What the storage holds below the target: by path relative to it.
type Present = HashMap<Vec<u8>, Entry>;

impl Client {
    /// Sends a folder with all in it to the folder `request.remote`, which is made where it is not there. Each name is
    /// given to `finished` as it ends; a file that fails does not hold the others up. Symbolic links and special files
    /// are skipped with a [`Notice::Skipped`].
    ///
    /// # Errors
    /// Where nothing can go on: the local folder cannot be read, all slaves are lost, an interrupt.
    pub fn upload_tree(
        &mut self,
        request: &Upload,
        finished: &mut dyn FnMut(TreeItem),
    ) -> Result<TreeSummary> {
        let mut report = TreeReport::new(finished);
        let found = walk(&request.local)?;
        let present = self.list_present(request)?;
        self.tell_skipped(request, &found, &mut report)?;
        let mut large = Vec::new();
        let mut queue = VecDeque::new();
        queue.push_back(Outgoing::Folder {
            remote: request.remote.clone(),
            local: request.local.clone(),
        });
        for folder in &found.folders {
            let remote = below(&request.remote, folder.as_os_str().as_bytes())?;
            let local = request.local.join(folder);
            let there = present.get(folder.as_os_str().as_bytes());
            if there.is_none_or(|entry| entry.kind != EntryKind::Directory) {
                queue.push_back(Outgoing::Folder { remote, local });
            }
        }
        let mut names = Names::new(request.conflict, &present);
        for file in &found.files {
            let local = request.local.join(file);
            let remote = below(&request.remote, file.as_os_str().as_bytes())?;
            if std::fs::symlink_metadata(&local).is_ok_and(|facts| facts.len() > LARGE) {
                large.push(Large {
                    local,
                    remote,
                    conflict: request.conflict,
                });
                continue;
            }
            match names.settle(file, &remote) {
                Ok(plan) => queue.push_back(plan.into_outgoing(local, remote)),
                Err(error) => report.failed(&remote, local, error),
            }
        }
        self.send_all(queue, large, &mut report)?;
        Ok(report.finish())
    }

    /// Sends folders and small files many at a time, then the large ones, each for itself.
    pub(crate) fn send_all(
        &mut self,
        queue: VecDeque<Outgoing>,
        large: Vec<Large>,
        report: &mut TreeReport<'_>,
    ) -> Result<()> {
        let key = UploadKey::of(self.state.as_deref())?;
        let mut send = TreeSend::new(&self.context, key, queue);
        self.attempt(|session| send.step(session, report))?;
        for Large {
            local,
            remote,
            conflict,
        } in large
        {
            let sent = SourceFile::open_found(&local)
                .and_then(|source| self.upload_from(&source, &remote, conflict));
            match sent {
                Ok(done) => report.done(done),
                Err(error) => stop_if_hopeless(report, &remote, local, error)?,
            }
        }
        Ok(())
    }

    fn list_present(&mut self, request: &Upload) -> Result<Present> {
        let mut present = Present::new();
        if request.conflict.replaces() {
            return Ok(present);
        }
        let listing = Listing {
            recursive: true,
            facts: true,
        };
        let listed = self.list(&request.remote, listing, &mut |entry| {
            present.insert(entry.name.clone(), entry);
        });
        match listed {
            // A folder that cannot be read is looked into by the slave, when something is stored in it.
            Ok(_unreadable) => Ok(present),
            Err(error) if error.is(ErrorCode::NotFound) => Ok(present),
            Err(error) => Err(error),
        }
    }

    fn tell_skipped(
        &self,
        request: &Upload,
        found: &Walk,
        report: &mut TreeReport<'_>,
    ) -> Result<()> {
        for (path, why) in &found.skipped {
            self.context.notice(&Notice::Skipped {
                name: request.local.join(path).as_os_str().as_bytes().to_vec(),
                why: (*why).to_owned(),
            });
        }
        for (path, error) in &found.failed {
            let remote = below(&request.remote, path.as_os_str().as_bytes())?;
            report.failed(&remote, request.local.join(path), error.clone());
        }
        Ok(())
    }
}

/// What is to be done about one small file.
enum Plan {
    Store(RemotePath, Condition),
    /// What is there has the same size, and may be the same: otherwise stored so, or not at all.
    Compare(Entry, Option<RemotePath>),
}

impl Plan {
    fn into_outgoing(self, local: PathBuf, own: RemotePath) -> Outgoing {
        match self {
            Self::Store(remote, condition) => Outgoing::file(local, own, remote, condition),
            Self::Compare(entry, beside) => Outgoing::compare(local, own, entry, beside),
        }
    }
}

/// Which names are taken, and what is to be done about it.
struct Names<'a> {
    conflict: Conflict,
    present: &'a Present,
    given: HashSet<Vec<u8>>,
}

impl<'a> Names<'a> {
    fn new(conflict: Conflict, present: &'a Present) -> Self {
        Self {
            conflict,
            present,
            given: HashSet::new(),
        }
    }

    fn settle(&mut self, file: &Path, remote: &RemotePath) -> Result<Plan> {
        if self.conflict.replaces() {
            return Ok(Plan::Store(remote.clone(), Condition::Any));
        }
        let Some(entry) = self.present.get(file.as_os_str().as_bytes()) else {
            return Ok(Plan::Store(remote.clone(), Condition::Absent));
        };
        if entry.kind == EntryKind::Directory {
            return Err(ErrorCode::IsDirectory.into());
        }
        let beside = match self.conflict {
            Conflict::StoreBeside => Some(self.beside(file, remote)?),
            Conflict::Refuse | Conflict::Overwrite | Conflict::Replace => None,
        };
        match (entry.kind, beside) {
            (EntryKind::File, beside) => Ok(Plan::Compare(entry.clone(), beside)),
            (_, Some(beside)) => Ok(Plan::Store(beside, Condition::Absent)),
            (_, None) => Err(ErrorCode::Exists.into()),
        }
    }

    fn beside(&mut self, file: &Path, remote: &RemotePath) -> Result<RemotePath> {
        let folder = file.parent().unwrap_or(Path::new(""));
        let key = |name: &[u8]| {
            let mut path = folder.as_os_str().as_bytes().to_vec();
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(name);
            path
        };
        let name = name_beside(remote.name().unwrap_or_default(), |name| {
            let path = key(name);
            Ok(self.present.contains_key(&path) || self.given.contains(&path))
        })?;
        self.given.insert(key(&name));
        Ok(renamed(remote, &name)?)
    }
}
