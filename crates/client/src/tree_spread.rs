//! A tree on its way to the storage while it is still being looked through: folders first, then small files pipelined and large
//! ones one by one, over as many sessions as help. One file is one upload; what a lost slave has not confirmed is sent through
//! another.

use std::collections::VecDeque;
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::thread::{Builder, scope};

use protocol::RemotePath;

use crate::context::Context;
use crate::error::unless_broken;
use crate::source_file::SourceFile;
use crate::tree_crew::Crew;
use crate::tree_desk::{Desk, Left, Outlook};
use crate::tree_download::stop_if_hopeless;
use crate::tree_outbox::Outbox;
use crate::tree_outgoing::Outgoing;
use crate::tree_report::TreeReport;
use crate::tree_send::TreeSend;
use crate::upload_key::UploadKey;
use crate::{Client, ClientError, Conflict, Result};

/// So many files may wait; whoever finds more of them waits as well.
const MOST_WAITING: usize = 8192;

/// So many files are added together.
const TOGETHER: usize = 64;

/// A file that is sent for itself.
#[derive(Clone, Debug)]
pub(crate) struct Large {
    pub(crate) local: PathBuf,
    pub(crate) remote: RemotePath,
    pub(crate) conflict: Conflict,
}

/// A tree that is being sent.
struct Leaving<'a, 'r> {
    key: UploadKey,
    report: &'a TreeReport<'r>,
    small: Desk<Outbox>,
    large: Desk<VecDeque<Large>>,
}

/// Where what is found goes to be sent.
pub(crate) struct Outlet<'a> {
    context: Context,
    small: &'a Desk<Outbox>,
    files: Vec<(usize, Outgoing)>,
    large: VecDeque<Large>,
    /// Told how much waits.
    recruit: &'a mut dyn FnMut(Left),
}

impl Client {
    /// Sends all that `fill` finds, while it does, with the help of all whose help is worth while.
    pub(crate) fn send_all(
        &mut self,
        report: &TreeReport<'_>,
        fill: impl FnOnce(&mut Outlet<'_>) -> Result<()>,
    ) -> Result<()> {
        let leaving = Leaving {
            key: UploadKey::of(self.state.as_deref())?,
            report,
            small: Desk::new(Outbox::default()),
            large: Desk::new(VecDeque::new()),
        };
        let recruits = self.recruits(false)?;
        let context = self.context.clone();
        let work = |client: &mut Self| leaving.send(client);
        scope(|threads| {
            let mut crew = Crew::new(threads, &leaving.small, &work, recruits);
            let first = Builder::new().name("tree".to_owned());
            let first = first.spawn_scoped(threads, || {
                unless_broken(|| leaving.see_through(self)).inspect_err(|error| leaving.fail(error))
            })?;
            let mut recruit = |left| crew.recruit(left);
            let mut outlet = Outlet {
                context: context.clone(),
                small: &leaving.small,
                files: Vec::new(),
                large: VecDeque::new(),
                recruit: &mut recruit,
            };
            let filled = unless_broken(|| fill(&mut outlet)).and_then(|()| outlet.close(&leaving));
            if let Err(error) = &filled {
                leaving.fail(error);
            }
            let sent = first.join().unwrap_or_else(|panic| resume_unwind(panic));
            // After a failure the others still hear what is stored of what they have sent; only then is there nobody to wait for.
            let settled = leaving.small.wait_until_settled(&context);
            crew.dismiss();
            sent.and(filled).and(settled)
        })?;
        // Of a stream that ended behind all others.
        leaving.small.check()?;
        leaving.large.check()
    }
}

impl Outlet<'_> {
    /// Adds a folder; `number` is higher than that of the folder it is in.
    pub(crate) fn folder(&self, number: usize, remote: RemotePath, local: PathBuf) -> Result<()> {
        let folder = Outgoing::Folder {
            number,
            remote,
            local,
        };
        let add = |outbox: &mut Outbox| outbox.add_folder(number, folder);
        self.small.add(add).map(drop)
    }

    /// Adds a file that goes into the folder of that number, or of a lower one; those numbers never fall.
    pub(crate) fn file(&mut self, folder: usize, file: Outgoing) -> Result<()> {
        self.files.push((folder, file));
        if self.files.len() < TOGETHER {
            return Ok(());
        }
        self.hand_on()?;
        let is_full = |outbox: &Outbox| outbox.files() >= MOST_WAITING;
        self.small.wait_while(&self.context, is_full)
    }

    /// Adds a file that is sent for itself, once all folders are there.
    pub(crate) fn large(&mut self, file: Large) {
        self.large.push_back(file);
    }

    fn hand_on(&mut self) -> Result<()> {
        let files = self.files.drain(..);
        let left = self.small.add(|outbox| outbox.add_files(files))?;
        (self.recruit)(left);
        Ok(())
    }

    /// That was all.
    fn close(mut self, leaving: &Leaving<'_, '_>) -> Result<()> {
        self.hand_on()?;
        self.small.finish();
        if !self.large.is_empty() {
            self.small.wait_while(&self.context, Outbox::owes_folders)?;
            let worth = u64::try_from(self.large.len()).unwrap_or(u64::MAX);
            let left = leaving.large.add(|queue| queue.append(&mut self.large))?;
            (self.recruit)(Left {
                bytes: worth.saturating_mul(LARGE_IS_WORTH),
                ..left
            });
        }
        leaving.large.finish();
        Ok(())
    }
}

impl Leaving<'_, '_> {
    /// Nothing can go on.
    fn fail(&self, error: &ClientError) {
        self.small.fail(error.clone());
        self.large.fail(error.clone());
    }

    /// The part of the client that was there first; where it finds no slave, it waits for what becomes of the others.
    fn see_through(&self, client: &mut Client) -> Result<()> {
        loop {
            self.small.join();
            let result = unless_broken(|| self.send(client));
            self.small.leave();
            match result {
                Err(error) if error.is_absence() && self.small.streams() > 0 => {
                    self.small.wait_until_left(&client.context)?;
                }
                result => return result,
            }
        }
    }

    /// Sends small files, then large ones, until all are stored, by whomever.
    fn send(&self, client: &mut Client) -> Result<()> {
        let mut send = TreeSend::new(&client.context, self.key, &self.small, self.report);
        loop {
            match self.small.wait(&client.context)? {
                Outlook::Work => client.attempt(|session| send.step(session))?,
                Outlook::NotYet if self.large.left().files == 0 => {}
                Outlook::NotYet | Outlook::Over => match self.large.wait(&client.context)? {
                    Outlook::Work => self.send_large(client)?,
                    Outlook::NotYet => {}
                    Outlook::Over if self.small.is_closed() => return self.small.check(),
                    Outlook::Over => {}
                },
            }
        }
    }

    fn send_large(&self, client: &mut Client) -> Result<()> {
        let Some(file) = self.large.take()? else {
            return Ok(());
        };
        let sent = SourceFile::open_found(&file.local)
            .and_then(|source| client.upload_from(&source, &file.remote, file.conflict));
        match sent {
            Ok(done) => self.report.done(done),
            Err(error) if error.is_absence() => {
                self.large.give_back([file]);
                return Err(error);
            }
            Err(error) => {
                self.large.done();
                return stop_if_hopeless(self.report, &file.remote, file.local, error);
            }
        }
        self.large.done();
        Ok(())
    }
}

/// A large file is at least so many bytes.
const LARGE_IS_WORTH: u64 = 8 * 1024 * 1024;
