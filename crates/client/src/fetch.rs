//! One file's content, from as many slaves as it takes, into one part.
//!
//! What an earlier try left is compared block by block with what the slave has; the rest follows. Blocks are hashed as
//! they pass, and at the end the tree of their digests is compared with the digest of the whole.

mod earlier;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use protocol::{Digest, ErrorCode, RemotePath, Reply, Request};
use transfer::block_tree::BLOCK_LENGTH;
use transfer::{Hashed, Receiver};

use crate::ClientError;
use crate::block_digests::BlockDigests;
use crate::context::Context;
use crate::fault::{Attempt, Fault};
use crate::fetch::earlier::Earlier;
use crate::notice::Notice;
use crate::part_file::PartFile;
use crate::publish::Finish;
use crate::repair::{fresh_digest, kept_digest, repair};
use crate::session::{Frame, Session, is_code, unexpected};
use crate::trailer::Trailer;

/// How often a file that changes under our hands is begun again.
const MAX_RESTARTS: u32 = 5;

/// How often damaged blocks are fetched again.
const MAX_REPAIRS: u32 = 3;

/// How often progress is told, at most.
const TELLING: Duration = Duration::from_millis(100);

/// The fetching of one file.
#[derive(Debug)]
pub(crate) struct Fetch<'a> {
    context: Context,
    remote: RemotePath,
    part: &'a PartFile,
    /// What the part holds from an earlier try, as long as it is not compared.
    earlier: Option<Earlier>,
    /// What is being fetched, once a slave has said what it is.
    current: Option<Current>,
    resumed_at: u64,
    /// How far any try came: only what goes beyond is progress.
    furthest: u64,
    restarts: u32,
    repairs: u32,
    /// A slave whose file is not what the digest says that was kept with it.
    doubted: Option<SocketAddr>,
    told: Instant,
}

#[derive(Debug)]
struct Current {
    trailer: Trailer,
    finish: Finish,
    content: Content,
    announced: Option<Digest>,
}

/// How far the content has come.
#[derive(Debug)]
enum Content {
    Coming(Receiver),
    /// It is all there, and so are the digests of its blocks.
    Hashed(BlockDigests),
    /// It is all there, and is not to be verified.
    Unverified,
}

/// A content that is whole.
#[derive(Debug)]
pub(crate) struct Fetched {
    pub(crate) trailer: Trailer,
    pub(crate) finish: Finish,
    /// `None` where it was not to be verified.
    pub(crate) digest: Option<Digest>,
    pub(crate) resumed_at: u64,
    /// Who served it, where that were several at once, the one that served most first.
    pub(crate) slaves: Vec<SocketAddr>,
}

impl<'a> Fetch<'a> {
    /// Fetches `remote` into `part`, going on with what is there where `resume` says so.
    pub(crate) fn new(
        context: &Context,
        remote: &RemotePath,
        part: &'a PartFile,
        resume: bool,
    ) -> Result<Self, ClientError> {
        let left = if resume { part.trailer()? } else { None };
        let left = left.filter(|trailer| trailer.remote == *remote);
        Ok(Self {
            context: context.clone(),
            remote: remote.clone(),
            part,
            earlier: left.map(Earlier::new),
            current: None,
            resumed_at: 0,
            furthest: 0,
            restarts: 0,
            repairs: 0,
            doubted: None,
            told: Instant::now(),
        })
    }

    /// Goes on with one slave until the content is whole.
    pub(crate) fn step(&mut self, session: &mut Session) -> Attempt<Fetched> {
        loop {
            match self.try_version(session) {
                Err(fault) if is_code(&fault, ErrorCode::Changed) => self.restart(fault)?,
                result => return result,
            }
        }
    }

    fn try_version(&mut self, session: &mut Session) -> Attempt<Fetched> {
        if let Some(earlier) = &mut self.earlier {
            earlier.compare(&self.context, self.part, session)?;
            self.go_on();
        }
        if self.current.as_ref().is_none_or(Current::is_coming) {
            self.retrieve(session)?;
        }
        self.verify(session)
    }

    fn restart(&mut self, fault: Fault) -> Attempt<()> {
        self.restarts += 1;
        if self.restarts > MAX_RESTARTS {
            return Err(fault);
        }
        self.context.notice(&Notice::Restarted {
            remote: self.remote.clone(),
            why: ErrorCode::Changed.sentence().to_owned(),
        });
        self.earlier = None;
        self.current = None;
        self.resumed_at = 0;
        self.furthest = 0;
        self.repairs = 0;
        self.doubted = None;
        Ok(())
    }

    /// Goes on behind what an earlier try has left.
    fn go_on(&mut self) {
        let Some((trailer, hashed)) = self.earlier.take().map(Earlier::into_parts) else {
            return;
        };
        self.resumed_at = hashed.length;
        self.current = Some(Current {
            content: self.content_behind(hashed, trailer.size),
            finish: Finish {
                size: trailer.size,
                mode: 0,
                modified_ns: 0,
            },
            trailer,
            announced: None,
        });
    }

    fn content_behind(&self, hashed: Hashed, size: u64) -> Content {
        Content::Coming(match self.context.options.verify {
            true => Receiver::new(hashed, size),
            false => Receiver::unverified(hashed.length, size),
        })
    }

    fn retrieve(&mut self, session: &mut Session) -> Attempt<()> {
        let current = self.current.as_ref();
        let offset = current.map_or(0, Current::position);
        let number = session.request(&Request::Retrieve {
            path: self.remote.clone(),
            offset,
            length: u64::MAX,
            expected: current.map(|current| current.trailer.version.clone()),
            digest: self.context.options.verify,
        });
        session.flush()?;
        let reply = session.answer(number)?;
        self.accept(reply, offset)?;
        let Some(mut current) = self.current.take() else {
            return Ok(());
        };
        let result = match &mut current.content {
            Content::Coming(receiver) => self.receive(receiver, session, number),
            Content::Hashed(_) | Content::Unverified => Ok(None),
        };
        let result = result.map(|announced| current.announced = announced);
        self.current = Some(current);
        result
    }

    /// Notes what the slave is about to send.
    fn accept(&mut self, reply: Reply, expected_offset: u64) -> Attempt<()> {
        let Reply::Content {
            version,
            size,
            modified_ns,
            mode,
            offset,
            length,
        } = reply
        else {
            return Err(unexpected(&reply));
        };
        if offset != expected_offset || offset.checked_add(length) != Some(size) {
            return Err(Fault::nonsense("other content than was asked for"));
        }
        let finish = Finish {
            size,
            mode,
            modified_ns,
        };
        let trailer = Trailer {
            remote: self.remote.clone(),
            version,
            size,
        };
        match &mut self.current {
            Some(current) if current.trailer == trailer => current.finish = finish,
            Some(_) => return Err(Fault::nonsense("another version than was asked for")),
            None => {
                self.part.begin(&trailer).map_err(ClientError::from)?;
                self.current = Some(Current {
                    content: self.content_behind(Hashed::default(), size),
                    trailer,
                    finish,
                    announced: None,
                });
            }
        }
        Ok(())
    }

    /// Receives the rest of the content; gives the digest that was announced behind it.
    fn receive(
        &mut self,
        receiver: &mut Receiver,
        session: &mut Session,
        number: u32,
    ) -> Attempt<Option<Digest>> {
        let mut frame_start = receiver.position();
        loop {
            let result = match session.frame(number) {
                Ok(Frame::Data) => {
                    frame_start = receiver.position();
                    self.take_frame(receiver, session)
                }
                Ok(Frame::Reply(Reply::ContentEnd { digest })) => {
                    if receiver.left() > 0 {
                        return Err(Fault::nonsense("less content than was announced"));
                    }
                    self.tell(receiver, true);
                    return Ok(digest);
                }
                Ok(Frame::Reply(other)) => Err(unexpected(&other)),
                Err(fault) => Err(fault),
            };
            if let Err(fault) = result {
                // The frame before an error may be padding, and without a digest nothing else would tell.
                if !self.context.options.verify || matches!(fault, Fault::Failed(_)) {
                    receiver.go_back(frame_start);
                }
                return Err(fault);
            }
        }
    }

    fn take_frame(&mut self, receiver: &mut Receiver, session: &mut Session) -> Attempt<()> {
        let file = self.part.file();
        receiver.confirm(file).map_err(ClientError::from)?;
        while session.data_left() > 0 {
            let room = usize::try_from(receiver.left()).unwrap_or(usize::MAX);
            let wanted = self.context.piece(room.min(BLOCK_LENGTH));
            if wanted == 0 {
                return Err(Fault::nonsense("more content than was announced"));
            }
            let taken = session.take_content(receiver, file, wanted)?;
            if receiver.position() > self.furthest {
                self.furthest = receiver.position();
                session.mark_progress();
            }
            self.tell(receiver, false);
            self.context.spend(taken)?;
        }
        Ok(())
    }

    fn tell(&mut self, receiver: &Receiver, is_last: bool) {
        if is_last || self.told.elapsed() >= TELLING {
            self.told = Instant::now();
            let done = receiver.position();
            let total = done + receiver.left();
            self.context.progress(done, total, self.remote.as_bytes());
        }
    }

    fn verify(&mut self, session: &mut Session) -> Attempt<Fetched> {
        let Some(current) = self.current.take() else {
            return Err(Fault::nonsense("no content"));
        };
        // What cannot be settled is not whole: nothing of it is gone on with.
        let current = self.current.insert(current.settle(self.part)?);
        let digest = match &mut current.content {
            Content::Hashed(blocks) => {
                let mut announced = match current.announced {
                    Some(digest) => digest,
                    None => kept_digest(session, &current.trailer)?,
                };
                while blocks.whole() != Some(announced) {
                    if self.repairs >= MAX_REPAIRS {
                        return Err(ClientError::not_verified().into());
                    }
                    let on_disk = fresh_digest(session, &current.trailer)?;
                    if blocks.whole() == Some(on_disk) {
                        // It has sent what is on its disk.
                        if self.doubted.is_none() && session.id().is_some() {
                            self.doubted = Some(session.address());
                            current.announced = None;
                            return Err(Fault::contradicted());
                        }
                        return Err(ClientError::contradicted().into());
                    }
                    let source = self.doubted.unwrap_or_else(|| session.address());
                    let told = (&self.context, source);
                    repair(told, session, self.part, &current.trailer, blocks)?;
                    // One that a lost slave has broken off is none that failed.
                    self.repairs += 1;
                    // What is on the disk may be damaged, too: only what is kept with it proves what came from there.
                    announced = kept_digest(session, &current.trailer)?;
                    current.announced = Some(announced);
                }
                Some(announced)
            }
            Content::Coming(_) | Content::Unverified => None,
        };
        Ok(Fetched {
            trailer: current.trailer.clone(),
            finish: current.finish,
            digest,
            resumed_at: self.resumed_at,
            slaves: Vec::new(),
        })
    }
}

impl Current {
    fn is_coming(&self) -> bool {
        matches!(self.content, Content::Coming(_))
    }

    /// Where the next byte goes.
    fn position(&self) -> u64 {
        match &self.content {
            Content::Coming(receiver) => receiver.position(),
            Content::Hashed(_) | Content::Unverified => self.trailer.size,
        }
    }

    /// Everything has come: waits until it is written and hashed.
    fn settle(self, part: &PartFile) -> Result<Self, ClientError> {
        let content = match self.content {
            Content::Coming(receiver) => match receiver.finish(part.file())? {
                Some(hashed) => Content::Hashed(BlockDigests::of(hashed)),
                None => Content::Unverified,
            },
            settled => settled,
        };
        Ok(Self { content, ..self })
    }
}
