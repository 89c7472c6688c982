//! One file, from a local name to the storage.

use std::time::Instant;

use protocol::{Condition, Digest, Entry, EntryKind, ErrorCode, RemotePath};

use crate::content::digest_of;
use crate::known_digest::KnownDigest;
use crate::names::{name_beside, renamed};
use crate::sending::{Sending, confirm, is_small};
use crate::source_file::SourceFile;
use crate::upload_record::UploadRecord;
use crate::{Client, ClientError, Conflict, Result, Status, Transferred, Upload};

/// How often a name that was free a moment ago is looked at again.
const MAX_LOOKS: u32 = 3;

/// Under which name an upload ends.
enum Plan {
    /// The same content is there, under this name.
    Leave(RemotePath, Digest),
    /// Under this name, if that is so then.
    Store(RemotePath, Condition),
}

impl Client {
    /// Sends one file. It appears under its name whole, verified and durable, or not at all; what a slave has of it is
    /// gone on with the next time.
    ///
    /// # Errors
    /// Local errors; `changed` where the file changes while it is read; `exists` where the name is taken by something
    /// else; what the slave says; [`NotVerified`](crate::ClientErrorKind::NotVerified);
    /// [`NoConnection`](crate::ClientErrorKind::NoConnection) when all slaves are lost.
    pub fn upload(&mut self, request: &Upload) -> Result<Transferred> {
        let source = SourceFile::open(&request.local)?;
        self.upload_from(&source, &request.remote, request.conflict)
    }

    pub(crate) fn upload_from(
        &mut self,
        source: &SourceFile,
        remote: &RemotePath,
        conflict: Conflict,
    ) -> Result<Transferred> {
        let started = Instant::now();
        let mut looks = 0;
        loop {
            let (target, condition) = match self.plan_upload(source, remote, conflict)? {
                Plan::Store(target, condition) => (target, condition),
                Plan::Leave(target, digest) => {
                    // Whoever stored it may not have lived to make it durable.
                    match self.attempt(|session| confirm(session, &target, digest)) {
                        Ok(_) => {}
                        Err(error) if is_other_by_now(&error) && looks < MAX_LOOKS => {
                            looks += 1;
                            continue;
                        }
                        Err(error) => return Err(error),
                    }
                    let mut left = self.sent(source, &target, (digest, source.size()), started);
                    left.status = Status::Unchanged;
                    return Ok(left);
                }
            };
            let record = if is_small(source.size()) {
                UploadRecord::left(self.state.as_deref(), source, &target)?
            } else {
                UploadRecord::of(self.state.as_deref(), source, &target)?
            };
            let record = if conflict == Conflict::Overwrite {
                record.anew()
            } else {
                record
            };
            let known = KnownDigest::of(self.state.as_deref(), source);
            let facts = (&record, known);
            let mut sending = Sending::new(&self.context, source, &target, condition, facts);
            match self.attempt(|session| sending.step(session)) {
                Ok(sent) => {
                    record.forget();
                    let facts = (sent.digest, sent.resumed_at);
                    let mut done = self.sent(source, &target, facts, started);
                    if target != *remote {
                        done.status = Status::Renamed;
                    }
                    return Ok(done);
                }
                // Somebody was quicker: what is there now is looked at like anything that was there before.
                Err(error)
                    if error.is(ErrorCode::Exists) && !conflict.replaces() && looks < MAX_LOOKS =>
                {
                    looks += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn plan_upload(
        &mut self,
        source: &SourceFile,
        remote: &RemotePath,
        conflict: Conflict,
    ) -> Result<Plan> {
        if conflict.replaces() {
            return Ok(Plan::Store(remote.clone(), Condition::Any));
        }
        let entry = match self.stat(remote, true) {
            Ok(entry) => entry,
            Err(error) if error.is(ErrorCode::NotFound) => {
                return Ok(Plan::Store(remote.clone(), Condition::Absent));
            }
            Err(error) => return Err(error),
        };
        if entry.kind == EntryKind::Directory {
            return Err(ErrorCode::IsDirectory.into());
        }
        if let Some(digest) = self.has_content(remote, &entry, source)? {
            return Ok(Plan::Leave(remote.clone(), digest));
        }
        if conflict == Conflict::Refuse {
            return Err(ErrorCode::Exists.into());
        }
        let mut same = None;
        let name = name_beside(remote.name().unwrap_or_default(), |name| {
            let path = renamed(remote, name)?;
            let entry = match self.stat(&path, false) {
                Ok(entry) => entry,
                Err(error) if error.is(ErrorCode::NotFound) => return Ok(false),
                Err(error) => return Err(error),
            };
            same = self.has_content(&path, &entry, source)?;
            Ok(same.is_none())
        })?;
        let target = renamed(remote, &name)?;
        Ok(match same {
            Some(digest) => Plan::Leave(target, digest),
            None => Plan::Store(target, Condition::Absent),
        })
    }

    /// The digest that the source and what is at `remote` have in common; `None` where they differ.
    fn has_content(
        &mut self,
        remote: &RemotePath,
        entry: &Entry,
        source: &SourceFile,
    ) -> Result<Option<Digest>> {
        if entry.kind != EntryKind::File || entry.size != source.size() {
            return Ok(None);
        }
        let theirs = match entry.digest {
            Some(digest) => digest,
            None => self.checksum(remote)?.digest,
        };
        let ours = digest_of(source.file(), source.size(), &self.context)?;
        Ok((ours == theirs).then_some(ours))
    }

    pub(crate) fn sent(
        &self,
        source: &SourceFile,
        remote: &RemotePath,
        (digest, resumed_at): (Digest, u64),
        started: Instant,
    ) -> Transferred {
        Transferred {
            remote: remote.clone(),
            local: source.path().to_owned(),
            bytes: source.size(),
            resumed_at,
            seconds: started.elapsed().as_secs_f64(),
            digest: Some(digest),
            verified: true,
            slave: self.slave(),
            slaves: Vec::new(),
            status: Status::Done,
        }
    }
}

/// Whether a name stands for something else than when it was looked at.
fn is_other_by_now(error: &ClientError) -> bool {
    let codes = [
        ErrorCode::Changed,
        ErrorCode::NotFound,
        ErrorCode::IsDirectory,
    ];
    codes.into_iter().any(|code| error.is(code))
}
