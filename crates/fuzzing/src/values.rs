//! Single values, as people write them and as files hold them: whatever is understood is shown so that it is understood again.

use std::fmt::{Debug, Display};
use std::str::{self, FromStr};

use admission::Startups;
use auth::{Home, Invitation, Pin, UserName};
use client::Target as Host;
use protocol::{Digest, Fingerprint, Nonce, SlaveId};

use crate::Target;

/// The same text as each of them.
pub static VALUES: Target = Target {
    name: "values",
    fixed: 4 * 1024,
    // A host of one letter in a list takes a name of its own, and there are three such lists.
    for_each_byte: 256,
    prepare: crate::nothing,
    work: |input| {
        let Ok(text) = str::from_utf8(input) else {
            return;
        };
        size(text);
        hosts(text);
        shown_again::<Startups>(text);
        shown_again::<Fingerprint>(text);
        shown_again::<Pin>(text);
        shown_again::<UserName>(text);
        shown_again::<Home>(text);
        shown_again::<SlaveId>(text);
        shown_again::<Digest>(text);
        shown_again::<Nonce>(text);
        if let Ok(invitation) = text.parse::<Invitation>() {
            assert_eq!(invitation.reveal().parse(), Ok(invitation));
        }
    },
};

fn shown_again<T: FromStr + Display + PartialEq + Debug>(text: &str) {
    if let Ok(value) = text.parse::<T>() {
        assert_eq!(value.to_string().parse().ok(), Some(value));
    }
}

fn size(text: &str) {
    let size = cli::parse_size(text).ok();
    if let Some(size) = size {
        assert_eq!(cli::parse_size(&size.to_string()).ok(), Some(size));
        // What people are shown is rounded, and the largest sizes to one more than there is.
        let shown = cli::parse_size(&cli::human_size(size).to_string());
        let near = |shown: u64| shown.abs_diff(size) <= size / 1000 * 51;
        assert!(shown.map_or(size > u64::MAX / 1000 * 996, near), "{size}");
    }
    if let Ok(plain) = text.parse::<u64>() {
        assert_eq!(size, Some(plain).filter(|_| !text.starts_with('+')));
    }
    assert_eq!(cli::parse_rate(text).ok(), rate(text));
}

fn rate(text: &str) -> Option<u64> {
    let text = text.trim();
    let size = cli::parse_size(text.strip_suffix("/s").unwrap_or(text)).ok()?;
    (size > 0).then_some(size)
}

fn hosts(text: &str) {
    let Ok(hosts) = Host::parse_list(text, 2121) else {
        return;
    };
    assert!(hosts.iter().all(|host| host.port > 0));
    let shown: Vec<String> = hosts.iter().map(Host::to_string).collect();
    assert_eq!(Host::parse_list(&shown.join(","), 1), Ok(hosts));
}
