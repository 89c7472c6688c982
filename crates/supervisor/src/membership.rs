//! A child's side of the pool, the same for workers and helpers: lifeline, slot, wake-ups, ticks.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use signal_hook::consts::SIGTERM;
use sys::signal::{Ignorable, ignore};

use crate::letter::{self, DRAIN, Heading, READY};
use crate::scoreboard::Scoreboard;
use crate::wait;
use crate::wake::{self, Sleeper, Waker};

/// A child looks up at least so often, to tick and to see what the other workers do.
pub(crate) const LONGEST_SLEEP: Duration = Duration::from_millis(250);

/// What the supervisor, or somebody with `kill`, has to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum News {
    Drain,
    SupervisorGone,
}

#[derive(Debug)]
pub(crate) struct Membership {
    board: Arc<Scoreboard>,
    heading: Heading,
    /// `None` once it has ended.
    lifeline: Option<UnixStream>,
    sleeper: Sleeper,
    waker: Waker,
    terminated: Arc<AtomicBool>,
    draining: bool,
}

impl Membership {
    /// Takes what the supervisor left for this process: beside the membership the listener, if there is one, and the
    /// program's own bytes. To be called once, before there is a second thread.
    pub(crate) fn from_inherited() -> io::Result<(Self, Option<OwnedFd>, Vec<u8>)> {
        // Ctrl-C reaches the whole terminal: the supervisor alone decides what it means.
        for signal in [
            Ignorable::Interrupt,
            Ignorable::Quit,
            Ignorable::Hangup,
            Ignorable::FileSizeLimit,
        ] {
            ignore(signal)?;
        }
        let (heading, numbers, handover) = letter::receive()?;
        let lifeline = UnixStream::from(sys::inherited::take(numbers.lifeline)?);
        lifeline.set_nonblocking(true)?;
        let memory = sys::inherited::take(numbers.scoreboard)?;
        let listener = numbers.listener.map(sys::inherited::take).transpose()?;
        sys::inherited::close_the_rest();
        let board = Arc::new(Scoreboard::attach(
            memory.as_fd(),
            heading.slots,
            heading.program_words,
        )?);
        board
            .slot(heading.slot)
            .ok_or(io::ErrorKind::InvalidData)?
            .enter(u64::from(std::process::id()));
        let (waker, sleeper) = wake::pair()?;
        let terminated = Arc::new(AtomicBool::new(false));
        // A service manager terminates every process of the service at once: for a child it means drain.
        signal_hook::flag::register(SIGTERM, Arc::clone(&terminated))?;
        signal_hook::low_level::pipe::register(SIGTERM, waker.descriptor()?)?;
        let lifeline = Some(lifeline);
        Ok((
            Self {
                board,
                heading,
                lifeline,
                sleeper,
                waker,
                terminated,
                draining: false,
            },
            listener,
            handover,
        ))
    }

    pub(crate) const fn board(&self) -> &Arc<Scoreboard> {
        &self.board
    }

    pub(crate) const fn heading(&self) -> Heading {
        self.heading
    }

    pub(crate) const fn waker(&self) -> &Waker {
        &self.waker
    }

    pub(crate) const fn is_draining(&self) -> bool {
        self.draining
    }

    /// Tells the supervisor that this child serves.
    pub(crate) fn report_ready(&self) -> io::Result<()> {
        match &self.lifeline {
            // A supervisor that is gone is noticed by the next `wait`, like one that dies a moment later.
            Some(lifeline) => (&*lifeline).write_all(&[READY]).or_else(unless_gone),
            None => Ok(()),
        }
    }

    /// Ticks, then sleeps until there is news, a wake-up, or something to read at `also`.
    pub(crate) fn wait(
        &mut self,
        also: Option<BorrowedFd<'_>>,
        timeout: Duration,
    ) -> io::Result<(bool, Option<News>)> {
        self.tick();
        let descriptors: Vec<BorrowedFd<'_>> = [
            Some(self.sleeper.as_fd()),
            also,
            self.lifeline.as_ref().map(AsFd::as_fd),
        ]
        .into_iter()
        .flatten()
        .collect();
        let mut found = wait::readable(&descriptors, timeout.min(LONGEST_SLEEP))?.into_iter();
        if found.next() == Some(true) {
            self.sleeper.clear();
        }
        let also_found = also.is_some() && found.next() == Some(true);
        let mut news = if found.next() == Some(true) {
            self.hear()?
        } else {
            None
        };
        if self.terminated.swap(false, Ordering::SeqCst) && news.is_none() && !self.draining {
            news = Some(News::Drain);
        }
        if news.is_some() {
            self.draining = true;
            if let Some(slot) = self.board.slot(self.heading.slot) {
                slot.drain();
            }
        }
        self.tick();
        Ok((also_found, news))
    }

    fn tick(&self) {
        if let Some(slot) = self.board.slot(self.heading.slot) {
            slot.tick();
        }
    }

    fn hear(&mut self) -> io::Result<Option<News>> {
        let Some(lifeline) = &mut self.lifeline else {
            return Ok(None);
        };
        let mut byte = [0];
        match lifeline.read(&mut byte) {
            Ok(1) if byte == [DRAIN] => Ok((!self.draining).then_some(News::Drain)),
            Ok(1) => Ok(None),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) =>
            {
                Ok(None)
            }
            Err(error) => unless_gone(error).map(|()| self.hear_the_end()),
            Ok(_) => Ok(self.hear_the_end()),
        }
    }

    fn hear_the_end(&mut self) -> Option<News> {
        self.lifeline = None;
        Some(News::SupervisorGone)
    }
}

fn unless_gone(error: io::Error) -> io::Result<()> {
    match error.kind() {
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => Ok(()),
        _ => Err(error),
    }
}
