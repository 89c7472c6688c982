//! What of a tree waits to be sent: folders first, and each file as soon as its folder is there, through whichever slave.

use std::collections::{BTreeSet, VecDeque};

use crate::Result;
use crate::tree_desk::{Left, Supply};
use crate::tree_outgoing::Outgoing;

/// Folders and small files, in the order in which they were found: a folder behind the one that it is in.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    folders: VecDeque<Outgoing>,
    /// Each with the number of the last folder that must be there before.
    files: VecDeque<(usize, Outgoing)>,
    /// Of these files together.
    bytes: u64,
    /// Folders of which no slave has said what became of them.
    owed: BTreeSet<usize>,
}

impl Outbox {
    /// Adds a folder, to be known by that number: higher than that of the one it is in.
    pub(crate) fn add_folder(&mut self, number: usize, folder: Outgoing) {
        self.owed.insert(number);
        self.folders.push_back(folder);
    }

    /// Adds files that wait for the folders up to those numbers, which never fall.
    pub(crate) fn add_files(&mut self, files: impl IntoIterator<Item = (usize, Outgoing)>) {
        for (folder, file) in files {
            self.bytes += file.size();
            self.files.push_back((folder, file));
        }
    }

    /// A folder is there, or will not be: what goes into it may be sent, and is told why if it cannot be stored.
    pub(crate) fn settle_folder(&mut self, number: usize) {
        self.owed.remove(&number);
    }

    pub(crate) fn owes_folders(&self) -> bool {
        !self.owed.is_empty()
    }

    pub(crate) fn files(&self) -> usize {
        self.files.len()
    }

    fn may_send(&self, needed: usize) -> bool {
        self.owed.first().is_none_or(|&owed| owed > needed)
    }
}

impl Supply for Outbox {
    type Item = Outgoing;

    fn next(&mut self) -> Result<Option<Outgoing>> {
        if let Some(folder) = self.folders.pop_front() {
            return Ok(Some(folder));
        }
        if !self.is_ready() {
            return Ok(None);
        }
        let next = self.files.pop_front().map(|(_, file)| file);
        self.bytes -= next.as_ref().map_or(0, Outgoing::size);
        Ok(next)
    }

    fn left(&self) -> Left {
        Left {
            files: self.folders.len() + self.files.len(),
            bytes: self.bytes,
        }
    }

    fn is_ready(&self) -> bool {
        let next = self.files.front();
        !self.folders.is_empty() || next.is_some_and(|(needed, _)| self.may_send(*needed))
    }
}

#[cfg(test)]
mod tests {
    use protocol::{Condition, RemotePath};

    use super::*;

    fn folder(number: usize) -> Outgoing {
        Outgoing::Folder {
            number,
            remote: RemotePath::root(),
            local: format!("folder {number}").into(),
        }
    }

    fn file(name: &str) -> Outgoing {
        let root = RemotePath::root();
        Outgoing::file(name.into(), root, Condition::Any).of_size(10)
    }

    fn next(outbox: &mut Outbox) -> Option<String> {
        let local = match outbox.next().unwrap()? {
            Outgoing::Folder { local, .. } => local,
            Outgoing::File(job) => job.local.clone(),
        };
        Some(local.to_str().unwrap().to_owned())
    }

    #[test]
    fn a_file_waits_for_its_folder_and_for_no_later_one() {
        let mut outbox = Outbox::default();
        outbox.add_folder(0, folder(0));
        outbox.add_folder(1, folder(1));
        outbox.add_files([(0, file("a")), (1, file("b")), (1, file("c"))]);
        assert_eq!(next(&mut outbox).unwrap(), "folder 0");
        assert_eq!(next(&mut outbox).unwrap(), "folder 1");
        assert_eq!(next(&mut outbox), None);
        assert!(!outbox.is_ready());
        let left = outbox.left();
        assert_eq!((left.files, left.bytes), (3, 30));
        outbox.settle_folder(1);
        assert_eq!(next(&mut outbox), None, "folder 0 is not there yet");
        outbox.settle_folder(0);
        assert_eq!(next(&mut outbox).unwrap(), "a");
        outbox.add_folder(2, folder(2));
        outbox.add_files([(2, file("d"))]);
        assert_eq!(next(&mut outbox).unwrap(), "folder 2");
        assert_eq!(next(&mut outbox).unwrap(), "b");
        assert_eq!(next(&mut outbox).unwrap(), "c");
        assert_eq!(next(&mut outbox), None);
        assert!(outbox.owes_folders());
        outbox.settle_folder(2);
        assert_eq!(next(&mut outbox).unwrap(), "d");
        assert_eq!((outbox.left(), outbox.is_ready()), (Left::default(), false));
    }
}
