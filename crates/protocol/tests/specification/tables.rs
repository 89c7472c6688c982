//! The specification's tables against the code's.

use std::collections::BTreeSet;

use protocol::ErrorCode;

use crate::document::{Document, docs};
use crate::source;

#[test]
fn every_message_stands_with_its_number_and_fields() {
    let documented: BTreeSet<_> = Document::read().messages().into_iter().collect();
    let implemented = source::messages();
    assert!(implemented.len() > 40, "the code's tables are not found");
    assert_eq!(documented, implemented.into_iter().collect());
}

#[test]
fn every_error_code_stands_with_its_number_word_and_sentence() {
    let document = Document::read();
    let documented: BTreeSet<_> = document
        .rows()
        .filter_map(|row| match row.as_slice() {
            [number, word, sentence, _] => Some((
                number.parse().ok()?,
                (*word).to_owned(),
                (*sentence).to_owned(),
            )),
            _ => None,
        })
        .filter(|(_, word, _)| word.starts_with('`'))
        .collect();
    let implemented = ErrorCode::ALL
        .iter()
        .map(|code| {
            (
                code.number(),
                format!("`{}`", code.word()),
                code.sentence().to_owned(),
            )
        })
        .collect();
    assert_eq!(documented, implemented);
}

#[test]
fn every_limit_stands_with_its_value_in_both_documents() {
    let limits = source::limits();
    assert!(limits.len() > 15, "the code's limits are not found");
    for name in ["PROTOCOL.md", "OPERATIONS.md"] {
        let document = Document::read_file(&docs().join(name));
        let rows: Vec<_> = document.rows().collect();
        for (limit, value) in &limits {
            let row = [format!("`{limit}`"), value.to_string()];
            let stands = rows
                .iter()
                .any(|cells| cells.starts_with(&[&row[0], &row[1]]));
            assert!(stands, "{name} lacks the row | {} | {} |", row[0], row[1]);
        }
    }
}
