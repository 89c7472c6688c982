//! Reading the code's own tables, so that no message or limit can be added without a word in the documents.

const WORDS: [&str; 2] = [
    include_str!("../../src/slave_words.rs"),
    include_str!("../../src/master_words.rs"),
];
const LIMITS: &str = include_str!("../../src/limits.rs");

/// Every message, headed as the specification does it, with the names and types of its fields; a message that stands in
/// several tables (the error) counts once.
pub(crate) fn messages() -> Vec<(String, Vec<(String, String)>)> {
    let mut messages: Vec<(String, Vec<(String, String)>)> = Vec::new();
    for line in WORDS.iter().flat_map(|words| words.lines()).map(str::trim) {
        if let Some((name, rest)) = line.split_once(" = 0x") {
            let number = rest.split(' ').next().unwrap();
            messages.push((format!("0x{number} {name}"), Vec::new()));
        } else if let Some((field, kind)) = line
            .strip_suffix(',')
            .and_then(|line| line.split_once(": "))
            && !line.starts_with("//")
        {
            let (_, fields) = messages.last_mut().unwrap();
            fields.push((field.to_owned(), documented(kind)));
        }
    }
    let mut seen = std::collections::BTreeSet::new();
    messages.retain(|(heading, _)| seen.insert(heading.clone()));
    messages
}

/// A type by its name in the specification.
fn documented(kind: &str) -> String {
    let inner = |prefix| {
        kind.strip_prefix(prefix)
            .and_then(|rest: &str| rest.strip_suffix('>'))
    };
    if let Some(inner) = inner("Option<") {
        return format!("option of {}", documented(inner));
    }
    if let Some(inner) = inner("Vec<") {
        return format!("list of {}", documented(inner));
    }
    let name = match kind {
        "bool" => "flag",
        "RemotePath" => "path",
        "Secretive" => "hidden",
        other => other,
    };
    // `SlaveOffer` is the "slave offer".
    let mut words = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.push(letter.to_ascii_lowercase());
    }
    words
}

/// Every limit with its value.
pub(crate) fn limits() -> Vec<(String, u64)> {
    let constants = LIMITS
        .lines()
        .filter_map(|line| line.strip_prefix("pub const "));
    constants
        .map(|line| {
            let (name, rest) = line.split_once(": ").unwrap();
            let (_, value) = rest.strip_suffix(';').unwrap().split_once(" = ").unwrap();
            let factor = |factor: &str| factor.trim().replace('_', "").parse::<u64>().unwrap();
            (name.to_owned(), value.split('*').map(factor).product())
        })
        .collect()
}
