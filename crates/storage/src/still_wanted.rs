//! Whether the one who asked for an upload still waits for it: asked at the last moment before its name appears.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// For how long a yes holds: a batch need not ask for each of its names, and a process that was stopped for longer asks anew.
const HOLDS: Duration = Duration::from_millis(1);

/// A question that an upload carries along. A process that was stopped in the midst of publishing would otherwise, when it
/// goes on, replace what its client has had stored by another one meanwhile.
#[derive(Clone, Default)]
pub struct StillWanted(Option<Arc<Question<dyn Fn() -> bool + Send + Sync>>>);

struct Question<Answer: ?Sized> {
    /// When the last yes was given.
    yes: Mutex<Option<Instant>>,
    answer: Answer,
}

impl StillWanted {
    /// The upload is wanted for as long as `answer` says so; by default it always is. Uploads of one client had best share
    /// the question.
    #[must_use]
    pub fn new(answer: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(Question {
            yes: Mutex::default(),
            answer,
        })))
    }

    pub(crate) fn ask(&self) -> bool {
        self.ask_at(Instant::now)
    }

    fn ask_at(&self, now: impl FnOnce() -> Instant) -> bool {
        let Some(question) = &self.0 else {
            return true;
        };
        let mut yes = question.yes.lock().unwrap_or_else(PoisonError::into_inner);
        let now = now();
        if yes.is_some_and(|then| now.saturating_duration_since(then) < HOLDS) {
            return true;
        }
        let is_wanted = (question.answer)();
        *yes = is_wanted.then_some(now);
        is_wanted
    }
}

impl fmt::Debug for StillWanted {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(if self.0.is_some() {
            "StillWanted(asked)"
        } else {
            "StillWanted(always)"
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn a_yes_holds_for_a_moment_and_a_no_is_never_kept() {
        let asked = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&asked);
        // Yes, no, yes, no…
        let wanted =
            StillWanted::new(move || count.fetch_add(1, Ordering::Relaxed).is_multiple_of(2));
        let shared = wanted.clone();
        let begun = Instant::now();
        let end = begun + HOLDS;
        let said = [
            (begun, true),
            (end - Duration::from_nanos(1), true),
            (end, false),
            (end, true),
            (end + HOLDS, false),
        ];
        for (number, (now, said)) in said.into_iter().enumerate() {
            let one = [&wanted, &shared][number % 2];
            assert_eq!(one.ask_at(|| now), said, "{number}");
        }
        assert_eq!(asked.load(Ordering::Relaxed), 4);
        assert!(StillWanted::default().ask());
    }
}
