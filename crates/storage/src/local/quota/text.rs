//! A ledger as its file holds it.

use protocol::RemotePath;

use super::ledger::{Ledger, Reservation};

/// The first line: a later layout is never taken for this one.
const LAYOUT: &str = "mini-ftp quota 1";

impl Ledger {
    /// As it is kept: lines, the last of which proves the others.
    #[must_use]
    pub fn to_text(&self) -> String {
        let used = self
            .used
            .map_or_else(|| "unknown".to_owned(), |used| used.to_string());
        let mut text = format!(
            "{LAYOUT}\nepoch {}\nfolder {}\nboot {:x}\nused {used}\nexact {}\ncounted {}\ncounted-changes {}\nchanges {}\nmoves {}\nadded {}\n",
            self.epoch,
            self.folder,
            self.boot,
            u8::from(self.exact),
            self.counted,
            self.counted_changes,
            self.changes,
            self.moves,
            self.added,
        );
        for Reservation {
            upload,
            bytes,
            since,
            beside,
        } in &self.reservations
        {
            let beside = beside.as_ref().map_or_else(String::new, path_to_text);
            text.push_str(&format!("upload {upload} {bytes} {since} {beside}\n"));
        }
        let check = check_of(&text);
        text.push_str(&format!("check {check}\n"));
        text
    }

    /// What was kept; `None` unless every line of it is what was written.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (body, check) = text.strip_suffix('\n')?.rsplit_once("\ncheck ")?;
        let body = text.get(..=body.len())?;
        (check == check_of(body)).then_some(())?;
        let mut lines = body.lines();
        (lines.next()? == LAYOUT).then_some(())?;
        let mut value = |name: &str| lines.next()?.strip_prefix(name)?.strip_prefix(' ');
        let epoch = value("epoch")?.parse().ok()?;
        let folder = value("folder")?.parse().ok()?;
        let boot = u128::from_str_radix(value("boot")?, 16).ok()?;
        let used = match value("used")? {
            "unknown" => None,
            bytes => Some(bytes.parse().ok()?),
        };
        let exact = value("exact")? == "1";
        let mut number = |name: &str| value(name)?.parse().ok();
        Some(Self {
            epoch,
            folder,
            boot,
            used,
            exact,
            counted: number("counted")?,
            counted_changes: number("counted-changes")?,
            changes: number("changes")?,
            moves: number("moves")?,
            added: number("added")?,
            reservations: lines.map(reservation_of).collect::<Option<_>>()?,
        })
    }
}

fn reservation_of(line: &str) -> Option<Reservation> {
    let mut words = line.strip_prefix("upload ")?.splitn(4, ' ');
    Some(Reservation {
        upload: words.next()?.parse().ok()?,
        bytes: words.next()?.parse().ok()?,
        since: words.next()?.parse().ok()?,
        beside: match words.next()? {
            "" => None,
            path => Some(path_of_text(path)?),
        },
    })
}

fn check_of(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex().to_string()
}

/// A path as one word of a line: what is no plain character becomes `%` and two digits.
pub(crate) fn path_to_text(path: &RemotePath) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-@".contains(&byte);
    path.as_bytes()
        .iter()
        .map(|&byte| match is_plain(byte) {
            true => char::from(byte).to_string(),
            false => format!("%{byte:02x}"),
        })
        .collect()
}

/// The path that such a word means.
pub(crate) fn path_of_text(text: &str) -> Option<RemotePath> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((plain, escaped)) = rest.split_once('%') {
        bytes.extend(plain.as_bytes());
        bytes.push(u8::from_str_radix(escaped.get(..2)?, 16).ok()?);
        rest = escaped.get(2..)?;
    }
    bytes.extend(rest.as_bytes());
    RemotePath::parse(&bytes).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use protocol::UploadId;

    use super::*;

    fn any_ledger() -> impl Strategy<Value = Ledger> {
        let reservation = (
            any::<[u8; 32]>(),
            any::<u64>(),
            any::<u64>(),
            proptest::option::of("(/[^/\0.]{1,9}){1,3}"),
        );
        let reservations = proptest::collection::vec(reservation, 0..4);
        let numbers = any::<[u64; 7]>();
        (
            any::<Option<u64>>(),
            any::<bool>(),
            any::<u128>(),
            numbers,
            reservations,
        )
            .prop_map(
                |(
                    used,
                    exact,
                    boot,
                    [epoch, folder, counted, at, changes, moves, added],
                    found,
                )| {
                    Ledger {
                        epoch,
                        folder,
                        boot,
                        used,
                        exact,
                        counted,
                        counted_changes: at,
                        changes,
                        moves,
                        added,
                        reservations: found
                            .into_iter()
                            .map(|(upload, bytes, since, beside)| Reservation {
                                upload: UploadId(upload),
                                bytes,
                                since,
                                beside: beside
                                    .map(|path| RemotePath::parse(path.as_bytes()).unwrap()),
                            })
                            .collect(),
                    }
                },
            )
    }

    proptest! {
        #[test]
        fn what_is_kept_is_what_is_read(ledger in any_ledger()) {
            prop_assert_eq!(Ledger::parse(&ledger.to_text()), Some(ledger));
        }

        #[test]
        fn what_was_cut_or_changed_is_no_ledger(ledger in any_ledger(), at: prop::sample::Index, to: u8) {
            let text = ledger.to_text();
            let at = at.index(text.len());
            prop_assert_eq!(Ledger::parse(&text[..at]), None);
            let mut changed = text.clone().into_bytes();
            changed[at] = to & 0x7f;
            let changed = String::from_utf8(changed).unwrap();
            prop_assert!(changed == text || Ledger::parse(&changed).is_none());
        }

        #[test]
        fn no_text_is_too_much(text: String) {
            prop_assert_eq!(Ledger::parse(&text), None);
        }
    }
}
