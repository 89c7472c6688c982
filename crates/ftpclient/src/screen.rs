//! What a person sees on stderr while a transfer runs: a bar, and notices above it.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use client::{Notice, Observer, Progress};
use indicatif::{FormattedDuration, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use crate::PROGRAM;

/// A transfer that is over sooner gets no bar: it would only flicker.
const BAR_DELAY: Duration = Duration::from_millis(300);

/// Watches the client, from whichever thread works.
#[derive(Debug)]
pub(crate) struct Screen {
    bars: bool,
    notices: bool,
    running: Mutex<Option<Running>>,
    is_hushed: AtomicBool,
}

/// The transfer that moves now.
#[derive(Debug)]
struct Running {
    name: Vec<u8>,
    since: Instant,
    /// Bytes that were there when it began: no part of its speed.
    first: u64,
    bar: Option<ProgressBar>,
}

impl Screen {
    /// `bars`: stderr is a terminal and the person wants them; `notices`: everything else may be said.
    pub(crate) const fn new(bars: bool, notices: bool) -> Self {
        Self {
            bars,
            notices,
            running: Mutex::new(None),
            is_hushed: AtomicBool::new(false),
        }
    }

    /// Whether more than errors and results is wanted.
    pub(crate) const fn may_speak(&self) -> bool {
        self.notices
    }

    /// Takes the bar away: the transfer is over.
    pub(crate) fn clear(&self) {
        if let Some(running) = self.lock().take() {
            running.clear();
        }
    }

    /// Writes a line on stderr, above the bar.
    pub(crate) fn say(&self, sentence: &impl fmt::Display) {
        self.suspend(|| cli::say(PROGRAM, &sentence.to_string()));
    }

    /// Takes the bar away while `write` writes.
    pub(crate) fn suspend<T>(&self, write: impl FnOnce() -> T) -> T {
        let running = self.lock();
        match running.as_ref().and_then(|running| running.bar.as_ref()) {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    /// Shows no bar while `run` fills the same terminal with something else.
    pub(crate) fn without_bars<T>(&self, run: impl FnOnce() -> T) -> T {
        self.is_hushed.store(true, Ordering::Relaxed);
        let value = run();
        self.is_hushed.store(false, Ordering::Relaxed);
        value
    }

    fn lock(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for Screen {
    fn notice(&self, notice: &Notice) {
        // Whom one trusts is no chatter.
        if self.notices || matches!(notice, Notice::NewServer { .. }) {
            self.say(notice);
        }
    }

    fn progress(&self, progress: &Progress) {
        if !self.bars || self.is_hushed.load(Ordering::Relaxed) {
            return;
        }
        let mut lock = self.lock();
        let mut running = match lock.take() {
            Some(running) if running.name == progress.name => running,
            other => {
                if let Some(previous) = other {
                    previous.clear();
                }
                Running::new(progress)
            }
        };
        running.show(progress);
        *lock = Some(running);
    }
}

impl Running {
    fn new(progress: &Progress) -> Self {
        Self {
            name: progress.name.clone(),
            since: Instant::now(),
            first: progress.bytes,
            bar: None,
        }
    }

    fn show(&mut self, progress: &Progress) {
        if self.bar.is_none() && self.since.elapsed() >= BAR_DELAY {
            self.bar = Some(self.new_bar());
        }
        if let Some(bar) = &self.bar {
            bar.set_length(progress.total);
            bar.set_position(progress.bytes);
        }
    }

    fn new_bar(&self) -> ProgressBar {
        let (since, first) = (self.since, self.first);
        let pace = move |state: &ProgressState, text: &mut dyn fmt::Write| {
            let total = state.len().unwrap_or(0);
            // Where stderr is gone there is nobody to show it to.
            write!(text, "{}", pace(state.pos(), first, total, since.elapsed()))
                .unwrap_or_default();
        };
        let style = ProgressStyle::with_template("{bar:24} {percent:>3}% {pace} {wide_msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .with_key("pace", pace);
        ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr())
            .with_message(cli::name(&self.name).to_string())
            .with_style(style)
    }

    fn clear(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Mean speed since the beginning, and the time that is left at that speed: calmer than the speed of the moment.
fn pace(position: u64, first: u64, total: u64, elapsed: Duration) -> String {
    let moved = u128::from(position.saturating_sub(first));
    let left = u128::from(total.saturating_sub(position));
    let rate = (moved * 1000)
        .checked_div(elapsed.as_millis())
        .and_then(|rate| u64::try_from(rate).ok())
        .unwrap_or(0);
    let left = (left * elapsed.as_millis())
        .checked_div(moved)
        .and_then(|left| u64::try_from(left).ok())
        .map_or_else(
            || "--:--:--".to_owned(),
            |left| FormattedDuration(Duration::from_secs(left / 1000)).to_string(),
        );
    format!("{:>12} {left}", format!("{}/s", cli::human_size(rate)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speed_counts_what_moved_and_the_rest_takes_as_long() {
        let second = Duration::from_secs(1);
        assert_eq!(
            pace(3 << 20, 1 << 20, 9 << 20, second),
            "   2.0 MiB/s 00:00:03"
        );
        assert_eq!(pace(5, 5, 10, second), "       0 B/s --:--:--");
        assert_eq!(pace(0, 0, 0, Duration::ZERO), "       0 B/s --:--:--");
    }
}
