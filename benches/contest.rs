//! Contenders for one piece of work, in rounds: each round runs every one once, so that a slow moment of the machine strikes all
//! alike.

use std::fmt;

use crate::settings::Settings;

/// What a figure counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Seconds; less is better.
    Seconds,
    /// Times a second; more is better.
    PerSecond,
    /// Memory; less is better.
    Kibibytes,
}

impl Unit {
    /// A figure with its unit.
    pub fn show(self, figure: f64) -> String {
        match self {
            Self::Seconds => format!("{figure:.3} s"),
            Self::PerSecond => format!("{figure:.0}/s"),
            Self::Kibibytes if figure >= 1024.0 => format!("{:.1} MiB", figure / 1024.0),
            Self::Kibibytes => format!("{figure:.1} KiB"),
        }
    }
}

/// One measurement: the figure, or why there is none.
pub type Sample = Result<f64, String>;

type Run<'a> = Box<dyn FnMut(usize) -> Sample + 'a>;

/// Those who do the same work.
pub struct Contest<'a> {
    unit: Unit,
    contenders: Vec<(String, Run<'a>)>,
}

impl<'a> Contest<'a> {
    /// Nobody yet.
    pub fn new(unit: Unit) -> Self {
        Self {
            unit,
            contenders: Vec::new(),
        }
    }

    /// One more, who is told the number of the round, from 0.
    pub fn add(&mut self, name: impl Into<String>, run: impl FnMut(usize) -> Sample + 'a) {
        self.contenders.push((name.into(), Box::new(run)));
    }

    /// Runs all rounds. Who takes longer than `settings.slow` runs in the first round only; who fails is out.
    pub fn hold(self, settings: &Settings) -> Standing {
        let mut entries: Vec<Entry> = Vec::new();
        let mut runs = Vec::new();
        for (name, run) in self.contenders {
            entries.push(Entry {
                name,
                figures: Vec::new(),
                failure: None,
            });
            runs.push(run);
        }
        for round in 0..settings.rounds {
            for place in 0..entries.len() {
                // another one begins each time: whoever follows a heavy neighbour finds the machine in another state
                let turn = (round + place) % runs.len();
                let (entry, run) = (&mut entries[turn], &mut runs[turn]);
                let slow = self.unit == Unit::Seconds
                    && entry.figures.iter().any(|&figure| figure > settings.slow);
                if slow || entry.failure.is_some() {
                    continue;
                }
                match run(round) {
                    Ok(figure) => entry.figures.push(figure),
                    Err(why) => entry.failure = Some(why),
                }
            }
        }
        Standing {
            unit: self.unit,
            entries,
        }
    }
}

/// How it ended.
#[derive(Clone, Debug)]
pub struct Standing {
    /// What the figures count.
    pub unit: Unit,
    /// Everybody, in the order in which they were added.
    pub entries: Vec<Entry>,
}

/// One contender's figures.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Who.
    pub name: String,
    /// One for each round it took part in.
    pub figures: Vec<f64>,
    /// Why it took part in no more.
    pub failure: Option<String>,
}

impl Entry {
    /// The middle figure; `None` where it failed.
    pub fn median(&self) -> Option<f64> {
        self.failure.is_none().then(|| median(&self.figures))?
    }
}

impl Standing {
    /// The entry of that name.
    pub fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.name == name)
    }

    /// The best of those whose name `chosen` accepts.
    pub fn best(&self, chosen: impl Fn(&str) -> bool) -> Option<&Entry> {
        let better = |a: f64, b: f64| match self.unit {
            Unit::PerSecond => b.total_cmp(&a),
            Unit::Seconds | Unit::Kibibytes => a.total_cmp(&b),
        };
        let entries = self.entries.iter().filter(|entry| chosen(&entry.name));
        entries
            .filter_map(|entry| Some((entry, entry.median()?)))
            .min_by(|(_, a), (_, b)| better(*a, *b))
            .map(|(entry, _)| entry)
    }
}

/// The middle one.
pub fn median(figures: &[f64]) -> Option<f64> {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied()
}

/// What is asked of a ratio, or of a figure alone.
#[derive(Clone, Copy, Debug)]
pub enum Asked {
    AtMost(f64),
    AtLeast(f64),
    /// Nothing: shown to be looked at.
    Nothing,
}

impl Asked {
    /// Whether `figure` is as asked; `None` where nothing is.
    pub fn is_met(self, figure: f64) -> Option<bool> {
        match self {
            Self::AtMost(most) => Some(figure <= most),
            Self::AtLeast(least) => Some(figure >= least),
            Self::Nothing => None,
        }
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(most) => write!(f, "≤ {most:.2}"),
            Self::AtLeast(least) => write!(f, "≥ {least:.2}"),
            Self::Nothing => f.write_str("—"),
        }
    }
}
