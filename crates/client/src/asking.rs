//! Requests with one answer each, many of them under way at once, going on through any slave.

use std::collections::VecDeque;
use std::ops::ControlFlow;

use protocol::{Reply, Request};

use crate::Result;
use crate::context::Context;
use crate::fault::{Attempt, Fault};
use crate::session::Session;
use crate::under_way::{Collected, UnderWay};

/// Requests, each for a name of the caller's; `T` is what an answer says.
pub(crate) struct Asking<N, T> {
    context: Context,
    queue: VecDeque<(Request, N)>,
    under_way: UnderWay<(Request, N)>,
    /// Makes of an answer what it says.
    read: fn(Reply) -> Attempt<T>,
    answered: usize,
    /// So many of the first of them were asked of a slave that was lost.
    repeated: usize,
}

/// What was answered for one name.
pub(crate) struct Answer<N, T> {
    pub(crate) name: N,
    pub(crate) result: Result<T>,
    /// Whether a slave that was lost may have done it before.
    pub(crate) is_repeated: bool,
}

impl<N, T> Asking<N, T> {
    pub(crate) fn new(
        context: &Context,
        queue: VecDeque<(Request, N)>,
        read: fn(Reply) -> Attempt<T>,
    ) -> Self {
        Self {
            context: context.clone(),
            queue,
            under_way: UnderWay::new(),
            read,
            answered: 0,
            repeated: 0,
        }
    }

    /// Goes on with one slave until all are answered or `take`, which gets the answers in their order, has had enough: the
    /// others are then asked for no more.
    pub(crate) fn step(
        &mut self,
        session: &mut Session,
        take: &mut dyn FnMut(Answer<N, T>) -> ControlFlow<()>,
    ) -> Attempt<()> {
        self.repeated = self.repeated.max(self.answered + self.under_way.len());
        for asked in self.under_way.drain().rev() {
            self.queue.push_front(asked);
        }
        loop {
            self.context.check()?;
            self.ask(session);
            session.flush()?;
            let Some(oldest) = self.under_way.take_oldest() else {
                return Ok(());
            };
            let answer = session.answer(oldest.request.number);
            let result = match answer.and_then(self.read) {
                Ok(said) => Ok(said),
                Err(Fault::Failed(error)) if error.is_remote() => Err(error),
                Err(fault) => {
                    self.under_way.put_back(oldest);
                    return Err(fault);
                }
            };
            let taken = take(Answer {
                name: oldest.what.1,
                result,
                is_repeated: self.answered < self.repeated,
            });
            self.answered += 1;
            session.mark_progress();
            if taken.is_break() {
                return Ok(());
            }
        }
    }

    /// Sends requests, many at a time: only when half of the window is free again.
    fn ask(&mut self, session: &mut Session) {
        if !self.under_way.is_half_free(session) {
            return;
        }
        while self.under_way.has_room(session)
            && let Some(next) = self.queue.pop_front()
        {
            let collected = Collected::new(session, &next.0);
            self.under_way.push(collected, next, 0);
        }
    }
}
