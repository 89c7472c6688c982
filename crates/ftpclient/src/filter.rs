//! `--include` and `--exclude`: which paths of a tree take part. The first rule that matches decides, as in rsync; a path
//! that none matches takes part.

use protocol::EntryKind;
use thiserror::Error;

use crate::glob::Pattern;
use crate::words::Word;

/// The rules, in the order in which they were typed.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    rules: Vec<Rule>,
}

/// What becomes of the paths that match a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// They take part.
    Include,
    /// They do not.
    Exclude,
}

/// A rule that no path can match.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "no name can match '{}'; write NAME, NAME/ for folders, /PATH from the top, ** for any depth",
    cli::name(word)
)]
pub struct NoSuchName {
    /// As it was typed.
    word: Vec<u8>,
}

#[derive(Clone, Debug)]
struct Rule {
    fate: Fate,
    only_folders: bool,
    steps: Vec<Step>,
}

/// What a rule wants of a path, from left to right.
#[derive(Clone, Debug)]
enum Step {
    /// One component.
    Component(Pattern),
    /// Any number of them, none too.
    AnyDepth,
}

impl Filter {
    /// Adds a rule behind the others. Its word is always a pattern: quotes only keep it together, as in a shell, and a backslash
    /// protects a wildcard.
    ///
    /// # Errors
    /// No path can match it.
    pub fn add(&mut self, fate: Fate, word: &Word) -> Result<(), NoSuchName> {
        let pattern = word.literal();
        let (pattern, only_folders) = match pattern.strip_suffix(b"/") {
            Some(pattern) => (pattern, true),
            None => (pattern, false),
        };
        let (pattern, is_anchored) = match pattern.strip_prefix(b"/") {
            Some(pattern) => (pattern, true),
            None => (pattern, false),
        };
        if pattern.split(|&byte| byte == b'/').any(<[u8]>::is_empty) {
            return Err(NoSuchName {
                word: word.literal().to_vec(),
            });
        }
        let mut steps = Vec::new();
        if !is_anchored {
            steps.push(Step::AnyDepth);
        }
        for component in pattern.split(|&byte| byte == b'/') {
            steps.push(if component == b"**" {
                Step::AnyDepth
            } else {
                Step::Component(Pattern::new(component))
            });
        }
        if pattern.ends_with(b"/**") || pattern == b"**" {
            // What is in the folder, not the folder itself.
            steps.push(Step::Component(Pattern::new(b"*")));
        }
        self.rules.push(Rule {
            fate,
            only_folders,
            steps,
        });
        Ok(())
    }

    /// Whether a path below the root takes part, as far as its own name tells.
    #[must_use]
    pub fn includes(&self, path: &[u8], kind: EntryKind) -> bool {
        let components: Vec<&[u8]> = path.split(|&byte| byte == b'/').collect();
        let decisive = self.rules.iter().find(|rule| {
            (kind == EntryKind::Directory || !rule.only_folders)
                && matches(&rule.steps, &components)
        });
        decisive.is_none_or(|rule| rule.fate == Fate::Include)
    }
}

/// Goes back to the last [`Step::AnyDepth`] only: what an earlier one could take, that one can take as well.
fn matches(steps: &[Step], path: &[&[u8]]) -> bool {
    let (mut step, mut component) = (0, 0);
    let mut any_depth = None;
    loop {
        let fits = match (steps.get(step), path.get(component)) {
            (None, None) => return true,
            (Some(Step::AnyDepth), _) => {
                step += 1;
                any_depth = Some((step, component));
                continue;
            }
            (Some(Step::Component(pattern)), Some(name)) => pattern.covers(name),
            _ => false,
        };
        if fits {
            step += 1;
            component += 1;
            continue;
        }
        match &mut any_depth {
            Some((behind, taken)) if *taken < path.len() => {
                *taken += 1;
                (step, component) = (*behind, *taken);
            }
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words;

    fn filter(rules: &str) -> Filter {
        let mut filter = Filter::default();
        for rule in rules.split_whitespace() {
            let (fate, pattern) = rule.split_at(1);
            let fate = match fate {
                "+" => Fate::Include,
                _ => Fate::Exclude,
            };
            let word = Word::typed(std::ffi::OsStr::new(pattern));
            filter.add(fate, &word).unwrap();
        }
        filter
    }

    /// A path that ends in `/` is a folder.
    fn includes(rules: &str, path: &str) -> bool {
        let (path, kind) = match path.strip_suffix('/') {
            Some(path) => (path, EntryKind::Directory),
            None => (path, EntryKind::File),
        };
        filter(rules).includes(path.as_bytes(), kind)
    }

    #[test]
    fn patterns_match_names_ends_of_paths_or_whole_paths() {
        for (rule, excluded, included) in [
            ("-*.o", "a.o d/a.o d/.o d.o/", "a.c a.o/b a.oo"),
            ("-.*", ".a d/.a", "a.b"),
            ("-/a", "a a/", "b/a a/b"),
            ("-a/", "a/ b/a/", "a b/a"),
            ("-a/b", "a/b c/a/b", "b a/c/b a/b/c"),
            ("-/a/*", "a/b a/.b", "a a/b/c b/a/c"),
            ("-a/**", "a/b a/b/c d/a/b", "a a/ b"),
            ("-/a/**/z", "a/z a/b/z a/b/c/z", "z b/a/z"),
            ("-**/z", "z a/z", "z/a"),
            ("-**", "a a/b", ""),
            ("-*", "a .a a/", ""),
            ("-[a-c]?", "ax d/bx/", "dx a axx"),
        ] {
            for path in excluded.split_whitespace() {
                assert!(!includes(rule, path), "{rule} {path}");
            }
            for path in included.split_whitespace() {
                assert!(includes(rule, path), "{rule} {path}");
            }
        }
    }

    #[test]
    fn the_first_rule_that_matches_decides() {
        assert!(includes("", "a"));
        for (rules, path, expected) in [
            ("+keep.o -*.o", "keep.o", true),
            ("+keep.o -*.o", "a.o", false),
            ("-*.o +keep.o", "keep.o", false),
            ("+*/ +*.txt -*", "d/", true),
            ("+*/ +*.txt -*", "d/a.txt", true),
            ("+*/ +*.txt -*", "d/a.bin", false),
            // Alone it leaves nothing out, as in rsync.
            ("+*.txt", "a.bin", true),
        ] {
            assert_eq!(includes(rules, path), expected, "{rules} {path}");
        }
    }

    #[test]
    fn names_need_not_be_text_and_only_a_backslash_protects() {
        for (typed, is_pattern) in [
            (b"caf\xe9*".as_slice(), true),
            (b"'caf\xe9*'", true),
            (b"\"caf\xe9\"'*'", true),
            (b"'caf\xe9\\*'", false),
            (b"caf\xe9\\\\*", false),
        ] {
            let commands = words::split(typed).unwrap();
            let mut filter = Filter::default();
            filter.add(Fate::Exclude, &commands[0][0]).unwrap();
            let includes = |name: &[u8]| filter.includes(name, EntryKind::File);
            assert!(!includes(b"d/caf\xe9*"), "{typed:?}");
            assert_eq!(includes(b"caf\xe9s"), !is_pattern, "{typed:?}");
        }
    }

    #[test]
    fn what_can_match_nothing_is_refused() {
        for pattern in ["", "/", "a//b", "//a", "a//"] {
            let word = Word::typed(std::ffi::OsStr::new(pattern));
            let mut filter = Filter::default();
            assert!(filter.add(Fate::Exclude, &word).is_err(), "{pattern}");
        }
    }

    #[test]
    fn no_rule_is_slow() {
        let rule = format!("-{}b", "**/a*/".repeat(50));
        let path = "a/".repeat(200);
        let start = std::time::Instant::now();
        assert!(includes(&rule, &format!("{path}c")));
        assert!(start.elapsed() < std::time::Duration::from_secs(1));
    }
}
