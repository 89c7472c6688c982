//! A whole tree, from the storage to a local folder. One session lists it; small files are fetched meanwhile, pipelined over
//! as many streams as help, large ones one by one, each from several slaves where that helps.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread::scope;

use protocol::{Entry, EntryKind, ErrorCode, RemotePath};

use crate::backlog::{Backlog, Layout};
use crate::error::unless_broken;
use crate::folder::Folder;
use crate::notice::Notice;
use crate::place::Place;
use crate::tree_crew::{Crew, Recruits};
use crate::tree_desk::{Desk, Left, Outlook};
use crate::tree_fetch::{Alone, Shared, TreeFetch};
use crate::tree_report::{Finished, TreeReport};
use crate::{Client, ClientError, ClientErrorKind, Download, Listing, Result, TreeSummary};

/// A tree that is being fetched.
pub(crate) struct Incoming<'a, 'r> {
    request: &'a Download,
    report: &'a TreeReport<'r>,
    /// Made when it is known that there is something to be put into it.
    root: OnceLock<Folder>,
    layout: Layout,
    desk: Desk<Backlog>,
    /// Files that are fetched one by one.
    alone: Mutex<VecDeque<Alone>>,
}

impl Client {
    /// Fetches a folder with all in it into the folder `request.local`, which is made where it is not there. Each name is
    /// given to `finished` as it ends, from any thread; a file that fails does not hold the others up. Symbolic links and
    /// special files are skipped with a [`Notice::Skipped`].
    ///
    /// # Errors
    /// Where nothing can go on: the folder cannot be listed, the local disk is full, all slaves are lost, an interrupt.
    pub fn download_tree(
        &mut self,
        request: &Download,
        finished: &mut Finished<'_>,
    ) -> Result<TreeSummary> {
        let report = TreeReport::new(finished);
        let tree = Incoming::new(request, Layout::Tree, &report);
        let recruits = self.recruits(true)?;
        self.fetch_tree(&tree, recruits, |client, added| {
            client.list_tree(&tree, added)?;
            tree.root().map(drop)
        })?;
        Ok(report.summary())
    }

    /// Fetches what `list` adds to the tree, with the help of all whose help is worth while.
    pub(crate) fn fetch_tree(
        &mut self,
        tree: &Incoming<'_, '_>,
        recruits: Recruits,
        list: impl FnOnce(&mut Self, &mut dyn FnMut(Left)) -> Result<()>,
    ) -> Result<()> {
        let most = recruits.most();
        let work = |client: &mut Self| tree.fetch_small(client);
        scope(|threads| {
            let mut crew = Crew::new(threads, &tree.desk, &work, recruits);
            let listed = unless_broken(|| list(self, &mut |left| crew.recruit(left)));
            tree.desk.finish();
            let fetched = listed.and_then(|()| unless_broken(|| tree.see_through(self, most)));
            if let Err(error) = &fetched {
                tree.desk.fail(error.clone());
            }
            crew.dismiss();
            fetched
        })?;
        // Of a stream that ended behind all others.
        tree.desk.check()?;
        Ok(tree.root()?.flush_file_system()?)
    }

    fn list_tree(&mut self, tree: &Incoming<'_, '_>, added: &mut dyn FnMut(Left)) -> Result<()> {
        let request = tree.request;
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
        let unreadable = self.list_while(&request.remote, listing, &mut |entry| {
            match below(&request.remote, &entry.name) {
                Err(error) => {
                    let local = request.local.join(OsStr::from_bytes(&entry.name));
                    tree.report.failed(&request.remote, local, error);
                }
                Ok(remote) => match entry.kind {
                    EntryKind::Link => skip(&remote, "a symbolic link"),
                    EntryKind::Other => skip(&remote, ErrorCode::NotRegular.sentence()),
                    EntryKind::Directory | EntryKind::File => {
                        added(tree.add(entry, remote)?);
                    }
                },
            }
            Ok(())
        })?;
        for folder in unreadable {
            let local = request.local.join(OsStr::from_bytes(&folder.name));
            match below(&request.remote, &folder.name) {
                Ok(remote) => tree.report.failed(&remote, local, folder.code.into()),
                Err(error) => tree.report.failed(&request.remote, local, error),
            }
        }
        Ok(())
    }
}

impl<'a, 'r> Incoming<'a, 'r> {
    pub(crate) fn new(request: &'a Download, layout: Layout, report: &'a TreeReport<'r>) -> Self {
        Self {
            request,
            report,
            root: OnceLock::new(),
            layout,
            desk: Desk::new(Backlog::new(&request.remote, layout)),
            alone: Mutex::default(),
        }
    }

    /// Adds a folder, which is made at once, or a file; says what waits then.
    pub(crate) fn add(&self, entry: Entry, remote: RemotePath) -> Result<Left> {
        let root = self.root()?;
        if entry.kind == EntryKind::File && entry.size <= self.layout.large() {
            return self.desk.add(|backlog| backlog.push(entry, root));
        }
        let relative = self.layout.place(&entry.name);
        if entry.kind == EntryKind::File {
            self.shared()?.set_aside(remote, relative);
        } else if let Err(error) = root.make_beneath(&relative, entry.mode) {
            let local = self.request.local.join(&relative);
            stop_if_hopeless(self.report, &remote, local, error.into())?;
        }
        self.desk.add(|_| ())
    }

    fn root(&self) -> Result<&Folder> {
        if let Some(root) = self.root.get() {
            return Ok(root);
        }
        let root = Folder::open_or_make(&self.request.local)?;
        Ok(self.root.get_or_init(|| root))
    }

    fn shared(&self) -> Result<Shared<'_, 'r>> {
        Ok(Shared {
            root: self.root()?,
            conflict: self.request.conflict,
            desk: &self.desk,
            alone: &self.alone,
            report: self.report,
        })
    }

    /// Fetches small files until there are no more.
    fn fetch_small(&self, client: &mut Client) -> Result<()> {
        let mut fetch = TreeFetch::new(&client.context, self.shared()?);
        let moved = loop {
            if self.desk.is_exhausted()
                && let Err(error) = fetch.publish()
            {
                break Err(error);
            }
            let result = match self.desk.wait(&client.context) {
                Ok(Outlook::Over) => break Ok(()),
                Ok(Outlook::NotYet) => fetch.publish(),
                Ok(Outlook::Work) => client.attempt(|session| fetch.step(session)),
                Err(error) => Err(error),
            };
            if result.is_err() {
                break result;
            }
        };
        // What is there and verified is published, whatever has become of the rest; where that fails, no other stream helps.
        fetch.publish().and(moved)
    }

    /// The part of the client that has listed the tree: large files, while others fetch the small ones; small ones as well
    /// where there should be more streams than there are.
    fn see_through(&self, client: &mut Client, most: u32) -> Result<()> {
        loop {
            let result = self.take_part(client, most);
            match result {
                Err(error) if error.is_absence() && self.desk.streams() > 0 => {
                    self.desk.wait_for_place(&client.context, 1)?;
                }
                result => return result,
            }
        }
    }

    fn take_part(&self, client: &mut Client, most: u32) -> Result<()> {
        if self.desk.streams() > 0 {
            self.fetch_alone(client)?;
        }
        self.desk.wait_for_place(&client.context, most)?;
        self.desk.join();
        let fetched = self.fetch_small(client);
        self.desk.leave();
        fetched?;
        self.fetch_alone(client)
    }

    /// Fetches, each for itself, what is not fetched otherwise; the streams of one serve the next, and nobody behind the
    /// last.
    fn fetch_alone(&self, client: &mut Client) -> Result<()> {
        let kept_streams = client.keep_streams(true);
        let fetched = self.fetch_each(client);
        client.release_streams();
        client.keep_streams(kept_streams);
        fetched
    }

    fn fetch_each(&self, client: &mut Client) -> Result<()> {
        while let Some((remote, relative)) = self.next_alone() {
            let local = self.request.local.join(&relative);
            match self.fetch_one(client, &remote, &relative) {
                Ok(done) => self.report.done(done),
                Err(error) => {
                    if error.is_absence() {
                        self.alone().push_front((remote.clone(), relative));
                    }
                    stop_if_hopeless(self.report, &remote, local, error)?;
                }
            }
        }
        Ok(())
    }

    fn next_alone(&self) -> Option<Alone> {
        self.alone().pop_front()
    }

    fn alone(&self) -> std::sync::MutexGuard<'_, VecDeque<Alone>> {
        self.alone.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fetch_one(
        &self,
        client: &mut Client,
        remote: &RemotePath,
        relative: &Path,
    ) -> Result<crate::Transferred> {
        let name = relative.file_name().unwrap_or_default().to_owned();
        let folder = self
            .root()?
            .beneath(relative.parent().unwrap_or(Path::new("")))?;
        client.download_into(remote, &Place { folder, name }, self.request.conflict)
    }
}

/// The path that a recursive listing of `folder` means by `name`.
pub(crate) fn below(folder: &RemotePath, name: &[u8]) -> Result<RemotePath> {
    Ok(folder.join_all(name)?)
}

/// Notes that one name failed, unless that means that every other one will too.
pub(crate) fn stop_if_hopeless(
    report: &TreeReport<'_>,
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
            | ClientErrorKind::LoginRefused
            | ClientErrorKind::Insecure
            | ClientErrorKind::Identity
            | ClientErrorKind::Interrupted
            | ClientErrorKind::Remote(ErrorCode::NoSpace | ErrorCode::QuotaExceeded)
            | ClientErrorKind::Local(
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::ReadOnlyFilesystem,
            )
    )
}
