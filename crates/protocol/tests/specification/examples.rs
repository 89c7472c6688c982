//! The typed message behind every example of what a slave hears and says.

use protocol::*;

use crate::document::Document;

/// An example: its name, its request number, its message.
pub(crate) type Examples<M> = Vec<(&'static str, u32, M)>;

pub(crate) const SLAVE: SlaveId = SlaveId([0x11; 16]);
pub(crate) const STORAGE: StorageId = StorageId([0x22; 16]);
pub(crate) const OF_SLAVE: Nonce = Nonce([0x33; 32]);
pub(crate) const OF_MASTER: Nonce = Nonce([0x44; 32]);
pub(crate) const SECRET: Secret = Secret([0x55; 32]);
const MODIFIED: i64 = 1_700_000_000_000_000_000;
pub(crate) const ROOM: (u32, u32) = (2, 2048);

pub(crate) fn path(text: &str) -> RemotePath {
    text.try_into().unwrap()
}

fn hello() -> Digest {
    "8e4c7c1b99dbfd50e7a95185fead5ee1448fa904a2fdd778eaf5f2dbfd629a99"
        .parse()
        .unwrap()
}

fn hell() -> Digest {
    "bc2478df41662178217d5b456944ec4e13ea28ec159518d111e72fe466c53b68"
        .parse()
        .unwrap()
}

fn version() -> Version {
    let fields = [
        [0, 0, 0, 0, 0, 0, 0, 6],
        MODIFIED.to_be_bytes(),
        [0, 0, 0, 0, 0, 0, 0, 42],
    ];
    Version::new(&[[1].as_slice(), fields.as_flattened()].concat()).unwrap()
}

pub(crate) fn ticket() -> Ticket {
    Ticket::new(Document::read().example("ticket")).unwrap()
}

/// A proof is checked where it is made; here it is what stands at the end of the example.
pub(crate) fn proof_in(name: &str, behind: usize) -> Proof {
    let document = Document::read();
    let (rest, _) = document
        .example(name)
        .split_at(document.example(name).len() - behind);
    Proof(*rest.last_chunk().unwrap())
}

pub(crate) fn requests() -> Examples<Request> {
    let mut examples = questions();
    examples.extend(beginnings());
    examples.extend(uploads());
    examples.extend([
        (
            "make-directory",
            16,
            Request::MakeDirectory {
                path: path("/new/deep"),
                parents: true,
            },
        ),
        (
            "remove",
            17,
            Request::Remove {
                path: path("/old"),
                recursive: false,
            },
        ),
        (
            "remove-directory",
            18,
            Request::RemoveDirectory { path: path("/old") },
        ),
        (
            "rename",
            19,
            Request::Rename {
                from: path("/old"),
                to: path("/new"),
                replace: false,
            },
        ),
        (
            "set-time",
            20,
            Request::SetTime {
                path: path("/a"),
                modified_ns: 1_000_000_000,
                expected: None,
            },
        ),
    ]);
    examples
}

fn beginnings() -> Examples<Request> {
    vec![
        (
            "present",
            1,
            Request::Present {
                ticket: ticket(),
                secret: SECRET,
            },
        ),
        (
            "slave-login",
            1,
            Request::Login {
                user: Text::new("ada"),
                password: Secretive::new(b"secret").unwrap(),
            },
        ),
    ]
}

fn questions() -> Examples<Request> {
    vec![
        ("probe", 1, Request::Probe { worker: 3 }),
        ("identify", 1, Request::Identify { nonce: OF_MASTER }),
        (
            "stat",
            7,
            Request::Stat {
                path: path("/docs/a.txt"),
                follow: true,
            },
        ),
        (
            "list",
            8,
            Request::List {
                path: RemotePath::root(),
                recursive: false,
                facts: false,
            },
        ),
        (
            "retrieve",
            9,
            Request::Retrieve {
                path: path("/docs/a.txt"),
                offset: 0,
                length: u64::MAX,
                expected: None,
                digest: true,
            },
        ),
        (
            "blocks",
            10,
            Request::Blocks {
                path: path("/b"),
                expected: version(),
                first: 0,
                count: 4,
            },
        ),
        (
            "checksum",
            11,
            Request::Checksum {
                path: path("/a"),
                fresh: false,
            },
        ),
        ("disk-free", 12, Request::DiskFree {}),
        (
            "retrieve-whole",
            15,
            Request::RetrieveWhole {
                path: path("/docs/a.txt"),
                most: 65_536,
            },
        ),
    ]
}

fn uploads() -> Examples<Request> {
    let store = Request::Store {
        path: path("/docs/a.txt"),
        upload: UploadId([0x66; 32]),
        size: 6,
        modified_ns: MODIFIED,
        mode: 0o644,
        condition: Condition::Absent,
        resume: false,
        deferred: false,
    };
    let whole = Request::StoreWhole {
        path: path("/a"),
        modified_ns: MODIFIED,
        mode: 0o600,
        condition: Condition::Matches(version()),
        digest: hello(),
        deferred: true,
        content: Content::new(b"hello\n".to_vec()).unwrap(),
    };
    vec![
        ("store", 13, store),
        ("store-whole", 14, whole),
        ("store-end", 13, Request::StoreEnd { digest: hello() }),
        ("abandon", 13, Request::Abandon {}),
        ("flush", 15, Request::Flush {}),
        (
            "confirm",
            15,
            Request::Confirm {
                path: path("/a"),
                digest: hello(),
            },
        ),
        ("sync", 15, Request::Sync {}),
    ]
}

pub(crate) fn replies() -> Examples<Reply> {
    let (sessions, places) = ROOM;
    let identity = Reply::Identity {
        slave: SLAVE,
        storage: STORAGE,
        nonce: OF_SLAVE,
        proof: Some(proof_in("identity", 9)),
        sessions,
        places,
        draining: false,
    };
    let mut examples = vec![
        (
            "error",
            7,
            Reply::Error {
                code: ErrorCode::NotFound,
                detail: Text::default(),
            },
        ),
        ("done", 16, Reply::Done {}),
        (
            "alive",
            1,
            Reply::Alive {
                silent_ms: 120,
                sessions,
                places,
                draining: false,
            },
        ),
        ("identity", 1, identity),
        (
            "welcome",
            1,
            Reply::Welcome {
                user: Text::default(),
                rights: Rights::ALL,
            },
        ),
        ("facts", 7, Reply::Facts { entry: facts() }),
        ("entries", 8, listing()),
        (
            "space",
            12,
            Reply::Space {
                total: 1 << 40,
                available: 1 << 30,
            },
        ),
    ];
    examples.extend(contents());
    examples
}

fn facts() -> Entry {
    Entry {
        name: Vec::new(),
        kind: EntryKind::File,
        size: 6,
        modified_ns: MODIFIED,
        mode: 0o644,
        version: Some(version()),
        digest: Some(hello()),
    }
}

fn listing() -> Reply {
    let bare = |name: &str, kind| Entry {
        name: name.as_bytes().to_vec(),
        kind,
        size: 0,
        modified_ns: 0,
        mode: 0,
        version: None,
        digest: None,
    };
    let entries = vec![
        bare("docs", EntryKind::Directory),
        bare("a.txt", EntryKind::File),
    ];
    Reply::Entries {
        entries,
        unreadable: Vec::new(),
        more: false,
    }
}

fn contents() -> Examples<Reply> {
    let content = Reply::Content {
        version: version(),
        size: 6,
        modified_ns: MODIFIED,
        mode: 0o644,
        offset: 0,
        length: 6,
    };
    vec![
        ("content", 9, content),
        (
            "content-end",
            9,
            Reply::ContentEnd {
                digest: Some(hello()),
            },
        ),
        (
            "block-list",
            10,
            Reply::Blocks {
                first: 0,
                digests: vec![hello()],
                more: false,
            },
        ),
        (
            "sum",
            11,
            Reply::Sum {
                digest: hello(),
                size: 6,
                version: version(),
            },
        ),
        (
            "ready",
            13,
            Reply::Ready {
                offset: 4,
                prefix: hell(),
            },
        ),
        ("received", 14, Reply::Received {}),
        (
            "stored",
            13,
            Reply::Stored {
                digest: hello(),
                version: version(),
            },
        ),
    ]
}
