//! Reading the specification: its examples, sections and tables.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The specification.
pub(crate) struct Document {
    /// Bytes of every example, by its name.
    pub(crate) examples: BTreeMap<String, Vec<u8>>,
    lines: Vec<String>,
}

impl Document {
    pub(crate) fn read() -> Self {
        Self::read_file(&docs().join("PROTOCOL.md"))
    }

    pub(crate) fn read_file(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap();
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let mut examples = BTreeMap::new();
        let mut open: Option<(String, Vec<u8>)> = None;
        for line in &lines {
            if let Some(name) = line.strip_prefix("```hex ") {
                open = Some((name.to_owned(), Vec::new()));
            } else if line == "```" {
                if let Some((name, bytes)) = open.take() {
                    assert!(
                        examples.insert(name.clone(), bytes).is_none(),
                        "{name} stands twice"
                    );
                }
            } else if let Some((name, bytes)) = &mut open {
                let digits = line.split('|').next().unwrap_or_default();
                let parse = |pair| {
                    u8::from_str_radix(pair, 16).unwrap_or_else(|_| panic!("{name}: {line}"))
                };
                bytes.extend(digits.split_whitespace().map(parse));
            }
        }
        Self { examples, lines }
    }

    /// The bytes of one example.
    pub(crate) fn example(&self, name: &str) -> &[u8] {
        self.examples
            .get(name)
            .unwrap_or_else(|| panic!("no example '{name}'"))
    }

    /// The cells of every row of a table in which `column` of the row is what the predicate wants.
    pub(crate) fn rows(&self) -> impl Iterator<Item = Vec<&str>> {
        self.lines.iter().filter_map(|line| cells(line))
    }

    /// Each message: its heading, and the first two cells of its table of fields.
    pub(crate) fn messages(&self) -> Vec<(String, Vec<(String, String)>)> {
        let mut messages: Vec<(String, Vec<(String, String)>)> = Vec::new();
        let mut inside = false;
        for line in &self.lines {
            if let Some(heading) = line.strip_prefix("#### ") {
                inside = true;
                messages.push((heading.to_owned(), Vec::new()));
            } else if line.starts_with('#') {
                inside = false;
            } else if let (true, Some(row), Some((_, fields))) =
                (inside, cells(line), messages.last_mut())
                && let [field, kind, ..] = row.as_slice()
                && let Some(field) = field
                    .strip_prefix('`')
                    .and_then(|field| field.strip_suffix('`'))
            {
                fields.push((field.to_owned(), (*kind).to_owned()));
            }
        }
        messages
    }
}

fn cells(line: &str) -> Option<Vec<&str>> {
    let inner = line.strip_prefix('|')?.strip_suffix('|')?;
    Some(inner.split('|').map(str::trim).collect())
}

/// Where the documents are.
pub(crate) fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs")
}
