//! Waiting for a condition, never for a time.

use std::thread;
use std::time::{Duration, Instant};

/// Longest that anything in a test may take before it counts as never happening; generous, for busy machines.
pub const PATIENCE: Duration = Duration::from_secs(30);

const PAUSE: Duration = Duration::from_millis(10);

/// Returns what `condition` gives once it gives something; fails the test after `deadline`.
pub fn wait_for<T>(what: &str, deadline: Duration, mut condition: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + deadline;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(
            Instant::now() < end,
            "waited {deadline:?} in vain for {what}"
        );
        thread::sleep(PAUSE);
    }
}

/// Returns once `condition` holds; fails the test after `deadline`.
pub fn wait_until(what: &str, deadline: Duration, mut condition: impl FnMut() -> bool) {
    wait_for(what, deadline, || condition().then_some(()));
}
