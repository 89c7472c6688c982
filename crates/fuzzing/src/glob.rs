//! Wildcards and filters, held to a slow and obvious way of matching.

use ftpclient::filter::{Fate, Filter};
use ftpclient::glob::Pattern;
use ftpclient::words::{Word, split};
use protocol::EntryKind;

use crate::Target;

/// Longer ones show nothing new, and the slow way is slow.
const LONGEST: usize = 80;

/// A pattern and a name, with a NUL between them, which no name has.
pub static GLOB: Target = Target {
    name: "glob",
    fixed: 64 * 1024,
    for_each_byte: crate::USUAL,
    prepare: crate::nothing,
    work: |input| {
        let mut parts = input.splitn(2, |byte| *byte == 0);
        let (Some(pattern), Some(name)) = (parts.next(), parts.next()) else {
            return;
        };
        if pattern.len().max(name.len()) <= LONGEST {
            one_component(pattern, name);
            whole_path(pattern, name);
        }
    },
};

fn one_component(pattern: &[u8], name: &[u8]) {
    let ours = Pattern::new(pattern);
    let expected = covers(pattern, name);
    assert_eq!(ours.covers(name), expected);
    let is_shown = !name.starts_with(b".") || means_a_dot(pattern);
    assert_eq!(ours.matches(name), expected && is_shown);
    if let Some(literal) = ours.literal() {
        assert!(ours.covers(&literal));
        assert_eq!(expected, literal == name);
    }
    let quoted = Pattern::new(Word::quoted(name).pattern());
    assert!(quoted.matches(name));
    assert_eq!(quoted.literal().as_deref(), Some(name));
}

fn means_a_dot(pattern: &[u8]) -> bool {
    pattern.starts_with(b".") || pattern.starts_with(br"\.")
}

/// A rule of `mirror`, and a path.
fn whole_path(rule: &[u8], path: &[u8]) {
    let Ok(commands) = split(rule) else {
        return;
    };
    let [words] = commands.as_slice() else {
        return;
    };
    let [word] = words.as_slice() else {
        return;
    };
    for kind in [EntryKind::File, EntryKind::Directory] {
        let mut filter = Filter::default();
        if filter.add(Fate::Exclude, word).is_ok() {
            let expected = excludes(word.literal(), path, kind);
            assert_eq!(filter.includes(path, kind), !expected);
        }
    }
}

fn excludes(rule: &[u8], path: &[u8], kind: EntryKind) -> bool {
    let (rule, folders_only) = match rule.strip_suffix(b"/") {
        Some(rule) => (rule, true),
        None => (rule, false),
    };
    let (rule, anchored) = match rule.strip_prefix(b"/") {
        Some(rule) => (rule, true),
        None => (rule, false),
    };
    let steps: Vec<&[u8]> = rule.split(|byte| *byte == b'/').collect();
    let names: Vec<&[u8]> = path.split(|byte| *byte == b'/').collect();
    let mut covered = vec![false; names.len()];
    covered.push(true);
    for (step, behind) in steps.iter().rev().zip(0..) {
        let takes = |begin: usize, end: usize| match (*step, behind) {
            // At the end it stands for what is in a folder, not for the folder.
            (b"**", 0) => end > begin,
            (b"**", _) => true,
            (step, _) => {
                end == begin + 1 && names.get(begin).is_some_and(|name| covers(step, name))
            }
        };
        let is_covered = |end: usize| covered.get(end) == Some(&true);
        let longer = (0..=names.len())
            .map(|begin| (begin..=names.len()).any(|end| is_covered(end) && takes(begin, end)));
        covered = longer.collect();
    }
    let from_the_top = covered.first() == Some(&true);
    let is_meant = kind == EntryKind::Directory || !folders_only;
    is_meant && (from_the_top || !anchored && covered.contains(&true))
}

/// Whether the pattern covers the name: for each of its ends, whether it covers each end of the name, the shortest first.
fn covers(pattern: &[u8], name: &[u8]) -> bool {
    let (pattern, name) = (units(&plain(pattern)), units(name));
    let elements = elements(&pattern);
    let mut covered: Vec<bool> = vec![false; name.len()];
    covered.push(true);
    for element in elements.iter().rev() {
        let mut longer = vec![false; covered.len()];
        for (begin, longer) in longer.iter_mut().enumerate() {
            let covers_behind = |end: usize| covered.get(end).copied().unwrap_or(false);
            *longer = match element {
                Element::Any => (begin..=name.len()).any(covers_behind),
                Element::One(class) => {
                    name.get(begin).is_some_and(|unit| class.holds(*unit))
                        && covers_behind(begin + 1)
                }
            };
        }
        covered = longer;
    }
    covered.first() == Some(&true)
}

/// The pattern without the backslashes that mean nothing: those of which it takes an odd number to reach a byte beyond ASCII.
fn plain(pattern: &[u8]) -> Vec<u8> {
    let is_needless = |at: usize| {
        let before = pattern.get(..at).unwrap_or_default();
        let quoted = before.iter().rev().take_while(|byte| **byte == b'\\');
        pattern.get(at + 1).is_some_and(|byte| !byte.is_ascii()) && quoted.count() % 2 == 0
    };
    let bytes = pattern.iter().enumerate();
    bytes
        .filter(|(at, byte)| **byte != b'\\' || !is_needless(*at))
        .map(|(_, byte)| *byte)
        .collect()
}

/// A character, or a byte that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Unit {
    Character(char),
    Byte(u8),
}

enum Element {
    Any,
    One(Class),
}

struct Class {
    negated: bool,
    ranges: Vec<(Unit, Unit)>,
}

impl Class {
    fn holds(&self, unit: Unit) -> bool {
        let is_in = |&(first, last): &(Unit, Unit)| first <= unit && unit <= last;
        self.ranges.iter().any(is_in) != self.negated
    }

    fn only(unit: Unit) -> Self {
        Self {
            negated: false,
            ranges: vec![(unit, unit)],
        }
    }

    /// The class behind a `[`, and how many units it takes with its `]`.
    fn read(units: &[Unit]) -> Option<(Self, usize)> {
        let is = |at: usize, wanted: char| units.get(at) == Some(&Unit::Character(wanted));
        // A unit at that place, be it quoted, and how many it takes.
        let member = |at: usize| match is(at, '\\') {
            true => units.get(at + 1).map(|unit| (*unit, 2)),
            false => units.get(at).map(|unit| (*unit, 1)),
        };
        let negated = is(0, '!') || is(0, '^');
        let begin = usize::from(negated);
        let (mut at, mut ranges) = (begin, Vec::new());
        while at == begin || !is(at, ']') {
            let (first, taken) = member(at)?;
            at += taken;
            let mut last = first;
            if is(at, '-') && !is(at + 1, ']') {
                let (end, taken) = member(at + 1)?;
                (last, at) = (end, at + 1 + taken);
            }
            ranges.push((first, last));
        }
        Some((Self { negated, ranges }, at + 1))
    }
}

fn elements(units: &[Unit]) -> Vec<Element> {
    let (mut at, mut elements) = (0, Vec::new());
    while let Some(&unit) = units.get(at) {
        at += 1;
        let rest = units.get(at..).unwrap_or_default();
        elements.push(match unit {
            Unit::Character('*') => Element::Any,
            Unit::Character('?') => Element::One(Class {
                negated: true,
                ranges: Vec::new(),
            }),
            Unit::Character('\\') if !rest.is_empty() => {
                at += 1;
                Element::One(Class::only(*rest.first().unwrap_or(&unit)))
            }
            Unit::Character('[') => match Class::read(rest) {
                Some((class, taken)) => {
                    at += taken;
                    Element::One(class)
                }
                None => Element::One(Class::only(unit)),
            },
            unit => Element::One(Class::only(unit)),
        });
    }
    elements
}

fn units(bytes: &[u8]) -> Vec<Unit> {
    let mut units = Vec::new();
    for chunk in bytes.utf8_chunks() {
        units.extend(chunk.valid().chars().map(Unit::Character));
        units.extend(chunk.invalid().iter().map(|byte| Unit::Byte(*byte)));
    }
    units
}
