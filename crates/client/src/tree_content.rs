//! The content of one small file of a tree on its way from the slave into a draft.

use protocol::{Digest, Reply};
use transfer::ContentHasher;

use crate::Result;
use crate::context::Context;
use crate::draft::Draft;
use crate::fault::Attempt;
use crate::folder::Folder;
use crate::publish::Finish;
use crate::session::{Frame, Session, unexpected};

/// Content is read in pieces of this size, bytes.
const PIECE: usize = 256 * 1024;

/// Frames up to this are taken as a whole, bytes: written once, hashed at once. Of larger ones whatever has come is taken.
const SMALL: usize = 64 * 1024;

/// Where a content goes; `None` where another process works on that file.
pub(crate) type Target<'f> = Result<Option<(Draft, &'f Folder)>>;

/// Takes contents in, one after another.
#[derive(Debug)]
pub(crate) struct Intake {
    context: Context,
    buffer: Vec<u8>,
    hasher: ContentHasher,
}

/// A content that has arrived to its end.
#[derive(Debug)]
pub(crate) struct Arrived<'f> {
    pub(crate) draft: Draft,
    pub(crate) folder: &'f Folder,
    pub(crate) digest: Digest,
    pub(crate) length: u64,
    /// The digest that the slave has told.
    pub(crate) announced: Option<Digest>,
}

impl Intake {
    pub(crate) fn new(context: &Context) -> Self {
        Self {
            context: context.clone(),
            buffer: vec![0; PIECE],
            hasher: ContentHasher::new(),
        }
    }

    /// Takes the content of `size` bytes that is announced for the request `number`. A target that cannot be had, or written
    /// to, is this file's fault alone: the content is passed over.
    pub(crate) fn take<'f>(
        &mut self,
        session: &mut Session,
        (number, size): (u32, u64),
        target: Target<'f>,
    ) -> Attempt<Option<Arrived<'f>>> {
        let mut target = target;
        self.hasher.reset();
        let announced = match self.take_frames(session, (number, size), &mut target) {
            Ok(announced) => announced,
            Err(fault) => {
                discard(target);
                return Err(fault);
            }
        };
        Ok(target?.map(|(draft, folder)| Arrived {
            draft,
            folder,
            digest: self.hasher.finalize(),
            length: self.hasher.position(),
            announced,
        }))
    }

    fn take_frames(
        &mut self,
        session: &mut Session,
        (number, size): (u32, u64),
        target: &mut Target<'_>,
    ) -> Attempt<Option<Digest>> {
        loop {
            match session.frame(number)? {
                Frame::Data => {
                    session.check_data_left(size.saturating_sub(self.hasher.position()))?;
                    self.take_frame(session, target)?;
                }
                Frame::Reply(Reply::ContentEnd { digest }) => return Ok(digest),
                Frame::Reply(other) => return Err(unexpected(&other)),
            }
        }
    }

    fn take_frame(&mut self, session: &mut Session, target: &mut Target<'_>) -> Attempt<()> {
        let is_small = session.data_left() <= SMALL;
        while session.data_left() > 0 {
            let wanted = self.context.piece(PIECE);
            let piece = self.buffer.get_mut(..wanted).unwrap_or_default();
            let read = match is_small {
                true => session.fill_data(piece)?,
                false => session.read_data(piece)?,
            };
            let piece = piece.get(..read).unwrap_or_default();
            let written = match target {
                Ok(Some((draft, _))) => draft.write(piece, self.hasher.position()),
                _ => Ok(()),
            };
            self.hasher.update(piece);
            if let Err(error) = written {
                discard(std::mem::replace(target, Err(error.into())));
            }
            self.context.spend(read)?;
        }
        Ok(())
    }
}

impl Arrived<'_> {
    /// Leaves nothing of it.
    pub(crate) fn discard(self) {
        self.draft.discard(self.folder);
    }
}

fn discard(target: Target<'_>) {
    if let Ok(Some((draft, folder))) = target {
        draft.discard(folder);
    }
}

/// What an answer says of the whole content that follows it.
pub(crate) fn announced(reply: &Reply) -> Attempt<Finish> {
    match *reply {
        Reply::Content {
            size,
            modified_ns,
            mode,
            offset: 0,
            length,
            ..
        } if length == size => Ok(Finish {
            size,
            mode,
            modified_ns,
        }),
        _ => Err(unexpected(reply)),
    }
}
