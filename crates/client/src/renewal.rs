//! The offers of the master, kept fresh: at half their life the tickets are renewed in the background, so that even a
//! transfer of hours can go on with another slave. A master that is away meanwhile is asked again later; what was
//! offered stays in use while it is good.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use protocol::MasterRequest;

use crate::Target;
use crate::context::Context;
use crate::fault::{Attempt, Fault};
use crate::master::{First, Located, Offer, Reached, reach};

/// How soon a master that did not answer is asked again.
const AGAIN: Duration = Duration::from_secs(5);

/// The latest offers. Dropping them ends the renewing.
#[derive(Debug)]
pub(crate) struct Offers {
    shared: Arc<Shared>,
    targets: Vec<Target>,
    context: Context,
    is_renewing: bool,
    /// Whether they are those of another client, which renews them.
    is_borrowed: bool,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    offers: Vec<Offer>,
    good_until: Option<Instant>,
    renew_at: Option<Instant>,
    is_closed: bool,
}

impl Offers {
    pub(crate) fn new(targets: Vec<Target>, context: Context) -> Self {
        Self {
            shared: Arc::default(),
            targets,
            context,
            is_renewing: false,
            is_borrowed: false,
        }
    }

    /// The same offers, for another client.
    pub(crate) fn lend(&self, context: Context) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            targets: self.targets.clone(),
            context,
            is_renewing: false,
            is_borrowed: true,
        }
    }

    /// What is still good.
    pub(crate) fn usable(&self) -> Vec<Offer> {
        self.shared.lock().usable()
    }

    /// Somebody who looks for more.
    pub(crate) fn scout(&self) -> Scout {
        Scout {
            shared: Arc::clone(&self.shared),
            targets: self.targets.clone(),
            context: self.context.clone(),
        }
    }

    /// Replaces everything by a new answer of a master.
    pub(crate) fn replace(&mut self, located: Located) {
        let is_limited = !located.life.is_zero();
        self.shared.lock().take(located);
        self.shared.changed.notify_all();
        if is_limited && !self.is_renewing && !self.is_borrowed {
            self.is_renewing = self.start().is_ok();
        }
    }

    fn start(&self) -> std::io::Result<()> {
        let shared = Arc::clone(&self.shared);
        let (targets, context) = (self.targets.clone(), self.context.clone());
        std::thread::Builder::new()
            .name("tickets".to_owned())
            .spawn(move || shared.keep_fresh(&targets, &context))
            .map(drop)
    }
}

impl Drop for Offers {
    fn drop(&mut self) {
        if self.is_borrowed {
            return;
        }
        self.shared.lock().is_closed = true;
        self.shared.changed.notify_all();
    }
}

/// Looks for slaves beside the one that serves, taking nobody's turn.
#[derive(Clone, Debug)]
pub(crate) struct Scout {
    shared: Arc<Shared>,
    targets: Vec<Target>,
    context: Context,
}

impl Scout {
    /// What was offered and is still good.
    pub(crate) fn known(&self) -> Vec<Offer> {
        self.shared.lock().usable()
    }

    /// What the masters offer now.
    pub(crate) fn ask(&self) -> Vec<Offer> {
        if let Ok(located) = renew(&self.targets, &self.context) {
            self.shared.lock().merge(located);
            self.shared.changed.notify_all();
        }
        self.known()
    }
}

impl Shared {
    /// The state is replaced as a whole, so it is sound even after a panic elsewhere.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep_fresh(&self, targets: &[Target], context: &Context) {
        let mut state = self.lock();
        while !state.is_closed {
            let now = Instant::now();
            state = match state.renew_at {
                Some(due) if due <= now => {
                    drop(state);
                    let renewed = renew(targets, context);
                    let mut state = self.lock();
                    match renewed {
                        Ok(located) => state.merge(located),
                        // The account is gone or has another password: to go on asking would look like guessing.
                        Err(Fault::Failed(error)) if error.is_about_login() => {
                            state.renew_at = None;
                        }
                        Err(_) => state.renew_at = Some(Instant::now() + AGAIN),
                    }
                    state
                }
                Some(due) => {
                    let waited = self.changed.wait_timeout(state, due - now);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => {
                    let waited = self.changed.wait(state);
                    waited.unwrap_or_else(PoisonError::into_inner)
                }
            };
        }
    }
}

impl State {
    fn usable(&self) -> Vec<Offer> {
        match self.good_until {
            Some(end) if Instant::now() < end => self.offers.clone(),
            _ => Vec::new(),
        }
    }

    fn take(&mut self, located: Located) {
        let now = Instant::now();
        self.offers = located.offers;
        self.good_until = Some(now + located.life);
        self.renew_at = (!located.life.is_zero()).then(|| now + located.life / 2);
    }

    /// Takes new tickets in, but keeps the order: whose turn it is was settled before.
    fn merge(&mut self, mut located: Located) {
        let place = |offer: &Offer| {
            let mut known = self.offers.iter();
            known
                .position(|known| known.pass.id == offer.pass.id)
                .unwrap_or(usize::MAX)
        };
        located.offers.sort_by_key(place);
        self.take(located);
    }
}

fn renew(targets: &[Target], context: &Context) -> Attempt<Located> {
    let question = MasterRequest::Locate {
        tried: Vec::new(),
        renew: true,
    };
    let first = First {
        of_master: &question,
        of_slave: None,
    };
    let ask = |target| -> Attempt<Located> {
        match reach(target, first, context)? {
            Reached::Master(mut master) => master.locate(&question),
            Reached::Slave(_) => Err(Fault::nonsense("a master was expected here")),
        }
    };
    let mut last = Fault::Lost("no master to ask".to_owned());
    for target in targets {
        match ask(target) {
            Ok(located) => return Ok(located),
            Err(fault) => {
                tracing::debug!(%target, cause = fault.cause(), "not renewed");
                last = fault;
            }
        }
    }
    Err(last)
}
