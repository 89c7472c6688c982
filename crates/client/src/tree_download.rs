//! A whole tree, from the storage to a local folder: one listing, then small files pipelined, large ones one by one.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use protocol::{Entry, EntryKind, ErrorCode, RemotePath};

use crate::folder::Folder;
use crate::notice::Notice;
use crate::place::Place;
use crate::tree_fetch::TreeFetch;
use crate::tree_job::Job;
use crate::tree_report::TreeReport;
use crate::{
    Client, ClientError, ClientErrorKind, Conflict, Download, Listing, Result, TreeItem,
    TreeSummary,
};

/// Files larger than this are fetched one by one, so that each can be gone on with and mended in part, bytes.
const LARGE: u64 = 8 * 1024 * 1024;

/// What is to be fetched.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    folders: Vec<Wanted>,
    small: VecDeque<Job>,
    large: Vec<Wanted>,
}

/// One name of the tree.
#[derive(Debug)]
struct Wanted {
    remote: RemotePath,
    relative: PathBuf,
    mode: u16,
}

impl Client {
    /// Fetches a folder with all in it into the folder `request.local`, which is made where it is not there. Each name is
    /// given to `finished` as it ends; a file that fails does not hold the others up. Symbolic links and special files
    /// are skipped with a [`Notice::Skipped`].
    ///
    /// # Errors
    /// Where nothing can go on: the folder cannot be listed, the local disk is full, all slaves are lost, an interrupt.
    pub fn download_tree(
        &mut self,
        request: &Download,
        finished: &mut dyn FnMut(TreeItem),
    ) -> Result<TreeSummary> {
        let mut report = TreeReport::new(finished);
        let plan = self.list_tree(request, &mut report)?;
        let root = Folder::open_or_make(&request.local)?;
        self.fetch_all(request, &root, plan, &mut report)?;
        Ok(report.finish())
    }

    /// Makes the folders, fetches small files many at a time, then the large ones, each for itself.
    pub(crate) fn fetch_all(
        &mut self,
        request: &Download,
        root: &Folder,
        plan: Plan,
        report: &mut TreeReport<'_>,
    ) -> Result<()> {
        for folder in &plan.folders {
            if let Err(error) = root.make_beneath(&folder.relative, folder.mode) {
                let local = request.local.join(&folder.relative);
                stop_if_hopeless(report, &folder.remote, local, error.into())?;
            }
        }
        let mut fetch = TreeFetch::new(&self.context, root, request.conflict, plan.small);
        let moved = self.attempt(|session| fetch.step(session, report));
        // What is there and verified is published, whatever has become of the rest.
        let published = fetch.publish(report);
        moved?;
        published?;
        let left = fetch.left_over();
        let large = plan
            .large
            .into_iter()
            .map(|wanted| (wanted.remote, wanted.relative));
        for (remote, relative) in left.into_iter().chain(large) {
            let local = request.local.join(&relative);
            match self.fetch_alone(root, &remote, &relative, request.conflict) {
                Ok(done) => report.done(done),
                Err(error) => stop_if_hopeless(report, &remote, local, error)?,
            }
        }
        Ok(root.flush_file_system()?)
    }

    fn fetch_alone(
        &mut self,
        root: &Folder,
        remote: &RemotePath,
        relative: &Path,
        conflict: Conflict,
    ) -> Result<crate::Transferred> {
        let name = relative.file_name().unwrap_or_default().to_owned();
        let folder = root.beneath(relative.parent().unwrap_or(Path::new("")))?;
        self.download_into(remote, &Place { folder, name }, conflict)
    }

    fn list_tree(&mut self, request: &Download, report: &mut TreeReport<'_>) -> Result<Plan> {
        let mut plan = Plan::default();
        let context = self.context.clone();
        let listing = Listing {
            recursive: true,
            facts: true,
        };
        let skip = |remote: &RemotePath, why: &str| {
            context.notice(&Notice::Skipped {
                name: remote.as_bytes().to_vec(),
                why: why.to_owned(),
            });
        };
        let unreadable = self.list(&request.remote, listing, &mut |entry| {
            let local = PathBuf::from(OsStr::from_bytes(&entry.name));
            match below(&request.remote, &entry.name) {
                Err(error) => report.failed(&request.remote, request.local.join(local), error),
                Ok(remote) => match entry.kind {
                    EntryKind::Link => skip(&remote, "a symbolic link"),
                    EntryKind::Other => skip(&remote, ErrorCode::NotRegular.sentence()),
                    EntryKind::Directory | EntryKind::File => plan.take(entry, remote, local),
                },
            }
        })?;
        for folder in unreadable {
            let local = request.local.join(OsStr::from_bytes(&folder.name));
            let remote = below(&request.remote, &folder.name)?;
            report.failed(&remote, local, folder.code.into());
        }
        Ok(plan)
    }
}

impl Plan {
    /// Adds a folder or file.
    pub(crate) fn take(&mut self, entry: Entry, remote: RemotePath, relative: PathBuf) {
        if entry.kind == EntryKind::File && entry.size <= LARGE {
            self.small.push_back(Job::new(remote, relative, entry));
            return;
        }
        let wanted = Wanted {
            remote,
            relative,
            mode: entry.mode,
        };
        match entry.kind {
            EntryKind::Directory => self.folders.push(wanted),
            _ => self.large.push(wanted),
        }
    }
}

/// The path that a recursive listing of `folder` means by `name`.
pub(crate) fn below(folder: &RemotePath, name: &[u8]) -> Result<RemotePath> {
    name.split(|&byte| byte == b'/')
        .try_fold(folder.clone(), |path, component| path.join(component))
        .map_err(ClientError::from)
}

/// Notes that one name failed, unless that means that every other one will too.
pub(crate) fn stop_if_hopeless(
    report: &mut TreeReport<'_>,
    remote: &RemotePath,
    local: PathBuf,
    error: ClientError,
) -> Result<()> {
    if is_hopeless(&error) {
        return Err(error);
    }
    report.failed(remote, local, error);
    Ok(())
}

/// Whether an error of one name means that every other one will fail too.
pub(crate) fn is_hopeless(error: &ClientError) -> bool {
    use std::io::ErrorKind;
    matches!(
        error.kind(),
        ClientErrorKind::NoConnection
            | ClientErrorKind::Busy
            | ClientErrorKind::Login
            | ClientErrorKind::Identity
            | ClientErrorKind::Interrupted
            | ClientErrorKind::Local(
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::ReadOnlyFilesystem,
            )
    )
}
