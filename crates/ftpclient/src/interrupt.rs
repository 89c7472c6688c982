//! Ctrl-C and SIGTERM: they end what runs in good order, and what waits for input at once.

use std::io::{self, stdin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use client::Interrupt;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::exit_status::ExitStatus;

/// What the thread that takes the signals and the thread that runs commands tell each other.
#[derive(Clone, Debug)]
pub(crate) struct Watch {
    interrupt: Interrupt,
    is_waiting: Arc<AtomicBool>,
    is_terminated: Arc<AtomicBool>,
}

/// What Ctrl-C ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// The running command: a person goes on with the next.
    Command,
    /// The program.
    Run,
}

/// What a signal leads to.
#[derive(Debug, PartialEq, Eq)]
enum Reaction {
    /// What runs stops in good order.
    Stop,
    /// The program ends now: nothing runs, or it was asked twice.
    Leave,
    /// Nothing.
    Ignore,
}

impl Watch {
    /// Listens from now on.
    pub(crate) fn start(interrupt: &Interrupt, scope: Scope) -> io::Result<Self> {
        let watch = Self::new(interrupt);
        let mut signals = Signals::new([SIGINT, SIGTERM])?;
        // Line editing changes the terminal's mode, and a program that ends in the middle of a line must put it back.
        let terminal = tcgetattr(stdin()).ok();
        let watcher = watch.clone();
        thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || {
                for signal in signals.forever() {
                    match watcher.hear(signal, scope) {
                        Reaction::Stop => watcher.interrupt.set(),
                        Reaction::Leave => leave(terminal.as_ref()),
                        Reaction::Ignore => {}
                    }
                }
            })?;
        Ok(watch)
    }

    fn new(interrupt: &Interrupt) -> Self {
        Self {
            interrupt: interrupt.clone(),
            is_waiting: Arc::default(),
            is_terminated: Arc::default(),
        }
    }

    /// Runs `read`, which waits for a person or a pipe and leaves nothing half done when the program ends meanwhile.
    pub(crate) fn while_waiting<T>(&self, read: impl FnOnce() -> T) -> T {
        self.is_waiting.store(true, Ordering::SeqCst);
        let value = read();
        self.is_waiting.store(false, Ordering::SeqCst);
        value
    }

    /// Whether SIGTERM came: an interactive session ends too.
    pub(crate) fn is_terminated(&self) -> bool {
        self.is_terminated.load(Ordering::SeqCst)
    }

    fn hear(&self, signal: i32, scope: Scope) -> Reaction {
        let ends_the_run = scope == Scope::Run || signal == SIGTERM;
        let again = match signal {
            SIGTERM => self.is_terminated.swap(true, Ordering::SeqCst),
            _ => self.interrupt.is_set(),
        };
        match (self.is_waiting.load(Ordering::SeqCst), ends_the_run) {
            (true, false) => Reaction::Ignore,
            (true, true) => Reaction::Leave,
            (false, true) if again => Reaction::Leave,
            (false, _) => Reaction::Stop,
        }
    }
}

#[allow(
    clippy::exit,
    reason = "the thread that would return is blocked in a read; what it had to say is flushed"
)]
fn leave(terminal: Option<&Termios>) -> ! {
    if let Some(mode) = terminal {
        // Where the terminal has gone there is nothing to put back.
        tcsetattr(stdin(), OptionalActions::Now, mode).unwrap_or_default();
    }
    std::process::exit(ExitStatus::Interrupted.number().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_ends_in_good_order_first_and_at_once_if_asked_again() {
        let watch = Watch::new(&Interrupt::default());
        assert_eq!(watch.hear(SIGINT, Scope::Run), Reaction::Stop);
        watch.interrupt.set();
        assert_eq!(watch.hear(SIGINT, Scope::Run), Reaction::Leave);
        let watch = Watch::new(&Interrupt::default());
        assert_eq!(watch.hear(SIGTERM, Scope::Run), Reaction::Stop);
        assert_eq!(watch.hear(SIGTERM, Scope::Run), Reaction::Leave);
    }

    #[test]
    fn what_waits_for_input_ends_at_once() {
        let watch = Watch::new(&Interrupt::default());
        watch.while_waiting(|| {
            assert_eq!(watch.hear(SIGINT, Scope::Run), Reaction::Leave);
            assert_eq!(watch.hear(SIGINT, Scope::Command), Reaction::Ignore);
            assert_eq!(watch.hear(SIGTERM, Scope::Command), Reaction::Leave);
        });
    }

    #[test]
    fn in_a_session_ctrl_c_ends_commands_only() {
        let watch = Watch::new(&Interrupt::default());
        for _ in 0..3 {
            assert_eq!(watch.hear(SIGINT, Scope::Command), Reaction::Stop);
            watch.interrupt.set();
        }
        assert!(!watch.is_terminated());
        assert_eq!(watch.hear(SIGTERM, Scope::Command), Reaction::Stop);
        assert!(watch.is_terminated());
    }
}
