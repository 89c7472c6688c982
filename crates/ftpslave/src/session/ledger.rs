//! What a session's client has begun to move or change, until it has ended one way or another: then it is a line of the
//! transfer log.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Instant;

use protocol::{Digest, RemotePath, Reply, Request};

use super::access::Pass;
use crate::transfer_log::{Record, TransferLog};

/// The deeds of one session that have not ended. Not by their requests' numbers, which are the client's to choose: one
/// request is carried out after the other, and what waits to be published is published in its order.
#[derive(Debug)]
pub(super) struct Ledger<'a> {
    log: &'a TransferLog,
    from: IpAddr,
    pass: Option<Pass>,
    /// What is carried out now.
    open: Option<Deed>,
    /// What was received and waits.
    received: VecDeque<Deed>,
}

/// What was asked for.
#[derive(Debug)]
struct Deed {
    operation: &'static str,
    path: RemotePath,
    to: Option<RemotePath>,
    offset: u64,
    begun: Instant,
    /// What the session had moved before; then, where others may move more before this has ended, what this one moved.
    moved: Moved,
}

#[derive(Clone, Copy, Debug)]
enum Moved {
    Since(u64),
    In(u64),
}

impl<'a> Ledger<'a> {
    /// That of a client at `from`.
    pub(super) fn new(log: &'a TransferLog, from: IpAddr) -> Self {
        Self {
            log,
            from,
            pass: None,
            open: None,
            received: VecDeque::new(),
        }
    }

    /// Whose deeds these are.
    pub(super) fn enter(&mut self, pass: &Pass) {
        self.pass = Some(pass.clone());
    }

    /// A request is about to be carried out, or refused; the session has moved `moved` bytes of content so far.
    pub(super) fn begin(&mut self, request: &Request, moved: u64) {
        self.open = Deed::of(request, moved);
    }

    /// An answer to the request is given; the session has moved `moved` bytes of content so far.
    pub(super) fn answer(&mut self, reply: &Reply, moved: u64) {
        match reply {
            Reply::Received {} => {
                let deed = self.open.take().map(|deed| Deed {
                    moved: Moved::In(deed.bytes(moved)),
                    ..deed
                });
                self.received.extend(deed);
            }
            // It was looked at, nothing was fetched.
            Reply::Facts { .. } => self.open = None,
            reply => {
                if let Some(end) = End::of(reply)
                    && let Some(deed) = self.open.take()
                {
                    self.write(&deed, end, moved);
                }
            }
        }
    }

    /// The answer to the upload that has waited longest is given.
    pub(super) fn publish(&mut self, reply: &Reply, moved: u64) {
        if let Some(end) = End::of(reply)
            && let Some(deed) = self.received.pop_front()
        {
            self.write(&deed, end, moved);
        }
    }

    /// The client gave up what it had begun: it has not been done.
    pub(super) fn give_up(&mut self, moved: u64) {
        if let Some(deed) = self.open.take() {
            self.write(&deed, End::LOST, moved);
        }
    }

    /// The session is over: what has not ended has not been done, as far as the client knows.
    pub(super) fn end(&mut self, moved: u64) {
        for deed in std::mem::take(&mut self.received) {
            self.write(&deed, End::LOST, moved);
        }
        self.give_up(moved);
    }

    fn write(&self, deed: &Deed, end: End, moved: u64) {
        let Some(pass) = &self.pass else { return };
        self.log.write(&Record {
            user: &pass.user,
            home: &pass.home,
            from: self.from,
            operation: deed.operation,
            path: &deed.path,
            to: deed.to.as_ref(),
            offset: deed.offset,
            bytes: deed.bytes(moved),
            took: deed.begun.elapsed(),
            digest: end.digest,
            result: end.result,
        });
    }
}

/// How a deed ended.
#[derive(Clone, Copy, Debug)]
struct End {
    result: &'static str,
    digest: Option<Digest>,
}

impl End {
    const LOST: Self = Self {
        result: "lost",
        digest: None,
    };

    /// What the last answer to a deed says; `None` of any other.
    fn of(reply: &Reply) -> Option<Self> {
        let (result, digest) = match reply {
            Reply::Stored { digest, .. } => ("done", Some(*digest)),
            Reply::ContentEnd { digest } => ("done", *digest),
            Reply::Done {} => ("done", None),
            Reply::Error { code, .. } => (code.word(), None),
            _ => return None,
        };
        Some(Self { result, digest })
    }
}

impl Deed {
    /// The table: which requests are worth a line. Looking is not, fetching is.
    fn of(request: &Request, moved: u64) -> Option<Self> {
        let (operation, path, to, offset) = match request {
            Request::Retrieve { path, offset, .. } => ("get", path, None, *offset),
            Request::RetrieveWhole { path, .. } => ("get", path, None, 0),
            Request::Store { path, .. } | Request::StoreWhole { path, .. } => {
                ("put", path, None, 0)
            }
            Request::MakeDirectory { path, .. } => ("mkdir", path, None, 0),
            Request::Remove { path, .. } => ("rm", path, None, 0),
            Request::RemoveDirectory { path } => ("rmdir", path, None, 0),
            Request::Rename { from, to, .. } => ("mv", from, Some(to), 0),
            Request::SetTime { path, .. } => ("touch", path, None, 0),
            Request::Probe { .. }
            | Request::Identify { .. }
            | Request::Present { .. }
            | Request::Login { .. }
            | Request::Stat { .. }
            | Request::List { .. }
            | Request::Blocks { .. }
            | Request::Checksum { .. }
            | Request::DiskFree {}
            | Request::StoreEnd { .. }
            | Request::Abandon {}
            | Request::Flush {}
            | Request::Confirm { .. }
            | Request::Sync {} => return None,
        };
        Some(Self {
            operation,
            path: path.clone(),
            to: to.cloned(),
            offset,
            begun: Instant::now(),
            moved: Moved::Since(moved),
        })
    }

    fn bytes(&self, moved: u64) -> u64 {
        match self.moved {
            Moved::Since(before) => moved.saturating_sub(before),
            Moved::In(bytes) => bytes,
        }
    }
}
