//! A small file's content that has come with the answer to what a name is: whoever downloads it next need not ask again, a round
//! trip less.

use protocol::{Digest, Entry, EntryKind, ErrorCode, RemotePath, Reply, Request, Version};

use crate::context::Context;
use crate::fault::{Attempt, Fault};
use crate::fetch::Fetched;
use crate::part_file::PartFile;
use crate::publish::Finish;
use crate::session::{Frame, Session, unexpected};
use crate::several::alone;
use crate::trailer::Trailer;
use crate::{Client, ClientError, Result};

/// The largest content that is asked for so, bytes: it fits into what a connection may send in its first round trips.
const MOST: u32 = 64 * 1024;

/// A content, and what its slave says of it.
#[derive(Debug)]
pub(crate) struct AtHand {
    version: Version,
    finish: Finish,
    digest: Digest,
    content: Vec<u8>,
}

impl Client {
    /// Says that [`stat_to_download`](Self::stat_to_download) will be asked for first, of this name alone; else as
    /// [`expect_stat`](Self::expect_stat).
    pub fn expect_download(&mut self, path: &RemotePath) {
        self.expect(&question(path));
    }

    /// As [`stat_each`](Self::stat_each) of what the names lead to, for whoever is about to download them. Of a single small file
    /// the content comes with the facts, and is kept for a download that follows at once.
    ///
    /// # Errors
    /// Likewise.
    pub fn stat_to_download(&mut self, paths: &[RemotePath]) -> Result<Vec<Result<Entry>>> {
        match paths {
            [path] => alone(self.look(path)),
            paths => self.stat_each(paths, true),
        }
    }

    fn look(&mut self, path: &RemotePath) -> Result<Entry> {
        self.expect_download(path);
        let context = self.context.clone();
        let found = self.attempt(|session| look(session, path, &context));
        let (entry, content) = match found {
            // It was written to meanwhile; or the slave is an older one, and knows no such question.
            Err(error) if error.is(ErrorCode::Changed) || error.is(ErrorCode::Unsupported) => {
                return self.stat(path, true);
            }
            found => found?,
        };
        self.note_seen(path, &entry, content);
        Ok(entry)
    }
}

fn question(path: &RemotePath) -> Request {
    Request::RetrieveWhole {
        path: path.clone(),
        most: MOST,
    }
}

fn look(
    session: &mut Session,
    path: &RemotePath,
    context: &Context,
) -> Attempt<(Entry, Option<AtHand>)> {
    let number = session.request(&question(path));
    session.flush()?;
    match session.answer(number)? {
        Reply::Facts { entry } => Ok((entry, None)),
        Reply::Content {
            version,
            size,
            modified_ns,
            mode,
            offset: 0,
            length,
        } if length == size && size <= u64::from(MOST) => {
            let finish = Finish {
                size,
                mode,
                modified_ns,
            };
            let (content, digest) = receive(session, number, (size, context))?;
            let whole = AtHand {
                version,
                finish,
                digest,
                content,
            };
            Ok((whole.entry(), Some(whole)))
        }
        other => Err(unexpected(&other)),
    }
}

/// The content of `size` bytes, and the digest behind it.
fn receive(
    session: &mut Session,
    number: u32,
    (size, context): (u64, &Context),
) -> Attempt<(Vec<u8>, Digest)> {
    let mut content = Vec::new();
    loop {
        match session.frame(number)? {
            Frame::Data if wide(content.len() + session.data_left()) <= size => {
                session.read_frame(context, &mut content)?;
            }
            Frame::Data => return Err(Fault::nonsense("more content than was announced")),
            Frame::Reply(Reply::ContentEnd {
                digest: Some(digest),
            }) if wide(content.len()) == size => return Ok((content, digest)),
            Frame::Reply(other) => return Err(unexpected(&other)),
        }
    }
}

impl AtHand {
    fn entry(&self) -> Entry {
        Entry {
            name: Vec::new(),
            kind: EntryKind::File,
            size: self.finish.size,
            modified_ns: self.finish.modified_ns,
            mode: self.finish.mode,
            version: Some(self.version.clone()),
            digest: Some(self.digest),
        }
    }

    /// Writes it into a part, in place of what is there; `None` where it is not what its digest says, and so to be fetched
    /// in the way that finds out why.
    pub(crate) fn fetch_into(
        self,
        part: &PartFile,
        remote: &RemotePath,
        context: &Context,
    ) -> std::result::Result<Option<Fetched>, ClientError> {
        let is_checked = context.options.verify;
        if is_checked && Digest(*blake3::hash(&self.content).as_bytes()) != self.digest {
            return Ok(None);
        }
        let size = self.finish.size;
        let trailer = Trailer {
            remote: remote.clone(),
            version: self.version,
            size,
        };
        part.begin(&trailer)?;
        part.write(&self.content, 0)?;
        context.progress(size, size, remote.as_bytes());
        Ok(Some(Fetched {
            trailer,
            finish: self.finish,
            digest: is_checked.then_some(self.digest),
            resumed_at: 0,
            slaves: Vec::new(),
        }))
    }
}

fn wide(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
