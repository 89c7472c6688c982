//! The objects that `mirror --json` prints beside those of transfers, one a line.

use std::borrow::Cow;
use std::os::unix::ffi::OsStrExt;

use cli::base64_unless_text;
use client::{Change, MirrorItem, MirrorSummary};
use protocol::EntryKind;
use serde::Serialize;

use crate::direction::Direction;
use crate::failure::Failure;
use crate::json::type_word;

/// One change, made or planned.
#[derive(Debug, Serialize)]
pub(crate) struct ChangeRecord<'a> {
    op: &'static str,
    remote: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remote_base64: Option<String>,
    local: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    local_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    r#type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
}

impl<'a> ChangeRecord<'a> {
    pub(crate) fn new(direction: Direction, item: &'a MirrorItem, status: &'static str) -> Self {
        let (op, kind, bytes) = match item.change {
            Change::Make => ("mirror-mkdir", Some(EntryKind::Directory), None),
            Change::Move(bytes) => (direction.mirror_word(), None, Some(bytes)),
            Change::SetTime => ("mirror-time", None, None),
            Change::Remove(kind) => ("mirror-remove", Some(kind), None),
        };
        let (remote, local) = (item.remote.as_bytes(), item.local.as_os_str().as_bytes());
        Self {
            op,
            remote: String::from_utf8_lossy(remote),
            remote_base64: base64_unless_text(remote),
            local: String::from_utf8_lossy(local),
            local_base64: base64_unless_text(local),
            r#type: kind.map(type_word),
            bytes,
            status,
            error: None,
            code: None,
        }
    }

    /// The same, with why it failed.
    pub(crate) fn with_failure(self, failure: &Failure) -> Self {
        Self {
            error: Some(cli::text(&failure.to_string()).to_string()),
            code: Some(failure.code()),
            ..self
        }
    }
}

/// What a mirror came to.
#[derive(Debug, Serialize)]
pub(crate) struct MirrorRecord {
    op: &'static str,
    files: u64,
    bytes: u64,
    removed: u64,
    unchanged: u64,
    times_set: u64,
    newer: u64,
    failed: u64,
    seconds: f64,
    status: &'static str,
}

impl MirrorRecord {
    pub(crate) fn new(summary: &MirrorSummary, dry_run: bool) -> Self {
        Self {
            op: "mirror",
            files: summary.files,
            bytes: summary.bytes,
            removed: summary.removed,
            unchanged: summary.unchanged,
            times_set: summary.times_set,
            newer: summary.newer,
            failed: summary.failed,
            seconds: (summary.seconds * 1e6).round() / 1e6,
            status: match (summary.failed, dry_run) {
                (0, false) => "done",
                (0, true) => "planned",
                _ => "failed",
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use client::Outcome;
    use protocol::{ErrorCode, RemotePath};

    use super::*;
    use crate::failure::cannot;

    fn item(change: Change) -> MirrorItem {
        MirrorItem {
            change,
            remote: RemotePath::try_from("/t/a").unwrap(),
            local: PathBuf::from("t/a"),
            result: Ok(Outcome::Planned),
        }
    }

    #[test]
    fn a_change_is_the_promised_object() {
        let removed = item(Change::Remove(EntryKind::Directory));
        let record = ChangeRecord::new(Direction::Put, &removed, "planned");
        assert_eq!(
            serde_json::to_string(&record).unwrap(),
            r#"{"op":"mirror-remove","remote":"/t/a","local":"t/a","type":"dir","status":"planned"}"#
        );
        let moved = item(Change::Move(5));
        let failure = Failure::of(cannot("put", b"t/a"))(ErrorCode::NoSpace);
        let record = ChangeRecord::new(Direction::Put, &moved, "failed").with_failure(&failure);
        assert_eq!(
            serde_json::to_string(&record).unwrap(),
            r#"{"op":"mirror-put","remote":"/t/a","local":"t/a","bytes":5,"status":"failed","error":"cannot put 't/a': no space left on the server","code":"no-space"}"#
        );
    }

    #[test]
    fn the_sum_is_the_promised_object() {
        let summary = MirrorSummary {
            files: 12,
            bytes: 5,
            unchanged: 9_986,
            seconds: 0.310_000_4,
            ..MirrorSummary::default()
        };
        assert_eq!(
            serde_json::to_string(&MirrorRecord::new(&summary, false)).unwrap(),
            r#"{"op":"mirror","files":12,"bytes":5,"removed":0,"unchanged":9986,"times_set":0,"newer":0,"failed":0,"seconds":0.31,"status":"done"}"#
        );
    }
}
