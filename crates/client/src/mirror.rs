//! Making one tree equal to another: both are listed, a pure step plans the changes, only what differs moves, and what is
//! too many is removed when all else has succeeded.

use std::path::PathBuf;
use std::time::Instant;

use protocol::{EntryKind, ErrorCode, RemotePath};

use crate::folder::Folder;
use crate::mirror_plan::{Changes, plan};
use crate::mirror_tree::{Tree, local_tree};
use crate::mirror_work::Work;
use crate::notice::Notice;
use crate::{Client, ClientError, Result, Transferred};

/// Two trees, one of which is to become equal to the other.
#[derive(Clone, Debug)]
pub struct Mirror<'a> {
    /// The folder in the storage.
    pub remote: RemotePath,
    /// The local folder.
    pub local: PathBuf,
    /// Which of the two changes; it is made where it is not there.
    pub target: Side,
    /// What is to become equal.
    pub rules: MirrorRules<'a>,
}

/// One end of a mirror.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The folder on this machine.
    Local,
    /// The folder in the storage.
    Remote,
}

/// How far equality goes.
#[derive(Clone, Copy)]
pub struct MirrorRules<'a> {
    /// What two files that are the same have in common.
    pub comparison: Comparison,
    /// Whether what the source does not have is removed, and what is of another kind makes way.
    pub delete: bool,
    /// Whether a file that is newer at the target stays.
    pub update: bool,
    /// Whether nothing is changed, and the changes only told.
    pub dry_run: bool,
    /// Whether a path below the roots takes part at all. What is in a folder that does not takes none either: it is
    /// neither moved nor removed.
    pub includes: &'a (dyn Fn(&[u8], EntryKind) -> bool + Sync),
}

/// When two files are taken for the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// Same size and modification time. Where only the time differs, the digests decide, and if they are the same the
    /// time is set.
    SizeAndTime,
    /// Same size and digest, each computed from the content as it is now.
    Content,
}

/// One change, as it ended or would be made.
#[derive(Debug)]
pub struct MirrorItem {
    /// What is changed.
    pub change: Change,
    /// The remote name.
    pub remote: RemotePath,
    /// The local name.
    pub local: PathBuf,
    /// How it ended.
    pub result: Result<Outcome>,
}

/// What a mirror does to a name of the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A folder is made.
    Make,
    /// A file's content is moved, so many bytes.
    Move(u64),
    /// A file's modification time is set: the content is the same.
    SetTime,
    /// A file, link or empty folder is removed.
    Remove(EntryKind),
}

/// How a change ended well.
#[derive(Debug)]
pub enum Outcome {
    /// It would be made, were this no dry run.
    Planned,
    /// It is made.
    Done,
    /// The content is there.
    Moved(Transferred),
}

/// What all came to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct MirrorSummary {
    /// Files whose content moved, or would move.
    pub files: u64,
    /// Bytes that moved, or would move.
    pub bytes: u64,
    /// Names removed, or to be removed.
    pub removed: u64,
    /// Files that were the same.
    pub unchanged: u64,
    /// Files of the same content whose time was, or would be, set.
    pub times_set: u64,
    /// Files that stay because the target's is newer.
    pub newer: u64,
    /// Names that failed.
    pub failed: u64,
    /// How long it took.
    pub seconds: f64,
}

impl std::fmt::Debug for MirrorRules<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("MirrorRules")
            .field("comparison", &self.comparison)
            .field("delete", &self.delete)
            .field("update", &self.update)
            .field("dry_run", &self.dry_run)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Makes one tree equal to another. Each change is given to `told` as it ends; one that fails does not hold the others
    /// up, but then nothing is removed. Symbolic links, special files and the suite's own files are skipped with a
    /// [`Notice::Skipped`].
    ///
    /// # Errors
    /// Where nothing can go on: one of the roots cannot be listed, the local disk is full, all slaves are lost, an
    /// interrupt.
    pub fn mirror(
        &mut self,
        request: &Mirror<'_>,
        told: &mut (dyn FnMut(MirrorItem) + Send),
    ) -> Result<MirrorSummary> {
        let started = Instant::now();
        let (local, remote) = self.both_trees(request)?;
        let (source, target) = match request.target {
            Side::Local => (&remote, &local),
            Side::Remote => (&local, &remote),
        };
        let mut changes = plan(source, target, &request.rules);
        self.tell_left_alone(request, &changes);
        let mut work = Work {
            client: self,
            request,
            source,
            target,
            told,
            summary: MirrorSummary {
                unchanged: changes.unchanged,
                newer: changes.newer,
                ..MirrorSummary::default()
            },
        };
        for (path, error) in std::mem::take(&mut changes.failed) {
            work.fail(&path, error)?;
        }
        let times = work.settle(&mut changes)?;
        if request.rules.dry_run {
            work.rehearse(&changes, &times)?;
        } else {
            work.carry_out(changes, times)?;
            // Whoever put it there may not have lived to make that durable.
            match request.target {
                Side::Remote if work.summary.unchanged + work.summary.times_set > 0 => {
                    work.client.sync()?;
                }
                Side::Local if work.summary.unchanged > 0 => {
                    Folder::open(&request.local)?.flush_file_system()?;
                }
                Side::Local | Side::Remote => {}
            }
        }
        Ok(MirrorSummary {
            seconds: started.elapsed().as_secs_f64(),
            ..work.summary
        })
    }

    /// Both trees, listed at the same time; a target that is not there is empty.
    fn both_trees(&mut self, request: &Mirror<'_>) -> Result<(Tree, Tree)> {
        let context = self.context.clone();
        let (path, target) = (&request.local, request.target);
        let list_local = || match Folder::open(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && target == Side::Local => {
                Ok(Tree::default())
            }
            opened => local_tree(&opened?, &context),
        };
        std::thread::scope(|scope| {
            let listing = std::thread::Builder::new()
                .name("list".to_owned())
                .spawn_scoped(scope, list_local)?;
            let remote = match self.remote_tree(&request.remote) {
                Err(error) if error.is(ErrorCode::NotFound) && target == Side::Remote => {
                    Ok(Tree::default())
                }
                listed => listed,
            };
            let local = listing
                .join()
                .map_err(|_| ClientError::from(std::io::Error::other("the listing failed")))?;
            Ok((local?, remote?))
        })
    }

    fn tell_left_alone(&self, request: &Mirror<'_>, changes: &Changes) {
        for (path, why) in &changes.skipped {
            self.context.notice(&Notice::Skipped {
                name: request.source_name(path),
                why: (*why).to_owned(),
            });
        }
        for path in &changes.kept {
            self.context.notice(&Notice::Kept {
                name: request.target_name(path),
                why: "the source could not be looked into there".to_owned(),
            });
        }
    }
}
