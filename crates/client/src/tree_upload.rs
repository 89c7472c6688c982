//! A whole tree, from a local folder to the storage: one listing of what is there, then the folders and what goes into them,
//! sent as they are found.

use std::collections::HashMap;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use protocol::{Condition, Entry, EntryKind, ErrorCode, RemotePath};

use crate::context::Context;
use crate::notice::Notice;
use crate::tree_download::below;
use crate::tree_outgoing::Outgoing;
use crate::tree_report::{Finished, TreeReport};
use crate::tree_spread::{Large, Outlet};
use crate::walk::{Found, Walk};
use crate::{Client, ClientError, Conflict, Listing, Result, TreeSummary, Upload};

/// Files larger than this are moved one by one, so that each can be gone on with, bytes.
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
        let walk = Walk::begin(&request.local)?;
        let present = self.list_present(request)?;
        let mut finding = Finding {
            context: self.context.clone(),
            request,
            report: &report,
            names: Names::new(request.conflict, &present),
        };
        self.send_all(&report, |outlet| {
            outlet.folder(0, request.remote.clone(), request.local.clone())?;
            walk.visit(&mut |found| finding.take(found, outlet))
        })?;
        if report.has_unchanged() {
            self.sync()?;
        }
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
}

/// What is found, on its way to the outlet.
struct Finding<'a, 'r> {
    context: Context,
    request: &'a Upload,
    report: &'a TreeReport<'r>,
    names: Names<'a>,
}

impl Finding<'_, '_> {
    fn take(&mut self, found: Found, outlet: &mut Outlet<'_>) -> Result<()> {
        match found {
            Found::Folder { number, path } => self.take_folder(number, &path, outlet),
            Found::File { folder, path, size } => self.take_file(&path, (folder, size), outlet),
            Found::Skipped { path, why } => {
                self.context.notice(&Notice::Skipped {
                    name: self.local(&path).into_os_string().into_vec(),
                    why: why.to_owned(),
                });
                Ok(())
            }
            Found::Unreadable { path, error } => {
                let remote = self.remote(&path);
                let remote = remote.as_ref().unwrap_or(&self.request.remote);
                self.report.failed(remote, self.local(&path), error);
                Ok(())
            }
        }
    }

    fn take_folder(&self, number: usize, path: &Path, outlet: &Outlet<'_>) -> Result<()> {
        let there = self.names.present.get(path.as_os_str().as_bytes());
        if there.is_some_and(|entry| entry.kind == EntryKind::Directory) {
            return Ok(());
        }
        match self.remote(path) {
            Ok(remote) => outlet.folder(number, remote, self.local(path)),
            Err(error) => self.fail(path, error),
        }
    }

    fn take_file(
        &mut self,
        path: &Path,
        (folder, size): (usize, u64),
        outlet: &mut Outlet<'_>,
    ) -> Result<()> {
        let local = self.local(path);
        let remote = match self.remote(path) {
            Ok(remote) => remote,
            Err(error) => return self.fail(path, error),
        };
        if size > LARGE || self.names.is_for_beside(path) {
            outlet.large(Large {
                local,
                remote,
                conflict: self.request.conflict,
            });
            return Ok(());
        }
        match self.names.settle(path, (&local, &remote)) {
            Ok(outgoing) => outlet.file(folder, outgoing.of_size(size)),
            Err(error) => {
                self.report.failed(&remote, local, error);
                Ok(())
            }
        }
    }

    /// A name that has none there.
    fn fail(&self, path: &Path, error: ClientError) -> Result<()> {
        let local = self.local(path);
        self.report.failed(&self.request.remote, local, error);
        Ok(())
    }

    fn local(&self, path: &Path) -> PathBuf {
        self.request.local.join(path)
    }

    fn remote(&self, path: &Path) -> Result<RemotePath> {
        below(&self.request.remote, path.as_os_str().as_bytes())
    }
}

/// Which names are taken, and what is to be done about it.
struct Names<'a> {
    conflict: Conflict,
    present: &'a Present,
}

impl<'a> Names<'a> {
    fn new(conflict: Conflict, present: &'a Present) -> Self {
        Self { conflict, present }
    }

    /// What is to be done about one small file.
    fn settle(&self, file: &Path, (local, remote): (&Path, &RemotePath)) -> Result<Outgoing> {
        let (local, remote) = (local.to_owned(), remote.clone());
        if self.conflict.replaces() {
            return Ok(Outgoing::file(local, remote, Condition::Any));
        }
        let Some(entry) = self.present.get(file.as_os_str().as_bytes()) else {
            return Ok(Outgoing::file(local, remote, Condition::Absent));
        };
        match entry.kind {
            EntryKind::File => Ok(Outgoing::compare(local, remote, entry.clone())),
            EntryKind::Directory => Err(ErrorCode::IsDirectory.into()),
            EntryKind::Link | EntryKind::Other => Err(ErrorCode::Exists.into()),
        }
    }

    /// Whether its name is taken, and it is to have another one, if not the same content has that: asked of each by itself.
    fn is_for_beside(&self, file: &Path) -> bool {
        let there = self.present.get(file.as_os_str().as_bytes());
        let is_taken = there.is_some_and(|entry| entry.kind != EntryKind::Directory);
        self.conflict == Conflict::StoreBeside && is_taken
    }
}
