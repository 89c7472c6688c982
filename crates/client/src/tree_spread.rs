//! A tree on its way to the storage: folders first, then small files pipelined and large ones one by one, over as many
//! sessions as help. One file is one upload; what a lost slave has not confirmed is sent through another.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::thread::scope;

use protocol::RemotePath;

use crate::source_file::SourceFile;
use crate::tree_crew::Crew;
use crate::tree_desk::{Desk, Left, Outlook};
use crate::tree_download::stop_if_hopeless;
use crate::tree_outgoing::Outgoing;
use crate::tree_report::TreeReport;
use crate::tree_send::TreeSend;
use crate::upload_key::UploadKey;
use crate::{Client, Conflict, Result};

/// What is to be sent.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    /// Each behind the one that it is in.
    pub(crate) folders: Vec<Outgoing>,
    pub(crate) small: VecDeque<Outgoing>,
    pub(crate) large: VecDeque<Large>,
}

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
    small: Desk<VecDeque<Outgoing>>,
    large: Desk<VecDeque<Large>>,
}

impl Client {
    /// Sends all of it, with the help of all whose help is worth while.
    pub(crate) fn send_all(&mut self, mut tree: Sent, report: &TreeReport<'_>) -> Result<()> {
        let key = UploadKey::of(self.state.as_deref())?;
        let recruits = self.recruits(false)?;
        let mut folders = VecDeque::from(std::mem::take(&mut tree.folders));
        if recruits.most() > 1 && !folders.is_empty() {
            // Through whichever slave something is stored in a folder: it is there.
            let first = Leaving::new(key, report, folders, VecDeque::new());
            first.send(self)?;
        } else {
            folders.append(&mut tree.small);
            tree.small = folders;
        }
        let left = Left {
            files: tree.small.len(),
            bytes: u64::try_from(tree.large.len()).unwrap_or(u64::MAX) * LARGE_IS_WORTH,
        };
        let leaving = Leaving::new(key, report, tree.small, tree.large);
        let work = |client: &mut Self| leaving.send(client);
        scope(|threads| {
            let mut crew = Crew::new(threads, &leaving.small, &work, recruits);
            crew.recruit(left);
            let sent = leaving.see_through(self);
            if let Err(error) = &sent {
                leaving.small.fail(error.clone());
                leaving.large.fail(error.clone());
            }
            crew.dismiss();
            sent
        })
    }
}

impl<'a, 'r> Leaving<'a, 'r> {
    fn new(
        key: UploadKey,
        report: &'a TreeReport<'r>,
        small: VecDeque<Outgoing>,
        large: VecDeque<Large>,
    ) -> Self {
        Self {
            key,
            report,
            small: Desk::whole(small),
            large: Desk::whole(large),
        }
    }

    /// The part of the client that was there first; where it finds no slave, it waits for what becomes of the others.
    fn see_through(&self, client: &mut Client) -> Result<()> {
        loop {
            self.small.join();
            let result = self.send(client);
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
                    Outlook::Over if self.small.is_closed() => return Ok(()),
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
