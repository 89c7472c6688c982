//! One file, from the storage to a local name.

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use protocol::{Digest, ErrorCode, RemotePath, Reply, Request, Version};
use transfer::ContentHasher;

use crate::at_hand::put_into;
use crate::fault::Attempt;
use crate::fetch::{Fetch, Fetched};
use crate::folder::local_name;
use crate::names::name_beside;
use crate::part_file::PartFile;
use crate::place::{Place, occupant};
use crate::publish::publish;
use crate::session::{Frame, Session, unexpected};
use crate::stripe::Stripe;
use crate::{
    Client, ClientError, ClientErrorKind, Conflict, Download, Result, Status, Transferred,
};

/// How often a part that another process works on is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Under which name a download ends.
enum Plan {
    /// The same content is there, under this name.
    Leave {
        name: OsString,
        content: (Digest, u64),
    },
    /// Under this name, in place of what has it or only where it is free.
    Store { name: OsString, replace: bool },
}

impl Client {
    /// Fetches one file. It appears under its name whole, verified and durable, or not at all; what was received of it is
    /// gone on with the next time.
    ///
    /// # Errors
    /// What the slave says of the file; `exists` where the name is taken by something else; local errors;
    /// [`NotVerified`](ClientErrorKind::NotVerified); [`NoConnection`](ClientErrorKind::NoConnection) when all slaves are
    /// lost.
    pub fn download(&mut self, request: &Download) -> Result<Transferred> {
        let place = Place::of(&request.local)?;
        self.download_into(&request.remote, &place, request.conflict)
    }

    pub(crate) fn download_into(
        &mut self,
        remote: &RemotePath,
        place: &Place,
        conflict: Conflict,
    ) -> Result<Transferred> {
        let started = Instant::now();
        let patience = started + self.context.options.timeout;
        loop {
            let (name, replace) = match self.plan(remote, place, conflict)? {
                Plan::Store { name, replace } => (name, replace),
                Plan::Leave { name, content } => {
                    // Whoever put it there may not have lived to make that durable.
                    place.folder.open_to_read(&name)?.sync_all()?;
                    place.folder.flush()?;
                    return Ok(self.left_alone(remote, place.path_of(&name), content, started));
                }
            };
            let Some(part) = PartFile::open(&place.folder, &name)? else {
                if Instant::now() >= patience {
                    return Err(ClientError::new(
                        ClientErrorKind::Local(std::io::ErrorKind::ResourceBusy),
                        "another transfer of this file is running",
                    ));
                }
                self.context.pause(LOOK_AGAIN)?;
                continue;
            };
            let resume = conflict != Conflict::Overwrite;
            let fetched = match self.fetch(remote, &part, resume) {
                Ok(fetched) => fetched,
                Err(error) => {
                    discard_if_empty(place, &part);
                    return Err(error);
                }
            };
            match publish(&place.folder, &part, &name, &fetched.finish, replace) {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                    // Somebody was quicker: what was received is kept, and compared like anything that is there.
                    part.seal(&fetched.trailer)?;
                    continue;
                }
                Err(error) => return Err(error.into()),
            }
            return Ok(self.arrived(remote, (place, &name), &fetched, started));
        }
    }

    /// Gets the content: that which is at hand, else from one slave or from several at once.
    fn fetch(&mut self, remote: &RemotePath, part: &PartFile, resume: bool) -> Result<Fetched> {
        let seen = self.take_seen(remote);
        if let Some((entry, Some(content))) = &seen
            && let Some(fetched) = put_into((part, &self.context), remote, (entry, content))?
        {
            return Ok(fetched);
        }
        let mut classic = Fetch::new(&self.context, remote, part, resume)?;
        if self.context.options.streams == Some(1) && !resume {
            return self.attempt(|session| classic.step(session));
        }
        let what = (remote, seen.map(|(entry, _)| entry));
        let means = (self.scout(), self.take_streams());
        let mut stripe = Stripe::new(&self.context, what, (part, resume), means);
        let mut is_striped = None;
        let fetched = self.attempt_with(|mut session| {
            let suits = match is_striped {
                Some(is_striped) => Ok(is_striped),
                None => stripe.suits(&mut session),
            };
            if !matches!(suits, Ok(true)) {
                // They are of no use, and hold places.
                drop(stripe.take_reserve());
            }
            match suits {
                Ok(true) => {
                    is_striped = Some(true);
                    stripe.step(session)
                }
                Ok(false) => {
                    is_striped = Some(false);
                    let fetched = classic.step(&mut session);
                    (Some(session), fetched)
                }
                Err(fault) => (Some(session), Err(fault)),
            }
        });
        if is_striped == Some(true) {
            self.mark_failed(stripe.failed());
        }
        self.put_streams(stripe.take_reserve());
        fetched
    }

    fn plan(&mut self, remote: &RemotePath, place: &Place, conflict: Conflict) -> Result<Plan> {
        let replace = conflict.replaces();
        let Some(facts) = place.occupant()?.filter(|_| !replace) else {
            let name = place.name.clone();
            return Ok(Plan::Store { name, replace });
        };
        if let Some(digest) = self.common_digest(&place.folder, &place.name, &facts, remote)? {
            return Ok(Plan::Leave {
                name: place.name.clone(),
                content: (digest, facts.size),
            });
        }
        if conflict == Conflict::Refuse {
            return Err(ErrorCode::Exists.into());
        }
        let mut same = None;
        let name = name_beside(place.name.as_encoded_bytes(), |name| {
            let name = local_name(name);
            let Some(facts) = place.folder.facts(name)? else {
                return Ok(false);
            };
            let digest = self.common_digest(&place.folder, name, &facts, remote)?;
            same = digest.map(|digest| (digest, facts.size));
            Ok(same.is_none())
        })?;
        let name = local_name(&name).to_owned();
        Ok(match same {
            Some(content) => Plan::Leave { name, content },
            None => Plan::Store { name, replace },
        })
    }

    fn left_alone(
        &self,
        remote: &RemotePath,
        local: PathBuf,
        (digest, size): (Digest, u64),
        started: Instant,
    ) -> Transferred {
        Transferred {
            remote: remote.clone(),
            local,
            bytes: size,
            resumed_at: size,
            seconds: started.elapsed().as_secs_f64(),
            digest: Some(digest),
            verified: true,
            slave: self.slave(),
            slaves: Vec::new(),
            status: Status::Unchanged,
        }
    }

    fn arrived(
        &self,
        remote: &RemotePath,
        (place, name): (&Place, &OsString),
        fetched: &Fetched,
        started: Instant,
    ) -> Transferred {
        Transferred {
            remote: remote.clone(),
            local: place.path_of(name),
            bytes: fetched.finish.size,
            resumed_at: fetched.resumed_at,
            seconds: started.elapsed().as_secs_f64(),
            digest: fetched.digest,
            verified: fetched.digest.is_some(),
            slave: fetched.slaves.first().copied().or_else(|| self.slave()),
            slaves: if fetched.slaves.len() > 1 {
                fetched.slaves.clone()
            } else {
                Vec::new()
            },
            status: if *name == place.name {
                Status::Done
            } else {
                Status::Renamed
            },
        }
    }

    /// Writes a file's content to `output` as it comes. What a lost slave has sent is not written twice.
    ///
    /// # Errors
    /// As [`download`](Self::download); `changed` where the file becomes another while it is read. By then part of it has
    /// been written.
    pub fn cat(&mut self, path: &RemotePath, output: &mut dyn Write) -> Result<Transferred> {
        let started = Instant::now();
        let mut reading = Reading {
            path,
            output,
            version: None,
            written: 0,
            hasher: ContentHasher::new(),
        };
        let context = self.context.clone();
        let announced = self.attempt(|session| reading.step(session, &context))?;
        let (written, digest) = (reading.written, reading.hasher.finalize());
        if announced.is_some_and(|announced| announced != digest) {
            return Err(ClientError::not_verified());
        }
        Ok(Transferred {
            remote: path.clone(),
            local: "-".into(),
            bytes: written,
            resumed_at: 0,
            seconds: started.elapsed().as_secs_f64(),
            digest: announced,
            verified: announced.is_some(),
            slave: self.slave(),
            slaves: Vec::new(),
            status: Status::Done,
        })
    }
}

/// A part into which nothing has been received is not left behind.
fn discard_if_empty(place: &Place, part: &PartFile) {
    let is_empty = part.file().metadata().is_ok_and(|facts| facts.len() == 0);
    if is_empty && occupant(&place.folder, part.name()).is_ok() {
        let removed = place.folder.remove(part.name());
        tracing::debug!(?removed, "empty part");
    }
}

/// Content on its way to an output that cannot be taken back.
struct Reading<'a> {
    path: &'a RemotePath,
    output: &'a mut dyn Write,
    version: Option<Version>,
    written: u64,
    hasher: ContentHasher,
}

impl Reading<'_> {
    fn step(
        &mut self,
        session: &mut Session,
        context: &crate::context::Context,
    ) -> Attempt<Option<Digest>> {
        let number = session.request(&Request::Retrieve {
            path: self.path.clone(),
            offset: self.written,
            length: u64::MAX,
            expected: self.version.clone(),
            digest: context.options.verify,
        });
        session.flush()?;
        let size = match session.answer(number)? {
            Reply::Content {
                version,
                offset,
                size,
                ..
            } if offset == self.written => {
                self.version = Some(version);
                size
            }
            other => return Err(unexpected(&other)),
        };
        // A frame is written once the one behind it shows that it is no padding.
        let mut pending = Vec::new();
        loop {
            let frame = session.frame(number)?;
            if !pending.is_empty() {
                self.write(&pending)?;
                session.mark_progress();
                pending.clear();
            }
            match frame {
                Frame::Data => {
                    session.check_data_left(size.saturating_sub(self.written))?;
                    session.read_frame(context, &mut pending)?;
                    context.progress(self.written, size, self.path.as_bytes());
                }
                Frame::Reply(Reply::ContentEnd { digest }) if self.written == size => {
                    return Ok(digest);
                }
                Frame::Reply(other) => return Err(unexpected(&other)),
            }
        }
    }

    fn write(&mut self, content: &[u8]) -> std::result::Result<(), ClientError> {
        self.output.write_all(content)?;
        self.hasher.update(content);
        self.written = self.hasher.position();
        Ok(())
    }
}
