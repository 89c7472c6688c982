//! One stream: asks a slave for ranges of whole blocks, some ahead of time, and takes what comes.

use std::collections::VecDeque;
use std::ops::Range;

use protocol::limits::BLOCK;
use protocol::{Reply, Request};
use transfer::block_tree::BLOCK_LENGTH;

use crate::content::new_buffer;
use crate::fault::{Attempt, Fault};
use crate::session::{Frame, Session, unexpected};
use crate::stripe::desk::{Desk, Next};
use crate::stripe::plan::Stream;
use crate::trailer::Trailer;

/// A stream at work.
pub(crate) struct Line<'a> {
    desk: &'a Desk<'a>,
    session: &'a mut Session,
    stream: Stream,
    asked: VecDeque<Asked>,
    /// The block that is being received; without memory of its own until something of it has come.
    block: Vec<u8>,
    filled: usize,
    /// Blocks received whole within the last data frame: it may be padding, which only the next frame tells.
    unsure: Vec<(u64, Vec<u8>)>,
    spare: Vec<Vec<u8>>,
}

/// A range under way, bytes.
struct Asked {
    number: u32,
    position: u64,
    end: u64,
    is_announced: bool,
}

/// How a slave is asked for some blocks.
pub(crate) fn question(trailer: &Trailer, blocks: &Range<u64>) -> Request {
    let bytes = bytes_of(trailer, blocks);
    Request::Retrieve {
        path: trailer.remote.clone(),
        offset: bytes.start,
        length: bytes.end - bytes.start,
        expected: Some(trailer.version.clone()),
        digest: false,
    }
}

fn bytes_of(trailer: &Trailer, blocks: &Range<u64>) -> Range<u64> {
    let byte = |block: u64| (block * BLOCK).min(trailer.size);
    byte(blocks.start)..byte(blocks.end)
}

impl<'a> Line<'a> {
    pub(crate) fn new(desk: &'a Desk<'a>, session: &'a mut Session, stream: Stream) -> Self {
        Self {
            desk,
            session,
            stream,
            asked: VecDeque::new(),
            block: Vec::new(),
            filled: 0,
            unsure: Vec::new(),
            spare: Vec::new(),
        }
    }

    /// Fetches blocks until none is left, `first` those that were reserved for it.
    pub(crate) fn run(mut self, first: Option<Range<u64>>) -> Attempt<()> {
        let result = self.work(first);
        let lost = self.unsure.drain(..).map(|(_, block)| block.len());
        let lost = lost.sum::<usize>() + self.filled;
        self.desk.note_partial(0, lost);
        if matches!(result, Err(Fault::Failed(_))) {
            self.settle();
        }
        result
    }

    fn work(&mut self, first: Option<Range<u64>>) -> Attempt<()> {
        if let Some(blocks) = first {
            self.ask(&blocks)?;
        }
        loop {
            match self.desk.next(self.stream, self.asked.is_empty())? {
                Next::Fetch(blocks) => self.ask(&blocks)?,
                Next::Over if self.asked.is_empty() => return Ok(()),
                Next::Later | Next::Over => self.take_frame()?,
            }
        }
    }

    fn ask(&mut self, blocks: &Range<u64>) -> Attempt<()> {
        let number = self.session.request(&question(self.desk.trailer, blocks));
        let bytes = bytes_of(self.desk.trailer, blocks);
        self.asked.push_back(Asked {
            number,
            position: bytes.start,
            end: bytes.end,
            is_announced: false,
        });
        self.session.flush()
    }

    fn take_frame(&mut self) -> Attempt<()> {
        let Some(asked) = self.asked.front() else {
            return Ok(());
        };
        let frame = self.session.frame(asked.number)?;
        self.write_unsure()?;
        match frame {
            Frame::Data => self.take_data(),
            Frame::Reply(reply) => self.take_reply(&reply),
        }
    }

    fn write_unsure(&mut self) -> Attempt<()> {
        for (index, mut block) in self.unsure.drain(..) {
            self.desk.note_partial(0, block.len());
            // Less than a block is no progress: it is thrown away with a stream that is lost.
            if self.desk.write(self.stream, index, &block)? {
                self.session.mark_progress();
            }
            block.resize(BLOCK_LENGTH, 0);
            self.spare.push(block);
        }
        Ok(())
    }

    fn take_reply(&mut self, reply: &Reply) -> Attempt<()> {
        let Some(asked) = self.asked.front_mut() else {
            return Err(unexpected(reply));
        };
        match reply {
            Reply::Content {
                version,
                size,
                offset,
                length,
                ..
            } if !asked.is_announced => {
                let trailer = self.desk.trailer;
                let is_it = *version == trailer.version && *size == trailer.size;
                let is_whole = offset.checked_add(*length) == Some(asked.end);
                if !is_it || *offset != asked.position || !is_whole {
                    return Err(Fault::nonsense("other content than was asked for"));
                }
                asked.is_announced = true;
                Ok(())
            }
            Reply::ContentEnd { .. } if asked.is_announced => {
                if asked.position != asked.end {
                    return Err(Fault::nonsense("less content than was announced"));
                }
                self.asked.pop_front();
                Ok(())
            }
            other => Err(unexpected(other)),
        }
    }

    fn take_data(&mut self) -> Attempt<()> {
        let context = self.desk.context;
        while self.session.data_left() > 0 {
            let Some(asked) = self.asked.front_mut() else {
                break;
            };
            if self.block.is_empty() {
                self.block = self.spare.pop().unwrap_or_else(new_buffer);
            }
            let index = asked.position / BLOCK;
            let block_end = asked.end.min((index + 1) * BLOCK);
            let left = usize::try_from(block_end - asked.position).unwrap_or(0);
            let room = self.block.get_mut(self.filled..self.filled + left);
            let room = room.unwrap_or_default();
            let wanted = context.piece(room.len());
            let room = room.get_mut(..wanted).unwrap_or_default();
            if room.is_empty() || !asked.is_announced {
                return Err(Fault::nonsense("more content than was announced"));
            }
            let read = self.session.read_data(room)?;
            self.filled += read;
            asked.position += u64::try_from(read).unwrap_or(0);
            self.desk.note_partial(read, 0);
            if asked.position == block_end {
                let mut whole = std::mem::take(&mut self.block);
                whole.truncate(self.filled);
                self.filled = 0;
                self.unsure.push((index, whole));
            }
            context.spend(read)?;
        }
        Ok(())
    }

    /// Behind a refusal others may follow, to what was asked ahead of time: with them read, the session is at rest.
    fn settle(&mut self) {
        self.asked.pop_front();
        while let Some(asked) = self.asked.pop_front() {
            match self.session.frame(asked.number) {
                Err(Fault::Failed(_)) => {}
                Ok(_) | Err(_) => break,
            }
        }
    }
}
