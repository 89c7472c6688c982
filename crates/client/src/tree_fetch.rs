//! One stream of a tree's small files: many requests under way at once, each answer taken as it comes.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use protocol::{Digest, ErrorCode, RemotePath, Reply};

use crate::backlog::Backlog;
use crate::batch::{Batch, Waiting};
use crate::context::Context;
use crate::draft::Draft;
use crate::fault::{Attempt, Fault};
use crate::folder::Folder;
use crate::notice::Notice;
use crate::publish::{Finish, set_time};
use crate::session::{Session, unexpected};
use crate::tree_content::{Arrived, Intake, announced};
use crate::tree_desk::Desk;
use crate::tree_download::stop_if_hopeless;
use crate::tree_job::{Decider, Job, Next, is_worth_another_try};
use crate::tree_report::TreeReport;
use crate::under_way::{Collected, UnderWay};
use crate::{ClientError, ClientErrorKind, Conflict, Result, Status, Transferred};

/// How often a file that changed, or arrived damaged, is fetched again.
const MAX_TRIES: u32 = 3;

/// Of a name that somebody else gave a file meanwhile.
const TAKEN: ClientErrorKind = ClientErrorKind::Local(io::ErrorKind::AlreadyExists);

/// What the streams of one tree share.
pub(crate) struct Shared<'a, 'r> {
    pub(crate) root: &'a Folder,
    pub(crate) conflict: Conflict,
    pub(crate) desk: &'a Desk<Backlog>,
    /// Files that are fetched one by one: large ones, and those that need a closer look than there is time for here.
    pub(crate) alone: &'a Mutex<VecDeque<Alone>>,
    pub(crate) report: &'a TreeReport<'r>,
}

/// A file that is fetched for itself: its remote path, and that beneath the root.
pub(crate) type Alone = (RemotePath, PathBuf);

/// The fetching of small files over one session at a time.
pub(crate) struct TreeFetch<'a, 'r> {
    context: Context,
    shared: Shared<'a, 'r>,
    decider: Decider<'a>,
    /// To be asked for once more.
    again: VecDeque<Job>,
    under_way: UnderWay<Asked>,
    batch: Batch,
    intake: Intake,
}

/// What was asked for: a file's content, or its digest to compare.
#[derive(Debug)]
struct Asked {
    job: Job,
    /// The local file's digest, where the remote one was asked for.
    ours: Option<Digest>,
}

/// What has become of a file.
enum Ended {
    /// It is there.
    Unchanged(Digest),
    /// It is whole and verified.
    Arrived(Draft, Finish, Digest),
    /// It is fetched later, alone.
    Later,
}

impl<'a, 'r> TreeFetch<'a, 'r> {
    pub(crate) fn new(context: &Context, shared: Shared<'a, 'r>) -> Self {
        Self {
            context: context.clone(),
            decider: Decider::new(context, shared.root, shared.conflict),
            shared,
            again: VecDeque::new(),
            under_way: UnderWay::new(),
            batch: Batch::default(),
            intake: Intake::new(context),
        }
    }

    /// Fetches files until none waits at the desk, with one slave. What that one has not delivered is given back, what it
    /// has, waits for its name.
    pub(crate) fn step(&mut self, session: &mut Session) -> Attempt<()> {
        session.expect_many();
        let result = self.fetch(session);
        let asked = self.under_way.drain().map(|asked| asked.job);
        self.shared
            .desk
            .give_back(asked.chain(self.again.drain(..)));
        if result.is_err() {
            self.publish()?;
        }
        result
    }

    fn fetch(&mut self, session: &mut Session) -> Attempt<()> {
        loop {
            self.ask(session)?;
            session.flush()?;
            let Some(oldest) = self.under_way.take_oldest() else {
                return Ok(());
            };
            self.take_answer(oldest.request.number, oldest.what, session)?;
            if self.batch.is_due(self.shared.desk.streams()) {
                self.publish()?;
            }
        }
    }

    /// Sends requests, many at a time: only when half of what may be under way is.
    fn ask(&mut self, session: &mut Session) -> Attempt<()> {
        let share = self.shared.desk.share();
        let (count, content) = (self.under_way.len(), self.under_way.content());
        if !self.under_way.is_half_free(session) || !share.has_room(count * 2, content * 2) {
            return Ok(());
        }
        while self.under_way.has_room(session)
            && share.has_room(self.under_way.len(), self.under_way.content())
        {
            self.context.check()?;
            let next = match self.again.pop_front() {
                None => self.shared.desk.take()?,
                again => again,
            };
            let Some(mut job) = next else {
                break;
            };
            job.started = Instant::now();
            let (request, ours) = match self.decider.decide(&mut job) {
                Ok(Next::Fetch) => (job.retrieve(self.context.options.verify), None),
                Ok(Next::Compare(ours)) => (job.checksum(), Some(ours)),
                Ok(Next::Same(digest)) => {
                    self.end(self.unchanged(&job, digest, session));
                    continue;
                }
                Ok(Next::Later) => {
                    self.leave_for_later(job);
                    continue;
                }
                Err(error) => {
                    self.give_up(&job, error)?;
                    continue;
                }
            };
            let collected = Collected::new(session, &request);
            let content = job.size;
            self.under_way.push(collected, Asked { job, ours }, content);
        }
        Ok(())
    }

    /// Takes the answer to the oldest request.
    fn take_answer(&mut self, number: u32, asked: Asked, session: &mut Session) -> Attempt<()> {
        let mut job = asked.job;
        let ended = match asked.ours {
            Some(ours) => self.compare(session, number, ours),
            None => self.take_content(&job, session, number),
        };
        if ended.is_ok() {
            session.mark_progress();
        }
        match ended {
            Ok(Ended::Unchanged(digest)) => self.end(self.unchanged(&job, digest, session)),
            Ok(Ended::Arrived(draft, finish, digest)) => {
                self.let_wait(job, draft, (&finish, digest), session.address());
            }
            Ok(Ended::Later) => self.leave_for_later(job),
            Err(Fault::Failed(error)) if is_worth_another_try(&error) => {
                job.tries += 1;
                if job.tries <= MAX_TRIES {
                    job.version = None;
                    self.again.push_back(job);
                } else if error.is(ErrorCode::Corrupt) {
                    // By itself it is repaired, or it is found out whose fault it is.
                    self.leave_for_later(job);
                } else {
                    self.give_up(&job, error)?;
                }
            }
            Err(Fault::Failed(error)) => self.give_up(&job, error)?,
            Err(fault) => {
                self.again.push_front(job);
                return Err(fault);
            }
        }
        Ok(())
    }

    fn leave_for_later(&self, job: Job) {
        self.shared.set_aside(job.remote, job.relative);
        self.shared.desk.done();
    }

    fn end(&self, transferred: Transferred) {
        self.shared.report.done(transferred);
        self.shared.desk.done();
    }

    fn give_up(&self, job: &Job, error: ClientError) -> Result<()> {
        let local = job.local(self.shared.root);
        self.shared.desk.done();
        stop_if_hopeless(self.shared.report, &job.remote, local, error)
    }

    fn compare(&self, session: &mut Session, number: u32, ours: Digest) -> Attempt<Ended> {
        match session.answer(number)? {
            Reply::Sum { digest, .. } if digest == ours => Ok(Ended::Unchanged(ours)),
            Reply::Sum { .. } => {
                self.decider.taken()?;
                Ok(Ended::Later)
            }
            other => Err(unexpected(&other)),
        }
    }

    fn take_content(&mut self, job: &Job, session: &mut Session, number: u32) -> Attempt<Ended> {
        let finish = announced(&session.answer(number)?)?;
        let target = self.decider.target(job, finish.mode);
        let Some(arrived) = self.intake.take(session, (number, finish.size), target)? else {
            return Ok(Ended::Later);
        };
        if let Err(fault) = check(&self.context, &arrived, &finish, (job, session)) {
            arrived.discard();
            return Err(fault);
        }
        Ok(Ended::Arrived(arrived.draft, finish, arrived.digest))
    }

    /// Lets a whole and verified file wait for its name.
    fn let_wait(
        &mut self,
        job: Job,
        draft: Draft,
        (finish, digest): (&Finish, Digest),
        slave: SocketAddr,
    ) {
        let verify = self.context.options.verify;
        self.batch.push(Waiting {
            draft,
            mode: finish.mode,
            replace: self.decider.replaces(),
            transferred: Transferred {
                local: job.local(self.shared.root),
                bytes: finish.size,
                resumed_at: 0,
                seconds: job.started.elapsed().as_secs_f64(),
                digest: verify.then_some(digest),
                verified: verify,
                slave: Some(slave),
                slaves: Vec::new(),
                status: Status::Done,
                remote: job.remote,
            },
            relative: job.relative,
        });
    }

    fn unchanged(&self, job: &Job, digest: Digest, session: &Session) -> Transferred {
        Transferred {
            remote: job.remote.clone(),
            local: job.local(self.shared.root),
            bytes: job.size,
            resumed_at: job.size,
            seconds: job.started.elapsed().as_secs_f64(),
            digest: Some(digest),
            verified: true,
            slave: Some(session.address()),
            slaves: Vec::new(),
            status: Status::Unchanged,
        }
    }

    /// Gives everything that waits its name. Only then has a file ended: until then the tree is not over for anybody.
    pub(crate) fn publish(&mut self) -> Result<()> {
        let shared = &self.shared;
        let mut hopeless = Ok(());
        self.batch.publish(shared.root, |waiting, fate| {
            let Transferred { remote, local, .. } = &waiting.transferred;
            match fate {
                Ok(()) => shared.report.done(waiting.transferred),
                // Somebody was quicker: looked at like anything that was there before.
                Err(error) if error.kind() == TAKEN => {
                    shared.set_aside(remote.clone(), waiting.relative);
                }
                Err(error) => {
                    let stop = stop_if_hopeless(shared.report, remote, local.clone(), error);
                    if hopeless.is_ok() {
                        hopeless = stop;
                    }
                }
            }
            shared.desk.done();
        });
        hopeless
    }
}

/// Whether what has arrived is what was announced; then it gets its time.
fn check(
    context: &Context,
    arrived: &Arrived<'_>,
    finish: &Finish,
    (job, session): (&Job, &Session),
) -> Attempt<()> {
    if arrived.length != finish.size {
        return Err(Fault::nonsense("other content than was announced"));
    }
    if context.options.verify && arrived.announced != Some(arrived.digest) {
        context.notice(&Notice::Damaged {
            remote: job.remote.clone(),
            blocks: 0,
            slave: Some(session.address()),
        });
        return Err(ClientError::from(ErrorCode::Corrupt).into());
    }
    set_time(arrived.draft.file(), finish.modified_ns).map_err(ClientError::from)?;
    Ok(())
}

impl Shared<'_, '_> {
    /// Leaves a file to be fetched for itself.
    pub(crate) fn set_aside(&self, remote: RemotePath, relative: PathBuf) {
        let mut alone = self.alone.lock().unwrap_or_else(PoisonError::into_inner);
        alone.push_back((remote, relative));
    }
}
