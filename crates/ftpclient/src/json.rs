//! The objects that `--json` prints, one a line: their fields and the fields' order are a promise to scripts.

use std::borrow::Cow;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use client::{KnownSlave, Space, Status, Sum, Transferred};
use protocol::{Entry, EntryKind, RemotePath};
use serde::Serialize;

use crate::direction::Direction;
use crate::failure::Failure;
use crate::listed::{self, Listed};

/// A `get` or `put` of one file, as it ended.
#[derive(Debug, Serialize)]
pub(crate) struct TransferRecord<'a> {
    op: &'static str,
    remote: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remote_base64: Option<String>,
    local: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    local_base64: Option<String>,
    bytes: u64,
    resumed_at: u64,
    seconds: f64,
    blake3: Option<String>,
    verified: bool,
    slave: Option<String>,
    /// Only where there were several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    slaves: Vec<String>,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
}

impl<'a> TransferRecord<'a> {
    /// One that ended well.
    pub(crate) fn done(direction: Direction, transferred: &'a Transferred) -> Self {
        Self {
            bytes: transferred.bytes,
            resumed_at: transferred.resumed_at,
            seconds: (transferred.seconds * 1e6).round() / 1e6,
            blake3: transferred.digest.map(|digest| digest.to_string()),
            verified: transferred.verified,
            slave: transferred.slave.map(|slave| slave.to_string()),
            slaves: transferred.slaves.iter().map(ToString::to_string).collect(),
            status: match transferred.status {
                Status::Done => "done",
                Status::Unchanged => "unchanged",
                Status::Renamed => "renamed",
            },
            ..Self::named(
                direction,
                Some(&transferred.remote),
                Some(&transferred.local),
            )
        }
    }

    /// One that a mirror has made.
    pub(crate) fn mirrored(direction: Direction, transferred: &'a Transferred) -> Self {
        Self {
            op: direction.mirror_word(),
            ..Self::done(direction, transferred)
        }
    }

    /// One that failed; a name that was never made out is `null`.
    pub(crate) fn failed(
        direction: Direction,
        remote: Option<&'a RemotePath>,
        local: Option<&'a Path>,
        failure: &Failure,
    ) -> Self {
        Self {
            error: Some(cli::text(&failure.to_string()).to_string()),
            code: Some(failure.code()),
            ..Self::named(direction, remote, local)
        }
    }

    fn named(
        direction: Direction,
        remote: Option<&'a RemotePath>,
        local: Option<&'a Path>,
    ) -> Self {
        let remote = remote.map(RemotePath::as_bytes);
        let local = local.map(|local| local.as_os_str().as_bytes());
        Self {
            op: direction.word(),
            remote: remote.map(String::from_utf8_lossy),
            remote_base64: remote.and_then(cli::base64_unless_text),
            local: local.map(String::from_utf8_lossy),
            local_base64: local.and_then(cli::base64_unless_text),
            bytes: 0,
            resumed_at: 0,
            seconds: 0.0,
            blake3: None,
            verified: false,
            slave: None,
            slaves: Vec::new(),
            status: "failed",
            error: None,
            code: None,
        }
    }
}

/// A name and its facts: a line of `ls`, the answer of `stat`.
#[derive(Debug, Serialize)]
pub(crate) struct EntryRecord<'a> {
    name: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name_base64: Option<String>,
    r#type: &'static str,
    size: u64,
    modified: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    blake3: Option<String>,
}

impl<'a> EntryRecord<'a> {
    pub(crate) fn listed(Listed { name, facts }: &Listed<'a>) -> Self {
        Self {
            name: String::from_utf8_lossy(name),
            name_base64: cli::base64_unless_text(name),
            r#type: type_word(facts.kind),
            size: facts.size,
            modified: listed::time(facts.modified_ns),
            mode: None,
            blake3: None,
        }
    }

    pub(crate) fn facts(path: &'a RemotePath, entry: &Entry) -> Self {
        Self {
            name: String::from_utf8_lossy(path.as_bytes()),
            name_base64: cli::base64_unless_text(path.as_bytes()),
            r#type: type_word(entry.kind),
            size: entry.size,
            modified: listed::time(entry.modified_ns),
            mode: Some(format!("{:04o}", entry.mode)),
            blake3: entry.digest.map(|digest| digest.to_string()),
        }
    }
}

/// A digest that was asked for.
#[derive(Debug, Serialize)]
pub(crate) struct SumRecord<'a> {
    name: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name_base64: Option<String>,
    blake3: String,
    size: u64,
}

impl<'a> SumRecord<'a> {
    pub(crate) fn new(path: &'a RemotePath, sum: &Sum) -> Self {
        Self {
            name: String::from_utf8_lossy(path.as_bytes()),
            name_base64: cli::base64_unless_text(path.as_bytes()),
            blake3: sum.digest.to_string(),
            size: sum.size,
        }
    }
}

/// Where one is: `pwd`, `lpwd`.
#[derive(Debug, Serialize)]
pub(crate) struct FolderRecord<'a> {
    path: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_base64: Option<String>,
}

impl<'a> FolderRecord<'a> {
    pub(crate) fn new(path: &'a [u8]) -> Self {
        Self {
            path: String::from_utf8_lossy(path),
            path_base64: cli::base64_unless_text(path),
        }
    }
}

/// The answer of `df`, bytes.
#[derive(Debug, Serialize)]
pub(crate) struct SpaceRecord {
    total: u64,
    available: u64,
}

impl SpaceRecord {
    pub(crate) const fn new(space: &Space) -> Self {
        Self {
            total: space.total,
            available: space.available,
        }
    }
}

/// A slave that the master knows.
#[derive(Debug, Serialize)]
pub(crate) struct SlaveRecord<'a> {
    address: &'a str,
    state: &'static str,
    sessions: u32,
    places: u32,
}

impl<'a> SlaveRecord<'a> {
    pub(crate) fn new(slave: &'a KnownSlave) -> Self {
        Self {
            address: slave.addresses.first().map_or("", String::as_str),
            state: slave.status.word(),
            sessions: slave.sessions,
            places: slave.places,
        }
    }
}

/// A kind of entry, for scripts and people alike.
pub(crate) const fn type_word(kind: EntryKind) -> &'static str {
    match kind {
        EntryKind::File => "file",
        EntryKind::Directory => "dir",
        EntryKind::Link => "link",
        EntryKind::Other => "other",
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use protocol::{Digest, ErrorCode};

    use super::*;
    use crate::failure::cannot;
    use crate::listed::Facts;

    fn transferred() -> Transferred {
        Transferred {
            remote: RemotePath::try_from("/a.bin").unwrap(),
            local: PathBuf::from("a.bin"),
            bytes: 2_147_483_648,
            resumed_at: 0,
            seconds: 0.71,
            digest: Some(Digest([0xab; 32])),
            verified: true,
            slave: Some("127.0.0.1:2122".parse().unwrap()),
            slaves: Vec::new(),
            status: Status::Done,
        }
    }

    #[test]
    fn a_transfer_is_the_promised_object() {
        let record = TransferRecord::done(Direction::Get, &transferred()).to_json();
        let digest = "ab".repeat(32);
        assert_eq!(
            record,
            format!(
                r#"{{"op":"get","remote":"/a.bin","local":"a.bin","bytes":2147483648,"resumed_at":0,"seconds":0.71,"blake3":"{digest}","verified":true,"slave":"127.0.0.1:2122","status":"done"}}"#
            )
        );
    }

    #[test]
    fn several_slaves_are_a_list_beside_the_one_that_served_most() {
        let slaves: Vec<_> = ["127.0.0.1:2122", "127.0.0.1:2123"]
            .map(|slave| slave.parse().unwrap())
            .to_vec();
        let transferred = Transferred {
            slaves,
            ..transferred()
        };
        let record = TransferRecord::done(Direction::Get, &transferred).to_json();
        let expected = r#""slave":"127.0.0.1:2122","slaves":["127.0.0.1:2122","127.0.0.1:2123"],"status":"done"}"#;
        assert!(record.ends_with(expected), "{record}");
    }

    #[test]
    fn a_failed_transfer_says_why() {
        let remote = RemotePath::try_from("/a").unwrap();
        let failure = Failure::of(cannot("put", b"a"))(ErrorCode::NoSpace);
        let record =
            TransferRecord::failed(Direction::Put, Some(&remote), None, &failure).to_json();
        assert_eq!(
            record,
            r#"{"op":"put","remote":"/a","local":null,"bytes":0,"resumed_at":0,"seconds":0.0,"blake3":null,"verified":false,"slave":null,"status":"failed","error":"cannot put 'a': no space left on the server","code":"no-space"}"#
        );
    }

    #[test]
    fn an_entry_is_the_promised_object() {
        let listed = Listed {
            name: b"caf\xe9",
            facts: Facts {
                kind: EntryKind::Directory,
                size: 0,
                modified_ns: 1_500_000_000,
            },
        };
        assert_eq!(
            EntryRecord::listed(&listed).to_json(),
            "{\"name\":\"caf\u{fffd}\",\"name_base64\":\"Y2Fm6Q==\",\"type\":\"dir\",\"size\":0,\
             \"modified\":\"1970-01-01T00:00:01.5Z\"}"
        );
    }

    trait ToJson {
        fn to_json(&self) -> String;
    }

    impl<T: Serialize> ToJson for T {
        fn to_json(&self) -> String {
            serde_json::to_string(self).unwrap()
        }
    }
}
