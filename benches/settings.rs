//! What the environment asks for.

use std::env;
use std::fmt::Debug;
use std::str::FromStr;
use std::time::Duration;

use regex_automata::meta::Regex;

/// Everything that can be set.
pub struct Settings {
    /// `BENCH_RUNS`: how often every contender runs.
    pub rounds: usize,
    /// `BENCH_MIB`: the large file.
    pub mebibytes: u64,
    /// `BENCH_SECONDS`: how long a rate is measured.
    pub lap: Duration,
    /// `BENCH_SLOW`: who takes more seconds runs once only.
    pub slow: f64,
    /// `BENCH_PATIENCE`: who takes more seconds is stopped.
    pub patience: Duration,
    only: Regex,
    peers: Regex,
}

impl Settings {
    /// What the environment says, and defaults.
    pub fn from_environment() -> Self {
        Self {
            rounds: variable("BENCH_RUNS", 5),
            mebibytes: variable("BENCH_MIB", 2048),
            lap: Duration::from_secs_f64(variable("BENCH_SECONDS", 0.7)),
            slow: variable("BENCH_SLOW", 6.0),
            patience: Duration::from_secs_f64(variable("BENCH_PATIENCE", 20.0)),
            only: pattern("BENCH_ONLY"),
            peers: pattern("BENCH_PEERS"),
        }
    }

    /// Whether this piece of work is wanted: `BENCH_ONLY`, a regular expression.
    pub fn wants(&self, work: &str) -> bool {
        self.only.is_match(work)
    }

    /// Whether this peer is wanted: `BENCH_PEERS`, a regular expression.
    pub fn wants_peer(&self, name: &str) -> bool {
        self.peers.is_match(name)
    }
}

fn variable<T: FromStr<Err: Debug>>(name: &str, default: T) -> T {
    match env::var(name) {
        Ok(text) if !text.is_empty() => text
            .parse()
            .unwrap_or_else(|error| panic!("{name}={text}: {error:?}")),
        _ => default,
    }
}

fn pattern(name: &str) -> Regex {
    let text: String = variable(name, String::new());
    Regex::new(&text).unwrap_or_else(|error| panic!("{name}={text}: {error}"))
}
