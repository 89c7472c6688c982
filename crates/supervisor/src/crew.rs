//! All children that live: started, heard, drained, watched, reaped. What ought to live is the roster's business.

use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use crate::launch::Launch;
use crate::letter::Heading;
use crate::member::{Departed, Endowment, Member, Phase, Post};
use crate::scoreboard::Scoreboard;
use crate::slot::SlotState;

/// Slots of the table: beside the workers there is room for the old ones of many reloads, each with a last session.
const LEAST_SLOTS: usize = 1024;
/// A child that starts may read keys and walk folders before it ticks for the first time.
const LONGEST_START: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(crate) struct Crew {
    board: Scoreboard,
    memory: OwnedFd,
    slots: usize,
    program_words: usize,
    /// `None` once the pool ends: the port is free as soon as the workers have given it up too.
    listener: Option<TcpListener>,
    members: Vec<Member>,
    last_look: Instant,
    /// Silence before this moment is not held against anybody.
    watching_since: Instant,
}

impl Crew {
    pub(crate) fn new(
        listener: TcpListener,
        workers: usize,
        program_words: usize,
    ) -> io::Result<Self> {
        let slots = workers.saturating_mul(4).max(LEAST_SLOTS);
        let (board, memory) = Scoreboard::create(slots, program_words)?;
        listener.set_nonblocking(true)?;
        let (now, listener) = (Instant::now(), Some(listener));
        Ok(Self {
            board,
            memory,
            slots,
            program_words,
            listener,
            members: Vec::new(),
            last_look: now,
            watching_since: now,
        })
    }

    pub(crate) const fn board(&self) -> &Scoreboard {
        &self.board
    }

    pub(crate) fn members(&self) -> &[Member] {
        &self.members
    }

    /// The child at `post` that runs `generation` and takes new clients.
    pub(crate) fn holder(&self, post: Post, generation: u64) -> Option<&Member> {
        self.members.iter().find(|member| {
            member.post == post
                && member.generation == generation
                && member.phase != Phase::Draining
        })
    }

    pub(crate) fn start(&mut self, launch: &Launch, post: Post, generation: u64) -> io::Result<()> {
        let Some(listener) = &self.listener else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        let state = if post == Post::Helper {
            SlotState::Helper
        } else {
            SlotState::Starting
        };
        let slot = self
            .board
            .claim(state, generation)
            .ok_or(io::ErrorKind::QuotaExceeded)?;
        let heading = Heading {
            slot,
            slots: self.slots,
            program_words: self.program_words,
            generation,
        };
        let given = Endowment {
            scoreboard: self.memory.as_fd(),
            listener: listener.as_fd(),
        };
        match Member::start(launch, post, heading, given) {
            Ok(member) => {
                tracing::debug!(pid = member.pid(), slot, generation, "{post} starts");
                self.members.push(member);
                Ok(())
            }
            Err(error) => {
                self.board.clear(slot);
                Err(error)
            }
        }
    }

    /// Hears who is ready by now, and who leaves unasked (somebody sent it SIGTERM). True: a worker became ready.
    pub(crate) fn hear(&mut self) -> bool {
        let mut worker_ready = false;
        for member in &mut self.members {
            if member.became_ready() {
                tracing::debug!(
                    pid = member.pid(),
                    slot = member.slot,
                    "{} is ready",
                    member.post
                );
                worker_ready |= member.post != Post::Helper;
            }
            let state = self.board.slot(member.slot).map(|slot| slot.state());
            if member.phase == Phase::Ready && state == Some(SlotState::Draining) {
                member.phase = Phase::Draining;
            }
        }
        worker_ready
    }

    /// Takes the dead out of crew and table.
    pub(crate) fn reap(&mut self) -> Vec<Departed> {
        let mut departed = Vec::new();
        self.members.retain_mut(|member| match member.departed() {
            Some(gone) => {
                self.board.clear(member.slot);
                departed.push(gone);
                false
            }
            None => true,
        });
        departed
    }

    /// Asks everyone whom `leaves` names, and who has not been asked, to take nobody new and leave.
    pub(crate) fn drain(&mut self, leaves: impl Fn(&Member) -> bool) {
        let board = &self.board;
        self.members
            .iter_mut()
            .filter(|member| member.phase != Phase::Draining && leaves(member))
            .for_each(|member| {
                if let Some(slot) = board.slot(member.slot) {
                    slot.drain();
                }
                member.drain();
            });
    }

    /// Ends the pool: everyone drains, and this process no longer holds the port.
    pub(crate) fn close(&mut self) {
        self.board.say_pool_is_draining();
        self.listener = None;
        self.drain(|_| true);
    }

    /// Kills who has not ticked for `limit`. To be called at least four times within `limit`: a longer gap means that
    /// this process was stopped or starved itself, so probably were the others, and they get their time again.
    pub(crate) fn kill_silent(&mut self, limit: Duration) {
        let now = Instant::now();
        if now.duration_since(self.last_look) > limit / 2 {
            self.watching_since = now;
        }
        self.last_look = now;
        let watched = now.duration_since(self.watching_since);
        for member in &mut self.members {
            let silent = self
                .board
                .slot(member.slot)
                .map_or(Duration::ZERO, |slot| slot.silent_for())
                .min(watched);
            let limit = if member.phase == Phase::Starting {
                limit.max(LONGEST_START)
            } else {
                limit
            };
            if silent > limit {
                tracing::warn!(
                    pid = member.pid(),
                    slot = member.slot,
                    ?silent,
                    "{} hangs: killed",
                    member.post
                );
                member.kill();
            }
        }
    }

    /// SIGKILL for everyone; how many there were.
    pub(crate) fn kill_all(&mut self) -> usize {
        self.members.iter_mut().for_each(Member::kill);
        self.members.len()
    }

    pub(crate) fn lifelines(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.members.iter().filter_map(Member::lifeline)
    }
}

impl Drop for Crew {
    /// However the supervisor ends, short of SIGKILL, it leaves no orphan.
    fn drop(&mut self) {
        self.members.iter_mut().for_each(Member::kill_and_wait);
    }
}
