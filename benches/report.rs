//! The table of what was measured: shown as it grows, and kept with its date.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::contest::{Asked, Entry, Standing, Unit};

const HEAD: &str = "| work | ours | against | its figure | ratio | asked | | the others, and their ratio |\n\
                    | --- | --- | --- | --- | --- | --- | --- | --- |\n";

/// Rows in the order in which they were measured.
#[derive(Default)]
pub struct Report {
    rows: Vec<String>,
    missed: Vec<String>,
    notes: Vec<String>,
    versions: Vec<String>,
    /// Everybody's figures in the row before: several rows may look at one contest.
    shown: String,
}

impl Report {
    /// Our figure beside that of the contender `against`, and the others of the same contest beside it.
    pub fn judge(
        &mut self,
        work: &str,
        standing: &Standing,
        (ours, against): (&str, &str),
        asked: Asked,
    ) {
        let Some((own, other)) = both(standing.entry(ours), standing.entry(against)) else {
            self.failed(work, standing, &[ours, against]);
            return;
        };
        let everybody = format!("{:?}", standing.entries);
        let others = match self.shown == everybody {
            true => "as above".to_owned(),
            false => the_others(standing, other, [ours, against]),
        };
        self.shown = everybody;
        let figure = figure(standing.entry(ours), standing.unit);
        let other_figure = standing.unit.show(other);
        self.row(
            [work, &figure, against, &other_figure],
            own / other,
            asked,
            &others,
        );
    }

    /// Our figure beside that of the best contender whose name `chosen` accepts.
    pub fn judge_best(
        &mut self,
        work: &str,
        standing: &Standing,
        ours: &str,
        (chosen, asked): (impl Fn(&str) -> bool, Asked),
    ) {
        let Some(best) = standing.best(|name| name != ours && chosen(name)) else {
            self.note(format!("{work}: nobody to compare with"));
            return;
        };
        let Some((own, other)) = both(standing.entry(ours), Some(best)) else {
            self.failed(work, standing, &[ours]);
            return;
        };
        let figure = figure(standing.entry(ours), standing.unit);
        let other_figure = standing.unit.show(other);
        self.row(
            [work, &figure, &best.name, &other_figure],
            own / other,
            asked,
            "",
        );
    }

    /// A figure of ours that stands alone: what is asked is in the same unit.
    pub fn figure(&mut self, work: &str, unit: Unit, figure: f64, (asked, others): (Asked, &str)) {
        let limit = match asked {
            Asked::AtMost(most) => format!("≤ {}", unit.show(most)),
            Asked::AtLeast(least) => format!("≥ {}", unit.show(least)),
            Asked::Nothing => asked.to_string(),
        };
        let verdict = self.verdict(work, asked.is_met(figure));
        let shown = unit.show(figure);
        self.push(&[work, &shown, "", "", "", &limit, verdict, others]);
    }

    /// A sentence that stands below the table.
    pub fn note(&mut self, sentence: String) {
        println!("note: {sentence}");
        if !self.notes.contains(&sentence) {
            self.notes.push(sentence);
        }
    }

    /// The version of a program that takes part.
    pub fn version(&mut self, version: String) {
        if !self.versions.contains(&version) {
            self.versions.push(version);
        }
    }

    /// A scenario that came to no end counts as missed.
    pub fn broken(&mut self, scenario: &str, why: &str) {
        self.missed
            .push(format!("{scenario} (did not come to its end)"));
        self.note(format!("{scenario} did not come to its end: {why}"));
    }

    /// The whole table.
    pub fn print(&self) {
        println!("\n{}", self.text());
    }

    /// Keeps the table below `bench/results`.
    pub fn keep(&self) {
        let stamp = said_by("date", &["-u", "+%Y-%m-%dT%H%M%SZ"]);
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("bench/results");
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join(format!("{stamp}.md"));
        fs::write(
            &file,
            format!("# {stamp}\n\n{}\n{}", machine(), self.text()),
        )
        .unwrap();
        println!("kept in {}", file.display());
    }

    fn row(
        &mut self,
        [work, ours, against, other]: [&str; 4],
        ratio: f64,
        asked: Asked,
        others: &str,
    ) {
        let verdict = self.verdict(work, asked.is_met(ratio));
        let (ratio, asked) = (format!("{ratio:.2}"), asked.to_string());
        self.push(&[work, ours, against, other, &ratio, &asked, verdict, others]);
    }

    fn verdict(&mut self, work: &str, met: Option<bool>) -> &'static str {
        match met {
            Some(true) => "met",
            Some(false) => {
                self.missed.push(work.to_owned());
                "**missed**"
            }
            None => "",
        }
    }

    /// Adds a row, whose cells may hold what Markdown takes for the border of a cell.
    fn push(&mut self, cells: &[&str]) {
        let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
        let row = format!("| {} |", cells.join(" | "));
        println!("{row}");
        self.rows.push(row);
    }

    fn failed(&mut self, work: &str, standing: &Standing, names: &[&str]) {
        for name in names {
            let failure = standing.entry(name).and_then(|entry| entry.failure.clone());
            if let Some(why) = failure {
                self.note(format!("{work}: {name} failed: {why}"));
            }
        }
        self.missed.push(work.to_owned());
        self.push(&[work, "", "", "", "", "", "**failed**", ""]);
    }

    fn text(&self) -> String {
        let mut text = HEAD.to_owned();
        for row in &self.rows {
            writeln!(text, "{row}").unwrap();
        }
        let list = |text: &mut String, title: &str, lines: &[String]| {
            if !lines.is_empty() {
                writeln!(text, "\n{title}:").unwrap();
                lines
                    .iter()
                    .for_each(|line| writeln!(text, "- {line}").unwrap());
            }
        };
        list(&mut text, "Missed", &self.missed);
        list(&mut text, "Notes", &self.notes);
        list(&mut text, "Took part", &self.versions);
        text
    }
}

fn both(ours: Option<&Entry>, other: Option<&Entry>) -> Option<(f64, f64)> {
    Some((ours?.median()?, other?.median()?))
}

/// The median, and between which figures it lies.
fn figure(entry: Option<&Entry>, unit: Unit) -> String {
    let Some((entry, median)) = entry.and_then(|entry| Some((entry, entry.median()?))) else {
        return String::new();
    };
    let least = entry.figures.iter().copied().fold(f64::INFINITY, f64::min);
    let most = entry.figures.iter().copied().fold(0.0, f64::max);
    format!(
        "{} ({} – {})",
        unit.show(median),
        unit.show(least),
        unit.show(most)
    )
}

fn the_others(standing: &Standing, against: f64, but: [&str; 2]) -> String {
    let rest = standing
        .entries
        .iter()
        .filter(|entry| !but.contains(&entry.name.as_str()));
    let shown: Vec<String> = rest
        .map(|entry| beside(entry, standing.unit, against))
        .collect();
    shown.join(", ")
}

fn beside(entry: &Entry, unit: Unit, against: f64) -> String {
    match (&entry.failure, entry.median()) {
        (Some(why), _) => format!("{}: {why}", entry.name),
        (None, Some(median)) => {
            format!(
                "{} {} ({:.2})",
                entry.name,
                unit.show(median),
                median / against
            )
        }
        (None, None) => entry.name.clone(),
    }
}

fn machine() -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("unknown", |rest| rest.trim_start_matches([' ', '\t', ':']));
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory = memory.lines().next().unwrap_or_default();
    let congestion = fs::read_to_string("/proc/sys/net/ipv4/tcp_congestion_control");
    format!(
        "- {}\n- {cores} × {model}, {memory}\n- congestion control {}\n- commit {}, load before {}\n",
        said_by("uname", &["-srm"]),
        congestion.unwrap_or_default().trim(),
        said_by("git", &["describe", "--always", "--dirty"]),
        fs::read_to_string("/proc/loadavg")
            .unwrap_or_default()
            .trim(),
    )
}

fn said_by(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output.map_or_else(
        |_| "unknown".to_owned(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}
