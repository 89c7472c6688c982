//! Signals that a process wants to hear nothing of. (Those it wants to hear come through signal-hook.)

use std::io;

/// A signal that may be ignored without harm to the rest of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ignorable {
    /// SIGINT: Ctrl-C reaches every process of the terminal; children let their parent decide.
    Interrupt,
    /// SIGHUP: the terminal went away, or somebody asked the parent for a new configuration.
    Hangup,
    /// SIGXFSZ: `write` then reports `EFBIG` instead of killing the process.
    FileSizeLimit,
    /// SIGQUIT: Ctrl-\, as [`Self::Interrupt`].
    Quit,
}

impl Ignorable {
    const fn number(self) -> libc::c_int {
        match self {
            Self::Interrupt => libc::SIGINT,
            Self::Hangup => libc::SIGHUP,
            Self::FileSizeLimit => libc::SIGXFSZ,
            Self::Quit => libc::SIGQUIT,
        }
    }
}

/// Ignores `signal` in this process and, through exec, in its children.
///
/// # Errors
/// None in practice: `EINVAL` would mean a kernel without the signal.
pub fn ignore(signal: Ignorable) -> io::Result<()> {
    // SAFETY: SIG_IGN is no handler: no code of ours runs in signal context.
    if unsafe { libc::signal(signal.number(), libc::SIG_IGN) } == libc::SIG_ERR {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use rustix::process::{Signal, getpid, kill_process};

    use super::*;

    #[test]
    fn ignored_signals_do_not_end_the_process() {
        let signals = [
            (Ignorable::Interrupt, Signal::INT),
            (Ignorable::Hangup, Signal::HUP),
            (Ignorable::FileSizeLimit, Signal::XFSZ),
            (Ignorable::Quit, Signal::QUIT),
        ];
        for (ignorable, signal) in signals {
            ignore(ignorable).unwrap();
            kill_process(getpid(), signal).unwrap();
        }
    }
}
