//! Files of the same size on both sides: their digests, asked for many at a time and computed here meanwhile.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use protocol::{Digest, RemotePath, Reply, Request};
use rustix::fs::FileType;

use crate::Result;
use crate::content::digest_of;
use crate::context::Context;
use crate::fault::{Attempt, Fault};
use crate::folder::{Folder, facts_of};
use crate::session::{Session, unexpected};
use crate::under_way::{Collected, UnderWay};

/// A file to be compared.
#[derive(Debug)]
pub(crate) struct Pair {
    /// Its path below the roots of both trees.
    pub(crate) path: Vec<u8>,
    pub(crate) remote: RemotePath,
    pub(crate) size: u64,
}

/// The comparison of all of them.
#[derive(Debug)]
pub(crate) struct Compare<'a> {
    context: Context,
    /// Whether a slave must read the content again, although it knows the digest that it had.
    fresh: bool,
    root: &'a Folder,
    queue: VecDeque<Pair>,
    under_way: UnderWay<Pair>,
    /// Paths of those that are the same.
    same: Vec<Vec<u8>>,
    /// Paths of those that differ, or that one of the sides could not read: moving them will tell.
    different: Vec<Vec<u8>>,
}

impl<'a> Compare<'a> {
    pub(crate) fn new(
        context: &Context,
        root: &'a Folder,
        queue: VecDeque<Pair>,
        fresh: bool,
    ) -> Self {
        Self {
            context: context.clone(),
            fresh,
            root,
            queue,
            under_way: UnderWay::new(),
            same: Vec::new(),
            different: Vec::new(),
        }
    }

    /// Paths of those that are the same, and of the others.
    pub(crate) fn finish(self) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
        (self.same, self.different)
    }

    /// Goes on with one slave until all are compared.
    pub(crate) fn step(&mut self, session: &mut Session) -> Attempt<()> {
        for pair in self.under_way.drain().rev() {
            self.queue.push_front(pair);
        }
        loop {
            self.context.check()?;
            self.ask(session);
            session.flush()?;
            let Some(oldest) = self.under_way.take_oldest() else {
                return Ok(());
            };
            // The slave computes, too.
            let compared = match self.ours(&oldest.what) {
                Ok(ours) => {
                    let theirs = theirs(session, oldest.request.number);
                    theirs.map(|theirs| ours.is_some() && ours == theirs)
                }
                Err(error) => Err(error.into()),
            };
            match compared {
                Ok(true) => self.same.push(oldest.what.path),
                Ok(false) => self.different.push(oldest.what.path),
                Err(fault) => {
                    self.under_way.put_back(oldest);
                    return Err(fault);
                }
            }
            session.mark_progress();
        }
    }

    /// Sends requests, many at a time: only when half of the window is free again.
    fn ask(&mut self, session: &mut Session) {
        if !self.under_way.is_half_free(session) {
            return;
        }
        while self.under_way.has_room(session)
            && let Some(pair) = self.queue.pop_front()
        {
            let request = Request::Checksum {
                path: pair.remote.clone(),
                fresh: self.fresh,
            };
            let collected = Collected::new(session, &request);
            self.under_way.push(collected, pair, 0);
        }
    }

    /// The digest of the local file; `None` where it cannot be read, or is none any more. Fails on an interrupt.
    fn ours(&self, pair: &Pair) -> Result<Option<Digest>> {
        let path = Path::new(OsStr::from_bytes(&pair.path));
        let opened = self
            .root
            .beneath(path.parent().unwrap_or(Path::new("")))
            .and_then(|folder| folder.open_to_read(path.file_name().unwrap_or_default()))
            .and_then(|file| facts_of(&file).map(|facts| (file, facts)));
        match opened {
            Ok((file, facts)) if (facts.kind, facts.size) == (FileType::RegularFile, pair.size) => {
                let digest = digest_of(&file, pair.size, &self.context);
                self.context.check()?;
                Ok(digest.ok())
            }
            _ => Ok(None),
        }
    }
}

/// The digest of the remote file; `None` where the slave cannot tell.
fn theirs(session: &mut Session, number: u32) -> Attempt<Option<Digest>> {
    match session.answer(number) {
        Ok(Reply::Sum { digest, .. }) => Ok(Some(digest)),
        Ok(other) => Err(unexpected(&other)),
        Err(Fault::Failed(error)) if error.is_remote() => Ok(None),
        Err(fault) => Err(fault),
    }
}
