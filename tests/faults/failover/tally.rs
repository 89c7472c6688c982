//! How long the transfers paused, by what befell them.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::strike::Strike;
use super::world::Way;

/// What a pause is counted under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kind {
    pub(super) way: Way,
    pub(super) is_striped: bool,
    pub(super) strike: Strike,
}

/// All pauses.
#[derive(Debug, Default)]
pub(super) struct Tally {
    by_strike: BTreeMap<String, Vec<Duration>>,
    /// By whether the slave's kernel answers.
    by_class: BTreeMap<(bool, String), Vec<Duration>>,
}

impl Tally {
    pub(super) fn note(&mut self, kind: Kind, pause: Duration) {
        let Kind {
            way,
            is_striped,
            strike,
        } = kind;
        let streams = if is_striped { ", streams" } else { "" };
        let class = if strike.is_answered() {
            "answered"
        } else {
            "silent"
        };
        let name = format!("{way:?}{streams}, {strike:?}");
        self.by_strike.entry(name).or_default().push(pause);
        let name = format!("{way:?}{streams}, {class}");
        let class = (strike.is_answered(), name);
        self.by_class.entry(class).or_default().push(pause);
    }

    /// Fails the test where the slowest hundredth took longer than this, or, of those that hear nothing, than twice this.
    pub(super) fn check(&self, limit: Duration) {
        for ((is_answered, name), pauses) in &self.by_class {
            let limit = if *is_answered { limit } else { 2 * limit };
            let late = percentile(pauses, 99);
            assert!(late <= limit, "{name}: {late:?}");
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by_class = self
            .by_class
            .iter()
            .map(|((_, name), pauses)| (name, pauses));
        for (name, pauses) in self.by_strike.iter().chain(by_class) {
            let of = |percent| percentile(pauses, percent).as_secs_f64();
            writeln!(
                formatter,
                "{name:<30} {:>4} times: {:.2} s (p50), {:.2} s (p99), {:.2} s (max)",
                pauses.len(),
                of(50),
                of(99),
                of(100)
            )?;
        }
        Ok(())
    }
}

/// The pause that so many of a hundred do not exceed.
fn percentile(pauses: &[Duration], percent: usize) -> Duration {
    let mut sorted = pauses.to_vec();
    sorted.sort_unstable();
    sorted[(sorted.len() * percent).div_ceil(100).saturating_sub(1)]
}
