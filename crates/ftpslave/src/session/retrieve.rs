//! Requests for content.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread::{Builder, scope};
use std::time::Duration;

use protocol::{ConnectionError, ErrorCode, RemotePath, Reply};
use storage::{OpenFile, StorageError};
use transfer::{Range, Sent, Source, TransferError, send_range};

use super::digests::Hashed;
use super::wanted::Wanted;
use super::{Session, error_reply};

/// Content up to this travels in one write with the frames around it, bytes.
const TOGETHER: u64 = 64 * 1024;

/// While more than this is sent, bytes, nothing is kept open for the requests behind it.
const LONG: u64 = 16 * 1024 * 1024;

/// Between two signs of life while the digest is not ready.
const KEEP_ALIVE: Duration = Duration::from_secs(1);

/// When the file was opened whose content is sent.
#[derive(Clone, Copy, Debug)]
enum Opened {
    Now,
    /// While earlier requests were answered.
    Ahead,
}

impl Opened {
    /// Whether what has been read is what the path leads to.
    fn still_holds(self, file: &dyn OpenFile) -> Result<bool, StorageError> {
        match self {
            Self::Now => file.unchanged(),
            Self::Ahead => file.untouched(),
        }
    }
}

impl Session<'_> {
    pub(super) fn retrieve(
        &mut self,
        request: u32,
        wanted: &Wanted,
    ) -> Result<(), ConnectionError> {
        if let Some(file) = self.opened_ahead(wanted)
            && file.entry().size <= TOGETHER
            && let Some(range) = wanted.range_in(file.as_ref(), request)
        {
            let sent = self.send_together((file.as_ref(), Opened::Ahead), range, wanted.digest)?;
            if sent.is_ok() {
                self.answered = Some(file);
                return Ok(());
            }
        }
        let opened = self.storage.open(&wanted.path, wanted.expected.as_ref());
        let file = match opened {
            Ok(file) => file,
            Err(error) => {
                self.reply(request, &error_reply(&error));
                return Ok(());
            }
        };
        let Some(range) = wanted.range_in(file.as_ref(), request) else {
            return self.refuse_content(request, wanted, ErrorCode::Changed);
        };
        let result = if range.length <= TOGETHER {
            let result = self.send_together((file.as_ref(), Opened::Now), range, wanted.digest);
            self.answered = Some(file);
            result
        } else {
            if range.length > LONG {
                self.ahead.rest();
            }
            self.send_apart(file, range, wanted.digest)
        }?;
        if let Err(error) = result {
            self.reply(request, &error_reply(&error));
        }
        Ok(())
    }

    /// A small file's content; of anything else what it is.
    pub(super) fn retrieve_whole(
        &mut self,
        request: u32,
        path: &RemotePath,
        most: u32,
    ) -> Result<(), ConnectionError> {
        let most = u64::from(most).min(TOGETHER);
        let opened = self.storage.open(path, None).ok();
        let Some(file) = opened.filter(|file| file.entry().size <= most) else {
            // Why it cannot be opened is not what was asked.
            self.stat(request, path, true);
            return Ok(());
        };
        let whole = Range {
            offset: 0,
            length: file.entry().size,
            request,
        };
        let sent = self.send_together((file.as_ref(), Opened::Now), whole, true)?;
        self.answered = Some(file);
        if let Err(error) = sent {
            self.reply(request, &error_reply(&error));
        }
        Ok(())
    }

    /// The file, where it has been opened while earlier requests were answered. If anything at all was done to it since, it is
    /// to be opened anew: its name may lead to another file by now, or to none.
    fn opened_ahead(&mut self, wanted: &Wanted) -> Option<Box<dyn OpenFile>> {
        if self.ahead.is_to_begin() {
            let upcoming = self.connection.upcoming().map_while(Wanted::by);
            self.ahead
                .begin(&self.context.openers, &self.storage, upcoming);
            return None;
        }
        self.ahead.take(wanted)
    }

    fn refuse_content(
        &mut self,
        request: u32,
        wanted: &Wanted,
        code: ErrorCode,
    ) -> Result<(), ConnectionError> {
        let error = StorageError::new("read", &wanted.path, code);
        self.reply(request, &error_reply(&error));
        Ok(())
    }

    /// A small content: read before anything is sent, straight to where it is sent from; what was announced is taken back
    /// where that fails.
    fn send_together(
        &mut self,
        (file, opened): (&dyn OpenFile, Opened),
        range: Range,
        digest: bool,
    ) -> Result<Result<(), StorageError>, ConnectionError> {
        let is_whole = range.offset == 0 && range.length == file.entry().size;
        let mut announced = None;
        if digest && !is_whole {
            match self.digest_with_heartbeat(file, range.request)? {
                Ok(known) => announced = known,
                Err(error) => return Ok(Err(error)),
            }
        }
        let kept = self.connection.unsent();
        self.connection
            .send(range.request, &content_reply(file, range));
        let length = u32::try_from(range.length).unwrap_or(u32::MAX);
        let read = |content: &mut [u8]| {
            read_whole(file, range.offset, content)?;
            if !opened.still_holds(file)? {
                return Err(file.changed());
            }
            if digest && is_whole {
                announced = Some(file.digest_of_whole(content));
            }
            Ok(())
        };
        let filled = self
            .connection
            .send_data_from((range.request, length), kept, read);
        if filled.is_ok() {
            self.pay(range.request, range.length)?;
            self.reply(range.request, &Reply::ContentEnd { digest: announced });
        }
        Ok(filled)
    }

    /// A large content, by the engine. A digest that is not known is computed beside it, from the same open file.
    fn send_apart(
        &mut self,
        mut file: Box<dyn OpenFile>,
        range: Range,
        digest: bool,
    ) -> Result<Result<(), StorageError>, ConnectionError> {
        let source = match file.source(range.offset) {
            Ok(source) => source,
            Err(error) => return Ok(Err(error)),
        };
        self.connection
            .send(range.request, &content_reply(file.as_ref(), range));
        self.connection.flush()?;
        let known = if digest { file.cached_digest() } else { None };
        let sent = if digest && known.is_none() {
            self.send_and_hash(file.as_mut(), source, range)?
        } else {
            self.send_alone(file.path(), source, range)?.map(|()| known)
        };
        Ok(sent.and_then(|digest| {
            if !file.unchanged()? {
                return Err(file.changed());
            }
            self.reply(range.request, &Reply::ContentEnd { digest });
            Ok(())
        }))
    }

    fn send_alone(
        &mut self,
        path: &RemotePath,
        mut source: Source,
        range: Range,
    ) -> Result<Result<(), StorageError>, ConnectionError> {
        let (paces, errand) = (self.paces, Arc::clone(&self.errand));
        let before_frame = |length| {
            let piece = paces.piece(length);
            errand.wait(range.request, paces.book(u64::from(piece)))?;
            Ok(piece)
        };
        match send_range(self.connection.stream(), &mut source, range, before_frame) {
            Ok(Sent::Whole) => Ok(Ok(())),
            Ok(Sent::Short) => Ok(Err(StorageError::new("read", path, ErrorCode::Changed))),
            Ok(Sent::Unreadable(error)) | Err(TransferError::Local(error)) => {
                Ok(Err(StorageError::system("read", path, error)))
            }
            Err(TransferError::Peer(error)) => Err(error),
        }
    }

    /// Sends on this thread and hashes on another; the digest is often ready first.
    fn send_and_hash(
        &mut self,
        file: &mut dyn OpenFile,
        source: Source,
        range: Range,
    ) -> Result<Hashed, ConnectionError> {
        let path = file.path().clone();
        let stop = AtomicBool::new(false);
        scope(|threads| {
            let _stopping = StopOnDrop(&stop);
            let (done, hashed) = sync_channel(1);
            let stop = &stop;
            let hash = move || {
                done.send(file.digest(&mut |_| go_on_unless(stop)))
                    .unwrap_or_default();
            };
            Builder::new()
                .name("digest".to_owned())
                .stack_size(256 * 1024)
                .spawn_scoped(threads, hash)?;
            match self.send_alone(&path, source, range)? {
                Ok(()) => self.await_digest(range.request, &hashed),
                Err(error) => Ok(Err(error)),
            }
        })
    }

    fn await_digest(
        &mut self,
        request: u32,
        result: &Receiver<Hashed>,
    ) -> Result<Hashed, ConnectionError> {
        loop {
            match result.recv_timeout(KEEP_ALIVE) {
                Ok(hashed) => return Ok(hashed),
                Err(RecvTimeoutError::Timeout) => {
                    self.connection.send_keep_alive(request);
                    self.connection.flush()?;
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(std::io::Error::other("the digest could not be computed").into());
                }
            }
        }
    }
}

fn content_reply(file: &dyn OpenFile, range: Range) -> Reply {
    let entry = file.entry();
    Reply::Content {
        version: file.version().clone(),
        size: entry.size,
        modified_ns: entry.modified_ns,
        mode: entry.mode,
        offset: range.offset,
        length: range.length,
    }
}

/// Fills `content` from `offset` on, or fails.
fn read_whole(
    file: &dyn OpenFile,
    mut offset: u64,
    mut content: &mut [u8],
) -> Result<(), StorageError> {
    while !content.is_empty() {
        let read = file.read_at(content, offset)?;
        if read == 0 {
            return Err(file.changed());
        }
        offset += u64::try_from(read).unwrap_or(0);
        content = content.get_mut(read..).unwrap_or_default();
    }
    Ok(())
}

fn go_on_unless(stop: &AtomicBool) -> ControlFlow<()> {
    if stop.load(Relaxed) {
        ControlFlow::Break(())
    } else {
        ControlFlow::Continue(())
    }
}

/// Ends the hashing thread when the content cannot be sent: nobody waits for the digest then.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}
