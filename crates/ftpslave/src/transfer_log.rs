//! The transfer log: one JSON object a line for whatever a client moved or changed, or tried to.

use std::borrow::Cow;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use protocol::{Digest, RemotePath};
use serde::Serialize;

/// A file that all workers append to.
#[derive(Debug)]
pub(crate) struct TransferLog {
    file: File,
    /// Whether the last line could not be written: said once, not for every line.
    is_failing: AtomicBool,
}

/// What one line says.
#[derive(Debug)]
pub(crate) struct Record<'a> {
    /// Empty for everybody.
    pub(crate) user: &'a str,
    /// What the user sees as `/`.
    pub(crate) home: &'a RemotePath,
    pub(crate) from: IpAddr,
    pub(crate) operation: &'static str,
    /// As the client named it, below its home.
    pub(crate) path: &'a RemotePath,
    /// Where it was moved to.
    pub(crate) to: Option<&'a RemotePath>,
    /// Where a content begins that is not a file's from its beginning.
    pub(crate) offset: u64,
    /// Content that was moved.
    pub(crate) bytes: u64,
    pub(crate) took: Duration,
    /// Of the whole file, where it is known.
    pub(crate) digest: Option<Digest>,
    /// `done`, `lost` or the word of an error.
    pub(crate) result: &'static str,
}

#[derive(Serialize)]
struct Line<'a> {
    time: String,
    user: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    home: Option<Cow<'a, str>>,
    from: IpAddr,
    op: &'static str,
    path: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to_base64: Option<String>,
    #[serde(skip_serializing_if = "is_zero")]
    offset: u64,
    bytes: u64,
    seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    blake3: Option<String>,
    result: &'static str,
}

impl TransferLog {
    /// Opens the file to append to it, and makes it where there is none: for its owner and group to read.
    ///
    /// # Errors
    /// It cannot be opened or made.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o640)
            .open(path)?;
        Ok(Self {
            file,
            is_failing: AtomicBool::new(false),
        })
    }

    /// Appends one line, whole: what several processes append never mixes (O_APPEND, open(2)). A line that cannot be written
    /// is no reason to fail what it would have told of.
    pub(crate) fn write(&self, record: &Record<'_>) {
        let written = record.line().and_then(|line| {
            // One call for the line and its end.
            (&self.file).write_all(line.as_bytes())
        });
        match written {
            Ok(()) => self.is_failing.store(false, Relaxed),
            Err(error) if !self.is_failing.swap(true, Relaxed) => {
                tracing::error!(%error, "the transfer log cannot be written");
            }
            Err(_) => {}
        }
    }
}

impl Record<'_> {
    fn line(&self) -> io::Result<String> {
        let text = |path: &'_ RemotePath| String::from_utf8_lossy(path.as_bytes()).into_owned();
        let exact = |path: &RemotePath| cli::base64_unless_text(path.as_bytes());
        let line = Line {
            time: jiff::Timestamp::now().to_string(),
            user: self.user,
            home: (!self.home.is_root()).then(|| text(self.home).into()),
            from: self.from.to_canonical(),
            op: self.operation,
            path: text(self.path).into(),
            path_base64: exact(self.path),
            to: self.to.map(|to| text(to).into()),
            to_base64: self.to.and_then(exact),
            offset: self.offset,
            bytes: self.bytes,
            seconds: (self.took.as_secs_f64() * 1e6).round() / 1e6,
            blake3: self.digest.map(|digest| digest.to_string()),
            result: self.result,
        };
        let mut line = cli::json_line(&line)?;
        line.push('\n');
        Ok(line)
    }
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "what serde calls it with"
)]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_hostile_name_stays_on_its_line_and_can_be_told_exactly() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("transfers.log");
        let log = TransferLog::open(&path).unwrap();
        let mut record = Record {
            user: "ada",
            home: &RemotePath::root(),
            from: "::ffff:192.0.2.1".parse().unwrap(),
            operation: "get",
            path: &RemotePath::parse(b"/a\n\x1b[2J\xff").unwrap(),
            to: None,
            offset: 0,
            bytes: 7,
            took: Duration::from_micros(1_500_000),
            digest: None,
            result: "done",
        };
        log.write(&record);
        let home = RemotePath::parse(b"/pub").unwrap();
        let to = RemotePath::parse(b"/c").unwrap();
        record = Record {
            home: &home,
            to: Some(&to),
            offset: 3,
            digest: Some(Digest([0xab; 32])),
            ..record
        };
        TransferLog::open(&path).unwrap().write(&record);
        let written = fs::read_to_string(&path).unwrap();
        assert!(!written.replace('\n', "").contains(char::is_control));
        let lines: Vec<serde_json::Value> = written
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0]["user"], "ada");
        assert_eq!(lines[0]["from"], "192.0.2.1");
        assert_eq!(lines[0]["op"], "get");
        assert_eq!(lines[0]["path"], "/a\n\u{1b}[2J\u{fffd}");
        assert_eq!(lines[0]["path_base64"], "L2EKG1sySv8=");
        assert_eq!(lines[0]["seconds"], 1.5);
        for absent in ["home", "to", "offset", "blake3"] {
            assert!(lines[0].get(absent).is_none(), "{absent}");
        }
        assert_eq!(lines[1]["home"], "/pub");
        assert_eq!(lines[1]["to"], "/c");
        assert_eq!(lines[1]["offset"], 3);
        assert_eq!(lines[1]["blake3"], "ab".repeat(32));
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o137, 0);
    }
}
