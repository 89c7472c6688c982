//! Content whose digest is not the announced one: the blocks that differ are found by their own digests, and fetched
//! alone.

use std::net::SocketAddr;

use protocol::limits::{BLOCK, MAX_BLOCK_DIGESTS};
use protocol::{Digest, ErrorCode, Reply, Request};
use transfer::block_tree::{BLOCK_LENGTH, block_count};

use crate::ClientError;
use crate::block_digests::BlockDigests;
use crate::context::Context;
use crate::fault::{Attempt, Fault};
use crate::notice::Notice;
use crate::part_file::PartFile;
use crate::session::{Frame, Session, unexpected};
use crate::trailer::Trailer;

/// The digest that the slave keeps with the file, or has of it now where it keeps none.
pub(crate) fn kept_digest(session: &mut Session, trailer: &Trailer) -> Attempt<Digest> {
    digest(session, trailer, false)
}

/// The digest of the file as it is on the slave's disk now.
pub(crate) fn fresh_digest(session: &mut Session, trailer: &Trailer) -> Attempt<Digest> {
    digest(session, trailer, true)
}

fn digest(session: &mut Session, trailer: &Trailer, fresh: bool) -> Attempt<Digest> {
    let question = Request::Checksum {
        path: trailer.remote.clone(),
        fresh,
    };
    match session.ask(&question)? {
        Reply::Sum {
            digest, version, ..
        } if version == trailer.version => Ok(digest),
        Reply::Sum { .. } => Err(ErrorCode::Changed.into()),
        other => Err(unexpected(&other)),
    }
}

/// Fetches every block again whose digest is not the slave's; `source` is the one that the content came from.
pub(crate) fn repair(
    (context, source): (&Context, SocketAddr),
    session: &mut Session,
    part: &PartFile,
    trailer: &Trailer,
    blocks: &mut BlockDigests,
) -> Attempt<()> {
    let damaged = find_damaged(session, trailer, blocks)?;
    context.notice(&Notice::Damaged {
        remote: trailer.remote.clone(),
        blocks: u64::try_from(damaged.len()).unwrap_or(u64::MAX),
        slave: Some(source),
    });
    for index in damaged {
        context.check()?;
        let content = fetch_block(context, session, trailer, index)?;
        part.write(&content, index * BLOCK)
            .map_err(ClientError::from)?;
        blocks.replace(index, blocks.digest_of(index, &content));
    }
    Ok(())
}

fn find_damaged(
    session: &mut Session,
    trailer: &Trailer,
    blocks: &BlockDigests,
) -> Attempt<Vec<u64>> {
    let theirs = block_list(session, trailer)?;
    let pairs = blocks.digests().iter().zip(&theirs);
    Ok((0..)
        .zip(pairs)
        .filter(|(_, (ours, theirs))| ours != theirs)
        .map(|(index, _)| index)
        .collect())
}

/// The digests of all blocks that the slave has.
pub(crate) fn block_list(session: &mut Session, trailer: &Trailer) -> Attempt<Vec<Digest>> {
    let at_once = u32::try_from(MAX_BLOCK_DIGESTS).unwrap_or(u32::MAX);
    let count = usize::try_from(block_count(trailer.size)).unwrap_or(usize::MAX);
    let mut theirs: Vec<Digest> = Vec::new();
    while theirs.len() < count {
        let number = session.request(&Request::Blocks {
            path: trailer.remote.clone(),
            expected: trailer.version.clone(),
            first: u64::try_from(theirs.len()).unwrap_or(u64::MAX),
            count: at_once,
        });
        session.flush()?;
        let before = theirs.len();
        loop {
            match session.answer(number)? {
                Reply::Blocks { digests, more, .. } => {
                    theirs.extend(digests);
                    if theirs.len() > count {
                        return Err(Fault::nonsense("more blocks than the content has"));
                    }
                    if !more {
                        break;
                    }
                }
                other => return Err(unexpected(&other)),
            }
        }
        if theirs.len() == before {
            return Err(Fault::nonsense("fewer blocks than the content has"));
        }
    }
    Ok(theirs)
}

fn fetch_block(
    context: &Context,
    session: &mut Session,
    trailer: &Trailer,
    index: u64,
) -> Attempt<Vec<u8>> {
    let number = session.request(&Request::Retrieve {
        path: trailer.remote.clone(),
        offset: index * BLOCK,
        length: BLOCK,
        expected: Some(trailer.version.clone()),
        digest: false,
    });
    session.flush()?;
    match session.answer(number)? {
        Reply::Content { .. } => {}
        other => return Err(unexpected(&other)),
    }
    let mut content = Vec::new();
    loop {
        match session.frame(number)? {
            Frame::Data if content.len() + session.data_left() <= BLOCK_LENGTH => {
                session.read_frame(context, &mut content)?;
            }
            Frame::Data => return Err(Fault::nonsense("more content than was asked for")),
            Frame::Reply(Reply::ContentEnd { .. }) => break,
            Frame::Reply(other) => return Err(unexpected(&other)),
        }
    }
    let expected = trailer.size.saturating_sub(index * BLOCK).min(BLOCK);
    if u64::try_from(content.len()).ok() != Some(expected) {
        return Err(Fault::nonsense("less content than was asked for"));
    }
    session.mark_progress();
    Ok(content)
}
