//! What the operator's files say of users and slaves, and what the programs keep beside them: a slave's own keys, what a master
//! remembers.

use std::str;

use auth::{Accounts, Fleet, Malformed, OwnKeys, Served, UserName};
use protocol::RemotePath;

use crate::Target;

/// A table of TOML takes much for each key, however short that is, and so does each of many errors; it is the operator's own.
const FIXED: usize = 128 * 1024;
pub(crate) const TOML: usize = 1024;

/// `users.toml`.
pub static ACCOUNTS: Target = Target {
    name: "accounts",
    fixed: FIXED,
    for_each_byte: TOML,
    prepare: crate::nothing,
    work: |content| match Accounts::parse(content) {
        Err(malformed) => check_refusal(&malformed, content),
        Ok(accounts) => {
            for (name, account) in accounts.iter() {
                assert!(name.as_str().parse::<UserName>().is_ok());
                let home = account.home.path();
                assert_eq!(RemotePath::parse(home.as_bytes()).as_ref(), Ok(home));
            }
            // A quota that TOML cannot say is refused where it is typed.
            if let Ok(text) = accounts.to_text() {
                assert_eq!(Accounts::parse(text.as_bytes()), Ok(accounts));
            }
        }
    },
};

/// `slaves.toml`, the keys that a slave was given, and what a master remembers of its slaves.
pub static FLEET: Target = Target {
    name: "fleet",
    fixed: FIXED,
    for_each_byte: TOML,
    prepare: crate::nothing,
    work: |content| {
        match Fleet::parse(content) {
            Err(malformed) => check_refusal(&malformed, content),
            Ok(fleet) => {
                if let Ok(text) = fleet.to_text() {
                    assert_eq!(Fleet::parse(text.as_bytes()), Ok(fleet));
                }
            }
        }
        if let Some(keys) = OwnKeys::parse(content) {
            let text = keys.to_text();
            let again = OwnKeys::parse(text.as_bytes()).map(|keys| keys.to_text());
            assert_eq!(again, Some(text));
        }
        if let Some(served) = Served::parse(content) {
            assert_eq!(Served::parse(served.to_text().as_bytes()), Some(served));
        }
    },
};

/// It names a line that is there, and says nothing that was to be kept from others.
fn check_refusal(Malformed { line, problem }: &Malformed, content: &[u8]) {
    let lines = 1 + content.iter().filter(|byte| **byte == b'\n').count();
    assert!((1..=lines).contains(line), "line {line} of {lines}");
    assert!(problem.len() < 400, "{problem}");
    assert!(
        !problem.contains("$argon2id$v=19$m=19456,t=2,p=1$"),
        "{problem}"
    );
    if let Some(secret) = secret_in(content) {
        assert!(!problem.contains(secret), "{problem}");
    }
}

/// A text in quotes that is too long for a word of the language: a password, say, where a hash is wanted.
fn secret_in(content: &[u8]) -> Option<&str> {
    let text = str::from_utf8(content).ok()?;
    let secret = text.split('"').nth(1)?;
    let is_plain = secret.bytes().all(|byte| byte.is_ascii_alphanumeric());
    (secret.len() > 40 && is_plain).then_some(secret)
}
