//! What `get` and `put` have in common: what to do where a name is taken, and telling how each file went.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use client::{Client, ClientError, Conflict, Transferred, TreeItem, TreeSummary};
use protocol::{Entry, ErrorCode, RemotePath};

use crate::ask::Answer;
use crate::direction::{Direction, Finished, Job};
use crate::failure::{Failure, Several, cannot};
use crate::human::Tally;
use crate::invocation::Invocation;
use crate::output::Output;
use crate::session::{Session, remote_seen_from, seen_from};

/// Everything that one `get` or `put` moves.
pub(crate) struct Transfer<'s> {
    pub(crate) session: &'s mut Session,
    conflict: Conflict,
    report: Report,
}

impl<'s> Transfer<'s> {
    /// Reads `-f` and `-n`.
    pub(crate) fn new(
        session: &'s mut Session,
        direction: Direction,
        invocation: &Invocation,
    ) -> Result<Self, Failure> {
        let conflict = match (invocation.has(b'f'), invocation.has(b'n')) {
            (false, false) => Conflict::Refuse,
            (true, false) => Conflict::Overwrite,
            (false, true) => Conflict::StoreBeside,
            (true, true) => return Err(invocation.usage("-f and -n exclude each other")),
        };
        let report = Report {
            direction,
            folder: session.folder.clone(),
            local: session.local.clone(),
            tally: Tally::default(),
            several: Several::default(),
            taken: session.person.is_some().then(Vec::new),
            broken: None,
            start: Instant::now(),
        };
        Ok(Self {
            session,
            conflict,
            report,
        })
    }

    /// Tells a failure that came before anything could be moved. Fails where the command must end.
    pub(crate) fn failed(
        &mut self,
        remote: Option<&RemotePath>,
        local: Option<&Path>,
        failure: &Failure,
    ) -> Result<(), Failure> {
        self.report
            .failed(&mut self.session.output, (remote, local), failure)
    }

    /// Moves a file or tree. Fails where the command must end; other failures are told and counted.
    pub(crate) fn run(&mut self, job: &Job) -> Result<(), Failure> {
        if job.is_tree {
            self.tree(job)
        } else {
            self.file(job)
        }
    }

    /// Tells what all came to.
    pub(crate) fn finish(self) -> Result<(), Failure> {
        let total = self.report.tally.line(self.report.start.elapsed());
        if let Some(line) = total {
            self.session.output.total(&line)?;
        }
        self.report.several.finish()
    }

    fn file(&mut self, job: &Job) -> Result<(), Failure> {
        let direction = self.report.direction;
        let mut conflict = self.conflict;
        loop {
            let moved = direction.file(self.session.client()?, job, conflict);
            self.session.output.clear_bar();
            let failure = match moved {
                Ok(transferred) => return self.report.done(&mut self.session.output, &transferred),
                Err(error) => direction.failure(job, error),
            };
            if conflict != Conflict::Refuse || !failure.is(ErrorCode::Exists) {
                return self.failed(Some(&job.remote), Some(&job.local), &failure);
            }
            match self.ask(job)? {
                Some(chosen) => conflict = chosen,
                None => return self.refuse(job),
            }
        }
    }

    fn tree(&mut self, job: &Job) -> Result<(), Failure> {
        let direction = self.report.direction;
        let moving = |client: &mut Client, conflict, finished: &mut Finished<'_>| {
            direction.tree(client, job, conflict, finished)
        };
        let failure = |error| direction.failure(job, error);
        self.many((Some(&job.remote), Some(&job.local)), moving, failure)
    }

    /// Whether files are moved together: which other name a file gets shows only when it is moved for itself.
    pub(crate) fn moves_together(&self) -> bool {
        self.conflict != Conflict::StoreBeside
    }

    /// Fetches files into one folder, under their own names, no two of which are the same, if they are
    /// [moved together](Self::moves_together).
    pub(crate) fn fetch_files(
        &mut self,
        files: Vec<(RemotePath, Entry)>,
        local: &Path,
    ) -> Result<(), Failure> {
        let moving = |client: &mut Client, conflict, finished: &mut Finished<'_>| {
            client.download_files(files, (local, conflict), finished)
        };
        let shown = match local.as_os_str().as_bytes() {
            b"" => b".",
            shown => shown,
        };
        let failure = Failure::of(cannot("get into", shown));
        self.many((None, Some(local)), moving, failure)
    }

    /// Sends regular files to one remote folder, no two of them to one name, if they are
    /// [moved together](Self::moves_together).
    pub(crate) fn send_files(&mut self, jobs: &[Job], remote: &RemotePath) -> Result<(), Failure> {
        let moving = |client: &mut Client, conflict, finished: &mut Finished<'_>| {
            let files: Vec<_> = jobs.iter().map(|job| job.upload(conflict)).collect();
            client.upload_files(&files, finished)
        };
        let failure = Failure::of(cannot("put into", remote.as_bytes()));
        self.many((Some(remote), None), moving, failure)
    }

    /// Moves many files at once, from or to these folders. `failure` names what ends all of them.
    fn many(
        &mut self,
        (remote, local): (Option<&RemotePath>, Option<&Path>),
        moving: impl FnOnce(
            &mut Client,
            Conflict,
            &mut Finished<'_>,
        ) -> Result<TreeSummary, ClientError>,
        failure: impl FnOnce(ClientError) -> Failure,
    ) -> Result<(), Failure> {
        let Session {
            connection, output, ..
        } = &mut *self.session;
        let report = &mut self.report;
        let before = report.tally.files();
        let moved = moving(connection.open()?, self.conflict, &mut |item| {
            report.item(output, item);
        });
        output.clear_bar();
        if let Some(failure) = report.broken.take() {
            return Err(failure);
        }
        let taken = report.taken.as_mut().map(std::mem::take);
        let taken = taken.unwrap_or_default();
        if let Err(error) = moved {
            let error = with_count(error, report.tally.files() - before);
            let ended = self.failed(remote, local, &failure(error));
            if ended.is_err() {
                // Nobody is asked any more.
                taken.iter().try_for_each(|job| self.refuse(job))?;
            }
            ended?;
        }
        // The questions come when all is through: nobody has to sit beside it.
        taken.iter().try_for_each(|job| self.file(job))
    }

    /// Leaves what has the name.
    fn refuse(&mut self, job: &Job) -> Result<(), Failure> {
        let failure = is_taken(self.report.direction.tried(job));
        self.failed(Some(&job.remote), Some(&job.local), &failure)
    }

    /// What a person wants done where the name is taken; `None` where there is nobody to ask, or the answer is no.
    fn ask(&mut self, job: &Job) -> Result<Option<Conflict>, Failure> {
        let Session {
            connection, person, ..
        } = &mut *self.session;
        let Some(person) = person else {
            return Ok(None);
        };
        // A person may think for long.
        connection.open()?.release_streams();
        let direction = self.report.direction;
        let answer = person.may_overwrite(direction.destination(job), &direction.tried(job))?;
        if answer == Answer::OverwriteAll {
            self.conflict = Conflict::Overwrite;
        }
        Ok(match answer {
            Answer::Overwrite | Answer::OverwriteAll => Some(Conflict::Overwrite),
            Answer::StoreBeside => Some(Conflict::StoreBeside),
            Answer::Keep => None,
        })
    }
}

/// What has been told so far, and from where names are seen.
struct Report {
    direction: Direction,
    folder: RemotePath,
    local: PathBuf,
    tally: Tally,
    several: Several,
    /// Files of many whose names are taken, where a person can be asked about them.
    taken: Option<Vec<Job>>,
    /// What stdout said while a tree was moving.
    broken: Option<Failure>,
    start: Instant,
}

impl Report {
    fn done(&mut self, output: &mut Output, transferred: &Transferred) -> Result<(), Failure> {
        self.tally.add(transferred);
        let name = match self.direction {
            Direction::Get => remote_seen_from(&self.folder, &transferred.remote),
            Direction::Put => seen_from(&self.local, &transferred.local),
        };
        output.transferred(self.direction, name, transferred)
    }

    fn failed(
        &mut self,
        output: &mut Output,
        names: (Option<&RemotePath>, Option<&Path>),
        failure: &Failure,
    ) -> Result<(), Failure> {
        output.clear_bar();
        self.tally.add_failed();
        output.failed_transfer(self.direction, names, failure)?;
        self.several.note(failure)
    }

    /// One file of many. Whether the others go on is the client library's to decide.
    fn item(&mut self, output: &mut Output, item: TreeItem) {
        let job = Job {
            remote: item.remote,
            local: item.local,
            is_tree: false,
        };
        let told = match item.result {
            Ok(transferred) => self.done(output, &transferred),
            Err(error) => {
                let mut failure = self.direction.failure(&job, error);
                if failure.is(ErrorCode::Exists) {
                    if let Some(taken) = &mut self.taken {
                        taken.push(job);
                        return;
                    }
                    failure = is_taken(self.direction.tried(&job));
                }
                let names = (Some(&job.remote), Some(job.local.as_path()));
                self.failed(output, names, &failure)
            }
        };
        if let Err(failure @ Failure::Output(_)) = told {
            self.broken.get_or_insert(failure);
        }
    }
}

/// What a full disk or a quota has ended: a person makes room and asks again, and wants to know what is there.
fn with_count(error: ClientError, stored: u64) -> ClientError {
    let full = [ErrorCode::NoSpace, ErrorCode::QuotaExceeded];
    if !full.iter().any(|code| error.word() == code.word()) {
        return error;
    }
    let files = if stored == 1 { "file is" } else { "files are" };
    let sentence =
        format!("{error}; {stored} {files} stored, the same command goes on behind them");
    ClientError::new(error.kind(), sentence)
}

fn is_taken(tried: String) -> Failure {
    let why = "exists (-f overwrites it, -n stores beside it)";
    Failure::refused(tried, ErrorCode::Exists, why)
}
