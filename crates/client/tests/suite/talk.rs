//! One conversation of a fake slave: requests in, answers out.

use std::net::TcpStream;
use std::sync::MutexGuard;
use std::thread::sleep;
use std::time::Duration;

use protocol::frame::{DATA, Header};
use protocol::{
    ClientPreface, Connection, ConnectionError, DecodeError, Digest, Entry, EntryKind, ErrorCode,
    RemotePath, Reply, Request, Role, ServerPreface, Text, Unreadable,
};
use transfer::block_tree::block_digest;

use crate::faults::{Faults, Kept};
use crate::slave::{End, Inner};
use crate::storage::digest;

const MIB: usize = 1 << 20;

/// One conversation.
pub(crate) struct Talk<'a> {
    pub(crate) inner: &'a Inner,
    pub(crate) connection: Connection<TcpStream>,
    pub(crate) deferred: Vec<(u32, Reply)>,
}

pub(crate) fn preface(role: Role) -> ServerPreface {
    ServerPreface {
        version: 1,
        oldest: 1,
        newest: 1,
        role,
        login_required: false,
        features: 0,
        worker: 1,
        window_requests: 16,
        window_answer_bytes: 1 << 20,
    }
}

/// Exchanges greeting and prefaces.
pub(crate) fn greet(connection: &mut Connection<TcpStream>, role: Role) -> Result<(), End> {
    connection.send_raw(b"220 mini-ftp ready\r\n");
    connection.flush()?;
    connection.read_exact(&mut [0; ClientPreface::LENGTH])?;
    connection.send_raw(&preface(role).encode());
    Ok(connection.flush()?)
}

pub(crate) fn error(code: ErrorCode) -> Reply {
    Reply::Error {
        code,
        detail: Text::default(),
    }
}

fn done_if(is_done: bool) -> Reply {
    match is_done {
        true => Reply::Done {},
        false => error(ErrorCode::NotFound),
    }
}

impl<'a> Talk<'a> {
    pub(crate) fn new(inner: &'a Inner, stream: TcpStream) -> Self {
        Self {
            inner,
            connection: Connection::new(stream),
            deferred: Vec::new(),
        }
    }

    pub(crate) fn faults(&self) -> MutexGuard<'_, Faults> {
        self.inner.faults.lock().unwrap()
    }

    pub(crate) fn run(&mut self) -> Result<(), End> {
        if self.faults().busy {
            self.connection.send_raw(b"421 busy\r\n");
            return Ok(self.connection.flush()?);
        }
        self.await_question()?;
        greet(&mut self.connection, Role::Slave)?;
        let mut is_open = !self.inner.needs_ticket;
        loop {
            self.give_answers()?;
            let Some(header) = self.connection.receive()? else {
                return Ok(());
            };
            if header.kind == DATA {
                continue; // of an upload that was refused
            }
            let request: Request = match self.connection.decode(&header) {
                Err(DecodeError::UnknownKind(_)) => {
                    let unsupported = error(ErrorCode::Unsupported);
                    self.connection.send(header.request, &unsupported);
                    continue;
                }
                decoded => decoded.map_err(ConnectionError::from)?,
            };
            self.inner.log.lock().unwrap().push(request.clone());
            let number = header.request;
            match &request {
                Request::Present { ticket, .. } => {
                    let refusal = self.faults().refuse_tickets;
                    let reply = match refusal {
                        Some(code) => error(code),
                        None if ticket.as_bytes() == b"ticket" => Reply::Welcome {
                            user: Text::default(),
                            rights: protocol::Rights::ALL,
                        },
                        None => error(ErrorCode::LoginRefused),
                    };
                    is_open |= matches!(reply, Reply::Welcome { .. });
                    self.connection.send(number, &reply);
                }
                Request::Probe { .. } => self.connection.send(
                    number,
                    &Reply::Alive {
                        silent_ms: 0,
                        sessions: 1,
                        places: 9,
                        draining: false,
                    },
                ),
                _ if !is_open => self
                    .connection
                    .send(number, &error(ErrorCode::LoginRequired)),
                _ => match self.mischief(&request) {
                    Some(reply) => self.connection.send(number, &reply),
                    None => self.answer(number, request)?,
                },
            }
        }
    }

    /// Sends what has been answered, unless that is to wait.
    fn give_answers(&mut self) -> Result<(), End> {
        let kept = self.faults().keep_answers;
        self.faults().keep_answers = kept.saturating_sub(1);
        if kept == 0 {
            self.connection.flush()?;
        }
        Ok(())
    }

    /// Waits, where that is asked for, until more has arrived than the preface and the ticket.
    fn await_question(&self) -> Result<(), End> {
        if self.faults().questions_ahead.is_none() {
            return Ok(());
        }
        let ticket = Header::LENGTH + 2 + b"ticket".len() + 32;
        let mut ahead = vec![0; ClientPreface::LENGTH + ticket + 1];
        loop {
            match self.connection.stream_ref().peek(&mut ahead)? {
                0 => return Err(End::Broken),
                arrived if arrived == ahead.len() => break,
                _ => sleep(Duration::from_millis(1)),
            }
        }
        if let Some(heard) = &mut self.faults().questions_ahead {
            *heard += 1;
        }
        Ok(())
    }

    fn answer(&mut self, number: u32, request: Request) -> Result<(), End> {
        let storage = self.inner.storage.clone();
        let changes = matches!(
            request,
            Request::Remove { .. }
                | Request::RemoveDirectory { .. }
                | Request::MakeDirectory { .. }
                | Request::Rename { .. }
                | Request::SetTime { .. }
        );
        let reply = match request {
            Request::Stat { path, .. } => self.stat(&path),
            Request::Checksum { path, fresh } => self.checksum(&path, fresh)?,
            Request::Confirm { path, digest } => self.confirm(path, digest),
            Request::DiskFree {} => Reply::Space {
                total: 2,
                available: 1,
            },
            Request::MakeDirectory { path, .. } => {
                storage.lock().folders.push(path);
                Reply::Done {}
            }
            Request::Remove { path, .. } => done_if(storage.lock().files.remove(&path).is_some()),
            Request::RemoveDirectory { path } => self.remove_folder(&path),
            Request::Rename { from, to, .. } => self.rename(&from, to),
            Request::SetTime { .. } => self.set_time(request),
            Request::List { path, .. } => return self.list(number, &path),
            Request::Blocks { .. } => self.blocks(&request),
            Request::Retrieve { .. } => return self.retrieve(number, &request),
            Request::RetrieveWhole { path, most } => {
                return self.retrieve_whole(number, &path, most);
            }
            Request::Store { .. } => return self.store(number, &request),
            Request::StoreWhole { .. } => return self.store_whole(number, request),
            Request::Flush {} => {
                for (of, reply) in self.deferred.drain(..) {
                    self.connection.send(of, &reply);
                }
                Reply::Done {}
            }
            Request::Sync {} => Reply::Done {},
            Request::StoreEnd { .. } | Request::Abandon {} => return Ok(()),
            _ => error(ErrorCode::Unsupported),
        };
        let is_done = changes && matches!(reply, Reply::Done {});
        if is_done && std::mem::take(&mut self.faults().die_before_answer) {
            return Err(End::Die);
        }
        self.connection.send(number, &reply);
        Ok(())
    }

    fn stat(&self, path: &RemotePath) -> Reply {
        let Some(mut entry) = self.inner.storage.lock().entry(path) else {
            return error(ErrorCode::NotFound);
        };
        entry.size = self.faults().claimed_size.unwrap_or(entry.size);
        Reply::Facts { entry }
    }

    fn checksum(&self, path: &RemotePath, fresh: bool) -> Result<Reply, End> {
        let Some(file) = self.inner.storage.lock().files.get(path).cloned() else {
            return Ok(error(ErrorCode::NotFound));
        };
        let digest = match self.faults().kept {
            Kept::Silent => return Err(End::Hang),
            Kept::Other(kept) if !fresh => kept,
            Kept::Other(_) | Kept::Right => digest(&file.content),
        };
        Ok(Reply::Sum {
            digest,
            size: file.content.len() as u64,
            version: file.version,
        })
    }

    fn remove_folder(&self, path: &RemotePath) -> Reply {
        let mut storage = self.inner.storage.lock();
        let before = storage.folders.len();
        storage.folders.retain(|folder| folder != path);
        done_if(storage.folders.len() < before)
    }

    fn set_time(&self, request: Request) -> Reply {
        let Request::SetTime {
            path,
            modified_ns,
            expected,
        } = request
        else {
            panic!("{request:?}");
        };
        let mut storage = self.inner.storage.lock();
        match storage.files.get(&path).cloned() {
            Some(file) if expected.is_none_or(|expected| expected == file.version) => {
                storage.put(&path, file.content, modified_ns, file.mode);
                Reply::Done {}
            }
            Some(_) => error(ErrorCode::Changed),
            None => error(ErrorCode::NotFound),
        }
    }

    fn rename(&self, from: &RemotePath, to: RemotePath) -> Reply {
        let mut storage = self.inner.storage.lock();
        match storage.files.remove(from) {
            Some(file) => {
                storage.files.insert(to, file);
                Reply::Done {}
            }
            None => error(ErrorCode::NotFound),
        }
    }

    fn confirm(&self, path: RemotePath, sent: Digest) -> Reply {
        let mut storage = self.inner.storage.lock();
        let stored = storage.files.get(&path).cloned();
        match stored.filter(|file| digest(&file.content) == sent) {
            Some(file) => {
                storage.confirmed.push(path);
                Reply::Stored {
                    digest: sent,
                    version: file.version,
                }
            }
            None => error(ErrorCode::Changed),
        }
    }

    /// What is said to a request that is not carried out.
    fn mischief(&self, request: &Request) -> Option<Reply> {
        let mut faults = self.faults();
        if faults.unknown.is_some_and(|is_it| is_it(request)) {
            return Some(error(ErrorCode::Unsupported));
        }
        let is_folder = matches!(request, Request::MakeDirectory { .. });
        if is_folder && let Some(code) = faults.refuse_folder.take() {
            return Some(error(code));
        }
        let is_plain = is_folder || matches!(request, Request::StoreWhole { .. });
        let says_nonsense = is_plain && faults.nonsense > 0;
        faults.nonsense -= u32::from(says_nonsense);
        says_nonsense.then_some(Reply::Space {
            total: 0,
            available: 0,
        })
    }

    fn list(&mut self, number: u32, path: &RemotePath) -> Result<(), End> {
        let mut entries = Vec::new();
        {
            let storage = self.inner.storage.lock();
            let below = storage.folders.iter().chain(storage.files.keys());
            for name in below.filter(|name| name.is_within(path) && *name != path) {
                let mut entry = storage.entry(name).unwrap();
                let prefix = if path.is_root() {
                    1
                } else {
                    path.as_bytes().len() + 1
                };
                entry.name = name.as_bytes()[prefix..].to_vec();
                entries.push(entry);
            }
        }
        for name in &self.faults().also_lists {
            entries.push(Entry {
                name: name.as_bytes().to_vec(),
                kind: EntryKind::File,
                size: 5,
                modified_ns: 0,
                mode: 0o644,
                version: None,
                digest: None,
            });
        }
        for (part, entry) in entries.into_iter().enumerate() {
            if self.faults().die_after_parts == Some(part as u32) {
                self.faults().die_after_parts = None;
                self.connection.flush()?;
                return Err(End::Die);
            }
            let reply = Reply::Entries {
                entries: vec![entry],
                unreadable: Vec::new(),
                more: true,
            };
            self.connection.send(number, &reply);
        }
        let unreadable = |name: &String| Unreadable {
            name: name.as_bytes().to_vec(),
            code: ErrorCode::NameTooLong,
        };
        let last = Reply::Entries {
            entries: Vec::new(),
            unreadable: self.faults().cannot_read.iter().map(unreadable).collect(),
            more: false,
        };
        self.connection.send(number, &last);
        Ok(())
    }

    fn blocks(&self, request: &Request) -> Reply {
        let Request::Blocks {
            path,
            expected,
            first,
            count,
        } = request
        else {
            panic!("{request:?}");
        };
        let storage = self.inner.storage.lock();
        match storage.files.get(path) {
            None => error(ErrorCode::NotFound),
            Some(file) if file.version != *expected => error(ErrorCode::Changed),
            Some(file) => Reply::Blocks {
                first: *first,
                digests: (0..)
                    .zip(file.content.chunks(MIB))
                    .skip(*first as usize)
                    .take(*count as usize)
                    .map(|(index, block)| block_digest(index, block, file.content.len() <= MIB))
                    .collect(),
                more: false,
            },
        }
    }
}
