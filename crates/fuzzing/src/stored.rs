//! What stands in the storage beside the files: read by slaves, and written by whoever writes there.

use std::str;

use storage::formats::{KeptDigest, Ledger};

use crate::Target;

/// The digest kept with a file, or the ledger of a quota. What would be no ledger for its last line alone gets the right one.
pub static STORED: Target = Target {
    name: "stored",
    fixed: 16 * 1024,
    for_each_byte: crate::USUAL,
    prepare: crate::nothing,
    work: |input| {
        let Some((form, rest)) = input.split_first() else {
            return;
        };
        match (form, str::from_utf8(rest)) {
            (0, _) => digest(rest),
            (1, Ok(text)) => ledger(text),
            (_, Ok(text)) => {
                let check = blake3::hash(text.as_bytes());
                ledger(&format!("{text}check {check}\n"));
            }
            (_, Err(_)) => {}
        }
    },
};

fn digest(value: &[u8]) {
    if let Some(kept) = KeptDigest::decode(value) {
        assert_eq!(kept.encode(), value);
    }
}

fn ledger(text: &str) {
    if let Some(ledger) = Ledger::parse(text) {
        assert_eq!(Ledger::parse(&ledger.to_text()), Some(ledger));
    }
}
