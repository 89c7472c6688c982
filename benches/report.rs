//! The table of what was measured: shown, and kept with its date.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// Rows in the order in which they were measured.
#[derive(Debug, Default)]
pub struct Report {
    rows: Vec<[String; 4]>,
}

impl Report {
    /// A figure with what it is measured against and what is asked of it.
    pub fn row(&mut self, what: &str, figure: String, against: String, asked: &str) {
        println!("{what}: {figure}  {against}  (asked: {asked})");
        self.rows
            .push([what.to_owned(), figure, against, asked.to_owned()]);
    }

    /// The whole table.
    pub fn print(&self) {
        println!("\n{}", self.table());
    }

    /// Keeps the table below `bench/results`.
    pub fn keep(&self) {
        let stamp = said_by("date", &["-u", "+%Y-%m-%dT%H%M%SZ"]);
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("bench/results");
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join(format!("{stamp}.md"));
        let machine = said_by("uname", &["-srm"]);
        let commit = said_by("git", &["rev-parse", "--short", "HEAD"]);
        fs::write(
            &file,
            format!("{stamp}, {machine}, commit {commit}\n\n{}", self.table()),
        )
        .unwrap();
        println!("kept in {}", file.display());
    }

    fn table(&self) -> String {
        let mut table =
            "| what | figure | beside | asked |\n| --- | --- | --- | --- |\n".to_owned();
        for [what, figure, against, asked] in &self.rows {
            writeln!(table, "| {what} | {figure} | {against} | {asked} |").unwrap();
        }
        table
    }
}

/// How long `work` takes.
pub fn timed(work: impl FnOnce()) -> Duration {
    let begun = Instant::now();
    work();
    begun.elapsed()
}

/// The middle one, in seconds.
pub fn median(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times[times.len() / 2].as_secs_f64()
}

fn said_by(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output.map_or_else(
        |_| "unknown".to_owned(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}
