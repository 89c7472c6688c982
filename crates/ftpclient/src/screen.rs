//! What a person sees on stderr while a transfer runs: a bar, and notices above it.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use client::{Notice, Observer, Progress};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::PROGRAM;

/// Watches the client, from whichever thread works.
#[derive(Debug)]
pub(crate) struct Screen {
    bars: bool,
    notices: bool,
    shown: Mutex<Option<Shown>>,
}

#[derive(Debug)]
struct Shown {
    name: Vec<u8>,
    bar: ProgressBar,
}

impl Screen {
    /// `bars`: stderr is a terminal and the person wants them; `notices`: everything else may be said.
    pub(crate) const fn new(bars: bool, notices: bool) -> Self {
        Self {
            bars,
            notices,
            shown: Mutex::new(None),
        }
    }

    /// Takes the bar away: the transfer is over.
    pub(crate) fn clear(&self) {
        if let Some(shown) = self.lock().take() {
            shown.bar.finish_and_clear();
        }
    }

    /// Writes a line on stderr, above the bar.
    pub(crate) fn say(&self, sentence: &impl fmt::Display) {
        self.suspend(|| cli::say(PROGRAM, &sentence.to_string()));
    }

    /// Takes the bar away while `write` writes.
    pub(crate) fn suspend<T>(&self, write: impl FnOnce() -> T) -> T {
        match &*self.lock() {
            Some(shown) => shown.bar.suspend(write),
            None => write(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Shown>> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for Screen {
    fn notice(&self, notice: &Notice) {
        if self.notices {
            self.say(notice);
        }
    }

    fn progress(&self, progress: &Progress) {
        if !self.bars {
            return;
        }
        let mut lock = self.lock();
        let shown = match lock.take() {
            Some(shown) if shown.name == progress.name => shown,
            other => {
                if let Some(previous) = other {
                    previous.bar.finish_and_clear();
                }
                Shown::new(progress)
            }
        };
        shown.bar.set_length(progress.total);
        shown.bar.set_position(progress.bytes);
        *lock = Some(shown);
    }
}

impl Shown {
    fn new(progress: &Progress) -> Self {
        let style = "{bar:24} {percent:>3}% {binary_bytes_per_sec:>14} {eta:>4} {wide_msg}";
        let bar = ProgressBar::with_draw_target(Some(progress.total), ProgressDrawTarget::stderr())
            .with_position(progress.bytes)
            .with_message(cli::name(&progress.name).to_string())
            .with_style(
                ProgressStyle::with_template(style)
                    .unwrap_or_else(|_| ProgressStyle::default_bar()),
            );
        // What an earlier try brought is no part of this one's speed.
        bar.reset_eta();
        Self {
            name: progress.name.clone(),
            bar,
        }
    }
}
