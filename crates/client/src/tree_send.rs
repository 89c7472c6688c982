//! One stream of a tree's folders and small files, sent many at a time. Their publication is put off, so that the slave pays for
//! durability once for many; a file has ended only when the slave says that it is stored.

use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::time::Instant;

use protocol::{Digest, ErrorCode, RemotePath, Reply, Request};

use crate::commands::checksum;
use crate::content::digest_of;
use crate::context::Context;
use crate::fault::{Attempt, Fault};
use crate::sending::{is_small, read_whole, send_data};
use crate::session::{Frame, Session};
use crate::source_file::SourceFile;
use crate::tree_desk::Desk;
use crate::tree_outbox::Outbox;
use crate::tree_outgoing::{Job, Outgoing};
use crate::tree_report::TreeReport;
use crate::upload_key::UploadKey;
use crate::{Result, Status};

mod answers;

/// Requests with content are collected up to this and then written together, bytes.
const TOGETHER: usize = 256 * 1024;

/// Content of a larger file is read in pieces of this size, bytes.
const PIECE: usize = 256 * 1024;

/// What an answer is awaited for.
#[derive(Debug)]
enum Asked {
    Folder {
        number: usize,
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
    desk: &'a Desk<Outbox>,
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
        desk: &'a Desk<Outbox>,
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
                // Durability is paid once for as many as come.
                if self.desk.wait_for_more(&self.context)? {
                    continue;
                }
                self.flush_deferred(session);
            }
            session.flush()?;
            // Answers come many at a time, and each makes room for a file: taken together, these are written together as well.
            loop {
                let (number, frame) = session.receive()?;
                self.take(number, frame, session)?;
                if !session.has_buffered() {
                    break;
                }
            }
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

    fn send(&mut self, next: Outgoing, session: &mut Session) -> Attempt<()> {
        let mut job = match next {
            Outgoing::File(job) => job,
            Outgoing::Folder {
                number,
                remote,
                local,
            } => {
                let request = session.request(&Request::MakeDirectory {
                    path: remote.clone(),
                    parents: true,
                });
                let asked = Asked::Folder {
                    number,
                    remote,
                    local,
                };
                self.asked.push_back((request, asked));
                return Ok(());
            }
        };
        match self.send_file(&mut job, session) {
            Ok(Some((number, make))) => {
                self.asked.push_back((number, make(job)));
                Ok(())
            }
            Ok(None) => Ok(()),
            Err(Fault::Failed(error)) => Ok(self.give_up(&job.remote, job.local, error)?),
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
            let number = session.request(&Request::Confirm {
                path: job.remote.clone(),
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
                    let number = session.request(&checksum(&job.remote));
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
        let Some(condition) = job.condition.clone() else {
            return Err(ErrorCode::Exists.into());
        };
        let path = job.remote.clone();
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
                condition,
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
            condition,
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
                    Frame::Reply(Reply::Error { code, detail }) if of == number => {
                        session.abandon_refused(number)?;
                        return Err(Fault::answered(code, &detail));
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
}

/// Makes of a file what is awaited for it.
type MakeAsked = Box<dyn FnOnce(Box<Job>) -> Asked>;

impl Asked {
    fn into_outgoing(self) -> Option<Outgoing> {
        match self {
            Self::Folder {
                number,
                remote,
                local,
            } => Some(Outgoing::Folder {
                number,
                remote,
                local,
            }),
            Self::Store(job) | Self::Compare(job, _) | Self::Recognise(job, _) => {
                Some(Outgoing::File(job))
            }
            Self::Abandoned | Self::Flush => None,
        }
    }
}
