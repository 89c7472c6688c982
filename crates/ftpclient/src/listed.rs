//! Names as listings show them: what is kept of each, their order, their columns.

use std::cmp::Ordering;
use std::ops::Range;

use jiff::Timestamp;
use jiff::tz::Offset;
use protocol::{Entry, EntryKind};

use crate::json::type_word;

/// The longest word for a type, `other`, has so many letters.
const TYPE_WIDTH: usize = 5;

/// A name as a listing shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Listed<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) facts: Facts,
}

/// What a listing keeps of a name beside the name itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) kind: EntryKind,
    pub(crate) size: u64,
    pub(crate) modified_ns: i64,
}

/// The names of a listing: a folder of a hundred thousand of them is sorted in memory, so they stand in one piece.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    names: Vec<u8>,
    /// Where in `names` each stands, and its facts.
    rows: Vec<(Range<usize>, Facts)>,
}

impl Rows {
    /// Adds the name that is made of these `parts`.
    pub(crate) fn add(&mut self, parts: &[&[u8]], facts: Facts) {
        let start = self.names.len();
        for part in parts {
            self.names.extend_from_slice(part);
        }
        self.rows.push((start..self.names.len(), facts));
    }

    /// By bytes, component by component: what is in a folder stands right behind it.
    pub(crate) fn sort(&mut self) {
        let names = self.names.as_slice();
        let name =
            |(place, _): &(Range<usize>, Facts)| names.get(place.clone()).unwrap_or_default();
        self.rows
            .sort_by(|one, other| by_name(name(one), name(other)));
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Listed<'_>> {
        self.rows.iter().map(|(place, facts)| Listed {
            name: self.names.get(place.clone()).unwrap_or_default(),
            facts: *facts,
        })
    }

    /// How many digits the longest size has.
    pub(crate) fn size_width(&self) -> usize {
        let longest = self.rows.iter().map(|(_, facts)| facts.size).max();
        longest.unwrap_or(0).to_string().len()
    }
}

impl From<&Entry> for Facts {
    fn from(entry: &Entry) -> Self {
        Self {
            kind: entry.kind,
            size: entry.size,
            modified_ns: entry.modified_ns,
        }
    }
}

impl Facts {
    /// Appends the columns before the name: type, size (as wide as `width`) and time.
    pub(crate) fn columns(&self, width: usize, line: &mut Vec<u8>) {
        let word = type_word(self.kind).as_bytes();
        line.extend_from_slice(word);
        let mut digits = itoa::Buffer::new();
        let size = digits.format(self.size).as_bytes();
        let gap = TYPE_WIDTH.saturating_sub(word.len()) + 1 + width.saturating_sub(size.len());
        line.resize(line.len() + gap, b' ');
        line.extend_from_slice(size);
        line.push(b' ');
        line.extend_from_slice(&whole_seconds(self.modified_ns));
        line.push(b' ');
    }
}

/// Whether a listing leaves the name out unless asked with `-a`.
pub(crate) fn is_hidden(name: &[u8]) -> bool {
    name.split(|&byte| byte == b'/')
        .any(|component| component.first() == Some(&b'.'))
}

fn by_name(one: &[u8], other: &[u8]) -> Ordering {
    match one.iter().zip(other).find(|(byte, other)| byte != other) {
        Some((b'/', _)) => Ordering::Less,
        Some((_, b'/')) => Ordering::Greater,
        Some((byte, other)) => byte.cmp(other),
        None => one.len().cmp(&other.len()),
    }
}

/// RFC 3339 in UTC, as exact as known.
pub(crate) fn time(nanoseconds: i64) -> String {
    timestamp(nanoseconds).to_string()
}

/// RFC 3339 in UTC, without the fraction. A long listing is for the most part times: by hand, rounding and the general
/// formatter take several times as long.
fn whole_seconds(nanoseconds: i64) -> [u8; 20] {
    let time = Offset::UTC.to_datetime(timestamp(nanoseconds));
    let mut text = *b"0000-00-00T00:00:00Z";
    // Between the years 1677 and 2262 every field is made of pairs of digits.
    for (at, number) in [
        (0, time.year() / 100),
        (2, time.year() % 100),
        (5, time.month().into()),
        (8, time.day().into()),
        (11, time.hour().into()),
        (14, time.minute().into()),
        (17, time.second().into()),
    ] {
        let number = u8::try_from(number).unwrap_or_default();
        for (place, digit) in text.iter_mut().skip(at).zip([number / 10, number % 10]) {
            *place += digit;
        }
    }
    text
}

fn timestamp(nanoseconds: i64) -> Timestamp {
    // Every number of nanoseconds that fits in 64 bits is a time between the years 1677 and 2262.
    Timestamp::from_nanosecond(nanoseconds.into()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FACTS: Facts = Facts {
        kind: EntryKind::File,
        size: 1234,
        modified_ns: -1,
    };

    #[test]
    fn folders_stand_before_what_they_hold() {
        let mut rows = Rows::default();
        for name in ["a-b", "a/x", "a", "B", "\u{e9}"] {
            rows.add(&[name.as_bytes()], FACTS);
        }
        rows.sort();
        let names: Vec<_> = rows
            .iter()
            .map(|listed| str::from_utf8(listed.name).unwrap())
            .collect();
        assert_eq!(names, ["B", "a", "a/x", "a-b", "\u{e9}"]);
    }

    #[test]
    fn columns_and_times() {
        let mut line = b"> ".to_vec();
        FACTS.columns(6, &mut line);
        assert_eq!(line, b"> file    1234 1969-12-31T23:59:59Z ");
        for nanoseconds in [i64::MIN, 0, 1_709_210_096_999_999_999, i64::MAX] {
            let second = nanoseconds.div_euclid(1_000_000_000);
            let expected = Timestamp::from_second(second).unwrap().to_string();
            assert_eq!(whole_seconds(nanoseconds), expected.as_bytes());
        }
        assert_eq!(time(-1), "1969-12-31T23:59:59.999999999Z");
        assert_eq!(time(i64::MAX), "2262-04-11T23:47:16.854775807Z");
        let mut rows = Rows::default();
        assert_eq!(rows.size_width(), 1);
        rows.add(&[b"a", b"b"], FACTS);
        assert_eq!(rows.size_width(), 4);
    }

    #[test]
    fn hidden_names() {
        assert!(is_hidden(b".a") && is_hidden(b"a/.b/c"));
        assert!(!is_hidden(b"a.b") && !is_hidden(b"a/b."));
    }
}
