//! Wildcards in one component of a path: `*`, `?`, `[a-z]`, `[!a-z]`; a backslash protects the next character.
//!
//! A backslash before or in the midst of a character beyond ASCII means nothing, as such a character never does.
//!
//! Not `globset`, because its patterns are text, while a name here is any bytes, and because its `?` is a byte, while a
//! person means a character. A test holds the two together where they agree. Matching takes time proportional to
//! pattern times name at worst, whatever the pattern.

/// A character, or a byte that is no part of one, numbered behind the last character.
type Unit = u32;

const BEHIND_CHARACTERS: Unit = 0x11_0000;

/// What one component of a name must look like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    tokens: Vec<Token>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Exactly(Unit),
    AnyOne,
    AnyMany,
    OneOf {
        negated: bool,
        ranges: Vec<(Unit, Unit)>,
    },
}

impl Pattern {
    /// Reads a pattern. There is no wrong one: a `[` that nothing closes stands for itself, as in a shell.
    #[must_use]
    pub fn new(pattern: &[u8]) -> Self {
        let units = units(&without_needless_backslashes(pattern));
        let mut rest = units.as_slice();
        let mut tokens = Vec::new();
        // Where nothing closes one `[`, nothing closes a later one.
        let mut can_close = true;
        while let Some((&unit, behind)) = rest.split_first() {
            rest = behind;
            tokens.push(match char::from_u32(unit) {
                Some('*') => Token::AnyMany,
                Some('?') => Token::AnyOne,
                Some('\\') => Token::Exactly(take(&mut rest).unwrap_or(unit)),
                Some('[') if can_close => match class(rest) {
                    Some((class, behind)) => {
                        rest = behind;
                        class
                    }
                    None => {
                        can_close = false;
                        Token::Exactly(unit)
                    }
                },
                _ => Token::Exactly(unit),
            });
        }
        Self { tokens }
    }

    /// The one name that matches, where the pattern has no wildcard.
    #[must_use]
    pub fn literal(&self) -> Option<Vec<u8>> {
        let mut name = Vec::new();
        for token in &self.tokens {
            let &Token::Exactly(unit) = token else {
                return None;
            };
            match char::from_u32(unit) {
                Some(character) => {
                    name.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                }
                None => name.extend(u8::try_from(unit - BEHIND_CHARACTERS)),
            }
        }
        Some(name)
    }

    /// Whether `name` is meant, be it hidden or not.
    #[must_use]
    pub fn covers(&self, name: &[u8]) -> bool {
        matches(&self.tokens, &units(name))
    }

    /// Whether `name` is meant. A name that begins with a dot only is where the pattern does.
    #[must_use]
    pub fn matches(&self, name: &[u8]) -> bool {
        let dot = Token::Exactly(Unit::from('.'));
        if name.first() == Some(&b'.') && self.tokens.first() != Some(&dot) {
            return false;
        }
        matches(&self.tokens, &units(name))
    }
}

/// Whether any component of a path's pattern has a wildcard.
#[must_use]
pub fn has_wildcards(pattern: &[u8]) -> bool {
    pattern
        .split(|&byte| byte == b'/')
        .any(|component| Pattern::new(component).literal().is_none())
}

/// The path that a pattern without wildcards stands for.
#[must_use]
pub fn unescaped(pattern: &[u8]) -> Vec<u8> {
    pattern
        .split(|&byte| byte == b'/')
        .map(|component| Pattern::new(component).literal().unwrap_or_default())
        .collect::<Vec<_>>()
        .join(&b'/')
}

/// Goes back to the last `*` only: what an earlier one could take, that one can take as well.
fn matches(tokens: &[Token], name: &[Unit]) -> bool {
    let (mut token, mut unit) = (0, 0);
    let mut star = None;
    loop {
        let fits = match (tokens.get(token), name.get(unit)) {
            (None, None) => return true,
            (Some(Token::AnyMany), _) => {
                token += 1;
                star = Some((token, unit));
                continue;
            }
            (Some(wanted), Some(&found)) => wanted.takes(found),
            _ => false,
        };
        if fits {
            token += 1;
            unit += 1;
            continue;
        }
        match &mut star {
            Some((behind, taken)) if *taken < name.len() => {
                *taken += 1;
                (token, unit) = (*behind, *taken);
            }
            _ => return false,
        }
    }
}

impl Token {
    fn takes(&self, unit: Unit) -> bool {
        match self {
            Self::Exactly(wanted) => *wanted == unit,
            Self::AnyOne | Self::AnyMany => true,
            Self::OneOf { negated, ranges } => {
                let listed = ranges
                    .iter()
                    .any(|(first, last)| (*first..=*last).contains(&unit));
                listed != *negated
            }
        }
    }
}

/// The class behind a `[`, and what follows its `]`.
fn class(mut rest: &[Unit]) -> Option<(Token, &[Unit])> {
    let is = |unit: Option<&Unit>, character: char| unit == Some(&Unit::from(character));
    let negated = is(rest.first(), '!') || is(rest.first(), '^');
    if negated {
        rest = rest.get(1..)?;
    }
    let mut ranges = Vec::new();
    loop {
        let quoted = is(rest.first(), '\\');
        let first = member(&mut rest)?;
        if first == Unit::from(']') && !quoted && !ranges.is_empty() {
            return Some((Token::OneOf { negated, ranges }, rest));
        }
        let is_range = is(rest.first(), '-') && !is(rest.get(1), ']');
        let last = if is_range {
            rest = rest.get(1..)?;
            member(&mut rest)?
        } else {
            first
        };
        ranges.push((first, last));
    }
}

fn member(rest: &mut &[Unit]) -> Option<Unit> {
    match take(rest)? {
        unit if unit == Unit::from('\\') => take(rest),
        unit => Some(unit),
    }
}

fn take(rest: &mut &[Unit]) -> Option<Unit> {
    let (&first, behind) = rest.split_first()?;
    *rest = behind;
    Some(first)
}

fn without_needless_backslashes(pattern: &[u8]) -> Vec<u8> {
    let mut kept = Vec::with_capacity(pattern.len());
    let mut bytes = pattern.iter().copied();
    while let Some(byte) = bytes.next() {
        match (byte, bytes.clone().next()) {
            (b'\\', Some(0x80..)) => {}
            (b'\\', Some(_)) => {
                kept.push(byte);
                kept.extend(bytes.next());
            }
            _ => kept.push(byte),
        }
    }
    kept
}

fn units(bytes: &[u8]) -> Vec<Unit> {
    let mut units = Vec::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        units.extend(chunk.valid().chars().map(Unit::from));
        let strays = chunk.invalid().iter();
        units.extend(strays.map(|&byte| BEHIND_CHARACTERS + Unit::from(byte)));
    }
    units
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use globset::GlobBuilder;
    use proptest::prelude::*;

    use super::*;

    fn fits(pattern: &str, name: &str) -> bool {
        Pattern::new(pattern.as_bytes()).matches(name.as_bytes())
    }

    #[test]
    fn wildcards_mean_what_they_mean_in_a_shell() {
        for (pattern, name) in [
            ("*", "a"),
            ("*.txt", "a.txt"),
            ("a*c*e", "abcde"),
            ("?", "é"),
            ("[a-c]x", "bx"),
            ("[!a-c]x", "dx"),
            ("[^a]", "b"),
            ("[]]", "]"),
            ("[a-]", "-"),
            (r"[\]]", "]"),
            ("[é]", "é"),
            ("[", "["),
            ("a[b", "a[b"),
            (r"\*", "*"),
            (".*", ".hidden"),
            ("", ""),
        ] {
            assert!(fits(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("*", ".hidden"),
            ("?hidden", ".hidden"),
            ("[.]hidden", ".hidden"),
            ("*.txt", "a.txt.gz"),
            ("?", "ab"),
            ("?", ""),
            ("[a-c]", "d"),
            ("[!a]", "a"),
            (r"\*", "a"),
            ("a", "b"),
        ] {
            assert!(!fits(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn bytes_outside_utf_8_are_matched_one_by_one() {
        assert!(Pattern::new(b"caf?.txt").matches(b"caf\xe9.txt"));
        assert!(Pattern::new(b"caf\xe9*").matches(b"caf\xe9.txt"));
        assert!(!Pattern::new(b"caf\xe9*").matches("café.txt".as_bytes()));
        assert_eq!(Pattern::new(b"\xe9\\*").literal(), Some(b"\xe9*".to_vec()));
    }

    #[test]
    fn a_backslash_in_the_midst_of_a_character_means_nothing() {
        for pattern in [
            "é".as_bytes(),
            b"\xc3\\\xa9",
            b"\\\xc3\\\xa9",
            b"[\xc3\\\xa9]",
            b"[x-\\\xc3\xa9]",
        ] {
            assert!(Pattern::new(pattern).matches("é".as_bytes()), "{pattern:?}");
        }
        let escaped = Pattern::new(b"\\\\\\\xc3");
        assert_eq!(escaped.literal(), Some(b"\\\xc3".to_vec()));
    }

    #[test]
    fn paths_without_wildcards_are_recognised() {
        assert!(has_wildcards(b"a/*/b"));
        assert!(!has_wildcards(br"a/\*/b"));
        assert_eq!(unescaped(br"/a/\*/b/"), b"/a/*/b/");
    }

    #[test]
    fn no_pattern_is_slow() {
        let pattern = Pattern::new(&[b"a*".repeat(100).as_slice(), b"b"].concat());
        let start = Instant::now();
        assert!(!pattern.matches(&b"a".repeat(255)));
        let open = b"[".repeat(1 << 16);
        assert_eq!(Pattern::new(&open).literal(), Some(open));
        assert!(start.elapsed() < Duration::from_secs(1));
    }

    /// Slow and obvious.
    fn reference(tokens: &[Token], name: &[Unit]) -> bool {
        match tokens.split_first() {
            None => name.is_empty(),
            Some((Token::AnyMany, rest)) => {
                (0..=name.len()).any(|taken| reference(rest, &name[taken..]))
            }
            Some((token, rest)) => name
                .split_first()
                .is_some_and(|(&unit, behind)| token.takes(unit) && reference(rest, behind)),
        }
    }

    proptest! {
        #[test]
        fn matching_is_what_the_slow_way_says(pattern in "[ab*?\\[\\]!-]{0,10}", name in "[ab-]{0,10}") {
            let tokens = Pattern::new(pattern.as_bytes()).tokens;
            let units = units(name.as_bytes());
            prop_assert_eq!(matches(&tokens, &units), reference(&tokens, &units));
        }

        #[test]
        fn globset_agrees(pattern in "[ab*?]{0,8}(\\[!?[a-c]{1,3}\\])?[ab*?]{0,4}", name in "[a-d]{0,12}") {
            // A second `*` beside the first would mean folders to globset.
            prop_assume!(!pattern.contains("**"));
            let theirs = GlobBuilder::new(&pattern).literal_separator(true).build().unwrap();
            prop_assert_eq!(fits(&pattern, &name), theirs.compile_matcher().is_match(&name));
        }

        #[test]
        fn a_quoted_name_matches_itself(name: Vec<u8>) {
            let quoted = crate::words::Word::quoted(&name);
            let pattern = Pattern::new(quoted.pattern());
            prop_assert!(pattern.matches(&name));
            prop_assert_eq!(pattern.literal(), Some(name));
        }
    }
}
