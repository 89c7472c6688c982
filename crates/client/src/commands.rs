//! Everything that is one request and one answer. An answer that was lost with its slave is recognised: what the next
//! slave finds done already was done by the one before.

use std::ops::ControlFlow;
use std::slice;

use protocol::{
    Digest, Entry, ErrorCode, MasterReply, MasterRequest, RemotePath, Reply, Request, SlaveId,
    SlaveStatus, Version,
};

use crate::client::done_before;
use crate::fault::Attempt;
use crate::master::{First, Reached, reach, written};
use crate::session::{done, facts, unexpected};
use crate::{Client, ClientError, ClientErrorKind, Result};

/// A file's digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sum {
    /// BLAKE3 of the content.
    pub digest: Digest,
    /// Bytes of content.
    pub size: u64,
    /// The version that was read.
    pub version: Version,
}

/// A storage's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Bytes in all.
    pub total: u64,
    /// Bytes that may still be filled.
    pub available: u64,
}

/// A slave, as its master knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownSlave {
    /// Who it is; zeros for one that has never answered.
    pub id: SlaveId,
    /// `HOST:PORT`, best first.
    pub addresses: Vec<String>,
    /// Whether it serves.
    pub status: SlaveStatus,
    /// Sessions it serves now.
    pub sessions: u32,
    /// Sessions it can serve at once.
    pub places: u32,
}

pub(crate) fn checksum(path: &RemotePath) -> Request {
    Request::Checksum {
        path: path.clone(),
        fresh: false,
    }
}

pub(crate) fn sum(reply: Reply) -> Attempt<Sum> {
    match reply {
        Reply::Sum {
            digest,
            size,
            version,
        } => Ok(Sum {
            digest,
            size,
            version,
        }),
        other => Err(unexpected(&other)),
    }
}

impl Client {
    /// Facts about one name; with `follow`, about what a symbolic link leads to.
    ///
    /// # Errors
    /// What the slave says; [`ClientErrorKind::NoConnection`] when all slaves are lost.
    pub fn stat(&mut self, path: &RemotePath, follow: bool) -> Result<Entry> {
        let request = Request::Stat {
            path: path.clone(),
            follow,
        };
        self.expect(&request);
        let entry = self.attempt(|session| facts(session.ask(&request)?))?;
        if follow {
            self.note_seen(path, &entry, None);
        }
        Ok(entry)
    }

    /// The digest of a file.
    ///
    /// # Errors
    /// As [`stat`](Self::stat).
    pub fn checksum(&mut self, path: &RemotePath) -> Result<Sum> {
        let request = checksum(path);
        self.attempt(|session| sum(session.ask(&request)?))
    }

    /// How much room the storage has.
    ///
    /// # Errors
    /// As [`stat`](Self::stat).
    pub fn disk_free(&mut self) -> Result<Space> {
        self.attempt(|session| match session.ask(&Request::DiskFree {})? {
            Reply::Space { total, available } => Ok(Space { total, available }),
            other => Err(unexpected(&other)),
        })
    }

    /// Makes a folder; with `parents` those above it too, and one that is there is no error.
    ///
    /// # Errors
    /// As [`stat`](Self::stat).
    pub fn make_directory(&mut self, path: &RemotePath, parents: bool) -> Result<()> {
        let request = Request::MakeDirectory {
            path: path.clone(),
            parents,
        };
        self.order(&request, ErrorCode::Exists)
    }

    /// Removes a file or link; with `recursive` a folder and all in it.
    ///
    /// # Errors
    /// As [`stat`](Self::stat).
    pub fn remove(&mut self, path: &RemotePath, recursive: bool) -> Result<()> {
        let mut removed = Ok(());
        self.remove_each(slice::from_ref(path), recursive, &mut |result| {
            removed = result;
            ControlFlow::Continue(())
        })?;
        removed
    }

    /// Gives `from` the name `to`; with `replace` in place of a file that has it.
    ///
    /// # Errors
    /// As [`stat`](Self::stat).
    pub fn rename(&mut self, from: &RemotePath, to: &RemotePath, replace: bool) -> Result<()> {
        let request = Request::Rename {
            from: from.clone(),
            to: to.clone(),
            replace,
        };
        let before = match self.holder(to) {
            Err(error) if !error.is_remote() => return Err(error),
            // Who may not look may still move.
            before => before.ok(),
        };
        let mut tries = 0;
        match self.order_counting(&request, &mut tries) {
            // Either it was moved by a try whose answer was lost, or it was never there, and the other name is whose it was.
            Err(error) if done_before(&error, ErrorCode::NotFound, tries) => {
                let now = self.holder(to).map_err(|_| error.clone())?;
                let has_changed = before.is_some_and(|before| now.is_some() && now != before);
                has_changed.then_some(()).ok_or(error)
            }
            result => result,
        }
    }

    /// What has a name, so far as the same has it later; `None` where nothing has.
    fn holder(&mut self, path: &RemotePath) -> Result<Option<Entry>> {
        match self.stat(path, false) {
            // Which becomes known meanwhile.
            Ok(entry) => Ok(Some(Entry {
                digest: None,
                ..entry
            })),
            Err(error) if error.kind() == ClientErrorKind::Remote(ErrorCode::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Has whatever is in place made durable: a slave that stored some of it may have died before it was.
    pub(crate) fn sync(&mut self) -> Result<()> {
        self.order_counting(&Request::Sync {}, &mut 0)
    }

    /// Asks for something to be done; `done` is what a slave answers when it had been done before.
    fn order(&mut self, request: &Request, done: ErrorCode) -> Result<()> {
        let mut tries = 0;
        match self.order_counting(request, &mut tries) {
            Err(error) if done_before(&error, done, tries) => Ok(()),
            result => result,
        }
    }

    fn order_counting(&mut self, request: &Request, tries: &mut u32) -> Result<()> {
        self.attempt(|session| {
            *tries += 1;
            done(session.ask(request)?)
        })
    }

    /// What the master knows of its slaves.
    ///
    /// # Errors
    /// [`ClientErrorKind::NotAMaster`] where the host is a slave that stands alone; otherwise as
    /// [`connect`](Self::connect).
    pub fn slaves(&mut self) -> Result<Vec<KnownSlave>> {
        let mut last = ClientError::new(ClientErrorKind::NoConnection, "no host to ask");
        let question = MasterRequest::ListSlaves {};
        for target in self.targets() {
            let first = First {
                of_master: &question,
                of_slave: None,
            };
            let mut master = match reach(target, first, &self.context) {
                Ok(Reached::Master(master)) => master,
                Ok(Reached::Slave(_)) => {
                    return Err(ClientError::new(
                        ClientErrorKind::NotAMaster,
                        "a standalone slave, which knows of no others",
                    ));
                }
                Err(fault) => {
                    last = ClientError::new(
                        fault.error_kind(),
                        format!("{target}: {}", fault.cause()),
                    );
                    continue;
                }
            };
            match master.ask(&question) {
                Ok(MasterReply::Slaves { slaves }) => {
                    let host = master.host();
                    return Ok(slaves
                        .into_iter()
                        .map(|slave| KnownSlave {
                            id: slave.id,
                            addresses: slave
                                .addresses
                                .iter()
                                .map(|one| written(one, host))
                                .collect(),
                            status: slave.status,
                            sessions: slave.sessions,
                            places: slave.places,
                        })
                        .collect());
                }
                Ok(_) => {}
                Err(fault) => last = fault.into_error(),
            }
        }
        Err(last)
    }
}
