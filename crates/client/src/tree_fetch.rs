//! One stream of a tree's small files: many requests under way at once, each answer taken as it comes.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use protocol::{Digest, ErrorCode, RemotePath, Reply};
use transfer::ContentHasher;

use crate::backlog::Backlog;
use crate::batch::{Batch, Waiting};
use crate::context::Context;
use crate::draft::Draft;
use crate::fault::{Attempt, Fault};
use crate::folder::Folder;
use crate::notice::Notice;
use crate::publish::{Finish, set_time};
use crate::session::{Frame, Session, unexpected};
use crate::tree_desk::Desk;
use crate::tree_download::stop_if_hopeless;
use crate::tree_job::{Decider, Job, Next, is_worth_another_try};
use crate::tree_report::TreeReport;
use crate::{ClientError, ClientErrorKind, Conflict, Result, Status, Transferred};

/// How often a file that changed, or arrived damaged, is fetched again.
const MAX_TRIES: u32 = 3;

/// Content is read in pieces of this size, bytes.
const PIECE: usize = 256 * 1024;

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
    asked: VecDeque<Asked>,
    batch: Batch,
    buffer: Vec<u8>,
}

/// A request under way.
#[derive(Debug)]
struct Asked {
    number: u32,
    job: Job,
    /// Bytes of the request.
    bytes: usize,
    /// The local file's digest, where the remote one was asked for to compare.
    ours: Option<Digest>,
}

/// A content that has arrived to its end.
struct Arrived {
    draft: Draft,
    name: OsString,
    finish: Finish,
    digest: Digest,
    length: u64,
    announced: Option<Digest>,
}

/// What has become of a file.
enum Ended {
    /// It is there.
    Unchanged(Digest),
    /// It waits for its name.
    Waits(Box<Waiting>),
    /// It is asked for once more.
    Again,
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
            asked: VecDeque::new(),
            batch: Batch::default(),
            buffer: vec![0; PIECE],
        }
    }

    /// Fetches files until none waits at the desk, with one slave. What that one has not delivered is given back, what it
    /// has, waits for its name.
    pub(crate) fn step(&mut self, session: &mut Session) -> Attempt<()> {
        let result = self.fetch(session);
        let asked = self.asked.drain(..).map(|asked| asked.job);
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
            let Some(asked) = self.asked.pop_front() else {
                return Ok(());
            };
            self.take_answer(asked, session)?;
            if self.batch.is_due(self.shared.desk.streams()) {
                self.publish()?;
            }
        }
    }

    /// Sends requests, many at a time: only when half of what may be under way is.
    fn ask(&mut self, session: &mut Session) -> Attempt<()> {
        let share = self.shared.desk.share();
        let mut bytes: usize = self.asked.iter().map(|asked| asked.bytes).sum();
        let mut content: u64 = self.asked.iter().map(|asked| asked.job.size).sum();
        let count = self.asked.len() * 2;
        if !session.has_room(count, bytes * 2) || !share.has_room(count, content * 2) {
            return Ok(());
        }
        while session.has_room(self.asked.len(), bytes) && share.has_room(self.asked.len(), content)
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
            let before = session.unsent();
            let (request, ours) = match self.decider.decide(&mut job) {
                Ok(Next::Fetch) => (job.retrieve(self.context.options.verify), None),
                Ok(Next::Compare(ours)) => (job.checksum(), Some(ours)),
                Ok(Next::Same(digest)) => {
                    self.end(self.unchanged(&job, digest, session));
                    continue;
                }
                Err(error) => {
                    self.give_up(&job, error)?;
                    continue;
                }
            };
            let number = session.request(&request);
            let sent = session.unsent() - before;
            bytes += sent;
            content += job.size;
            self.asked.push_back(Asked {
                number,
                job,
                bytes: sent,
                ours,
            });
        }
        Ok(())
    }

    /// Takes the answer to the oldest request.
    fn take_answer(&mut self, asked: Asked, session: &mut Session) -> Attempt<()> {
        let mut job = asked.job;
        let ended = match asked.ours {
            Some(ours) => self.compare(&mut job, session, asked.number, ours),
            None => self.take_content(&mut job, session, asked.number),
        };
        if ended.is_ok() {
            session.mark_progress();
        }
        match ended {
            Ok(Ended::Unchanged(digest)) => self.end(self.unchanged(&job, digest, session)),
            Ok(Ended::Waits(waiting)) => self.batch.push(*waiting),
            Ok(Ended::Again) => self.again.push_front(job),
            Ok(Ended::Later) => {
                self.shared.set_aside(job.remote, job.relative);
                self.shared.desk.done();
            }
            Err(Fault::Failed(error)) if is_worth_another_try(&error) => {
                job.tries += 1;
                if job.tries <= MAX_TRIES {
                    job.version = None;
                    self.again.push_back(job);
                } else if error.is(ErrorCode::Corrupt) {
                    self.give_up(&job, ClientError::not_verified())?;
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

    fn end(&self, transferred: Transferred) {
        self.shared.report.done(transferred);
        self.shared.desk.done();
    }

    fn give_up(&self, job: &Job, error: ClientError) -> Result<()> {
        let local = self.shared.root.path_of(job.relative.as_os_str());
        self.shared.desk.done();
        stop_if_hopeless(self.shared.report, &job.remote, local, error)
    }

    fn compare(
        &mut self,
        job: &mut Job,
        session: &mut Session,
        number: u32,
        ours: Digest,
    ) -> Attempt<Ended> {
        match session.answer(number)? {
            Reply::Sum { digest, .. } if digest == ours => Ok(Ended::Unchanged(ours)),
            Reply::Sum { .. } => {
                self.decider.store_beside(job)?;
                Ok(Ended::Again)
            }
            other => Err(unexpected(&other)),
        }
    }

    fn take_content(
        &mut self,
        job: &mut Job,
        session: &mut Session,
        number: u32,
    ) -> Attempt<Ended> {
        let finish = match session.answer(number)? {
            Reply::Content {
                size,
                modified_ns,
                mode,
                offset: 0,
                length,
                ..
            } if length == size => Finish {
                size,
                mode,
                modified_ns,
            },
            other => return Err(unexpected(&other)),
        };
        let name = job
            .name
            .clone()
            .unwrap_or_else(|| job.own_name().to_owned());
        // A name that cannot be made is this file's fault alone: its content is passed over.
        let mut draft = self.open_draft(job, &name, finish.mode);
        let mut hasher = ContentHasher::new();
        let announced = loop {
            match session.frame(number) {
                Ok(Frame::Data) => {
                    if let Err(fault) = self.take_frame(job, session, &mut draft, &mut hasher) {
                        self.discard(job, draft);
                        return Err(fault);
                    }
                }
                Ok(Frame::Reply(Reply::ContentEnd { digest })) => break digest,
                Ok(Frame::Reply(other)) => return Err(unexpected(&other)),
                Err(fault) => {
                    self.discard(job, draft);
                    return Err(fault);
                }
            }
        };
        match draft? {
            None => Ok(Ended::Later),
            Some(draft) => {
                let file = Arrived {
                    draft,
                    name,
                    finish,
                    digest: hasher.finalize(),
                    length: hasher.position(),
                    announced,
                };
                self.finish(job, file, session)
            }
        }
    }

    /// Checks what arrived of a file, and lets it wait for its name.
    fn finish(&mut self, job: &Job, file: Arrived, session: &Session) -> Attempt<Ended> {
        if file.length != file.finish.size {
            return Err(Fault::nonsense("other content than was announced"));
        }
        let verify = self.context.options.verify;
        if verify && file.announced != Some(file.digest) {
            self.context.notice(&Notice::Damaged {
                remote: job.remote.clone(),
                blocks: 0,
                slave: Some(session.address()),
            });
            self.discard(job, Ok(Some(file.draft)));
            return Err(Fault::Failed(ErrorCode::Corrupt.into()));
        }
        set_time(file.draft.file(), file.finish.modified_ns).map_err(ClientError::from)?;
        Ok(Ended::Waits(Box::new(Waiting {
            draft: file.draft,
            folder: job.folder().to_owned(),
            mode: file.finish.mode,
            replace: self.decider.replaces(),
            transferred: Transferred {
                remote: job.remote.clone(),
                local: self
                    .shared
                    .root
                    .path_of(job.folder().join(&file.name).as_os_str()),
                bytes: file.finish.size,
                resumed_at: 0,
                seconds: job.started.elapsed().as_secs_f64(),
                digest: verify.then_some(file.digest),
                verified: verify,
                slave: Some(session.address()),
                slaves: Vec::new(),
                status: if file.name == job.own_name() {
                    Status::Done
                } else {
                    Status::Renamed
                },
            },
            relative: job.relative.clone(),
            name: file.name,
        })))
    }

    /// Where a file's content goes; `None` where another process works on it.
    fn open_draft(&mut self, job: &Job, name: &OsStr, mode: u16) -> Result<Option<Draft>> {
        Draft::open(self.decider.enter(job.folder())?, name, mode)
    }

    fn take_frame(
        &mut self,
        job: &Job,
        session: &mut Session,
        draft: &mut Result<Option<Draft>>,
        hasher: &mut ContentHasher,
    ) -> Attempt<()> {
        while session.data_left() > 0 {
            let wanted = self.context.piece(PIECE);
            let piece = self.buffer.get_mut(..wanted).unwrap_or_default();
            let read = session.read_data(piece)?;
            let piece = piece.get(..read).unwrap_or_default();
            let written = match draft {
                Ok(Some(file)) => file.write(piece, hasher.position()),
                _ => Ok(()),
            };
            hasher.update(piece);
            if let Err(error) = written {
                let broken = std::mem::replace(draft, Err(error.into()));
                self.discard(job, broken);
            }
            self.context.spend(read)?;
        }
        Ok(())
    }

    fn discard(&mut self, job: &Job, draft: Result<Option<Draft>>) {
        if let Ok(Some(draft)) = draft
            && let Ok(folder) = self.decider.enter(job.folder())
        {
            draft.discard(folder);
        }
    }

    fn unchanged(&self, job: &Job, digest: Digest, session: &Session) -> Transferred {
        Transferred {
            remote: job.remote.clone(),
            local: self.shared.root.path_of(job.relative.as_os_str()),
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

impl Shared<'_, '_> {
    /// Leaves a file to be fetched for itself.
    pub(crate) fn set_aside(&self, remote: RemotePath, relative: PathBuf) {
        let mut alone = self.alone.lock().unwrap_or_else(PoisonError::into_inner);
        alone.push_back((remote, relative));
    }
}
