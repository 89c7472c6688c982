//! One stream of a tree's folders and small files, sent many at a time. Their publication is put off, so that the slave pays for
//! durability once for many; a file has ended only when the slave says that it is stored.

use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::time::Instant;

use protocol::{Digest, ErrorCode, RemotePath, Reply, Request};

use crate::content::digest_of;
use crate::context::Context;
use crate::fault::{Attempt, Fault};
use crate::notice::Notice;
use crate::sending::{is_small, read_whole, send_data};
use crate::session::{Frame, Session};
use crate::source_file::SourceFile;
use crate::tree_desk::Desk;
use crate::tree_download::stop_if_hopeless;
use crate::tree_outgoing::{Job, Outgoing};
use crate::tree_report::TreeReport;
use crate::upload_key::UploadKey;
use crate::{ClientError, Result, Status};

/// How often a file that arrived damaged is sent again.
const MAX_TRIES: u32 = 3;

/// Requests with content are collected up to this and then written together, bytes.
const TOGETHER: usize = 256 * 1024;

/// Content of a larger file is read in pieces of this size, bytes.
const PIECE: usize = 256 * 1024;

/// What an answer is awaited for.
#[derive(Debug)]
enum Asked {
    Folder {
        remote: RemotePath,
        local: PathBuf,
    },
    Store(Box<Job>),
    /// The digest of what has the file's own name, to be compared with ours.
    Compare(Box<Job>, Digest),
    /// Whether the target's name stands, durably, for what an earlier try has sent.
    Recognise(Box<Job>, Digest),
    /// Nothing: this side gave the upload up.
    Abandoned,
    Flush,
}

/// The sending of folders and small files over one session at a time.
pub(crate) struct TreeSend<'a, 'r> {
    context: Context,
    key: UploadKey,
    desk: &'a Desk<VecDeque<Outgoing>>,
    report: &'a TreeReport<'r>,
    /// To be sent once more, or otherwise.
    again: VecDeque<Outgoing>,
    asked: VecDeque<(u32, Asked)>,
    /// Received by the slave, not yet stored.
    deferred: HashMap<u32, Box<Job>>,
    is_flushed: bool,
}

impl<'a, 'r> TreeSend<'a, 'r> {
    pub(crate) fn new(
        context: &Context,
        key: UploadKey,
        desk: &'a Desk<VecDeque<Outgoing>>,
        report: &'a TreeReport<'r>,
    ) -> Self {
        Self {
            context: context.clone(),
            key,
            desk,
            report,
            again: VecDeque::new(),
            asked: VecDeque::new(),
            deferred: HashMap::new(),
            is_flushed: false,
        }
    }

    /// Sends what waits at the desk until nothing does and all of it is stored, with one slave. What that one has not
    /// confirmed is given back.
    pub(crate) fn step(&mut self, session: &mut Session) -> Attempt<()> {
        let result = self.go_on(session);
        if let Err(Fault::Failed(_)) = result {
            let settled = self.settle(session);
            tracing::debug!(?settled, "what was received before the end");
        }
        let asked = self.asked.drain(..);
        let asked = asked.filter_map(|(_, asked)| asked.into_outgoing());
        let deferred = self.deferred.drain();
        let deferred = deferred.map(|(_, job)| Outgoing::File(job));
        let owed = asked.chain(deferred).chain(self.again.drain(..));
        self.desk.give_back(owed);
        self.is_flushed = false;
        result
    }

    fn go_on(&mut self, session: &mut Session) -> Attempt<()> {
        loop {
            self.context.check()?;
            // A folder's answer is awaited before anything is stored in it: a refusal says why, not `no such folder`.
            if self.may_ask(session)
                && let Some(next) = self.next()?
            {
                self.is_flushed = false;
                self.send(next, session)?;
                if session.unsent() >= TOGETHER {
                    session.flush()?;
                    self.take_arrived(session)?;
                }
                continue;
            }
            if self.asked.is_empty() && self.again.is_empty() {
                if self.is_flushed || self.deferred.is_empty() {
                    break;
                }
                self.flush_deferred(session);
            }
            session.flush()?;
            let (number, frame) = session.receive()?;
            self.take(number, frame, session)?;
        }
        if self.deferred.is_empty() {
            Ok(())
        } else {
            Err(Fault::nonsense("uploads without a last word"))
        }
    }

    /// Has what the slave has received stored, though nothing more will be sent.
    fn settle(&mut self, session: &mut Session) -> Attempt<()> {
        self.is_flushed = false;
        loop {
            if self.asked.is_empty() {
                if self.is_flushed || self.deferred.is_empty() {
                    return Ok(());
                }
                self.flush_deferred(session);
            }
            session.flush()?;
            let (number, frame) = session.receive()?;
            match self.take(number, frame, session) {
                // The first failure is the one that counts.
                Ok(()) | Err(Fault::Failed(_)) => {}
                Err(fault) => return Err(fault),
            }
        }
    }

    /// Asks for the last words on what the slave has received.
    fn flush_deferred(&mut self, session: &mut Session) {
        self.is_flushed = true;
        let number = session.request(&Request::Flush {});
        self.asked.push_back((number, Asked::Flush));
    }

    fn may_ask(&self, session: &Session) -> bool {
        let count = self.asked.len();
        session.has_room(count, 0) && self.desk.share().has_room(count, 0)
    }

    fn next(&mut self) -> Result<Option<Outgoing>> {
        match self.again.pop_front() {
            None => self.desk.take(),
            again => Ok(again),
        }
    }

    /// A file has ended well.
    fn end(&self, job: &Job, status: Status, session: &Session) {
        self.report.done(job.transferred(status, session));
        self.desk.done();
    }

    /// A name has failed. Fails where that means that every other one will too.
    fn give_up(&self, remote: &RemotePath, local: PathBuf, error: ClientError) -> Result<()> {
        self.desk.done();
        stop_if_hopeless(self.report, remote, local, error)
    }

    fn send(&mut self, next: Outgoing, session: &mut Session) -> Attempt<()> {
        let mut job = match next {
            Outgoing::File(job) => job,
            Outgoing::Folder { remote, local } => {
                let number = session.request(&Request::MakeDirectory {
                    path: remote.clone(),
                    parents: true,
                });
                let asked = Asked::Folder { remote, local };
                self.asked.push_back((number, asked));
                return Ok(());
            }
        };
        match self.send_file(&mut job, session) {
            Ok(Some((number, make))) => {
                self.asked.push_back((number, make(job)));
                Ok(())
            }
            Ok(None) => Ok(()),
            Err(Fault::Failed(error)) => Ok(self.give_up(&job.own, job.local, error)?),
            Err(fault) => {
                self.again.push_front(Outgoing::File(job));
                Err(fault)
            }
        }
    }

    /// Sends whatever the file needs next; `None` where it has ended.
    fn send_file(
        &mut self,
        job: &mut Job,
        session: &mut Session,
    ) -> Attempt<Option<(u32, MakeAsked)>> {
        let source = SourceFile::open_found(&job.local)?;
        job.size = source.size();
        job.started = Instant::now();
        if let Some(ours) = job.announced {
            job.was_announced = true;
            let target = job.target.clone().unwrap_or_else(|| job.own.clone());
            let number = session.request(&Request::Confirm {
                path: target,
                digest: ours,
            });
            return Ok(Some((
                number,
                Box::new(move |job| Asked::Recognise(job, ours)),
            )));
        }
        if let Some(there) = job.there.clone().filter(|there| there.size == job.size) {
            let ours = digest_of(source.file(), job.size, &self.context)?;
            job.digest = Some(ours);
            match there.digest {
                Some(theirs) if theirs == ours => {
                    self.end(job, Status::Unchanged, session);
                    return Ok(None);
                }
                Some(_) => {}
                None => {
                    let number = session.request(&checksum(job.own.clone()));
                    return Ok(Some((
                        number,
                        Box::new(move |job| Asked::Compare(job, ours)),
                    )));
                }
            }
        }
        let number = self.store(job, &source, session)?;
        Ok(Some((number, Box::new(Asked::Store))))
    }

    fn store(&mut self, job: &mut Job, source: &SourceFile, session: &mut Session) -> Attempt<u32> {
        let target = job.target.clone();
        let path = target.ok_or_else(|| ClientError::from(ErrorCode::Exists))?;
        let facts = source.facts();
        if is_small(job.size) {
            let (content, digest) = read_whole(source)?;
            self.context.spend(content.as_bytes().len())?;
            job.digest = Some(digest);
            job.announced = Some(digest);
            return Ok(session.request(&Request::StoreWhole {
                path,
                modified_ns: facts.modified_ns,
                mode: facts.mode,
                condition: job.condition.clone(),
                digest,
                deferred: true,
                content,
            }));
        }
        let upload = job
            .upload
            .unwrap_or_else(|| self.key.id(&source.absolute(), &path));
        let number = session.request(&Request::Store {
            path,
            upload,
            size: facts.size,
            modified_ns: facts.modified_ns,
            mode: facts.mode,
            condition: job.condition.clone(),
            resume: false,
            deferred: true,
        });
        match self.stream(number, source, session) {
            Ok(digest) => {
                job.digest = Some(digest);
                job.announced = Some(digest);
                session.add(number, &Request::StoreEnd { digest });
                Ok(number)
            }
            Err(fault @ Fault::Failed(_)) if !session.is_over(number) => {
                session.add(number, &Request::Abandon {});
                self.asked.push_back((number, Asked::Abandoned));
                Err(fault)
            }
            Err(fault) => Err(fault),
        }
    }

    /// Sends a larger file's content; answers to what was sent before are taken in between.
    fn stream(
        &mut self,
        number: u32,
        source: &SourceFile,
        session: &mut Session,
    ) -> Attempt<Digest> {
        let mut hasher = blake3::Hasher::new();
        let mut buffer = vec![0; PIECE];
        let mut position = 0;
        while position < source.size() {
            let left = usize::try_from(source.size() - position).unwrap_or(usize::MAX);
            buffer.resize(self.context.piece(left.min(PIECE)), 0);
            source.read(&mut buffer, position)?;
            while let Some((of, frame)) = session.receive_arrived()? {
                match frame {
                    Frame::Reply(Reply::Error { code, .. }) if of == number => {
                        session.abandon_refused(number)?;
                        return Err(code.into());
                    }
                    frame => self.take(of, frame, session)?,
                }
            }
            self.context.spend(buffer.len())?;
            send_data(session, number, &buffer)?;
            hasher.update(&buffer);
            position += u64::try_from(buffer.len()).unwrap_or(u64::MAX);
        }
        source.check()?;
        Ok(Digest(*hasher.finalize().as_bytes()))
    }

    fn take_arrived(&mut self, session: &mut Session) -> Attempt<()> {
        while let Some((number, frame)) = session.receive_arrived()? {
            self.take(number, frame, session)?;
        }
        Ok(())
    }

    /// Takes one answer: the next in order, or the last word on a deferred upload.
    fn take(&mut self, number: u32, frame: Frame, session: &mut Session) -> Attempt<()> {
        let Frame::Reply(reply) = frame else {
            return Err(Fault::nonsense("content where an answer was expected"));
        };
        if let Some(job) = self.deferred.remove(&number) {
            return self.take_last_word(job, &reply, session);
        }
        let asked = match self.asked.pop_front() {
            Some((next, asked)) if next == number => asked,
            next => {
                next.into_iter()
                    .for_each(|next| self.asked.push_front(next));
                return Err(Fault::nonsense("an answer out of order"));
            }
        };
        match (asked, reply) {
            (Asked::Store(job), Reply::Received {}) => {
                self.deferred.insert(number, job);
                Ok(())
            }
            (Asked::Store(job), reply) => self.take_last_word(job, &reply, session),
            (Asked::Folder { .. }, Reply::Done {}) => {
                self.desk.done();
                Ok(())
            }
            (Asked::Flush, Reply::Done {}) | (Asked::Abandoned, _) => Ok(()),
            (Asked::Folder { remote, local }, Reply::Error { code, .. }) => match only(code) {
                Ok(error) => Ok(self.give_up(&remote, local, error)?),
                Err(fault) => {
                    let folder = Outgoing::Folder { remote, local };
                    self.again.push_front(folder);
                    Err(fault)
                }
            },
            (Asked::Compare(job, ours), Reply::Sum { digest, .. }) if digest == ours => {
                self.end(&job, Status::Unchanged, session);
                Ok(())
            }
            (Asked::Compare(mut job, _), Reply::Sum { .. } | Reply::Error { .. }) => {
                job.there = None;
                self.again.push_front(Outgoing::File(job));
                Ok(())
            }
            (Asked::Recognise(job, ours), Reply::Stored { digest, .. }) if digest == ours => {
                self.end(&job, job.status(), session);
                Ok(())
            }
            (Asked::Recognise(mut job, _), Reply::Stored { .. } | Reply::Error { .. }) => {
                job.announced = None;
                self.again.push_front(Outgoing::File(job));
                Ok(())
            }
            (asked, _) => {
                if let Some(outgoing) = asked.into_outgoing() {
                    self.again.push_front(outgoing);
                }
                Err(Fault::nonsense("an answer to something else"))
            }
        }
    }

    fn take_last_word(
        &mut self,
        mut job: Box<Job>,
        reply: &Reply,
        session: &mut Session,
    ) -> Attempt<()> {
        session.mark_progress();
        let code = match reply {
            Reply::Stored { digest, .. } if Some(*digest) == job.digest => {
                self.end(&job, job.status(), session);
                return Ok(());
            }
            Reply::Stored { .. } => ErrorCode::Corrupt,
            Reply::Error { code, .. } => *code,
            _ => {
                self.again.push_back(Outgoing::File(job));
                return Err(Fault::nonsense("an answer to something else"));
            }
        };
        if code == ErrorCode::Exists && job.was_announced && job.tries < MAX_TRIES {
            // The slave that was lost may have published it after it was looked for: it is looked for again.
            job.tries += 1;
            job.announced = job.digest;
            self.again.push_front(Outgoing::File(job));
            return Ok(());
        }
        if matches!(code, ErrorCode::Corrupt | ErrorCode::Superseded) && job.tries < MAX_TRIES {
            job.tries += 1;
            job.announced = None;
            if code == ErrorCode::Superseded {
                let alone = UploadKey::of(None).map_err(ClientError::from)?;
                job.upload = Some(alone.id(&[], &job.own));
            }
            self.context.notice(&Notice::Damaged {
                remote: job.own.clone(),
                blocks: 0,
                slave: Some(session.address()),
            });
            self.again.push_back(Outgoing::File(job));
            return Ok(());
        }
        let error = match only(code) {
            Ok(_) if code == ErrorCode::Corrupt => ClientError::not_verified(),
            Ok(error) => error,
            Err(fault) => {
                self.again.push_back(Outgoing::File(job));
                return Err(fault);
            }
        };
        Ok(self.give_up(&job.own, job.local, error)?)
    }
}

/// Makes of a file what is awaited for it.
type MakeAsked = Box<dyn FnOnce(Box<Job>) -> Asked>;

impl Asked {
    fn into_outgoing(self) -> Option<Outgoing> {
        match self {
            Self::Folder { remote, local } => Some(Outgoing::Folder { remote, local }),
            Self::Store(job) | Self::Compare(job, _) | Self::Recognise(job, _) => {
                Some(Outgoing::File(job))
            }
            Self::Abandoned | Self::Flush => None,
        }
    }
}

fn checksum(path: RemotePath) -> Request {
    Request::Checksum { path, fresh: false }
}

/// An error that is about one name; a fault where it is about the slave.
fn only(code: ErrorCode) -> Attempt<ClientError> {
    match Fault::from(code) {
        Fault::Failed(error) => Ok(error),
        fault => Err(fault),
    }
}
