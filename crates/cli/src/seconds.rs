//! Times as people type them.

use std::time::Duration;

/// A year: more than anybody waits, and nothing that a clock could not add.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Seconds, whole or not, up to a year.
///
/// # Errors
/// What to write instead.
pub fn seconds(text: &str) -> Result<Duration, &'static str> {
    let seconds = text.parse().ok();
    let time = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    time.filter(|time| *time <= LONGEST)
        .ok_or("write seconds, like 5 or 0.5, up to 31536000")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_clock_could_add_is_refused() {
        assert_eq!(seconds("0"), Ok(Duration::ZERO));
        assert_eq!(seconds("0.25"), Ok(Duration::from_millis(250)));
        assert_eq!(seconds("31536000"), Ok(LONGEST));
        for wrong in [
            "", "-1", "x", "1s", "NaN", "inf", "1e19", "1e300", "31536001",
        ] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}
