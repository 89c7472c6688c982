//! One file's content to as many slaves as it takes, going on behind what the one before has kept.

use std::time::{Duration, Instant};

use protocol::limits::{BLOCK, MAX_INLINE_CONTENT};
use protocol::{Condition, Content, Digest, ErrorCode, RemotePath, Reply, Request, UploadId};
use transfer::block_tree::BLOCK_LENGTH;
use transfer::{HashBehind, Hashed, Range, Source};

use crate::ClientError;
use crate::content::hashing_failed;
use crate::context::Context;
use crate::fault::{Attempt, Fault};
use crate::known_digest::KnownDigest;
use crate::notice::Notice;
use crate::session::{Session, is_code, unexpected};
use crate::source_file::{SourceFile, changed};
use crate::upload_record::UploadRecord;

/// How often content that arrived damaged, or that another writer took over, is sent anew.
const MAX_REPEATS: u32 = 3;

/// How often a slave that waits is told that this side is busy.
const SIGN_OF_LIFE: Duration = Duration::from_secs(2);

/// How often progress is told, at most.
const TELLING: Duration = Duration::from_millis(100);

/// The sending of one file.
#[derive(Debug)]
pub(crate) struct Sending<'a> {
    context: Context,
    source: &'a SourceFile,
    remote: RemotePath,
    condition: Condition,
    upload: UploadId,
    /// What need not be hashed.
    known: KnownDigest,
    /// Whether it is sent in one frame, which replaces nothing that an earlier try left.
    whole: bool,
    /// Whether a slave may hold part of it.
    resume: bool,
    /// The digest that was announced to a slave: its answer may have been lost.
    announced: Option<Digest>,
    furthest: u64,
    repeats: u32,
    told: Instant,
}

/// A content that is stored.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent {
    pub(crate) digest: Digest,
    pub(crate) resumed_at: u64,
}

/// Whether a file of that size is sent whole, in one frame.
pub(crate) fn is_small(size: u64) -> bool {
    usize::try_from(size).is_ok_and(|size| size <= MAX_INLINE_CONTENT)
}

impl<'a> Sending<'a> {
    pub(crate) fn new(
        context: &Context,
        source: &'a SourceFile,
        remote: &RemotePath,
        condition: Condition,
        (record, known): (&UploadRecord, KnownDigest),
    ) -> Self {
        Self {
            context: context.clone(),
            source,
            remote: remote.clone(),
            condition,
            upload: record.id(),
            known,
            whole: is_small(source.size()) && !record.is_kept(),
            resume: record.was_there(),
            announced: None,
            furthest: 0,
            repeats: 0,
            told: Instant::now(),
        }
    }

    /// Goes on with one slave until the content is stored.
    pub(crate) fn step(&mut self, session: &mut Session) -> Attempt<Sent> {
        if let Some(sent) = self.find_stored(session)? {
            return Ok(sent);
        }
        loop {
            let result = if self.whole {
                self.send_whole(session)
            } else {
                self.send_stream(session)
            };
            match result {
                Err(fault) if is_code(&fault, ErrorCode::Corrupt) => {
                    self.source.check()?;
                    self.repeat()?;
                    self.tell_damage(session);
                    self.known.forget();
                }
                Err(fault) if is_code(&fault, ErrorCode::Superseded) => {
                    self.repeat()?;
                    self.upload = UploadRecord::fresh(self.source, &self.remote)?.id();
                }
                Err(fault) if is_code(&fault, ErrorCode::Exists) => {
                    return self.find_stored(session)?.ok_or(fault);
                }
                result => return result,
            }
        }
    }

    fn tell_damage(&self, session: &Session) {
        let remote = self.remote.clone();
        self.context.notice(&match self.known.digest() {
            Some(_) => Notice::Reread { remote },
            None => Notice::Damaged {
                remote,
                blocks: 0,
                slave: Some(session.address()),
            },
        });
    }

    fn repeat(&mut self) -> Result<(), ClientError> {
        self.repeats += 1;
        self.resume = false;
        if self.repeats > MAX_REPEATS {
            return Err(ClientError::not_verified());
        }
        Ok(())
    }

    /// Whether a slave whose answer was lost has stored the content all the same; if so, the one at hand makes sure of it.
    fn find_stored(&self, session: &mut Session) -> Attempt<Option<Sent>> {
        let Some(ours) = self.announced else {
            return Ok(None);
        };
        match confirm(session, &self.remote, ours) {
            Ok(sent) => Ok(Some(sent)),
            Err(Fault::Failed(error))
                if matches!(error.kind(), crate::ClientErrorKind::Remote(_)) =>
            {
                Ok(None)
            }
            Err(fault) => Err(fault),
        }
    }

    fn send_whole(&mut self, session: &mut Session) -> Attempt<Sent> {
        let (content, digest) = read_whole(self.source)?;
        self.context.spend(content.as_bytes().len())?;
        self.announced = Some(digest);
        let facts = self.source.facts();
        let reply = session.ask(&Request::StoreWhole {
            path: self.remote.clone(),
            modified_ns: facts.modified_ns,
            mode: facts.mode,
            condition: self.condition.clone(),
            digest,
            deferred: false,
            content,
        })?;
        session.mark_progress();
        stored(&reply, digest, 0)
    }

    fn send_stream(&mut self, session: &mut Session) -> Attempt<Sent> {
        let facts = self.source.facts();
        let number = session.request(&Request::Store {
            path: self.remote.clone(),
            upload: self.upload,
            size: facts.size,
            modified_ns: facts.modified_ns,
            mode: facts.mode,
            condition: self.condition.clone(),
            resume: self.resume,
            deferred: false,
        });
        let mut sent_before = Hashed::default();
        if self.resume {
            session.flush()?;
            let (offset, prefix) = match session.answer(number)? {
                Reply::Ready { offset, prefix } => (offset, prefix),
                other => return Err(unexpected(&other)),
            };
            match self.hash_prefix(session, number, offset)? {
                Some(hashed) if hashed.digest() == prefix => sent_before = hashed,
                _ => {
                    abandon(session, number)?;
                    self.resume = false;
                    return self.send_stream(session);
                }
            }
        }
        self.resume = true;
        let resumed_at = sent_before.length;
        let digest = match self.send_content(session, number, sent_before) {
            Ok(digest) => digest,
            Err(fault @ Fault::Failed(_)) if !session.is_over(number) => {
                abandon(session, number)?;
                return Err(fault);
            }
            Err(fault) => return Err(fault),
        };
        self.announced = Some(digest);
        session.add(number, &Request::StoreEnd { digest });
        session.flush()?;
        let sent = stored(&session.answer(number)?, digest, resumed_at)?;
        self.known.keep(self.source, digest);
        Ok(sent)
    }

    /// Hashes what the slave says it has; `None` where that is more than there is.
    fn hash_prefix(
        &mut self,
        session: &mut Session,
        number: u32,
        length: u64,
    ) -> Attempt<Option<Hashed>> {
        if length > self.source.size() {
            return Ok(None);
        }
        let file = self.source.file();
        let mut hashing = HashBehind::new(Hashed::default(), 0);
        let mut signed = Instant::now();
        let mut position = 0;
        while position < length {
            self.context.check()?;
            if signed.elapsed() >= SIGN_OF_LIFE {
                session.keep_alive(number)?;
                signed = Instant::now();
            }
            position = length.min(position + BLOCK);
            hashing.advance(file, position).map_err(hashing_failed)?;
        }
        Ok(hashing.finish(file, length).map_err(hashing_failed)?)
    }

    /// Sends what follows the part that `before` covers; gives the digest of the whole.
    fn send_content(
        &mut self,
        session: &mut Session,
        number: u32,
        before: Hashed,
    ) -> Attempt<Digest> {
        let mut position = before.length;
        let size = self.source.size();
        let file = self.source.file();
        let known = self.known.digest();
        let mut hashing = match known {
            Some(_) => HashBehind::off(),
            None => HashBehind::new(before, size),
        };
        let mut content = self.source.content()?;
        while position < size {
            let left = usize::try_from(size - position).unwrap_or(usize::MAX);
            let length = self.context.piece(left.min(BLOCK_LENGTH));
            session.check_refusal(number)?;
            self.context.spend(length)?;
            let frame = Range {
                offset: position,
                length: u64::try_from(length).unwrap_or(0),
                request: number,
            };
            send_frame(session, &mut content, frame)?;
            position += frame.length;
            hashing.advance(file, position).map_err(hashing_failed)?;
            if position > self.furthest {
                self.furthest = position;
                session.mark_progress();
            }
            if self.told.elapsed() >= TELLING || position == size {
                self.told = Instant::now();
                self.context
                    .progress(position, size, self.remote.as_bytes());
            }
        }
        self.source.check()?;
        let hashed = hashing.finish(file, size).map_err(hashing_failed)?;
        let digest = hashed.map(|hashed| hashed.digest()).or(known);
        Ok(digest.ok_or_else(changed)?)
    }
}

/// A small file's content and digest, read in one go.
pub(crate) fn read_whole(source: &SourceFile) -> Result<(Content, Digest), ClientError> {
    let mut bytes = vec![0; usize::try_from(source.size()).unwrap_or(usize::MAX)];
    source.read(&mut bytes, 0)?;
    source.check()?;
    let digest = Digest(*blake3::hash(&bytes).as_bytes());
    let content = Content::new(bytes).ok_or_else(|| ClientError::from(ErrorCode::TooLarge))?;
    Ok((content, digest))
}

/// Sends a frame of a file; where the slave has closed, the reason it gave before counts for more than the broken connection.
fn send_frame(session: &mut Session, content: &mut Source, frame: Range) -> Attempt<()> {
    match session.send_frame(content, frame) {
        Ok(transfer::Sent::Whole) => Ok(()),
        Ok(transfer::Sent::Short) => Err(changed().into()),
        Ok(transfer::Sent::Unreadable(error)) => Err(ClientError::from(error).into()),
        Err(fault) => Err(reason_for(fault, session, frame.request)),
    }
}

/// Sends content; where the slave has closed, the reason it gave before counts for more than the broken connection.
pub(crate) fn send_data(session: &mut Session, number: u32, content: &[u8]) -> Attempt<()> {
    session
        .send_data(number, content)
        .map_err(|fault| reason_for(fault, session, number))
}

fn reason_for(fault: Fault, session: &mut Session, number: u32) -> Fault {
    match fault {
        Fault::Lost(_) => match session.check_refusal(number) {
            Err(refusal @ Fault::Failed(_)) => refusal,
            _ => fault,
        },
        fault => fault,
    }
}

/// Gives an upload up for now, and waits until the slave has put away what it has.
fn abandon(session: &mut Session, number: u32) -> Attempt<()> {
    session.add(number, &Request::Abandon {});
    session.flush()?;
    match session.answer(number) {
        // What the slave would have said to the whole is of no interest any more.
        Ok(_) | Err(Fault::Failed(_)) => Ok(()),
        Err(fault) => Err(fault),
    }
}

/// Has the slave make sure that this content stays under that name, whoever has put it there.
pub(crate) fn confirm(session: &mut Session, remote: &RemotePath, digest: Digest) -> Attempt<Sent> {
    let reply = session.ask(&Request::Confirm {
        path: remote.clone(),
        digest,
    })?;
    stored(&reply, digest, 0)
}

fn stored(reply: &Reply, ours: Digest, resumed_at: u64) -> Attempt<Sent> {
    match reply {
        Reply::Stored { digest, .. } if *digest == ours => Ok(Sent {
            digest: ours,
            resumed_at,
        }),
        Reply::Stored { .. } => Err(Fault::from(ErrorCode::Corrupt)),
        other => Err(unexpected(other)),
    }
}
