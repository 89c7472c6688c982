//! What makes an upload the same one after this process has been killed: a random key, kept per source and target.
//!
//! Whatever becomes of the source, the next try goes by the same identity: what an earlier one left at the slaves is gone
//! on with or replaced, never forgotten there. A record that cannot be kept costs nothing but that.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use protocol::{RemotePath, UploadId};
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

use crate::ClientError;
use crate::source_file::SourceFile;
use crate::state_folder::{Record, make_and_sweep, no_follow};

/// Longest record, bytes.
const LONGEST: u64 = 4096;

/// The identity of one upload, and the file that remembers it.
#[derive(Debug)]
pub(crate) struct UploadRecord {
    id: UploadId,
    was_there: bool,
    kept: Option<Kept>,
}

#[derive(Debug)]
struct Kept {
    path: PathBuf,
    /// Held for the lock on it: two processes must not send as the same upload.
    _file: File,
}

/// What such a file holds.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedUpload {
    size: u64,
    modified_ns: i64,
    key: String,
}

impl UploadRecord {
    /// The identity of the upload of `source` to `remote`: the one of an earlier try, as long as the source is the same.
    /// Records are kept beneath `state`.
    pub(crate) fn of(
        state: Option<&Path>,
        source: &SourceFile,
        remote: &RemotePath,
    ) -> Result<Self, ClientError> {
        let opened = state
            .ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
            .and_then(|state| Self::open(state, source, remote));
        match opened {
            Ok(record) => Ok(record),
            Err(error) => {
                tracing::debug!(%error, "upload not recorded");
                Self::fresh(source, remote)
            }
        }
    }

    /// The identity that an earlier try left, whatever has become of the source since; one that nobody else has where
    /// there is none.
    pub(crate) fn left(
        state: Option<&Path>,
        source: &SourceFile,
        remote: &RemotePath,
    ) -> Result<Self, ClientError> {
        let name = file_name(source, remote);
        if state.is_some_and(|state| uploads(state).join(name).exists()) {
            Self::of(state, source, remote)
        } else {
            Self::fresh(source, remote)
        }
    }

    /// An identity that nobody else has, and that will not be known again.
    pub(crate) fn fresh(source: &SourceFile, remote: &RemotePath) -> Result<Self, ClientError> {
        Ok(Self {
            id: RecordedUpload::new(source)?.id(source, remote),
            was_there: false,
            kept: None,
        })
    }

    fn open(state: &Path, source: &SourceFile, remote: &RemotePath) -> io::Result<Self> {
        let folder = uploads(state);
        // Whatever was interrupted is to be gone on with, however much that is.
        make_and_sweep(&folder, usize::MAX)?;
        let path = folder.join(file_name(source, remote));
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(no_follow())
            .open(&path)?;
        // Fails where another process sends the same: that one keeps the record.
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        let mut text = Vec::new();
        (&mut file).take(LONGEST).read_to_end(&mut text)?;
        let found = RecordedUpload::parse(&text);
        let was_there = found.as_ref().is_some_and(|found| found.is_of(source));
        let content = match found {
            Some(found) => found.now_of(source),
            None => RecordedUpload::new(source)?,
        };
        if !was_there {
            file.set_len(0)?;
            io::Seek::rewind(&mut file)?;
            file.write_all(content.to_text().as_bytes())?;
            file.sync_all()?;
        }
        Ok(Self {
            id: content.id(source, remote),
            was_there,
            kept: Some(Kept { path, _file: file }),
        })
    }

    pub(crate) fn id(&self) -> UploadId {
        self.id
    }

    /// Whether an earlier try may have left part of this very content at the slaves.
    pub(crate) fn was_there(&self) -> bool {
        self.was_there
    }

    /// Whether the next process will know this upload again.
    pub(crate) fn is_kept(&self) -> bool {
        self.kept.is_some()
    }

    /// Goes on with nothing: what an earlier try left is replaced.
    pub(crate) fn anew(self) -> Self {
        Self {
            was_there: false,
            ..self
        }
    }

    /// The upload is complete: there is nothing to remember any more.
    pub(crate) fn forget(self) {
        if let Some(kept) = self.kept {
            let removed = fs::remove_file(&kept.path);
            tracing::trace!(?removed, "upload record");
        }
    }
}

impl Record for RecordedUpload {}

impl RecordedUpload {
    fn new(source: &SourceFile) -> io::Result<Self> {
        let mut key = [0; 16];
        getrandom::fill(&mut key)?;
        Ok(Self {
            size: source.size(),
            modified_ns: source.facts().modified_ns,
            key: format!("{:032x}", u128::from_be_bytes(key)),
        })
    }

    fn is_of(&self, source: &SourceFile) -> bool {
        (self.size, self.modified_ns) == (source.size(), source.facts().modified_ns)
    }

    fn now_of(self, source: &SourceFile) -> Self {
        Self {
            size: source.size(),
            modified_ns: source.facts().modified_ns,
            ..self
        }
    }

    fn id(&self, source: &SourceFile, remote: &RemotePath) -> UploadId {
        let mut hasher = blake3::Hasher::new();
        for field in [
            source.absolute().as_slice(),
            remote.as_bytes(),
            self.key.as_bytes(),
        ] {
            hasher.update(&u64::try_from(field.len()).unwrap_or(u64::MAX).to_be_bytes());
            hasher.update(field);
        }
        UploadId(*hasher.finalize().as_bytes())
    }
}

fn uploads(state: &Path) -> PathBuf {
    state.join("uploads")
}

fn file_name(source: &SourceFile, remote: &RemotePath) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&source.absolute());
    hasher.update(&[0]);
    hasher.update(remote.as_bytes());
    hasher.finalize().to_hex().chars().take(32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Setting {
        directory: tempfile::TempDir,
        remote: RemotePath,
    }

    impl Setting {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            fs::write(directory.path().join("a"), "content").unwrap();
            Self {
                directory,
                remote: RemotePath::try_from("/a").unwrap(),
            }
        }

        fn record(&self) -> UploadRecord {
            let source = SourceFile::open(&self.directory.path().join("a")).unwrap();
            let state = self.directory.path().join("state");
            UploadRecord::of(Some(&state), &source, &self.remote).unwrap()
        }
    }

    #[test]
    fn an_interrupted_upload_is_known_again() {
        let setting = Setting::new();
        let first = setting.record();
        let id = first.id();
        assert!(!first.was_there());
        drop(first);
        let second = setting.record();
        assert_eq!(second.id(), id);
        assert!(second.was_there());
        second.forget();
        let third = setting.record();
        assert_ne!(third.id(), id);
        assert!(!third.was_there());
    }

    #[test]
    fn a_changed_source_begins_anew_in_the_place_of_the_old_one() {
        let setting = Setting::new();
        let id = setting.record().id();
        fs::write(setting.directory.path().join("a"), "other content").unwrap();
        let record = setting.record();
        assert_eq!(record.id(), id);
        assert!(!record.was_there());
        drop(record);
        assert!(setting.record().was_there());
    }

    #[test]
    fn another_target_is_another_upload() {
        let mut setting = Setting::new();
        let id = setting.record().id();
        setting.remote = RemotePath::try_from("/b").unwrap();
        assert_ne!(setting.record().id(), id);
    }

    #[test]
    fn two_at_once_are_two_uploads() {
        let setting = Setting::new();
        let first = setting.record();
        let second = setting.record();
        assert_ne!(first.id(), second.id());
        second.forget();
        drop(first);
        assert!(setting.record().was_there());
    }

    #[test]
    fn without_a_state_directory_uploads_still_have_an_identity() {
        let setting = Setting::new();
        let source = SourceFile::open(&setting.directory.path().join("a")).unwrap();
        let blocked = setting.directory.path().join("a");
        for state in [None, Some(blocked.as_path())] {
            let record = UploadRecord::of(state, &source, &setting.remote).unwrap();
            assert!(!record.was_there());
        }
    }

    #[test]
    fn garbage_is_replaced() {
        let setting = Setting::new();
        drop(setting.record());
        let folder = setting.directory.path().join("state/uploads");
        let file = fs::read_dir(folder).unwrap().next().unwrap().unwrap();
        fs::write(file.path(), "{").unwrap();
        assert!(!setting.record().was_there());
        assert!(setting.record().was_there());
    }
}
