//! The operations that are swept, and what they may leave behind.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use super::site::{Site, is_part};
use crate::harness::{Node, random_bytes, tree, write_file};

/// One operation of a client.
pub(super) struct Deed {
    pub(super) name: &'static str,
    pub(super) words: &'static [&'static str],
    prepare: fn(&Site),
    /// Whether what it changes is the client's, not the slave's.
    pub(super) is_here: bool,
    /// What it does to the names there, whole where it takes one step.
    done: fn(&mut Names),
    is_whole: bool,
    /// Whether it can be done once alone: asked for again, it is refused.
    pub(super) is_once: bool,
}

type Names = BTreeMap<PathBuf, Node>;

/// More than fits into one write: sent as a stream.
const LARGE: usize = 300_000;

/// Enough for a thread that hashes it, and within TLS writes it. Still larger ones differ in the number of equal calls.
const VERY_LARGE: usize = 5_000_000;

fn content(number: u64) -> Vec<u8> {
    let length = match number {
        _ if number.is_multiple_of(100) => VERY_LARGE,
        _ if number.is_multiple_of(10) => LARGE,
        _ => 3_000,
    };
    random_bytes(number, length)
}

fn file(number: u64) -> Node {
    Node::File(crate::harness::digest_of(&content(number)))
}

/// So many files are flushed together, not one by one.
const FILES: RangeInclusive<u64> = 10..=20;

fn write_tree(folder: &Path) {
    for number in FILES {
        write_file(&folder.join(format!("f{number}")), &content(number));
    }
}

fn insert_tree(names: &mut Names) {
    names.insert("t".into(), Node::Folder);
    for number in FILES {
        names.insert(format!("t/f{number}").into(), file(number));
    }
}

pub(super) const DEEDS: [Deed; 12] = [
    Deed {
        name: "put",
        words: &["put", "-f", "a"],
        prepare: |site| {
            site.cluster.write("a", &content(20));
            site.client.write("a", &content(10));
        },
        is_here: false,
        done: |names| drop(names.insert("a".into(), file(10))),
        is_whole: true,
        is_once: false,
    },
    Deed {
        name: "put of a very large file",
        words: &["put", "-f", "a"],
        prepare: |site| {
            site.cluster.write("a", &content(200));
            site.client.write("a", &content(100));
        },
        is_here: false,
        done: |names| drop(names.insert("a".into(), file(100))),
        is_whole: true,
        is_once: false,
    },
    Deed {
        name: "put of a small file",
        words: &["put", "a"],
        prepare: |site| drop(site.client.write("a", &content(1))),
        is_here: false,
        done: |names| drop(names.insert("a".into(), file(1))),
        is_whole: true,
        is_once: false,
    },
    Deed {
        name: "put -r",
        words: &["put", "-r", "-f", "t"],
        prepare: |site| {
            write_tree(&site.client.path("t"));
            site.cluster.write("t/f11", &content(2));
        },
        is_here: false,
        done: insert_tree,
        is_whole: false,
        is_once: false,
    },
    Deed {
        name: "put -r of what is there",
        words: &["put", "-r", "t"],
        prepare: |site| {
            write_tree(&site.client.path("t"));
            write_tree(&site.cluster.path("t"));
        },
        is_here: false,
        done: |_| {},
        is_whole: true,
        is_once: false,
    },
    Deed {
        name: "get",
        words: &["get", "a"],
        prepare: |site| site.cluster.write("a", &content(10)),
        is_here: true,
        done: |names| drop(names.insert("a".into(), file(10))),
        is_whole: true,
        is_once: false,
    },
    Deed {
        name: "get of a very large file",
        words: &["get", "a"],
        prepare: |site| site.cluster.write("a", &content(100)),
        is_here: true,
        done: |names| drop(names.insert("a".into(), file(100))),
        is_whole: true,
        is_once: false,
    },
    Deed {
        name: "get -r",
        words: &["get", "-r", "t"],
        prepare: |site| write_tree(&site.cluster.path("t")),
        is_here: true,
        done: insert_tree,
        is_whole: false,
        is_once: false,
    },
    Deed {
        name: "mv",
        words: &["mv", "a", "d/b"],
        prepare: |site| {
            site.cluster.write("a", &content(1));
            site.cluster.write("d/b", &content(2));
        },
        is_here: false,
        done: |names| {
            names.remove(Path::new("a"));
            names.insert("d/b".into(), file(1));
        },
        is_whole: true,
        is_once: true,
    },
    Deed {
        name: "rm",
        words: &["rm", "a"],
        prepare: |site| site.cluster.write("a", &content(1)),
        is_here: false,
        done: |names| drop(names.remove(Path::new("a"))),
        is_whole: true,
        is_once: true,
    },
    Deed {
        name: "rm -r",
        words: &["rm", "-r", "t"],
        prepare: |site| {
            write_file(&site.cluster.path("t/u/a"), &content(1));
            write_file(&site.cluster.path("t/b"), &content(2));
        },
        is_here: false,
        done: BTreeMap::clear,
        is_whole: false,
        is_once: true,
    },
    Deed {
        name: "mkdir",
        words: &["mkdir", "-p", "a/b"],
        prepare: |_| {},
        is_here: false,
        done: |names| {
            names.insert("a".into(), Node::Folder);
            names.insert("a/b".into(), Node::Folder);
        },
        is_whole: false,
        is_once: false,
    },
];

/// What stood there before a deed, and will after it.
pub(super) struct Expected<'a> {
    deed: &'a Deed,
    before: Names,
    after: Names,
    /// What stands on the other side, before and after.
    spared: Names,
}

impl Deed {
    /// Makes the site ready for it.
    pub(super) fn prepare(&self, site: &Site) -> Expected<'_> {
        site.clear();
        (self.prepare)(site);
        let (before, spared) = self.names(site);
        let mut after = before.clone();
        (self.done)(&mut after);
        Expected {
            deed: self,
            before,
            after,
            spared,
        }
    }

    /// What is on the side that it changes, and on the other one; without the parts that a download may be gone on with.
    fn names(&self, site: &Site) -> (Names, Names) {
        let mut here = tree(&site.client.folder());
        here.retain(|name, _| !is_part(name));
        let there = tree(&site.cluster.root());
        match self.is_here {
            true => (here, there),
            false => (there, here),
        }
    }
}

impl Expected<'_> {
    /// Whether it is done, all of it.
    pub(super) fn is_done(&self, site: &Site) -> bool {
        let (found, spared) = self.deed.names(site);
        found == self.after && spared == self.spared
    }

    /// Whether what is there now is what a client that ends with that status may leave: all of it for one that ends well, for
    /// another one each name as it was or as it was to be.
    pub(super) fn is_met(&self, site: &Site, code: i32) -> Result<(), String> {
        let (found, spared) = self.deed.names(site);
        if spared != self.spared {
            return Err(format!("status {code}, and the other side has {spared:?}"));
        }
        if found == self.after || (code != 0 && found == self.before) {
            return Ok(());
        }
        let all = [&self.before, &self.after, &found];
        let is_either = all.into_iter().flat_map(BTreeMap::keys).all(|name| {
            let node = found.get(name);
            node == self.before.get(name) || node == self.after.get(name)
        });
        match code != 0 && is_either && !self.deed.is_whole {
            true => Ok(()),
            false => Err(format!("status {code}, and there is {found:?}")),
        }
    }
}
