//! A whole tree, from a local folder to the storage: one listing of what is there, then the folders and what goes into them.

use std::collections::{HashMap, HashSet};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use protocol::{Condition, Entry, EntryKind, ErrorCode, RemotePath};

use crate::names::{name_beside, renamed};
use crate::notice::Notice;
use crate::tree_download::below;
use crate::tree_outgoing::Outgoing;
use crate::tree_report::{Finished, TreeReport};
use crate::tree_spread::{Large, Sent};
use crate::walk::{Walk, walk};
use crate::{Client, Conflict, Listing, Result, TreeSummary, Upload};

/// Files larger than this are sent one by one, so that each can be gone on with, bytes.
pub(crate) const LARGE: u64 = 8 * 1024 * 1024;

/// What the storage holds below the target: by path relative to it.
type Present = HashMap<Vec<u8>, Entry>;

impl Client {
    /// Sends a folder with all in it to the folder `request.remote`, which is made where it is not there. Each name is
    /// given to `finished` as it ends, from any thread; a file that fails does not hold the others up. Symbolic links and
    /// special files are skipped with a [`Notice::Skipped`].
    ///
    /// # Errors
    /// Where nothing can go on: the local folder cannot be read, all slaves are lost, an interrupt.
    pub fn upload_tree(
        &mut self,
        request: &Upload,
        finished: &mut Finished<'_>,
    ) -> Result<TreeSummary> {
        let report = TreeReport::new(finished);
        let found = walk(&request.local)?;
        let present = self.list_present(request)?;
        self.tell_skipped(request, &found, &report)?;
        let mut folders = vec![Outgoing::Folder {
            remote: request.remote.clone(),
            local: request.local.clone(),
        }];
        for folder in &found.folders {
            let remote = below(&request.remote, folder.as_os_str().as_bytes())?;
            let local = request.local.join(folder);
            let there = present.get(folder.as_os_str().as_bytes());
            if there.is_none_or(|entry| entry.kind != EntryKind::Directory) {
                folders.push(Outgoing::Folder { remote, local });
            }
        }
        let mut plan = Sent {
            folders,
            ..Sent::default()
        };
        let mut names = Names::new(request.conflict, &present);
        for file in &found.files {
            let local = request.local.join(file);
            let remote = below(&request.remote, file.as_os_str().as_bytes())?;
            if std::fs::symlink_metadata(&local).is_ok_and(|facts| facts.len() > LARGE) {
                plan.large.push_back(Large {
                    local,
                    remote,
                    conflict: request.conflict,
                });
                continue;
            }
            match names.settle(file, &remote) {
                Ok(how) => plan.small.push_back(how.into_outgoing(local, remote)),
                Err(error) => report.failed(&remote, local, error),
            }
        }
        self.send_all(plan, &report)?;
        Ok(report.summary())
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

    fn tell_skipped(&self, request: &Upload, found: &Walk, report: &TreeReport<'_>) -> Result<()> {
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
