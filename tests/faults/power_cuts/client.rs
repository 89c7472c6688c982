//! A client that stores, moves and removes what its seed draws, and keeps a ledger of it.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use super::ledger::{Ledger, Names, beneath};
use crate::harness::{Choices, Client, Finished, Node, digest_of, random_bytes, write_file};

/// In the folder that all of them share, each one's names begin with its own.
pub(super) const SHARED: &str = "shared";

/// Lengths of contents: none, within one request, just beyond, and several frames.
const LENGTHS: [u64; 6] = [0, 100, 5_000, 60_000, 300_000, 1_200_000];

/// More names than that, and it is time to remove some.
const MANY: usize = 60;

/// One who asks.
pub(super) struct Keeper {
    pub(super) ledger: Ledger,
    name: String,
    client: Client,
    choices: Choices,
    /// The upload of a file that was cut off.
    cut_off: Option<(PathBuf, Node)>,
}

/// How one deed ended.
pub(super) enum End {
    Acknowledged(&'static str),
    Refused(String),
}

/// One thing to be done.
struct Deed {
    kind: &'static str,
    words: &'static [&'static str],
    /// Whether it is done as a whole or not at all.
    as_a_whole: bool,
}

impl Deed {
    const fn whole(kind: &'static str, words: &'static [&'static str]) -> Self {
        Self {
            kind,
            words,
            as_a_whole: true,
        }
    }

    const fn piecemeal(kind: &'static str, words: &'static [&'static str]) -> Self {
        Self {
            kind,
            words,
            as_a_whole: false,
        }
    }
}

impl Keeper {
    pub(super) fn new(number: usize, seed: u64, host: &str) -> Self {
        // One that has lost its slave has lost it: what it would do then is asked for anew.
        let client = Client::new(host).options(["--retries", "0", "--timeout", "5"]);
        Self {
            ledger: Ledger::default(),
            name: format!("c{number}"),
            client,
            choices: Choices(seed),
            cut_off: None,
        }
    }

    /// Whether a name is this one's.
    pub(super) fn owns(&self, name: &Path) -> bool {
        let shared = name.strip_prefix(SHARED).ok();
        let lead = format!("{}.", self.name);
        let is_shared = |name: &Path| name.to_string_lossy().starts_with(&lead);
        name.starts_with(&self.name) || shared.is_some_and(is_shared)
    }

    /// Has one thing done.
    pub(super) fn act(&mut self) -> End {
        match self.choices.below(100) {
            _ if self.cut_off.is_some() => self.put(),
            _ if self.ledger.names().len() > MANY => self.remove_tree(),
            0..40 => self.put(),
            40..55 => self.put_tree(),
            55..65 => self.make_folder(),
            65..80 => self.rename(),
            80..92 => self.remove(),
            _ => self.remove_tree(),
        }
    }

    fn put(&mut self) -> End {
        let (target, node) = match self.cut_off.take() {
            Some(again) => again,
            None => self.new_content(),
        };
        let mut done = self.ledger.names().clone();
        let (local, remote) = (self.client.path("upload"), absolute(&target));
        let taken = done.insert(target.clone(), node.clone());
        // Only what replaces nothing goes on where it was cut off.
        let deed = match taken {
            Some(_) => Deed::whole("file", &["put", "-f"]),
            None => Deed::whole("file", &["put"]),
        };
        let end = self.ask(&deed, &[local, remote], done);
        if let End::Refused(_) = end {
            self.cut_off = Some((target, node));
        }
        end
    }

    /// Something to be stored, and where.
    fn new_content(&mut self) -> (PathBuf, Node) {
        let target = match self.choices.below(3) {
            0 => self.file(),
            _ => None,
        };
        let target = target.unwrap_or_else(|| self.free_name());
        let length = self.choices.one_of(&LENGTHS);
        let length = length + self.choices.below(length / 2 + 1);
        let content = random_bytes(self.choices.next(), length as usize);
        self.client.write("upload", &content);
        (target, Node::File(digest_of(&content)))
    }

    fn put_tree(&mut self) -> End {
        let top = self.folder().unwrap_or_else(|| self.own_folder());
        let name = format!("t{}", self.choices.below(3));
        let top = top.join(&name);
        let local = self.client.path(name);
        fs::remove_dir_all(&local).ok();
        fs::create_dir(&local).unwrap();
        let mut done = self.with_folders(&top);
        // Few are flushed one by one, many together.
        for number in 0..self.choices.one_of(&[2, 6, 20, 40]) {
            let folder = top.join(self.choices.one_of(&["", "x", "y/z"]));
            let name = folder.join(format!("f{number}"));
            let length = self.choices.one_of(&[0, 10, 3_000, 70_000]);
            let content = random_bytes(self.choices.next(), length);
            write_file(&local.join(name.strip_prefix(&top).unwrap()), &content);
            done.extend(folders_of(&folder));
            done.insert(name, Node::File(digest_of(&content)));
        }
        let deed = Deed::piecemeal("tree", &["put", "-r", "-f"]);
        // A folder that is there already is where it goes, not what it becomes.
        let target = match self.ledger.names().contains_key(&top) {
            true => top.parent().unwrap(),
            false => &top,
        };
        self.ask(&deed, &[local, absolute(target)], done)
    }

    fn make_folder(&mut self) -> End {
        let above = self.folder().unwrap_or_else(|| self.own_folder());
        let path = match self.choices.below(2) {
            0 => above.join(format!("d{}", self.choices.below(4))),
            _ => above.join(format!("d{}/e", self.choices.below(4))),
        };
        let done = self.with_folders(&path);
        let deed = Deed::piecemeal("folder", &["mkdir", "-p"]);
        self.ask(&deed, &[absolute(&path)], done)
    }

    fn rename(&mut self) -> End {
        let from = match self.choices.below(4) {
            0 => self.folder().filter(|folder| *folder != self.own_folder()),
            _ => self.file(),
        };
        let Some(from) = from else {
            return self.put();
        };
        let is_file = matches!(self.ledger.names()[&from], Node::File(_));
        let to = match self.file() {
            Some(taken) if is_file && self.choices.below(2) == 0 => taken,
            _ => self.free_name(),
        };
        if to == from || to.starts_with(&from) {
            return self.put();
        }
        let mut done = self.ledger.names().clone();
        for (name, node) in beneath(self.ledger.names(), &from) {
            done.remove(name);
            let below = name.strip_prefix(&from).unwrap();
            let name = match below.as_os_str().is_empty() {
                true => to.clone(),
                false => to.join(below),
            };
            done.insert(name, node.clone());
        }
        let deed = Deed::whole("rename", &["mv"]);
        self.ask(&deed, &[absolute(&from), absolute(&to)], done)
    }

    fn remove(&mut self) -> End {
        let Some(file) = self.file() else {
            return self.put();
        };
        let mut done = self.ledger.names().clone();
        done.remove(&file);
        let deed = Deed::whole("removal", &["rm"]);
        self.ask(&deed, &[absolute(&file)], done)
    }

    fn remove_tree(&mut self) -> End {
        let Some(top) = self.folder() else {
            return self.put();
        };
        let mut done = self.ledger.names().clone();
        done.retain(|name, _| !name.starts_with(&top));
        let deed = Deed::piecemeal("removal of a folder", &["rm", "-r"]);
        self.ask(&deed, &[absolute(&top)], done)
    }

    /// Has the client do it, and takes down what comes of it.
    fn ask(&mut self, deed: &Deed, paths: &[PathBuf], done: Names) -> End {
        let words = deed.words.iter().map(OsString::from);
        let paths = paths.iter().map(|path| path.clone().into_os_string());
        let command: Vec<OsString> = words.chain(paths).collect();
        self.ledger
            .ask(format!("{command:?}"), done, deed.as_a_whole);
        let Finished { code, stderr, .. } = self.client.run(command);
        match code {
            0 => {
                self.ledger.acknowledge();
                End::Acknowledged(deed.kind)
            }
            _ => End::Refused(format!("{}: {stderr}", deed.kind)),
        }
    }

    fn own_folder(&self) -> PathBuf {
        PathBuf::from(&self.name)
    }

    /// A name that nothing has yet, in a folder that is there or in the shared one.
    fn free_name(&mut self) -> PathBuf {
        let number = self.choices.next() % 100_000;
        match self.folder() {
            Some(folder) if self.choices.below(3) > 0 => folder.join(format!("n{number}")),
            _ => Path::new(SHARED).join(format!("{}.n{number}", self.name)),
        }
    }

    fn file(&mut self) -> Option<PathBuf> {
        self.one(|node| matches!(node, Node::File(_)))
    }

    fn folder(&mut self) -> Option<PathBuf> {
        self.one(|node| *node == Node::Folder)
    }

    fn one(&mut self, is_meant: impl Fn(&Node) -> bool) -> Option<PathBuf> {
        let names = self.ledger.names().iter();
        let names: Vec<&PathBuf> = names
            .filter(|(_, node)| is_meant(node))
            .map(|(name, _)| name)
            .collect();
        (!names.is_empty()).then(|| self.choices.one_of(&names).clone())
    }

    /// What is there, with that folder and those above it.
    fn with_folders(&self, folder: &Path) -> Names {
        let mut names = self.ledger.names().clone();
        names.extend(folders_of(folder));
        names
    }
}

fn folders_of(folder: &Path) -> impl Iterator<Item = (PathBuf, Node)> {
    let folders = folder.ancestors();
    folders
        .filter(|folder| !folder.as_os_str().is_empty() && *folder != Path::new(SHARED))
        .map(|folder| (folder.to_owned(), Node::Folder))
}

/// As the slave knows it.
fn absolute(name: &Path) -> PathBuf {
    Path::new("/").join(name)
}
