//! Waiting awake for a client that answers at once.

use std::io;
use std::time::{Duration, Instant};

use rustix::thread::sched_yield;

/// So long at most: putting a thread to sleep and waking it takes about as long, on both sides.
const AWAKE: Duration = Duration::from_micros(40);

/// Whoever waits awake gives the core to others, who may keep it for milliseconds while the client has answered; a sleeping
/// thread would be woken for that. For so many times as long as that took nobody waits awake again.
const CAUTION: u32 = 50;

/// Whether it is worth while.
#[derive(Clone, Debug)]
pub(super) struct Awake {
    not_before: Instant,
}

impl Awake {
    pub(super) fn new() -> Self {
        Self {
            not_before: Instant::now(),
        }
    }

    /// Tries again for as long as [`AWAKE`] what has to wait; does not try at all where others want the core.
    pub(super) fn wait<T>(&mut self, mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        let begun = Instant::now();
        if begun < self.not_before {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let mut last = begun;
        loop {
            match attempt() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && last - begun < AWAKE => {
                }
                done => return done,
            }
            sched_yield();
            let now = Instant::now();
            if now - last > AWAKE {
                self.not_before = now + CAUTION * (now - last);
            }
            last = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn not_yet() -> io::Result<()> {
        Err(io::ErrorKind::WouldBlock.into())
    }

    #[test]
    fn who_lost_the_core_while_awake_sleeps_for_a_while() {
        const LOST: Duration = Duration::from_millis(2);
        let mut awake = Awake::new();
        let begun = Instant::now();
        let mut tries = 0;
        let answer = awake.wait(|| {
            tries += 1;
            std::thread::sleep(LOST); // somebody else runs
            if tries == 1 { not_yet() } else { Ok(()) }
        });
        assert_eq!((answer.unwrap(), tries), ((), 2));
        while awake.wait(|| Ok(())).is_err() {}
        assert!(begun.elapsed() >= LOST * CAUTION);
    }

    #[test]
    fn an_answer_that_does_not_come_is_given_up() {
        let mut awake = Awake::new();
        let silence = awake.wait(not_yet).unwrap_err();
        assert_eq!(silence.kind(), io::ErrorKind::WouldBlock);
    }
}
