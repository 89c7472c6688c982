//! One large file's content, from several slaves at once, into one part.
//!
//! The file is cut into blocks. Streams to several slaves (or several to one, over a line with latency) take ranges of them
//! from a common plan, each as many as it is fast, and write them in place. Nobody waits for a slow or silent one: towards
//! the end whoever has nothing to do fetches what that one was asked for as well.
//!
//! Every block is hashed as it arrives, and at the end the tree of these digests is compared with the digest of the whole,
//! which one slave gives: from its memory, or by reading its file meanwhile. That costs the slaves nothing where the digest
//! is known; lists of block digests, for which a slave must read the whole file, are asked for only when something is wrong,
//! to find out which blocks, and who served them. What an earlier try left (all blocks of the part without a hole in them)
//! is hashed here, and proved or disproved the same way.

pub(crate) mod crew;
pub(crate) mod desk;
mod ended;
mod jury;
mod line;
mod pace;
pub(crate) mod plan;
pub(crate) mod reserve;
pub(crate) mod roster;
mod work;

use std::sync::mpsc::channel;
use std::thread::{Builder, scope};

use protocol::{Digest, Entry, EntryKind, ErrorCode, RemotePath, Reply, Request};

use crate::ClientError;
use crate::context::Context;
use crate::fault::{Attempt, Fault};
use crate::fetch::Fetched;
use crate::notice::Notice;
use crate::part_file::PartFile;
use crate::publish::Finish;
use crate::renewal::Scout;
use crate::repair::kept_digest;
use crate::session::{Session, is_code, unexpected};
use crate::stripe::crew::Crew;
use crate::stripe::desk::Desk;
use crate::stripe::ended::Ended;
use crate::stripe::plan::Plan;
use crate::stripe::reserve::Reserve;
use crate::stripe::roster::{Distance, Quota, Roster};
use crate::stripe::work::Work;
use crate::trailer::Trailer;

/// Smaller files are not worth the opening of another stream, bytes.
const WORTH_STREAMS: u64 = 32 * 1024 * 1024;

/// Larger ones come by one stream, bytes: the plan holds each block from the beginning, and a slave may say any size.
const MOST: u64 = 16 * 1024 * 1024 * 1024 * 1024;

/// How often a file that changes under our hands is begun again.
const MAX_RESTARTS: u32 = 5;

/// How often damaged blocks are fetched again.
const MAX_REPAIRS: u32 = 3;

/// The fetching of one file.
#[derive(Debug)]
pub(crate) struct Stripe<'a> {
    context: Context,
    remote: RemotePath,
    part: &'a PartFile,
    resume: bool,
    roster: Roster,
    reserve: Reserve,
    scout: Scout,
    /// What a slave said of the file a moment ago.
    entry: Option<Entry>,
    work: Option<Work>,
    restarts: u32,
    repairs: u32,
    /// Whether those that were asked have contradicted themselves.
    is_doubted: bool,
}

impl<'a> Stripe<'a> {
    /// Fetches `remote` into `part`, going on with what is there where `resume` says so, over sessions of the `reserve` where
    /// they serve; `entry` is what a slave has just said of it.
    pub(crate) fn new(
        context: &Context,
        (remote, entry): (&RemotePath, Option<Entry>),
        (part, resume): (&'a PartFile, bool),
        (scout, reserve): (Scout, Reserve),
    ) -> Self {
        Self {
            context: context.clone(),
            remote: remote.clone(),
            part,
            resume,
            roster: Roster::default(),
            reserve,
            scout,
            entry,
            work: None,
            restarts: 0,
            repairs: 0,
            is_doubted: false,
        }
    }

    /// Whether this file is better fetched this way: it is large, and there are streams to be had; or an earlier try this
    /// way has left blocks here and there.
    pub(crate) fn suits(&mut self, session: &mut Session) -> Attempt<bool> {
        if self.has_scattered_blocks()? {
            return Ok(true);
        }
        self.roster.learn(self.scout.known());
        self.roster.place_of(session);
        let distance = Distance::of(session);
        let streams = self.context.options.streams;
        if Quota::new(streams, distance, self.roster.good()).all <= 1 {
            return Ok(false);
        }
        let entry = match self.entry.take() {
            Some(entry) => entry,
            None => self.stat(session)?,
        };
        let is_worth_it = entry.size > WORTH_STREAMS && entry.size <= MOST;
        let suits = entry.kind == EntryKind::File && is_worth_it;
        self.entry = Some(entry);
        Ok(suits)
    }

    fn has_scattered_blocks(&self) -> Result<bool, ClientError> {
        let left = if self.resume {
            self.part.trailer()?
        } else {
            None
        };
        let Some(left) = left.filter(|left| left.remote == self.remote) else {
            return Ok(false);
        };
        let blocks = self.part.whole_blocks(left.size)?;
        Ok((0..).zip(blocks).any(|(place, index)| place != index))
    }

    fn stat(&self, session: &mut Session) -> Attempt<Entry> {
        let question = Request::Stat {
            path: self.remote.clone(),
            follow: true,
        };
        match session.ask(&question)? {
            Reply::Facts { entry } => Ok(entry),
            other => Err(unexpected(&other)),
        }
    }

    /// Goes on, at first with one slave, until the content is whole; gives back a session, this one or another.
    pub(crate) fn step(&mut self, session: Session) -> (Option<Session>, Attempt<Fetched>) {
        self.roster.readmit();
        self.roster.learn(self.scout.known());
        let mut session = Some(session);
        loop {
            let result = self.try_version(&mut session);
            match result {
                Ok(None) => {}
                Ok(Some(fetched)) => return (session, Ok(fetched)),
                Err(fault) if is_code(&fault, ErrorCode::Changed) => {
                    if let Err(fault) = self.restart(fault) {
                        return (session, Err(fault));
                    }
                }
                Err(fault) => return (session, Err(fault)),
            }
        }
    }

    /// The sessions that are left, for the next file.
    pub(crate) fn take_reserve(&mut self) -> Reserve {
        std::mem::take(&mut self.reserve)
    }

    /// Slaves that failed, and should come last from now on.
    pub(crate) fn failed(&self) -> Vec<protocol::SlaveId> {
        self.roster.failed().collect()
    }

    /// `None`: blocks turned out to be wrong and are to be fetched again.
    fn try_version(&mut self, session: &mut Option<Session>) -> Attempt<Option<Fetched>> {
        if self.work.is_none() {
            let session = self.at_rest(session)?;
            let work = self.begin(session)?;
            self.work = Some(work);
        }
        let Some(mut work) = self.work.take() else {
            return Ok(None);
        };
        let result = self
            .round(&mut work, session)
            .and_then(|()| self.verify(&mut work, session));
        self.work = Some(work);
        result
    }

    /// The session at hand where it can be used, otherwise another one with the same slave.
    fn at_rest<'s>(&mut self, session: &'s mut Option<Session>) -> Attempt<&'s mut Session> {
        let is_good = session.as_mut().is_some_and(Session::is_at_rest);
        if !is_good {
            let origin = session
                .as_ref()
                .map(|session| self.roster.place_of(session));
            let way = origin
                .and_then(|origin| self.roster.way(origin))
                .ok_or_else(|| Fault::nonsense("no session"))?;
            *session = Some(way.open(None, &self.context)?);
        }
        session
            .as_mut()
            .ok_or_else(|| Fault::nonsense("no session"))
    }

    fn restart(&mut self, fault: Fault) -> Attempt<()> {
        self.restarts += 1;
        if self.restarts > MAX_RESTARTS {
            return Err(fault);
        }
        let is_begun = |work: Work| work.plan.there() > 0;
        if self.work.take().is_some_and(is_begun) {
            self.tell_restarted();
        }
        self.repairs = 0;
        self.is_doubted = false;
        self.roster.readmit();
        Ok(())
    }

    fn tell_restarted(&self) {
        self.context.notice(&Notice::Restarted {
            remote: self.remote.clone(),
            why: ErrorCode::Changed.sentence().to_owned(),
        });
    }

    /// Finds out what there is to fetch, and what of it is there.
    fn begin(&mut self, session: &mut Session) -> Attempt<Work> {
        let entry = match self.entry.take() {
            Some(entry) => entry,
            None => self.stat(session)?,
        };
        let trailer = match (entry.kind, entry.version) {
            (EntryKind::File, _) if entry.size > MOST => return Err(ErrorCode::TooLarge.into()),
            (EntryKind::File, Some(version)) => Trailer {
                remote: self.remote.clone(),
                version,
                size: entry.size,
            },
            (EntryKind::Directory, _) => return Err(ErrorCode::IsDirectory.into()),
            _ => return Err(ErrorCode::NotRegular.into()),
        };
        let left = self.part.trailer().map_err(ClientError::from)?;
        let kept = if self.resume && left.as_ref() == Some(&trailer) {
            let kept = self.part.whole_blocks(trailer.size);
            kept.map_err(ClientError::from)?
        } else {
            let is_stale = |left: Trailer| self.resume && left.remote == self.remote;
            if self.restarts == 0 && left.is_some_and(is_stale) {
                self.tell_restarted();
            }
            self.part.begin(&trailer).map_err(ClientError::from)?;
            Vec::new()
        };
        let finish = Finish {
            size: trailer.size,
            mode: entry.mode,
            modified_ns: entry.modified_ns,
        };
        Ok(Work::new(trailer, finish, entry.digest, &kept))
    }

    /// Fetches what is missing.
    fn round(&mut self, work: &mut Work, slot: &mut Option<Session>) -> Attempt<()> {
        self.at_rest(slot)?;
        let Some(session) = slot.take() else {
            return Err(Fault::nonsense("no session"));
        };
        let home = session.address();
        let mut ended = self.send_crew(work, session)?;
        if let Some(digest) = ended.digest {
            work.announced = Some(digest);
        }
        *slot = ended.session(home);
        let fault = ended.fault.take();
        let is_loss = matches!(fault, Some(Fault::Lost(_) | Fault::Refused(_)));
        let told_elsewhere = slot.as_ref().filter(|_| is_loss);
        ended.tell_rest(&self.context, told_elsewhere.map(Session::address));
        if is_loss {
            // The next slave may have no other place than those.
            self.reserve.empty();
        } else {
            self.reserve.add(ended.at_rest);
        }
        match fault {
            Some(fault) => Err(fault),
            None if work.plan.is_complete() => Ok(()),
            None => Err(Fault::nonsense("nobody is left to ask")),
        }
    }

    fn send_crew(&mut self, work: &mut Work, session: Session) -> Attempt<Ended> {
        let home = self.roster.place_of(&session);
        let distance = Distance::of(&session);
        let kept: Vec<u64> = match work.kept_is_hashed {
            true => Vec::new(),
            false => work.plan.kept().collect(),
        };
        let needs_digest = self.context.options.verify && work.announced.is_none();
        let (events, arriving) = channel();
        let state = (
            std::mem::replace(&mut work.plan, Plan::new(0)),
            work.digests.clone(),
        );
        let desk = Desk::new(&self.context, self.part, &work.trailer, state, events);
        let (roster, reserve) = (&mut self.roster, &mut self.reserve);
        let result = scope(|threads| -> std::io::Result<(Ended, bool)> {
            let hash = || desk.hash_kept(&kept);
            let builder = Builder::new().name("kept".to_owned());
            let hashing = match kept.is_empty() {
                true => None,
                false => Some(builder.spawn_scoped(threads, hash)?),
            };
            let slaves = (roster, reserve, &self.scout);
            let mut crew = Crew::new(&desk, threads, slaves, distance);
            if needs_digest {
                crew.ask_for_digest(home)?;
            }
            crew.begin(home, session)?;
            let ended = crew.manage(&arriving);
            let is_hashed = hashing.is_none_or(|hashing| hashing.join().unwrap_or(false));
            Ok((ended, is_hashed))
        });
        (work.plan, work.digests) = desk.into_inner();
        let (ended, is_hashed) = result.map_err(ClientError::from)?;
        work.kept_is_hashed |= is_hashed;
        // Where all was there and only being hashed, nobody else has looked.
        self.context.check()?;
        Ok(ended)
    }

    /// Compares what has come with what should have.
    fn verify(
        &mut self,
        work: &mut Work,
        session: &mut Option<Session>,
    ) -> Attempt<Option<Fetched>> {
        let is_checked = self.context.options.verify;
        if is_checked {
            let announced = match work.announced {
                Some(digest) => digest,
                None => kept_digest(self.at_rest(session)?, &work.trailer)?,
            };
            work.announced = Some(announced);
            if work.digests.whole() == Some(announced) {
                return Ok(Some(work.fetched(&self.roster, Some(announced))));
            }
        } else if work.kept_is_right {
            return Ok(Some(work.fetched(&self.roster, None)));
        }
        if self.repairs >= MAX_REPAIRS {
            return Err(ClientError::not_verified().into());
        }
        // They are asked on new sessions, for which there has to be a ticket that is still good, and a place.
        self.roster.learn(self.scout.known());
        let slaves = self.roster.in_use();
        self.reserve.empty();
        let heard = jury::hear(&self.context, &work.trailer, &slaves, is_checked)?;
        // One that a lost slave has broken off is none that failed.
        self.repairs += 1;
        let Some((whole, right)) = jury::verdict(work.announced, work.trailer.size, heard) else {
            let is_one_of_several = session.as_ref().is_some_and(|one| one.id().is_some());
            if is_one_of_several && !std::mem::replace(&mut self.is_doubted, true) {
                return Err(Fault::contradicted());
            }
            return Err(ClientError::contradicted().into());
        };
        if is_checked {
            work.announced = Some(whole);
        }
        self.reject(work, &right);
        work.kept_is_right = true;
        Ok(None)
    }

    /// Has every block that is not as it should be fetched again, and tells who served it.
    fn reject(&self, work: &mut Work, right: &[Digest]) {
        for (origin, blocks) in work.reject(right, self.context.options.verify) {
            self.context.notice(&Notice::Damaged {
                remote: self.remote.clone(),
                blocks,
                slave: self.roster.address(origin),
            });
        }
    }
}
