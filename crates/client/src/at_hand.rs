//! A small file's content that has come with the answer to what a name is: whoever downloads it next need not ask again, a round
//! trip less.

use protocol::{Digest, Entry, EntryKind, ErrorCode, RemotePath, Reply, Request};

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

/// What a name leads to, and the content of a small file.
fn look(
    session: &mut Session,
    path: &RemotePath,
    context: &Context,
) -> Attempt<(Entry, Option<Vec<u8>>)> {
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
            let (content, digest) = receive(session, number, context)?;
            if u64::try_from(content.len()) != Ok(size) {
                return Err(Fault::nonsense("other content than was announced"));
            }
            let entry = Entry {
                name: Vec::new(),
                kind: EntryKind::File,
                size,
                modified_ns,
                mode,
                version: Some(version),
                digest: Some(digest),
            };
            Ok((entry, Some(content)))
        }
        other => Err(unexpected(&other)),
    }
}

/// A content that is small enough, and the digest behind it.
fn receive(session: &mut Session, number: u32, context: &Context) -> Attempt<(Vec<u8>, Digest)> {
    let most = usize::try_from(MOST).unwrap_or(usize::MAX);
    let mut content = Vec::new();
    loop {
        match session.frame(number)? {
            Frame::Data if content.len() + session.data_left() <= most => {
                session.read_frame(context, &mut content)?;
            }
            Frame::Data => return Err(Fault::nonsense("more content than was announced")),
            Frame::Reply(Reply::ContentEnd {
                digest: Some(digest),
            }) => return Ok((content, digest)),
            Frame::Reply(other) => return Err(unexpected(&other)),
        }
    }
}

/// Writes a content at hand into a part, in place of what is there; `None` where it is not what `entry` says, and so to be
/// fetched in the way that finds out why.
pub(crate) fn put_into(
    (part, context): (&PartFile, &Context),
    remote: &RemotePath,
    (entry, content): (&Entry, &[u8]),
) -> std::result::Result<Option<Fetched>, ClientError> {
    let (Some(version), announced) = (entry.version.clone(), entry.digest) else {
        return Ok(None);
    };
    let is_checked = context.options.verify;
    if is_checked && announced != Some(Digest(*blake3::hash(content).as_bytes())) {
        return Ok(None);
    }
    let trailer = Trailer {
        remote: remote.clone(),
        version,
        size: entry.size,
    };
    part.begin(&trailer)?;
    part.write(content, 0)?;
    context.progress(entry.size, entry.size, remote.as_bytes());
    Ok(Some(Fetched {
        trailer,
        finish: Finish {
            size: entry.size,
            mode: entry.mode,
            modified_ns: entry.modified_ns,
        },
        digest: announced.filter(|_| is_checked),
        resumed_at: 0,
        slaves: Vec::new(),
    }))
}
