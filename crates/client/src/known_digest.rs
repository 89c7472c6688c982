//! The digest of a local file that was sent before and has not changed since: who sends it again need not read it twice.
//!
//! Such a digest is announced and never believed: the slave hashes what arrives, and where the two differ the record is
//! forgotten, the file hashed and sent anew. So what no time of a file tells (a writer with a mapping, a failing disk) costs
//! a second transfer. Whether a file has to be sent at all is not decided by it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use protocol::Digest;
use serde::{Deserialize, Serialize};

use crate::source_file::SourceFile;
use crate::state_folder::{Record, make_and_sweep, no_follow};

/// Below this reading a file once more costs less than looking for its record, bytes.
const WORTH_A_RECORD: u64 = 8 * 1024 * 1024;

/// Records that are kept, those used last.
const MOST: usize = 512;

/// Longest record, bytes.
const LONGEST: u64 = 4096;

/// A file that was changed so short before it is opened may be changed again without another time, seconds: clocks of
/// file systems are coarse.
const FRESH: i64 = 2;

/// What is known of one source. Whatever cannot be read or written of it is as if it had never been kept.
#[derive(Debug)]
pub(crate) struct KnownDigest {
    digest: Option<Digest>,
    kept: Option<Kept>,
}

/// Where it stands, and for which file as it was before anything was read of it.
#[derive(Debug)]
struct Kept {
    folder: PathBuf,
    version: Version,
}

/// Which file, in which state. The time of its last change of any kind (`st_ctime`, inode(7)) is none that a program
/// can set, so an editor that puts the time of modification back is noticed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Version {
    device: u64,
    inode: u64,
    size: u64,
    modified: Time,
    changed: Time,
}

/// Seconds and nanoseconds.
type Time = (i64, u64);

/// What such a record holds.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedDigest {
    #[serde(flatten)]
    version: Version,
    digest: String,
}

impl KnownDigest {
    /// What is known of `source`, which nobody has read from yet. Records are kept beneath `state`.
    pub(crate) fn of(state: Option<&Path>, source: &SourceFile) -> Self {
        let worth = source.size() >= WORTH_A_RECORD;
        let kept = state
            .filter(|_| worth)
            .and_then(|state| Kept::of(state, source.file()).ok().flatten());
        let digest = kept.as_ref().and_then(|kept| kept.find().ok()?);
        Self { digest, kept }
    }

    /// The digest that the file had, the whole of it.
    pub(crate) fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// It is not the file's: whoever asks again has to hash.
    pub(crate) fn forget(&mut self) {
        if let (Some(_), Some(kept)) = (self.digest.take(), &self.kept) {
            let removed = fs::remove_file(kept.path());
            tracing::debug!(?removed, "the digest of this file was out of date");
        }
    }

    /// The digest of all of `source`, whose content was hashed and has arrived.
    pub(crate) fn keep(&mut self, source: &SourceFile, digest: Digest) {
        let Some(kept) = &self.kept else { return };
        if Version::of(source.file()).is_ok_and(|now| now == kept.version) {
            let written = kept.write(digest);
            tracing::trace!(?written, "digest of a source");
        }
    }
}

impl Kept {
    /// `None` for a file that changed a moment ago.
    fn of(state: &Path, file: &File) -> io::Result<Option<Self>> {
        let folder = state.join("digests");
        let version = Version::of(file)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_or(0, |time| i64::try_from(time.as_secs()).unwrap_or(0));
        let is_settled = now.saturating_sub(version.changed.0) > FRESH;
        Ok(is_settled.then_some(Self { folder, version }))
    }

    fn path(&self) -> PathBuf {
        let Version { device, inode, .. } = self.version;
        self.folder.join(format!("{device:x}-{inode:x}"))
    }

    fn find(&self) -> io::Result<Option<Digest>> {
        let mut options = OpenOptions::new();
        let file = options.read(true).custom_flags(no_follow());
        let mut text = Vec::new();
        file.open(self.path())?
            .take(LONGEST)
            .read_to_end(&mut text)?;
        let found = RecordedDigest::parse(&text).filter(|found| found.version == self.version);
        Ok(found.and_then(|found| found.digest()))
    }

    /// Under another name first: two processes may send the same file.
    fn write(&self, digest: Digest) -> io::Result<()> {
        make_and_sweep(&self.folder, MOST)?;
        let path = self.path();
        let draft = path.with_extension(std::process::id().to_string());
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .custom_flags(no_follow())
            .open(&draft)?;
        let record = RecordedDigest {
            version: self.version.clone(),
            digest: digest.to_string(),
        };
        file.write_all(record.to_text().as_bytes())?;
        fs::rename(draft, path)
    }
}

impl Version {
    fn of(file: &File) -> io::Result<Self> {
        let stat = rustix::fs::fstat(file)?;
        Ok(Self {
            device: stat.st_dev,
            inode: stat.st_ino,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            modified: (stat.st_mtime, stat.st_mtime_nsec),
            changed: (stat.st_ctime, stat.st_ctime_nsec),
        })
    }
}

impl Record for RecordedDigest {}

impl RecordedDigest {
    fn digest(&self) -> Option<Digest> {
        self.digest.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const DIGEST: Digest = Digest([7; 32]);

    struct Setting(tempfile::TempDir);

    impl Setting {
        fn new() -> Self {
            let setting = Self(tempfile::tempdir().unwrap());
            setting.write(WORTH_A_RECORD);
            setting
        }

        fn path(&self) -> PathBuf {
            self.0.path().join("source")
        }

        fn write(&self, size: u64) {
            File::create(self.path()).unwrap().set_len(size).unwrap();
        }

        fn source(&self) -> SourceFile {
            SourceFile::open(&self.path()).unwrap()
        }

        fn known(&self) -> KnownDigest {
            KnownDigest::of(Some(&self.0.path().join("state")), &self.source())
        }

        /// No program can set the time of the last change, so one waits until that is past.
        fn settle(&self) {
            while self.known().kept.is_none() {
                std::thread::sleep(Duration::from_millis(50));
            }
        }

        fn keep(&self) {
            self.settle();
            self.known().keep(&self.source(), DIGEST);
            assert_eq!(self.known().digest(), Some(DIGEST));
        }
    }

    #[test]
    fn what_was_kept_is_known_until_it_is_forgotten() {
        let setting = Setting::new();
        setting.keep();
        setting.known().forget();
        assert_eq!(setting.known().digest(), None);
    }

    #[test]
    fn a_file_that_has_just_changed_is_not_known() {
        let setting = Setting::new();
        let mut known = setting.known();
        known.keep(&setting.source(), DIGEST);
        setting.settle();
        assert_eq!(setting.known().digest(), None);
    }

    #[test]
    fn a_change_that_puts_the_time_of_modification_back_is_noticed() {
        let setting = Setting::new();
        setting.keep();
        let modified = fs::metadata(setting.path()).unwrap().modified().unwrap();
        let mut known = setting.known();
        let file = OpenOptions::new().write(true).open(setting.path()).unwrap();
        (&file).write_all(b"other").unwrap();
        file.set_modified(modified).unwrap();
        setting.settle();
        assert_eq!(setting.known().digest(), None);
        // Nor does what was read meanwhile count.
        known.keep(&setting.source(), DIGEST);
        assert_eq!(setting.known().digest(), None);
    }

    #[test]
    fn small_files_have_no_record() {
        let setting = Setting::new();
        setting.settle();
        setting.write(WORTH_A_RECORD - 1);
        let state = setting.0.path().join("state");
        assert!(setting.known().kept.is_none() && !state.exists());
    }

    #[test]
    fn garbage_says_nothing() {
        let setting = Setting::new();
        setting.keep();
        let folder = setting.0.path().join("state/digests");
        let file = fs::read_dir(folder).unwrap().next().unwrap().unwrap();
        let text = fs::read(file.path()).unwrap();
        assert!(RecordedDigest::parse(&text).is_some());
        for garbage in [&text[..text.len() - 1], b"", b"{}", b"\xff"] {
            fs::write(file.path(), garbage).unwrap();
            assert_eq!(setting.known().digest(), None);
        }
    }
}
