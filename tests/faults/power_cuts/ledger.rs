//! What one client was told, and what that lets be on the disk.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::harness::Node;

/// What stands at each name.
pub(super) type Names = BTreeMap<PathBuf, Node>;

/// Everything that one client has had acknowledged, and what it has asked for without an answer.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    acknowledged: Names,
    asked: Option<Asked>,
}

/// What was asked for and not acknowledged.
#[derive(Debug)]
struct Asked {
    deed: String,
    /// What would stand at each name if it was done.
    done: Names,
    /// Whether it is done as a whole or not at all; otherwise that holds for each name.
    as_a_whole: bool,
}

impl Ledger {
    pub(super) const fn names(&self) -> &Names {
        &self.acknowledged
    }

    /// Takes down what is asked for, before it is.
    pub(super) fn ask(&mut self, deed: String, done: Names, as_a_whole: bool) {
        self.asked = Some(Asked {
            deed,
            done,
            as_a_whole,
        });
    }

    /// What was asked for is acknowledged.
    pub(super) fn acknowledge(&mut self) {
        if let Some(asked) = self.asked.take() {
            self.acknowledged = asked.done;
        }
    }

    /// Compares with what is on the disk, which counts from now on. Otherwise: what is lost, torn, or nobody's.
    pub(super) fn settle(&mut self, found: Names) -> Result<(), String> {
        let asked = self.asked.take();
        let done = asked
            .as_ref()
            .map_or(&self.acknowledged, |asked| &asked.done);
        let names: BTreeSet<&PathBuf> = [&self.acknowledged, done, &found]
            .into_iter()
            .flat_map(BTreeMap::keys)
            .collect();
        let wrong = names.into_iter().find(|name| {
            let node = found.get(*name);
            node != self.acknowledged.get(*name) && node != done.get(*name)
        });
        let deed = asked.as_ref().map_or("nothing", |asked| &asked.deed);
        if let Some(name) = wrong {
            return Err(format!(
                "'{}' was acknowledged as {:?}, then {deed} was asked for, which makes it {:?}; found is {:?}",
                name.display(),
                self.acknowledged.get(name),
                done.get(name),
                found.get(name)
            ));
        }
        let is_half = found != self.acknowledged && found != *done;
        if is_half && asked.as_ref().is_some_and(|asked| asked.as_a_whole) {
            return Err(format!("{deed} is done by halves: {found:?}"));
        }
        self.acknowledged = found;
        Ok(())
    }
}

/// The names of `names` at and beneath `top`.
pub(super) fn beneath<'a>(
    names: &'a Names,
    top: &'a Path,
) -> impl Iterator<Item = (&'a PathBuf, &'a Node)> {
    names.iter().filter(move |(name, _)| name.starts_with(top))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(pairs: &[(&str, &str)]) -> Names {
        let node = |(name, content): &(&str, &str)| {
            (PathBuf::from(name), Node::File((*content).to_owned()))
        };
        pairs.iter().map(node).collect()
    }

    fn asked(before: &[(&str, &str)], after: &[(&str, &str)], as_a_whole: bool) -> Ledger {
        let mut ledger = Ledger::default();
        ledger.ask("first".to_owned(), names(before), false);
        ledger.acknowledge();
        ledger.ask("second".to_owned(), names(after), as_a_whole);
        ledger
    }

    #[test]
    fn what_was_acknowledged_must_be_there_and_what_was_asked_may() {
        let (old, new) = ([("a", "1"), ("b", "1")], [("a", "2"), ("b", "2")]);
        for found in [&old, &new, &[("a", "1"), ("b", "2")]] {
            assert_eq!(asked(&old, &new, false).settle(names(found)), Ok(()));
        }
        for found in [
            &[("a", "1")][..],
            &[("a", "3"), ("b", "1")],
            &[("a", "1"), ("b", "1"), ("c", "1")],
        ] {
            assert!(asked(&old, &new, false).settle(names(found)).is_err());
        }
        let half = names(&[("a", "1"), ("b", "2")]);
        assert!(asked(&old, &new, true).settle(half).is_err());
        let mut done = asked(&old, &new, true);
        done.acknowledge();
        assert!(done.settle(names(&old)).is_err());
    }

    #[test]
    fn what_is_found_counts_from_then_on() {
        let mut ledger = asked(&[("a", "1")], &[("a", "2")], true);
        assert_eq!(ledger.settle(names(&[("a", "2")])), Ok(()));
        assert!(ledger.settle(names(&[("a", "1")])).is_err());
    }
}
