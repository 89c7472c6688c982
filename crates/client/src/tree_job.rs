//! One small file of a tree that is fetched: under which name, or whether at all.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use protocol::{Digest, Entry, ErrorCode, RemotePath, Request, Version};
use rustix::fs::FileType;

use crate::commands::checksum;
use crate::content::digest_of;
use crate::context::Context;
use crate::draft::Draft;
use crate::folder::{Facts, Folder};
use crate::place::occupant;
use crate::tree_content::Target;
use crate::{ClientError, Conflict, Result};

/// A file of the tree.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) remote: RemotePath,
    /// Its path beneath the root of the tree.
    pub(crate) relative: PathBuf,
    pub(crate) size: u64,
    /// As the listing said; `None` once that has turned out to be the past.
    pub(crate) version: Option<Version>,
    pub(crate) digest: Option<Digest>,
    pub(crate) tries: u32,
    pub(crate) started: Instant,
    /// Whether it has been looked at what is there already.
    is_settled: bool,
}

/// What to do with a file next.
#[derive(Debug)]
pub(crate) enum Next {
    /// Its content is wanted.
    Fetch,
    /// A local file of the same size has this digest: the remote one is wanted, to compare.
    Compare(Digest),
    /// The same content is there.
    Same(Digest),
    /// Its name is taken: it is fetched later, alone, under another one that nothing else has, if not the same content has one.
    Later,
}

/// Looks at what is there already.
#[derive(Debug)]
pub(crate) struct Decider<'a> {
    context: Context,
    root: &'a Folder,
    conflict: Conflict,
    /// The folders entered last, the latest first.
    entered: Vec<Entered>,
}

/// Folders that are kept open: files are asked for in one while those of the one before still come.
const KEPT_OPEN: usize = 3;

/// A folder with files that are fetched.
#[derive(Debug)]
struct Entered {
    path: PathBuf,
    folder: Folder,
    /// Nothing was in it, so that no name has to be looked for. What others put there later is found when a file is to get
    /// its name, as it is behind a look.
    was_empty: bool,
}

impl Job {
    /// The remote file that is what `entry` says, and where it is put beneath the root.
    pub(crate) fn new((remote, relative): (RemotePath, PathBuf), entry: Entry) -> Self {
        Self {
            remote,
            relative,
            size: entry.size,
            version: entry.version,
            digest: entry.digest,
            tries: 0,
            started: Instant::now(),
            is_settled: false,
        }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.relative.parent().unwrap_or(Path::new(""))
    }

    /// Its name, there and here.
    pub(crate) fn name(&self) -> &OsStr {
        self.relative.file_name().unwrap_or_default()
    }

    /// Where it will be, beneath a root, as the person named that.
    pub(crate) fn local(&self, root: &Folder) -> PathBuf {
        root.path_of(self.relative.as_os_str())
    }

    pub(crate) fn retrieve(&self, verify: bool) -> Request {
        Request::Retrieve {
            path: self.remote.clone(),
            offset: 0,
            length: u64::MAX,
            expected: self.version.clone(),
            digest: verify,
        }
    }

    pub(crate) fn checksum(&self) -> Request {
        checksum(&self.remote)
    }
}

impl<'a> Decider<'a> {
    pub(crate) fn new(context: &Context, root: &'a Folder, conflict: Conflict) -> Self {
        Self {
            context: context.clone(),
            root,
            conflict,
            entered: Vec::new(),
        }
    }

    pub(crate) fn replaces(&self) -> bool {
        self.conflict.replaces()
    }

    /// The folder at `path`, one of the last few.
    fn enter(&mut self, path: &Path) -> io::Result<&Entered> {
        let is_it = |entered: &Entered| entered.path.as_os_str() == path.as_os_str();
        match self.entered.iter().position(is_it) {
            Some(place) => self
                .entered
                .get_mut(..=place)
                .unwrap_or_default()
                .rotate_right(1),
            None => {
                self.entered.truncate(KEPT_OPEN - 1);
                self.entered.insert(0, Entered::of(self.root, path)?);
            }
        }
        let entered = self.entered.first();
        entered.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Where the content of a file goes until it has its name.
    pub(crate) fn target(&mut self, job: &Job, mode: u16) -> Target<'_> {
        let Entered {
            folder, was_empty, ..
        } = self.enter(job.folder())?;
        let draft = Draft::open(folder, job.name(), (mode, *was_empty))?;
        Ok(draft.map(|draft| (draft, folder)))
    }

    /// What is to be done about a file whose name may be taken.
    pub(crate) fn decide(&mut self, job: &mut Job) -> Result<Next> {
        if job.is_settled {
            return Ok(Next::Fetch);
        }
        let replaces = self.replaces();
        let entered = self.enter(job.folder())?;
        let occupant = match entered.was_empty {
            true => None,
            false => occupant(&entered.folder, job.name())?,
        };
        let Some(facts) = occupant.filter(|_| !replaces) else {
            job.is_settled = true;
            return Ok(Next::Fetch);
        };
        if let Some(ours) = self.local_digest(job, &facts)? {
            match job.digest {
                None => return Ok(Next::Compare(ours)),
                Some(theirs) if theirs == ours => return Ok(Next::Same(ours)),
                Some(_) => {}
            }
        }
        self.taken().map(|()| Next::Later)
    }

    /// A name is taken by something else: an error, unless the file is to have another one.
    pub(crate) fn taken(&self) -> Result<()> {
        match self.conflict {
            Conflict::StoreBeside => Ok(()),
            _ => Err(ErrorCode::Exists.into()),
        }
    }

    /// The digest of a local file that may be the same; `None` for one that is not.
    fn local_digest(&mut self, job: &Job, facts: &Facts) -> Result<Option<Digest>> {
        if facts.kind != FileType::RegularFile || facts.size != job.size {
            return Ok(None);
        }
        let entered = self.enter(job.folder())?;
        let opened = entered.folder.open_to_read(job.name());
        match opened {
            Ok(file) => digest_of(&file, facts.size, &self.context).map(Some),
            Err(_) => Ok(None),
        }
    }
}

impl Entered {
    fn of(root: &Folder, path: &Path) -> io::Result<Self> {
        let folder = root.beneath(path)?;
        Ok(Self {
            path: path.to_owned(),
            // Where the folder does not say, names are looked for.
            was_empty: folder.is_empty().unwrap_or(false),
            folder,
        })
    }
}

/// Whether a file that failed so is worth another try.
pub(crate) fn is_worth_another_try(error: &ClientError) -> bool {
    error.is(ErrorCode::Changed) || error.is(ErrorCode::Corrupt)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Arc;

    use protocol::EntryKind;

    use super::*;
    use crate::{Interrupt, Options, Silent};

    fn job(name: &str) -> Job {
        let entry = Entry {
            name: name.as_bytes().to_vec(),
            kind: EntryKind::File,
            size: 3,
            modified_ns: 0,
            mode: 0o644,
            version: None,
            digest: None,
        };
        let remote = RemotePath::root().join_all(&entry.name).unwrap();
        Job::new((remote, name.into()), entry)
    }

    fn context() -> Context {
        Context::new(Options::default(), Arc::new(Silent), Interrupt::default())
    }

    #[test]
    fn a_name_in_the_way_is_seen_unless_the_folder_was_empty() {
        let directory = tempfile::tempdir().unwrap();
        let root = Folder::open(directory.path()).unwrap();
        root.make_beneath(Path::new("new/below"), 0o700).unwrap();
        fs::create_dir(directory.path().join("name")).unwrap();
        fs::write(directory.path().join("file"), "others").unwrap();
        let mut decider = Decider::new(&context(), &root, Conflict::Refuse);
        for taken in ["name", "new", "file"] {
            assert!(decider.decide(&mut job(taken)).is_err(), "{taken}");
        }
        for free in ["free", "new/below/name", "new/name"] {
            let next = decider.decide(&mut job(free)).unwrap();
            assert!(matches!(next, Next::Fetch), "{free}");
        }
        // What comes later is found when the name is given.
        fs::write(directory.path().join("new/below/name"), "theirs").unwrap();
        let late = job("new/below/name");
        assert!(decider.decide(&mut job("new/below/name")).is_ok());
        let (draft, folder) = decider.target(&late, 0o600).unwrap().unwrap();
        let error = draft.give_name(folder, late.name(), (0o600, false));
        assert_eq!(error.unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    }

    #[test]
    fn a_part_is_used_again_and_few_folders_stay_open() {
        let directory = tempfile::tempdir().unwrap();
        let root = Folder::open(directory.path()).unwrap();
        for folder in ["a", "b", "c", "d"] {
            fs::create_dir(directory.path().join(folder)).unwrap();
        }
        fs::write(directory.path().join("a/.file.part"), "").unwrap();
        let mut decider = Decider::new(&context(), &root, Conflict::Overwrite);
        for name in ["a/file", "b/file", "c/file", "d/file", "b/file", "a/file"] {
            let is_part = |target: Target<'_>| matches!(target, Ok(Some((Draft::Part(_), _))));
            assert_eq!(is_part(decider.target(&job(name), 0o600)), name == "a/file");
            assert!(decider.entered.len() <= KEPT_OPEN);
        }
        let open = decider.entered.iter().map(|entered| &entered.path);
        assert_eq!(open.collect::<Vec<_>>(), ["a", "b", "d"].map(Path::new));
    }
}
