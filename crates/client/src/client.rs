//! A client: keeps one slave, and finds another whenever that one fails.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use protocol::{Entry, ErrorCode, RemotePath, Request, SlaveId};

use crate::context::Context;
use crate::fault::{Attempt, Fault};
use crate::notice::{Notice, Observer};
use crate::renewal::Scout;
use crate::retry::{Backoff, Retries};
use crate::route::Route;
use crate::session::Session;
use crate::state_folder::state_directory;
use crate::stripe::reserve::Reserve;
use crate::stripe::roster::Way;
use crate::{ClientError, ClientErrorKind, Interrupt, Options, Result, Target};

/// What was found longer ago is looked at again.
const FRESH: Duration = Duration::from_secs(2);

/// Streams that lose the same slave within this time have lost it once: they notice at different moments.
const ONE_LOSS: Duration = Duration::from_secs(6);

/// A client of one storage, whichever slave serves it. Every operation survives the loss of that slave.
#[derive(Debug)]
pub struct Client {
    pub(crate) context: Context,
    pub(crate) state: Option<PathBuf>,
    route: Route,
    session: Option<Session>,
    /// Streams of the last file for the next one, where that is about to come.
    pub(crate) reserve: Reserve,
    pub(crate) keeps_streams: bool,
    /// What is asked first of the next slave that is met.
    first: Option<Request>,
    /// What the last look at one name found.
    seen: Option<Seen>,
    lost: Option<Lost>,
    /// What was said last, as long as nothing has moved since: it is not said twice.
    told: Option<Notice>,
    /// What the clients beside this one have said.
    said: Arc<Said>,
    /// Which of them this one is.
    number: u32,
}

/// Facts that need not be asked for again if they are wanted at once. They are used with the version they belong to, so
/// older ones would cost a second try, nothing else.
#[derive(Debug)]
struct Seen {
    path: RemotePath,
    entry: Entry,
    /// A small file's, where that was asked for with them.
    content: Option<Vec<u8>>,
    at: Instant,
}

/// A slave whose loss has not been told yet.
#[derive(Debug)]
struct Lost {
    slave: SocketAddr,
    cause: String,
    /// Nothing was asked of it: worth a line only where another goes on.
    was_idle: bool,
}

/// Which losses several clients have told: a slave that many streams lose is one loss.
#[derive(Debug, Default)]
struct Said {
    clients: AtomicU32,
    losses: Mutex<HashMap<SocketAddr, (u32, Instant)>>,
}

impl Client {
    /// Finds a slave that serves: `targets` are masters or standalone slaves, tried in turn.
    ///
    /// # Errors
    /// [`ClientErrorKind::NoConnection`], [`Busy`](ClientErrorKind::Busy) once `options.wait` is over,
    /// [`Login`](ClientErrorKind::Login), [`Interrupted`](ClientErrorKind::Interrupted).
    pub fn connect(
        targets: &[Target],
        options: Options,
        observer: Arc<dyn Observer>,
        interrupt: Interrupt,
    ) -> Result<Self> {
        let mut client = Self::unconnected(targets, options, observer, interrupt);
        client.open()?;
        Ok(client)
    }

    /// Finds a slave that serves, where none does.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub fn open(&mut self) -> Result<()> {
        if self.session.is_none() {
            self.session = Some(self.wait_for_slave()?);
        }
        Ok(())
    }

    /// Says what [`stat`](Self::stat) will be asked for first: where a slave is to be met for that, the question travels with the
    /// first words, a round trip less until it is answered. Where something else is asked first, its answer is passed
    /// over.
    pub fn expect_stat(&mut self, path: &RemotePath, follow: bool) {
        let path = path.clone();
        self.expect(&Request::Stat { path, follow });
    }

    /// What is asked next travels with the first words to a slave, where none serves yet.
    pub(crate) fn expect(&mut self, request: &Request) {
        self.first = Some(request.clone()).filter(|_| self.session.is_none());
    }

    /// A client that looks for a slave only when something is asked of one: for [`slaves`](Self::slaves), which takes
    /// nobody's turn and has an answer where no slave is up.
    #[must_use]
    pub fn unconnected(
        targets: &[Target],
        options: Options,
        observer: Arc<dyn Observer>,
        interrupt: Interrupt,
    ) -> Self {
        let context = Context::new(options, observer, interrupt);
        Self {
            route: Route::new(targets.to_vec(), context.clone()),
            context,
            state: state_directory(),
            session: None,
            reserve: Reserve::default(),
            keeps_streams: false,
            first: None,
            seen: None,
            lost: None,
            told: None,
            said: Arc::default(),
            number: 0,
        }
    }

    /// Another client of the same storage, for another thread.
    pub(crate) fn beside(&self, interrupt: Interrupt) -> Self {
        let mut context = self.context.clone();
        context.interrupt = interrupt;
        Self {
            route: self.route.beside(context.clone()),
            context,
            state: self.state.clone(),
            session: None,
            reserve: Reserve::default(),
            keeps_streams: false,
            first: None,
            seen: None,
            lost: None,
            told: None,
            said: Arc::clone(&self.said),
            number: self.said.clients.fetch_add(1, Ordering::Relaxed) + 1,
        }
    }

    /// Opens its first session, in that way and no other.
    pub(crate) fn come_in(&mut self, way: &Way) -> Attempt<()> {
        let session = way.open(None, &self.context)?;
        self.route.settle(session.id());
        self.session = Some(session);
        Ok(())
    }

    /// Keeps the records by which interrupted uploads are known again, and the digests of what was sent, in another folder
    /// than the user's state directory, or, with `None`, nowhere.
    pub fn set_state_directory(&mut self, folder: Option<PathBuf>) {
        self.state = folder;
    }

    /// Who serves now; `None` where the last one was lost and nothing has been asked since.
    #[must_use]
    pub fn slave(&self) -> Option<SocketAddr> {
        self.session.as_ref().map(Session::address)
    }

    /// Whether a slave serves, as far as is known without asking it.
    pub(crate) fn is_served(&mut self) -> bool {
        self.session.as_mut().is_some_and(Session::is_open)
    }

    pub(crate) fn targets(&self) -> &[Target] {
        self.route.targets()
    }

    /// Does `work` on a slave, and again on the next one whenever that slave is lost: as often as the options allow
    /// without the work having come further in between.
    pub(crate) fn attempt<T>(
        &mut self,
        mut work: impl FnMut(&mut Session) -> Attempt<T>,
    ) -> Result<T> {
        self.attempt_with(|mut session| {
            let result = work(&mut session);
            (Some(session), result)
        })
    }

    /// As [`attempt`](Self::attempt), for work that may give another session back: that of the slave that was lost last, or
    /// goes on serving.
    pub(crate) fn attempt_with<T>(
        &mut self,
        mut work: impl FnMut(Session) -> (Option<Session>, Attempt<T>),
    ) -> Result<T> {
        let mut retries = Retries::new(self.context.options.retries);
        self.told = None;
        loop {
            let session = self.next_session(&mut retries)?;
            let (mut session, result) = work(session);
            if session.as_mut().is_some_and(Session::take_progress) {
                retries.reset();
                self.told = None;
            }
            match result {
                Ok(value) => {
                    self.keep(session);
                    return Ok(value);
                }
                Err(Fault::Failed(error)) => {
                    self.keep(session);
                    return Err(error);
                }
                Err(fault) => self.lose(session.as_ref(), fault, &mut retries)?,
            }
        }
    }

    /// A session with unanswered requests is closed: that is how a request is cancelled.
    fn keep(&mut self, mut session: Option<Session>) {
        self.session = session.take_if(|session| session.is_at_rest());
    }

    /// These slaves failed while another served: they come last from now on.
    pub(crate) fn mark_failed(&mut self, slaves: Vec<SlaveId>) {
        for slave in slaves {
            self.route.mark_failed(Some(slave));
        }
    }

    pub(crate) fn note_seen(&mut self, path: &RemotePath, entry: &Entry, content: Option<Vec<u8>>) {
        self.seen = Some(Seen {
            path: path.clone(),
            entry: entry.clone(),
            content,
            at: Instant::now(),
        });
    }

    /// What was said of this file a moment ago, and the content that came with it; once.
    pub(crate) fn take_seen(&mut self, path: &RemotePath) -> Option<(Entry, Option<Vec<u8>>)> {
        let is_fresh = |seen: &Seen| seen.path == *path && seen.at.elapsed() < FRESH;
        let seen = self.seen.take().filter(is_fresh)?;
        Some((seen.entry, seen.content))
    }

    pub(crate) fn scout(&self) -> Scout {
        self.route.scout()
    }

    fn lose(
        &mut self,
        session: Option<&Session>,
        fault: Fault,
        retries: &mut Retries,
    ) -> Result<()> {
        let Some(session) = session else {
            return match retries.take() {
                true => Ok(()),
                false => Err(fault.into_error()),
            };
        };
        self.route.mark_failed(session.id());
        let cause = fault.cause();
        tracing::debug!(slave = %session.address(), cause, "slave lost");
        if !retries.take() {
            return Err(fault.into_error());
        }
        if session.id().is_none() {
            // A slave that stands alone: there is no other, so it gets time to come back.
            retries.backoff.pause(&self.context, None)?;
        }
        self.lost = Some(Lost {
            slave: session.address(),
            cause,
            was_idle: false,
        });
        Ok(())
    }

    fn next_session(&mut self, retries: &mut Retries) -> Result<Session> {
        self.context.check()?;
        if let Some(mut session) = self.session.take() {
            if session.is_open() {
                return Ok(session);
            }
            self.lost = Some(Lost {
                slave: session.address(),
                cause: "connection closed".to_owned(),
                was_idle: true,
            });
            // The next slave may have no other place than those.
            self.release_streams();
        }
        let end = Instant::now() + self.context.options.wait;
        let first = self.first.take();
        loop {
            match self.route.find(first.as_ref()) {
                Ok(session) => {
                    self.tell_lost(Some(session.address()));
                    return Ok(session);
                }
                Err(error) if error.is_absence() => {
                    self.tell_lost(None);
                    if !retries.take() && Instant::now() >= end {
                        return Err(error);
                    }
                }
                Err(error) => return Err(error),
            }
            retries.backoff.pause(&self.context, None)?;
        }
    }

    fn tell_lost(&mut self, next: Option<SocketAddr>) {
        if let Some(lost) = self.lost.take()
            && !(lost.was_idle && next == Some(lost.slave))
        {
            let lost_slave = lost.slave;
            let notice = Notice::SlaveLost {
                slave: lost.slave,
                cause: lost.cause,
                next,
            };
            let is_news = self.said.is_news(lost_slave, self.number);
            if self.told.as_ref() != Some(&notice) && is_news {
                self.context.notice(&notice);
                self.told = Some(notice);
            }
        }
    }

    fn wait_for_slave(&mut self) -> Result<Session> {
        let end = Instant::now() + self.context.options.wait;
        let mut backoff = Backoff::new();
        let mut is_told = false;
        let first = self.first.take();
        loop {
            match self.route.find(first.as_ref()) {
                Err(error) if error.is_absence() && Instant::now() < end => {
                    if !is_told {
                        is_told = true;
                        let why = error.to_string();
                        self.context.notice(&Notice::Waiting { why });
                    }
                }
                found => return found,
            }
            backoff.pause(&self.context, Some(end))?;
        }
    }
}

impl Said {
    /// Whether a client's line about the loss of that slave says what no other client has just said.
    fn is_news(&self, slave: SocketAddr, client: u32) -> bool {
        let now = Instant::now();
        let mut losses = self.losses.lock().unwrap_or_else(PoisonError::into_inner);
        let by_another = |(who, at): &(u32, Instant)| *who != client && now - *at < ONE_LOSS;
        if losses.get(&slave).is_some_and(by_another) {
            return false;
        }
        losses.insert(slave, (client, now));
        true
    }
}

/// For work whose answer may be lost although it was done: the first try says what is, a later one what became of it.
pub(crate) fn done_before(error: &ClientError, code: ErrorCode, tries: u32) -> bool {
    tries > 1 && error.kind() == ClientErrorKind::Remote(code)
}
