//! The files that a mirror moves, either way.

use protocol::{Condition, Entry};

use crate::backlog::Layout;
use crate::folder::Folder;
use crate::mirror::{Change, MirrorItem, Outcome};
use crate::mirror_work::Work;
use crate::tree_download::Incoming;
use crate::tree_outgoing::Outgoing;
use crate::tree_report::TreeReport;
use crate::tree_spread::Large;
use crate::tree_upload::LARGE;
use crate::{Client, Conflict, Download, Result, TreeItem};

impl Work<'_> {
    pub(crate) fn fetch(&mut self, folders: &[Vec<u8>], files: &[Vec<u8>]) -> Result<()> {
        // The folder itself is made even if there is nothing to put into it.
        Folder::open_or_make(&self.request.local)?;
        if folders.is_empty() && files.is_empty() {
            return Ok(());
        }
        let download = Download {
            remote: self.request.remote.clone(),
            local: self.request.local.clone(),
            conflict: Conflict::Replace,
        };
        let mut entries = Vec::new();
        for path in folders.iter().chain(files) {
            let Some(entry) = self.source.names.get(path) else {
                continue;
            };
            match self.request.remote(path) {
                Ok(remote) => entries.push((entry, path, remote)),
                Err(error) => self.fail(path, error)?,
            }
        }
        self.transfer(|client, report| {
            let tree = Incoming::new(&download, Layout::Tree, report);
            let recruits = client.recruits(false)?;
            client.fetch_tree(&tree, recruits, |_, added| {
                for (entry, path, remote) in entries {
                    let name = path.clone();
                    let entry = Entry {
                        name,
                        ..entry.clone()
                    };
                    added(tree.add(entry, remote)?);
                }
                Ok(())
            })
        })
    }

    pub(crate) fn send(&mut self, folders: &[Vec<u8>], files: &[Vec<u8>]) -> Result<()> {
        let mut made = Vec::new();
        // The folder itself is made even if there is nothing to put into it, but not asked for where it is there.
        if self.target.names.is_empty() {
            made.push((self.request.remote.clone(), self.request.local.clone()));
        }
        for path in folders {
            match self.request.remote(path) {
                Ok(remote) => made.push((remote, self.request.local(path))),
                Err(error) => self.fail(path, error)?,
            }
        }
        let (mut small, mut large) = (Vec::new(), Vec::new());
        for path in files {
            let remote = match self.request.remote(path) {
                Ok(remote) => remote,
                Err(error) => {
                    self.fail(path, error)?;
                    continue;
                }
            };
            let local = self.request.local(path);
            // Replacing takes more rights than storing.
            let (condition, conflict) = if self.target.names.contains_key(path) {
                (Condition::Any, Conflict::Replace)
            } else {
                (Condition::Absent, Conflict::Refuse)
            };
            let size = self.source.names.get(path).map_or(0, |entry| entry.size);
            if size > LARGE {
                large.push(Large {
                    local,
                    remote,
                    conflict,
                });
            } else {
                let file = Outgoing::file(local, remote, condition);
                small.push(file.of_size(size));
            }
        }
        if made.is_empty() && small.is_empty() && large.is_empty() {
            return Ok(());
        }
        self.transfer(|client, report| {
            client.send_all(report, |outlet| {
                let folders = made.len();
                for (number, (remote, local)) in made.into_iter().enumerate() {
                    outlet.folder(number, remote, local)?;
                }
                large.into_iter().for_each(|file| outlet.large(file));
                small
                    .into_iter()
                    .try_for_each(|file| outlet.file(folders, file))
            })
        })
    }

    /// Runs a transfer of many files, and tells how each ended.
    fn transfer(
        &mut self,
        run: impl FnOnce(&mut Client, &TreeReport<'_>) -> Result<()>,
    ) -> Result<()> {
        let Self {
            client,
            told,
            summary,
            ..
        } = self;
        run(
            client,
            &TreeReport::new(&mut |item: TreeItem| {
                let change = Change::Move(item.result.as_ref().map_or(0, |moved| moved.bytes));
                let result = item.result.map(Outcome::Moved);
                summary.count(change, &result);
                told(MirrorItem {
                    change,
                    remote: item.remote,
                    local: item.local,
                    result,
                });
            }),
        )
    }
}
