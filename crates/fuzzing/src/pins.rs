//! What is remembered of servers.

use std::str;

use auth::{AddError, Pin, Pins};
use protocol::Fingerprint;

use crate::Target;

/// The first line of an input is a name, the rest the file.
pub static PINS: Target = Target {
    name: "pins",
    fixed: 8 * 1024,
    for_each_byte: crate::USUAL,
    prepare: crate::nothing,
    work: |input| {
        let mut parts = input.splitn(2, |byte| *byte == b'\n');
        let (Some(name), Some(content)) = (parts.next(), parts.next()) else {
            return;
        };
        if let Ok(name) = str::from_utf8(name) {
            remember(name, content);
        }
    },
};

/// Whatever the file holds, nothing of it is lost, and what was added is found.
fn remember(name: &str, content: &[u8]) {
    let mut pins = Pins::new(content.to_vec());
    let before = pins.find(name);
    match pins.add(name, Pin::Key(Fingerprint([7; 32]))) {
        Ok(remembered) => {
            assert_eq!(pins.find(name), Ok(Some(remembered)));
            let known = before.ok().flatten();
            assert!(known.is_none_or(|known| known == remembered));
            assert!(pins.as_bytes().starts_with(content));
            let line = pins
                .as_bytes()
                .split(|byte| *byte == b'\n')
                .nth(remembered.line - 1)
                .unwrap_or_default()
                .trim_ascii_start();
            let written = line.get(..name.len()).unwrap_or_default();
            assert!(written.eq_ignore_ascii_case(name.as_bytes()));
        }
        Err(error) => {
            assert_eq!(pins.as_bytes(), content);
            assert!(matches!(error, AddError::Name) || before.is_err());
        }
    }
}
