//! What slaves answer to what a stream has sent: each answer ends a file, or says what it needs next.

use std::path::PathBuf;

use protocol::{ErrorCode, RemotePath, Reply, Text};

use super::{Asked, TreeSend};
use crate::fault::{Attempt, Fault};
use crate::notice::Notice;
use crate::session::{Frame, Session};
use crate::tree_download::stop_if_hopeless;
use crate::tree_outgoing::{Job, Outgoing};
use crate::upload_key::UploadKey;
use crate::{ClientError, Result, Status};

/// How often a file that arrived damaged is sent again.
const MAX_TRIES: u32 = 3;

impl TreeSend<'_, '_> {
    /// A file has ended well.
    pub(super) fn end(&self, job: &Job, status: Status, session: &Session) {
        self.report.done(job.transferred(status, session));
        self.desk.done();
    }

    /// A name has failed. Fails where that means that every other one will too.
    pub(super) fn give_up(
        &self,
        remote: &RemotePath,
        local: PathBuf,
        error: ClientError,
    ) -> Result<()> {
        let stopped = self.stop_if_hopeless(remote, local, error);
        self.desk.done();
        stopped
    }

    /// The others hear of a failure that ends all before they see that nothing is under way any more.
    fn stop_if_hopeless(
        &self,
        remote: &RemotePath,
        local: PathBuf,
        error: ClientError,
    ) -> Result<()> {
        stop_if_hopeless(self.report, remote, local, error)
            .inspect_err(|error| self.desk.fail(error.clone()))
    }

    pub(super) fn take_arrived(&mut self, session: &mut Session) -> Attempt<()> {
        while let Some((number, frame)) = session.receive_arrived()? {
            self.take(number, frame, session)?;
        }
        Ok(())
    }

    /// Takes one answer: the next in order, or the last word on a deferred upload.
    pub(super) fn take(&mut self, number: u32, frame: Frame, session: &mut Session) -> Attempt<()> {
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
            (Asked::Folder { number, .. }, Reply::Done {}) => {
                self.desk.done_with(|outbox| outbox.settle_folder(number));
                Ok(())
            }
            (Asked::Flush, Reply::Done {}) | (Asked::Abandoned, _) => Ok(()),
            (
                Asked::Folder {
                    number,
                    remote,
                    local,
                },
                Reply::Error { code, .. },
            ) => self.take_refused_folder(number, remote, local, code),
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
                self.end(&job, Status::Done, session);
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

    /// One that a slave refuses for now is made by another; where it cannot be made, each file in it is told why.
    fn take_refused_folder(
        &mut self,
        number: usize,
        remote: RemotePath,
        local: PathBuf,
        code: ErrorCode,
    ) -> Attempt<()> {
        // A folder that is there is no error: what exists is none, and no other name or overwriting makes room for one.
        let code = match code {
            ErrorCode::Exists => ErrorCode::NotDirectory,
            code => code,
        };
        match only(code, &Text::default()) {
            Ok(error) => {
                let stopped = self.stop_if_hopeless(&remote, local, error);
                self.desk.done_with(|outbox| outbox.settle_folder(number));
                Ok(stopped?)
            }
            Err(fault) => {
                self.again.push_front(Outgoing::Folder {
                    number,
                    remote,
                    local,
                });
                Err(fault)
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
        let no_detail = Text::default();
        let (code, detail) = match reply {
            Reply::Stored { digest, .. } if Some(*digest) == job.digest => {
                self.end(&job, Status::Done, session);
                return Ok(());
            }
            Reply::Stored { .. } => (ErrorCode::Corrupt, &no_detail),
            Reply::Error { code, detail } => (*code, detail),
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
                job.upload = Some(alone.id(&[], &job.remote));
            }
            self.context.notice(&Notice::Damaged {
                remote: job.remote.clone(),
                blocks: 0,
                slave: Some(session.address()),
            });
            self.again.push_back(Outgoing::File(job));
            return Ok(());
        }
        let error = match only(code, detail) {
            Ok(_) if code == ErrorCode::Corrupt => ClientError::not_verified(),
            Ok(error) => error,
            Err(fault) => {
                self.again.push_back(Outgoing::File(job));
                return Err(fault);
            }
        };
        Ok(self.give_up(&job.remote, job.local, error)?)
    }
}

/// An error that is about one name; a fault where it is about the slave.
fn only(code: ErrorCode, detail: &Text) -> Attempt<ClientError> {
    match Fault::answered(code, detail) {
        Fault::Failed(error) => Ok(error),
        fault => Err(fault),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use protocol::Condition;

    use super::*;
    use crate::context::Context;
    use crate::tree_desk::Desk;
    use crate::tree_outbox::Outbox;
    use crate::tree_report::TreeReport;
    use crate::{Interrupt, Options, Silent};

    /// Or a stream that sees that all is over would take it for well done.
    #[test]
    fn a_failure_that_ends_all_is_known_before_nothing_is_under_way_any_more() {
        let context = Context::new(Options::default(), Arc::new(Silent), Interrupt::default());
        let name = RemotePath::parse(b"/a").unwrap();
        let file = Outgoing::file(PathBuf::new(), name.clone(), Condition::Any);
        let desk = Desk::new(Outbox::default());
        desk.add(|outbox| outbox.add_files([(0, file)])).unwrap();
        desk.finish();
        let mut ignore = |_| {};
        let report = TreeReport::new(&mut ignore);
        let key = UploadKey::of(None).unwrap();
        let send = TreeSend::new(&context, key, &desk, &report);
        assert!(desk.take().unwrap().is_some());
        let full = ClientError::from(ErrorCode::NoSpace);
        assert!(send.give_up(&name, PathBuf::new(), full.clone()).is_err());
        assert_eq!(desk.wait(&context).unwrap_err(), full);
    }
}
