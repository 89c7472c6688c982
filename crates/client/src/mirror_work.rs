//! Carrying out what a mirror has planned, or telling it.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use protocol::{EntryKind, ErrorCode, RemotePath, Request};

use crate::asking::{Answer, Asking};
use crate::folder::Folder;
use crate::mirror::{Change, Mirror, MirrorItem, MirrorSummary, Outcome, Side};
use crate::mirror_compare::{Compare, Pair};
use crate::mirror_orders::OrdersHere;
use crate::mirror_plan::{Changes, Doomed, is_same_time};
use crate::mirror_tree::Tree;
use crate::notice::Notice;
use crate::session::done;
use crate::tree_download::{below, is_hopeless};
use crate::{Client, ClientError, Comparison, Result};

/// A mirror under way.
pub(crate) struct Work<'w> {
    pub(crate) client: &'w mut Client,
    pub(crate) request: &'w Mirror<'w>,
    pub(crate) source: &'w Tree,
    pub(crate) target: &'w Tree,
    pub(crate) told: &'w mut (dyn FnMut(MirrorItem) + Send),
    pub(crate) summary: MirrorSummary,
}

impl Mirror<'_> {
    /// The remote path of a path below the root; the empty one is the root's.
    pub(crate) fn remote(&self, path: &[u8]) -> Result<RemotePath> {
        if path.is_empty() {
            return Ok(self.remote.clone());
        }
        below(&self.remote, path)
    }

    pub(crate) fn local(&self, path: &[u8]) -> PathBuf {
        if path.is_empty() {
            return self.local.clone();
        }
        self.local.join(relative(path))
    }

    /// What a person calls the path at the source.
    pub(crate) fn source_name(&self, path: &[u8]) -> Vec<u8> {
        self.name(path, self.target == Side::Remote)
    }

    /// What a person calls the path at the target.
    pub(crate) fn target_name(&self, path: &[u8]) -> Vec<u8> {
        self.name(path, self.target == Side::Local)
    }

    fn name(&self, path: &[u8], is_local: bool) -> Vec<u8> {
        match self.remote(path) {
            Ok(remote) if !is_local => remote.as_bytes().to_vec(),
            _ => self.local(path).into_os_string().into_encoded_bytes(),
        }
    }
}

impl MirrorSummary {
    pub(crate) fn count(&mut self, change: Change, result: &Result<Outcome>) {
        match (result, change) {
            (Err(_), _) => self.failed += 1,
            (Ok(Outcome::Moved(moved)), _) => {
                self.files += 1;
                self.bytes += moved.bytes.saturating_sub(moved.resumed_at);
            }
            (Ok(_), Change::Move(bytes)) => {
                self.files += 1;
                self.bytes += bytes;
            }
            (Ok(_), Change::SetTime) => self.times_set += 1,
            (Ok(_), Change::Remove(_)) => self.removed += 1,
            (Ok(_), Change::Make) => {}
        }
    }
}

impl Work<'_> {
    /// Tells a name that failed. Fails where nothing can go on.
    pub(crate) fn fail(&mut self, path: &[u8], error: ClientError) -> Result<()> {
        let size = self.source.names.get(path).map_or(0, |entry| entry.size);
        self.end(path, Change::Move(size), Err(error))
    }

    /// Tells how a change ended, and counts it.
    fn end(&mut self, path: &[u8], change: Change, result: Result<Outcome>) -> Result<()> {
        if let Err(error) = &result
            && is_hopeless(error)
        {
            return Err(error.clone());
        }
        self.summary.count(change, &result);
        (self.told)(MirrorItem {
            change,
            // A path that the protocol cannot say has failed for that reason.
            remote: self
                .request
                .remote(path)
                .unwrap_or_else(|_| self.request.remote.clone()),
            local: self.request.local(path),
            result,
        });
        Ok(())
    }

    /// Finds out which doubtful files differ. The others' times are given back where they are to be set.
    pub(crate) fn settle(&mut self, changes: &mut Changes) -> Result<Vec<Vec<u8>>> {
        let doubtful = std::mem::take(&mut changes.doubtful);
        if doubtful.is_empty() {
            return Ok(Vec::new());
        }
        let root = Folder::open(&self.request.local)?;
        let mut pairs = VecDeque::new();
        for path in doubtful {
            match self.request.remote(&path) {
                Ok(remote) => {
                    let size = self.source.names.get(&path).map_or(0, |entry| entry.size);
                    pairs.push_back(Pair { path, remote, size });
                }
                Err(error) => self.fail(&path, error)?,
            }
        }
        let is_fresh = self.request.rules.comparison == Comparison::Content;
        let mut compare = Compare::new(&self.client.context, &root, pairs, is_fresh);
        self.client.attempt(|session| compare.step(session))?;
        let (same, mut different) = compare.finish();
        changes.files.append(&mut different);
        let mut times = Vec::new();
        for path in same {
            let (source, target) = (self.source.names.get(&path), self.target.names.get(&path));
            let is_same_time = source.zip(target).is_none_or(|(source, target)| {
                is_same_time(source.modified_ns, target.modified_ns)
            });
            if is_same_time {
                self.summary.unchanged += 1;
            } else {
                times.push(path);
            }
        }
        Ok(times)
    }

    /// Tells what would be done.
    pub(crate) fn rehearse(&mut self, changes: &Changes, times: &[Vec<u8>]) -> Result<()> {
        for (path, kind) in &changes.clear {
            self.end(path, Change::Remove(*kind), Ok(Outcome::Planned))?;
        }
        for path in &changes.folders {
            self.end(path, Change::Make, Ok(Outcome::Planned))?;
        }
        for path in &changes.files {
            let size = self.source.names.get(path).map_or(0, |entry| entry.size);
            self.end(path, Change::Move(size), Ok(Outcome::Planned))?;
        }
        for path in times {
            self.end(path, Change::SetTime, Ok(Outcome::Planned))?;
        }
        for (path, kind) in &changes.remove {
            self.end(path, Change::Remove(*kind), Ok(Outcome::Planned))?;
        }
        Ok(())
    }

    /// Makes the changes: what is in the way first, what is too many last, and that only where all else has succeeded.
    pub(crate) fn carry_out(&mut self, mut changes: Changes, times: Vec<Vec<u8>>) -> Result<()> {
        let told_before = self.summary.failed;
        self.remove(changes.clear)?;
        self.set_times(times, &mut changes.files)?;
        match self.request.target {
            Side::Local => self.fetch(&changes.folders, &changes.files)?,
            Side::Remote => self.send(&changes.folders, &changes.files)?,
        }
        if self.summary.failed > told_before && !changes.remove.is_empty() {
            self.client.context.notice(&Notice::Kept {
                name: self.request.target_name(b""),
                why: "not everything could be moved".to_owned(),
            });
            return Ok(());
        }
        self.remove(changes.remove)
    }

    /// Sets times. Files of which a slave cannot do that are added to those that are moved.
    fn set_times(&mut self, paths: Vec<Vec<u8>>, files: &mut Vec<Vec<u8>>) -> Result<()> {
        if paths.is_empty() {
            return Ok(());
        }
        let mut ended = Vec::new();
        let result = match self.request.target {
            Side::Local => self.order_here(paths, |orders, name| {
                let result = orders.set_time(&name, self.time_of(&name));
                ended.push(Answer {
                    name,
                    result,
                    is_repeated: false,
                });
            }),
            Side::Remote => {
                let mut queue = VecDeque::new();
                for path in paths {
                    let order = Request::SetTime {
                        path: self.request.remote(&path)?,
                        modified_ns: self.time_of(&path),
                        expected: self
                            .target
                            .names
                            .get(&path)
                            .and_then(|entry| entry.version.clone()),
                    };
                    queue.push_back((order, path));
                }
                self.order(queue, &mut |answer| ended.push(answer))
            }
        };
        for Answer {
            name: path,
            result,
            is_repeated,
        } in ended
        {
            // The slave that was lost may have set it, and the time is part of the version.
            let is_open = |error: &ClientError| is_repeated && error.is(ErrorCode::Changed);
            match result {
                Err(error) if error.is(ErrorCode::Unsupported) || is_open(&error) => {
                    files.push(path);
                }
                result => self.end(&path, Change::SetTime, result.map(|()| Outcome::Done))?,
            }
        }
        result
    }

    fn time_of(&self, path: &[u8]) -> i64 {
        let entry = self.source.names.get(path);
        entry.map_or(0, |entry| entry.modified_ns)
    }

    fn remove(&mut self, doomed: Vec<Doomed>) -> Result<()> {
        if doomed.is_empty() {
            return Ok(());
        }
        let mut ended = Vec::new();
        let result = match self.request.target {
            Side::Local => self.order_here(doomed, |orders, (path, kind)| {
                let result = orders.remove(&path, kind);
                ended.push(((path, kind), result));
            }),
            Side::Remote => {
                let mut queue = VecDeque::new();
                for (path, kind) in doomed {
                    queue.push_back((removal(self.request.remote(&path)?, kind), (path, kind)));
                }
                self.order(queue, &mut |answer| {
                    ended.push((answer.name, answer.result));
                })
            }
        };
        for ((path, kind), result) in ended {
            let result = match result {
                // Somebody else did it, or the slave before, whose answer was lost.
                Err(error) if error.is(ErrorCode::NotFound) => Ok(Outcome::Done),
                result => result.map(|()| Outcome::Done),
            };
            self.end(&path, Change::Remove(kind), result)?;
        }
        result
    }

    fn order_here<N>(
        &self,
        names: Vec<N>,
        mut carry_out: impl FnMut(&mut OrdersHere, N),
    ) -> Result<()> {
        let mut orders = OrdersHere::new(Folder::open(&self.request.local)?);
        for name in names {
            self.client.context.check()?;
            carry_out(&mut orders, name);
        }
        orders.flush()
    }

    fn order<N>(
        &mut self,
        queue: VecDeque<(Request, N)>,
        ended: &mut dyn FnMut(Answer<N, ()>),
    ) -> Result<()> {
        let mut orders = Asking::new(&self.client.context, queue, done);
        let mut take = |answer| {
            ended(answer);
            ControlFlow::Continue(())
        };
        self.client
            .attempt(|session| orders.step(session, &mut take))
    }
}

/// Asks for one name to be removed, and nothing that may be in it.
fn removal(path: RemotePath, kind: EntryKind) -> Request {
    match kind {
        EntryKind::Directory => Request::RemoveDirectory { path },
        EntryKind::File | EntryKind::Link | EntryKind::Other => Request::Remove {
            path,
            recursive: false,
        },
    }
}

/// A path below a root, as one of this side's.
pub(crate) fn relative(path: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(path))
}
