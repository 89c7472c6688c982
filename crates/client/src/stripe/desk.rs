//! What the streams of one file have in common: the plan, the digests so far, the part. Each stream comes here for its next
//! blocks, before it writes one, and when it has written it.

use std::collections::BTreeMap;
use std::net::{Shutdown, TcpStream};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use protocol::limits::BLOCK;

use crate::ClientError;
use crate::block_digests::BlockDigests;
use crate::content::{new_buffer, read_full};
use crate::context::Context;
use crate::part_file::PartFile;
use crate::stripe::crew::Event;
use crate::stripe::pace::{Others, Pace};
use crate::stripe::plan::{Origin, Plan, Stream};
use crate::trailer::Trailer;

/// How often a stream without work looks whether another has become slow.
const LOOK: Duration = Duration::from_millis(20);

/// What a stream does next.
#[derive(Debug)]
pub(crate) enum Next {
    /// It asks for these blocks.
    Fetch(Range<u64>),
    /// It has enough before it.
    Later,
    /// Nothing is left to do.
    Over,
}

/// The desk.
#[derive(Debug)]
pub(crate) struct Desk<'a> {
    pub(crate) context: &'a Context,
    pub(crate) part: &'a PartFile,
    pub(crate) trailer: &'a Trailer,
    /// Whether blocks are hashed.
    verify: bool,
    state: Mutex<State>,
    changed: Condvar,
    is_over: AtomicBool,
    /// Bytes of blocks that are not whole yet.
    partial: AtomicU64,
    events: Sender<Event>,
}

#[derive(Debug)]
struct State {
    plan: Plan,
    digests: BlockDigests,
    streams: BTreeMap<Stream, Member>,
}

#[derive(Debug)]
struct Member {
    pace: Pace,
    /// Something was asked of it that has not come yet.
    is_busy: bool,
    /// Ends its connection from another thread.
    socket: Option<TcpStream>,
}

impl<'a> Desk<'a> {
    pub(crate) fn new(
        context: &'a Context,
        part: &'a PartFile,
        trailer: &'a Trailer,
        (plan, digests): (Plan, BlockDigests),
        events: Sender<Event>,
    ) -> Self {
        Self {
            context,
            part,
            trailer,
            verify: context.options.verify,
            state: Mutex::new(State {
                plan,
                digests,
                streams: BTreeMap::new(),
            }),
            changed: Condvar::new(),
            is_over: AtomicBool::new(false),
            partial: AtomicU64::new(0),
            events,
        }
    }

    /// What has come of it.
    pub(crate) fn into_inner(self) -> (Plan, BlockDigests) {
        let state = self.state.into_inner();
        let state = state.unwrap_or_else(PoisonError::into_inner);
        (state.plan, state.digests)
    }

    pub(crate) fn events(&self) -> &Sender<Event> {
        &self.events
    }

    /// A stream that is about to begin; the blocks that it is to ask for first, where some are left for it. Should it be
    /// long in coming, others fetch them too.
    pub(crate) fn enlist(
        &self,
        stream: Stream,
        origin: Origin,
        round_trip: Duration,
    ) -> Option<Range<u64>> {
        let now = Instant::now();
        let mut state = self.lock();
        state.plan.join(stream, origin);
        state.streams.insert(
            stream,
            Member {
                pace: Pace::new(round_trip, now),
                is_busy: false,
                socket: None,
            },
        );
        state.take(stream, now)
    }

    /// Its session is open: from now on it is waited for, where it `is_busy` with blocks that were asked for already.
    pub(crate) fn begin(
        &self,
        stream: Stream,
        is_busy: bool,
        (round_trip, socket): (Duration, Option<TcpStream>),
    ) {
        let mut state = self.lock();
        if let Some(member) = state.streams.get_mut(&stream) {
            *member = Member {
                pace: Pace::new(round_trip, Instant::now()),
                is_busy,
                socket,
            };
        }
    }

    pub(crate) fn leave(&self, stream: Stream) {
        let mut state = self.lock();
        state.plan.leave(stream);
        state.streams.remove(&stream);
        drop(state);
        self.changed.notify_all();
    }

    /// Nothing more is to be done: streams that still wait for something are cut off.
    pub(crate) fn close(&self) {
        self.is_over.store(true, Ordering::SeqCst);
        for member in self.lock().streams.values() {
            if let Some(socket) = member.socket.as_ref().filter(|_| member.is_busy) {
                let shut = socket.shutdown(Shutdown::Both);
                tracing::trace!(?shut, "stream cut off");
            }
        }
        self.changed.notify_all();
    }

    pub(crate) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::SeqCst)
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.lock().plan.is_complete()
    }

    /// Where only slaves are left that were wrong about a block, they may try again.
    pub(crate) fn forgive(&self) {
        self.lock().plan.forgive();
    }

    /// Bytes that are there.
    pub(crate) fn progress(&self) -> u64 {
        let there = self.lock().plan.there() * BLOCK;
        let bytes = there.saturating_add(self.partial.load(Ordering::Relaxed));
        bytes.min(self.trailer.size)
    }

    /// Blocks for a stream; one that is `idle` gets them as soon as there are some, if need be those that a slow one has
    /// not delivered.
    pub(crate) fn next(&self, stream: Stream, idle: bool) -> Result<Next, ClientError> {
        let mut state = self.lock();
        state.mark_busy(stream, !idle);
        loop {
            self.context.check()?;
            if self.is_over() || state.plan.is_complete() {
                return Ok(Next::Over);
            }
            let now = Instant::now();
            let mut range = state.take(stream, now);
            if range.is_none() && idle {
                range = state.steal(stream, now);
            }
            if let Some(range) = range {
                state.mark_busy(stream, true);
                return Ok(Next::Fetch(range));
            }
            if !idle {
                return Ok(Next::Later);
            }
            let waited = self.changed.wait_timeout(state, LOOK);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Bytes of a block came, or were of no use.
    pub(crate) fn note_partial(&self, came: usize, gone: usize) {
        self.partial.fetch_add(wide(came), Ordering::Relaxed);
        self.partial.fetch_sub(wide(gone), Ordering::Relaxed);
    }

    /// Writes a block that a stream has received whole; `false` where another was quicker.
    pub(crate) fn write(
        &self,
        stream: Stream,
        index: u64,
        content: &[u8],
    ) -> Result<bool, ClientError> {
        let claimed = {
            let mut state = self.lock();
            if let Some(member) = state.streams.get_mut(&stream) {
                member.pace.deliver(Instant::now());
            }
            state.plan.claim(stream, index)
        };
        if !claimed {
            return Ok(false);
        }
        self.part.write(content, index * BLOCK)?;
        let digest = self.verify.then(|| self.digest_of(index, content));
        let mut state = self.lock();
        if let Some(digest) = digest {
            state.digests.replace(index, digest);
        }
        state.plan.finish(stream, index);
        if state.plan.is_complete() {
            drop(state);
            self.changed.notify_all();
            self.tell(Event::Complete);
        }
        Ok(true)
    }

    /// Hashes what an earlier try has left; blocks that cannot be read are fetched again. `false` where the work ended
    /// before that was done, or is to end.
    pub(crate) fn hash_kept(&self, kept: &[u64]) -> bool {
        let mut buffer = new_buffer();
        for &index in kept {
            let is_broken_off = self.is_over() && !self.is_complete();
            if is_broken_off || self.context.check().is_err() {
                return false;
            }
            let left = self.trailer.size.saturating_sub(index * BLOCK).min(BLOCK);
            buffer.resize(usize::try_from(left).unwrap_or(0), 0);
            let read = read_full(self.part.file(), &mut buffer, index * BLOCK);
            if !read.is_ok_and(|read| read == buffer.len()) {
                self.lock().plan.reject(index);
                continue;
            }
            let digest = self.digest_of(index, &buffer);
            self.lock().digests.replace(index, digest);
        }
        true
    }

    pub(crate) fn tell(&self, event: Event) {
        // Nobody listens once the file is complete.
        drop(self.events.send(event));
    }

    fn digest_of(&self, index: u64, content: &[u8]) -> protocol::Digest {
        BlockDigests::new(self.trailer.size).digest_of(index, content)
    }

    /// Every change leaves the state sound, so it is so even after a panic elsewhere.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn mark_busy(&mut self, stream: Stream, is_busy: bool) {
        if let Some(member) = self.streams.get_mut(&stream) {
            member.is_busy = is_busy;
        }
    }

    fn take(&mut self, stream: Stream, now: Instant) -> Option<Range<u64>> {
        let others = self.others();
        let outstanding = self.plan.outstanding(stream);
        let member = self.streams.get_mut(&stream)?;
        let missing = self.plan.missing();
        let wanted = member.pace.wanted(outstanding, missing, &others);
        if outstanding == 0 {
            member.pace.begin(now);
        }
        self.plan.take(stream, wanted)
    }

    /// Helps the stream that will need longest for what it has before it.
    fn steal(&mut self, thief: Stream, now: Instant) -> Option<Range<u64>> {
        let own = self.streams.get(&thief)?.pace;
        let mut helped: Vec<_> = self
            .streams
            .iter()
            .filter(|(stream, _)| **stream != thief)
            .map(|(stream, member)| {
                let outstanding = self.plan.outstanding(*stream);
                (own.help(&member.pace, outstanding, now), *stream)
            })
            .filter(|(help, _)| *help > 0)
            .collect();
        helped.sort_unstable_by(|one, other| other.cmp(one));
        helped
            .into_iter()
            .find_map(|(help, victim)| self.plan.steal(thief, victim, help))
    }

    fn others(&self) -> Others {
        let paces = self.streams.values().map(|member| member.pace);
        Others {
            count: wide(self.streams.len()),
            speed: paces.fold(0, |all, pace| all.saturating_add(pace.speed())),
        }
    }
}

fn wide(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
