//! Names that a person's wildcards match, or a script has listed: looked at or removed with many requests under way, and moved
//! like the files of a tree. One after another each would take a far slave one to three round trips.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::path::Path;

use protocol::{Condition, Entry, EntryKind, ErrorCode, RemotePath, Request};

use crate::asking::{Answer, Asking};
use crate::backlog::{Layout, WORTH_RESUMING};
use crate::commands::{Sum, checksum, sum};
use crate::session::{done, facts};
use crate::tree_download::Incoming;
use crate::tree_outgoing::Outgoing;
use crate::tree_report::{Finished, TreeReport};
use crate::tree_spread::{Large, Outlet};
use crate::{Client, Conflict, Download, Result, TreeSummary, Upload};

/// Takes what became of one name, and says whether to go on with the others.
pub(crate) type Ended<'a, T> = dyn FnMut(Result<T>) -> ControlFlow<()> + 'a;

impl Client {
    /// Facts about each name, in that order; with `follow`, about what a symbolic link leads to. What is said of one name says
    /// nothing of the others.
    ///
    /// # Errors
    /// Where nothing can go on: all slaves are lost, an interrupt.
    pub fn stat_each(&mut self, paths: &[RemotePath], follow: bool) -> Result<Vec<Result<Entry>>> {
        if let [path] = paths {
            return alone(self.stat(path, follow));
        }
        let request = |path: &RemotePath| Request::Stat {
            path: path.clone(),
            follow,
        };
        let queue = paths.iter().map(|path| (request(path), ())).collect();
        let mut asking = Asking::new(&self.context, queue, facts);
        let mut looked = Vec::with_capacity(paths.len());
        let mut take = |answer: Answer<(), Entry>| {
            looked.push(answer.result);
            ControlFlow::Continue(())
        };
        self.attempt(|session| asking.step(session, &mut take))?;
        Ok(looked)
    }

    /// The digest of each file, which goes to `ended`, in that order, as it is answered. Where `ended` breaks, the others are asked
    /// for no more.
    ///
    /// # Errors
    /// As [`stat_each`](Self::stat_each).
    pub fn checksum_each(
        &mut self,
        paths: &[RemotePath],
        ended: &mut Ended<'_, Sum>,
    ) -> Result<()> {
        let queue = paths.iter().map(|path| (checksum(path), ())).collect();
        let mut asking = Asking::new(&self.context, queue, sum);
        let mut take = |answer: Answer<(), Sum>| ended(answer.result);
        self.attempt(|session| asking.step(session, &mut take))
    }

    /// Removes each of these files and links, with `recursive` folders and all in them. What became of each goes to `ended`, in that
    /// order, as it is answered. Where `ended` breaks, the others are asked for no more; some may be removed all the same.
    ///
    /// # Errors
    /// As [`stat_each`](Self::stat_each).
    pub fn remove_each(
        &mut self,
        paths: &[RemotePath],
        recursive: bool,
        ended: &mut Ended<'_, ()>,
    ) -> Result<()> {
        let request = |path: &RemotePath| Request::Remove {
            path: path.clone(),
            recursive,
        };
        self.remove_with(paths, &request, ended)
    }

    /// The same for empty folders.
    ///
    /// # Errors
    /// As [`stat_each`](Self::stat_each).
    pub fn remove_each_directory(
        &mut self,
        paths: &[RemotePath],
        ended: &mut Ended<'_, ()>,
    ) -> Result<()> {
        let request = |path: &RemotePath| Request::RemoveDirectory { path: path.clone() };
        self.remove_with(paths, &request, ended)
    }

    fn remove_with(
        &mut self,
        paths: &[RemotePath],
        request: &dyn Fn(&RemotePath) -> Request,
        ended: &mut Ended<'_, ()>,
    ) -> Result<()> {
        let queue = paths.iter().map(|path| (request(path), ())).collect();
        let mut asking = Asking::new(&self.context, queue, done);
        let mut take = |answer: Answer<(), ()>| {
            ended(match answer.result {
                // The slave that was lost has removed it.
                Err(error) if answer.is_repeated && error.is(ErrorCode::NotFound) => Ok(()),
                result => result,
            })
        };
        self.attempt(|session| asking.step(session, &mut take))
    }

    /// Fetches remote files, each as [`stat_each`](Self::stat_each) found it, into the folder `local`, each under its own name; no two
    /// have the same. Each is given to `finished` as it ends, from any thread, in no certain order; one that fails does not
    /// hold the others up.
    ///
    /// # Errors
    /// Where nothing can go on: the local disk is full, all slaves are lost, an interrupt.
    pub fn download_files(
        &mut self,
        files: Vec<(RemotePath, Entry)>,
        (local, conflict): (&Path, Conflict),
        finished: &mut Finished<'_>,
    ) -> Result<TreeSummary> {
        let report = TreeReport::new(finished);
        let request = Download {
            remote: RemotePath::root(),
            local: local.to_owned(),
            conflict,
        };
        let incoming = Incoming::new(&request, Layout::Flat, &report);
        let recruits = self.recruits(false)?;
        self.fetch_tree(&incoming, recruits, |_, added| {
            files.into_iter().try_for_each(|(remote, entry)| {
                // As a listing of the root would have it.
                let name = remote.as_bytes().iter().skip(1).copied().collect();
                added(incoming.add(Entry { name, ..entry }, remote)?);
                Ok(())
            })
        })?;
        Ok(report.summary())
    }

    /// Sends regular files, no two of them to one name, into folders that are there. Each is given to `finished` as it ends, from
    /// any thread, in no certain order; one that fails does not hold the others up.
    ///
    /// None may have [`Conflict::StoreBeside`]: which other name is free shows only when a file
    /// is sent for itself.
    ///
    /// # Errors
    /// Where nothing can go on: all slaves are lost, the storage is full, an interrupt.
    pub fn upload_files(
        &mut self,
        files: &[Upload],
        finished: &mut Finished<'_>,
    ) -> Result<TreeSummary> {
        let report = TreeReport::new(finished);
        let asked = files.iter().filter(|file| !file.conflict.replaces());
        let asked: Vec<_> = asked.map(|file| file.remote.clone()).collect();
        let mut there = VecDeque::from(self.stat_each(&asked, true)?);
        self.send_all(&report, |outlet| {
            files.iter().try_for_each(|file| {
                let there = match file.conflict.replaces() {
                    true => None,
                    false => there.pop_front(),
                };
                match add(file, there, outlet)? {
                    Ok(()) => {}
                    Err(error) => report.failed(&file.remote, file.local.clone(), error),
                }
                Ok(())
            })
        })?;
        if report.has_unchanged() {
            self.sync()?;
        }
        Ok(report.summary())
    }
}

/// Adds a file to what is sent. `there`: what was said of its name, where that matters. Fails within where this file cannot be
/// sent.
fn add(file: &Upload, there: Option<Result<Entry>>, outlet: &mut Outlet<'_>) -> Result<Result<()>> {
    let size = match std::fs::symlink_metadata(&file.local) {
        Ok(facts) => facts.len(),
        Err(error) => return Ok(Err(error.into())),
    };
    let (local, remote) = (file.local.clone(), file.remote.clone());
    if size > WORTH_RESUMING {
        outlet.large(Large {
            local,
            remote,
            conflict: file.conflict,
        });
        return Ok(Ok(()));
    }
    let store = |condition| Outgoing::file(local.clone(), remote.clone(), condition);
    let outgoing = match there {
        None => store(Condition::Any),
        Some(Err(error)) if error.is(ErrorCode::NotFound) => store(Condition::Absent),
        Some(Err(error)) => return Ok(Err(error)),
        Some(Ok(entry)) => match entry.kind {
            EntryKind::File => Outgoing::compare(local, remote, entry),
            EntryKind::Directory => return Ok(Err(ErrorCode::IsDirectory.into())),
            EntryKind::Link | EntryKind::Other => return Ok(Err(ErrorCode::Exists.into())),
        },
    };
    outlet.file(0, outgoing.of_size(size)).map(Ok)
}

/// What is said of one name, as of several: what ends all does not belong to it.
pub(crate) fn alone<T>(result: Result<T>) -> Result<Vec<Result<T>>> {
    match result {
        Err(error) if !error.is_remote() => Err(error),
        result => Ok(vec![result]),
    }
}
