//! Requests that bring content: whole in one frame, or in data frames that may be interrupted and resumed.

use std::fs::File;
use std::io;
use std::sync::Arc;

use protocol::frame::{DATA, KEEP_ALIVE};
use protocol::limits::MAX_DATA_PAYLOAD;
use protocol::{
    ConnectionError, Content, DecodeError, Digest, Entry, EntryKind, ErrorCode, Message,
    RemotePath, Reply, Request,
};
use storage::{
    AtHand, PendingCommit, Received, Storage, StorageError, Stored, Upload, UploadRequest,
};
use transfer::{Receiver, TransferError};

use super::busy::Heartbeat;
use super::{Session, error_reply};

/// How the content of an upload ended.
enum Arrival {
    /// All there, with the digest that the client announced.
    Ended(Digest),
    /// The client gave up for now; the last data frame does not count.
    Abandoned,
    /// It could not be written; the client goes on sending until it hears of it.
    Refused(StorageError),
}

impl Session<'_> {
    pub(super) fn store_whole(
        &mut self,
        request: u32,
        upload: &UploadRequest,
        (content, digest): (&Content, &Digest),
        deferred: bool,
    ) -> Result<(), ConnectionError> {
        let storage = Arc::clone(&self.storage);
        self.pay(request, upload.size.unwrap_or(0))?;
        let whole = (content.as_bytes(), digest);
        let result = if deferred {
            match storage.stage_whole(upload, whole, &mut self.batch.at_hand) {
                Ok(pending) => return self.defer(request, pending),
                Err(error) => {
                    // The next one looks for itself.
                    self.batch.at_hand = AtHand::default();
                    Err(error)
                }
            }
        } else {
            // What was collected stands before any sign of life, be it the preface.
            self.connection.flush()?;
            let work = || storage.store_whole(upload, whole);
            self.errand.run(request, work)?
        };
        self.reply(request, &stored_reply(result));
        Ok(())
    }

    pub(super) fn store(
        &mut self,
        request: u32,
        wanted: &UploadRequest,
        deferred: bool,
    ) -> Result<(), ConnectionError> {
        let storage = Arc::clone(&self.storage);
        let before = named(storage.as_ref(), &wanted.path);
        let mut heart = Heartbeat::new(&mut self.connection, request);
        let begun = storage.begin_upload(wanted, &mut |_| heart.beat());
        heart.finish()?;
        let upload = match begun.and_then(|upload| within_size(upload, wanted)) {
            Ok(upload) => upload,
            Err(error) => return self.refuse_upload(request, &error),
        };
        if wanted.resume {
            let prefix = upload.hashed().digest();
            self.connection.send(
                request,
                &Reply::Ready {
                    offset: upload.offset(),
                    prefix,
                },
            );
        }
        self.connection.flush()?;
        let mut receiver = Receiver::new(upload.hashed().clone(), wanted.size.unwrap_or(0));
        match self.receive_content(request, upload.as_ref(), wanted, &mut receiver) {
            Ok(Arrival::Ended(announced)) => {
                let length = receiver.position();
                let deferred = deferred && Some(length) == wanted.size;
                let arrived = (receiver, announced);
                self.finish_upload((request, &wanted.path), upload, arrived, deferred)
            }
            Ok(Arrival::Abandoned) => {
                let left = self
                    .errand
                    .run(request, || leave(receiver, upload.as_ref()));
                if let Err(error) = left.flatten() {
                    tracing::warn!(%error, path = ?wanted.path, "less is kept of an upload than was received");
                }
                upload.keep();
                if let Some(ledger) = &mut self.ledger {
                    ledger.give_up(self.paces.moved());
                }
                self.connection.send(request, &Reply::Done {});
                Ok(())
            }
            Ok(Arrival::Refused(error)) => {
                drop(receiver);
                upload.discard();
                self.refuse_upload(request, &error)
            }
            Err(error) => {
                // What could not be written is sent again.
                leave(receiver, upload.as_ref()).unwrap_or_default();
                set_aside(storage.as_ref(), upload, (wanted, before));
                Err(error)
            }
        }
    }

    fn receive_content(
        &mut self,
        request: u32,
        upload: &dyn Upload,
        wanted: &UploadRequest,
        receiver: &mut Receiver,
    ) -> Result<Arrival, ConnectionError> {
        let Some(file) = upload.file() else {
            return Ok(Arrival::Refused(StorageError::new(
                "store",
                &wanted.path,
                ErrorCode::Unsupported,
            )));
        };
        let mut before_last = receiver.position();
        loop {
            self.publish_if_due()?;
            let header = self.receive()?.ok_or(ConnectionError::Closed)?;
            if header.kind == KEEP_ALIVE {
                continue;
            }
            let refused = |error| StorageError::system("store", &wanted.path, error);
            if header.request != request {
                return Err(DecodeError::Field("request id within an upload").into());
            }
            if header.kind == DATA {
                before_last = receiver.position();
                let end = before_last.saturating_add(u64::from(header.length));
                if wanted.size.is_some_and(|size| end > size) {
                    return Err(DecodeError::Field("more content than was announced").into());
                }
                match self.take_frame(request, receiver, file) {
                    Ok(()) => {}
                    Err(TransferError::Peer(error)) => return Err(error),
                    Err(TransferError::Local(error)) => {
                        return Ok(Arrival::Refused(refused(error)));
                    }
                }
                continue;
            }
            return match self.connection.decode(&header)? {
                Request::StoreEnd { digest } => Ok(Arrival::Ended(digest)),
                Request::Abandon {} => {
                    receiver.go_back(before_last);
                    Ok(Arrival::Abandoned)
                }
                other => Err(DecodeError::UnknownKind(other.kind()).into()),
            };
        }
    }

    /// Receives a data frame as it comes, no faster than the limits allow; the frames before it are content.
    fn take_frame(
        &mut self,
        request: u32,
        receiver: &mut Receiver,
        file: &File,
    ) -> Result<(), TransferError> {
        let piece = usize::try_from(self.paces.piece(MAX_DATA_PAYLOAD)).unwrap_or(usize::MAX);
        receiver.confirm(file).map_err(TransferError::Local)?;
        loop {
            match receiver.take(&mut self.connection, file, piece)? {
                0 => return Ok(()),
                taken => self
                    .pay(request, u64::try_from(taken).unwrap_or(0))
                    .map_err(|error| TransferError::Peer(error.into()))?,
            }
        }
    }

    fn finish_upload(
        &mut self,
        (request, path): (u32, &RemotePath),
        upload: Box<dyn Upload>,
        (receiver, announced): (Receiver, Digest),
        deferred: bool,
    ) -> Result<(), ConnectionError> {
        if let Err(error) = self.check_presence() {
            leave(receiver, upload.as_ref()).unwrap_or_default();
            upload.keep();
            return Err(error);
        }
        let length = receiver.position();
        let finish = || upload.file().map(|file| receiver.finish(file));
        let hashed = match self.errand.run(request, finish)? {
            Some(Ok(Some(hashed))) => hashed,
            Some(Err(error)) => {
                let error = StorageError::system("store", path, error);
                match error.code() {
                    ErrorCode::NoSpace => upload.discard(),
                    _ => upload.keep(),
                }
                self.reply(request, &error_reply(&error));
                return Ok(());
            }
            unknown => {
                tracing::error!(?unknown, "an upload without a file or a digest");
                upload.keep();
                let error = StorageError::new("store", path, ErrorCode::Internal);
                self.reply(request, &error_reply(&error));
                return Ok(());
            }
        };
        let received = Received {
            length,
            computed: hashed.digest(),
            announced,
        };
        if deferred && received.computed == announced {
            return self.defer(request, PendingCommit { upload, received });
        }
        // Even a small file waits for all that the disk has taken before it.
        let result = self.errand.run(request, || upload.commit(&received))?;
        self.reply(request, &stored_reply(result));
        Ok(())
    }

    /// Whether this content is stored under that name; if it is, makes sure that it stays. Another slave may have put it
    /// there that died before it could.
    pub(super) fn confirm(
        &mut self,
        request: u32,
        path: &RemotePath,
        digest: &Digest,
    ) -> Result<(), ConnectionError> {
        let storage = Arc::clone(&self.storage);
        let refuse = |code| Err(StorageError::new("confirm", path, code));
        let result = match storage.open(path, None) {
            Err(error) => Err(error),
            Ok(file) => match self.digest_with_heartbeat(file.as_ref(), request)? {
                Err(error) => Err(error),
                Ok(None) => refuse(ErrorCode::Timeout),
                Ok(Some(found)) if found != *digest => refuse(ErrorCode::Changed),
                Ok(Some(digest)) => {
                    let version = file.version().clone();
                    self.connection.flush()?;
                    let work = || storage.make_durable(path, &version);
                    let durable = self.errand.run(request, work)?;
                    durable.map(|()| Stored { version, digest })
                }
            },
        };
        self.reply(request, &stored_reply(result));
        Ok(())
    }

    /// Says at once that an upload is refused: the client may be in the middle of sending it.
    fn refuse_upload(&mut self, request: u32, error: &StorageError) -> Result<(), ConnectionError> {
        self.refused = Some(request);
        self.reply(request, &error_reply(error));
        self.connection.flush()?;
        Ok(())
    }
}

/// Has the file hold what was received so far, and nothing behind it.
fn leave(receiver: Receiver, upload: &dyn Upload) -> io::Result<()> {
    let Some(file) = upload.file() else {
        return Ok(());
    };
    let position = receiver.position();
    receiver.leave(file)?;
    file.set_len(position)
}

/// What an earlier try left may be longer than the source is by now: then it is no beginning of it.
fn within_size(
    mut upload: Box<dyn Upload>,
    wanted: &UploadRequest,
) -> Result<Box<dyn Upload>, StorageError> {
    if wanted.size.is_some_and(|size| upload.offset() > size) {
        upload.restart()?;
    }
    Ok(upload)
}

/// What a name stands for now; `None` for nothing, or if it cannot be told.
fn named(storage: &dyn Storage, path: &RemotePath) -> Option<Entry> {
    storage.stat(path, false).ok()
}

/// Keeps an upload whose connection was lost, unless the client has meanwhile finished it by another one: this session may
/// hear of the loss long after. Then the name stands for another file than `before`.
fn set_aside(
    storage: &dyn Storage,
    upload: Box<dyn Upload>,
    (wanted, before): (&UploadRequest, Option<Entry>),
) {
    let version_before = before.and_then(|entry| entry.version);
    let is_done = named(storage, &wanted.path).is_some_and(|entry| {
        entry.kind == EntryKind::File
            && Some(entry.size) == wanted.size
            && entry.modified_ns == wanted.modified_ns
            && entry.version != version_before
    });
    if is_done {
        upload.discard();
    } else {
        upload.keep();
    }
}

fn stored_reply(result: Result<Stored, StorageError>) -> Reply {
    match result {
        Ok(stored) => Reply::Stored {
            digest: stored.digest,
            version: stored.version,
        },
        Err(error) => error_reply(&error),
    }
}
