//! The slave's side of the framed protocol, spoken word by word.

mod listings;
mod small_files;
mod uploads;
mod uploads_within_tls;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use protocol::frame::{DATA, KEEP_ALIVE};
use protocol::limits::BLOCK;
use protocol::{
    ClientPreface, Condition, Connection, Content, Digest, ErrorCode, RemotePath, Reply, Request,
    Role, Secret, ServerPreface, Ticket, UploadId,
};

use crate::harness::{
    Cluster, PATIENCE, Secured, Setup, open_descriptors, random_bytes, secure, wait_until,
};

/// A connection behind its prefaces.
struct Wire<S = TcpStream> {
    connection: Connection<S>,
    preface: ServerPreface,
    next: u32,
}

/// What came for a `Retrieve`.
struct Fetched {
    announced: Reply,
    content: Vec<u8>,
    end: Reply,
}

impl Wire {
    fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut connection = Connection::new(stream);
        connection.send_raw(&ClientPreface::ours().encode());
        connection.flush().unwrap();
        assert!(connection.read_line(512).unwrap().starts_with(b"220 "));
        Self::behind_greeting(connection)
    }
}

impl Wire<Secured> {
    fn open_within_tls(address: SocketAddr) -> Self {
        let mut connection = Connection::new(secure(address, None).unwrap());
        connection.send_raw(&ClientPreface::ours().encode());
        connection.flush().unwrap();
        Self::behind_greeting(connection)
    }
}

impl<S: Read + Write> Wire<S> {
    fn behind_greeting(mut connection: Connection<S>) -> Self {
        let mut bytes = [0; ServerPreface::LENGTH];
        connection.read_exact(&mut bytes).unwrap();
        let preface = ServerPreface::decode(&bytes).unwrap();
        Self {
            connection,
            preface,
            next: 0,
        }
    }

    fn send(&mut self, request: &Request) -> u32 {
        self.next += 1;
        self.connection.send(self.next, request);
        self.next
    }

    fn ask(&mut self, request: &Request) -> Reply {
        let id = self.send(request);
        self.answer(id)
    }

    /// The next frame, which must be an answer to `id`.
    fn answer(&mut self, id: u32) -> Reply {
        self.connection.flush().unwrap();
        let header = self.connection.receive_answer().unwrap();
        assert_eq!(
            header.request, id,
            "answers come in the order of the requests"
        );
        self.connection.decode(&header).unwrap()
    }

    fn fetched(&mut self, id: u32) -> Fetched {
        let announced = self.answer(id);
        let mut content = Vec::new();
        loop {
            let header = self.connection.receive_answer().unwrap();
            assert_eq!(header.request, id);
            if header.kind != DATA {
                let end = self.connection.decode(&header).unwrap();
                return Fetched {
                    announced,
                    content,
                    end,
                };
            }
            let mut frame = vec![0; self.connection.data_left()];
            let mut filled = 0;
            while filled < frame.len() {
                filled += self.connection.read_data(&mut frame[filled..]).unwrap();
            }
            content.extend(frame);
        }
    }

    fn fetch(&mut self, request: &Request) -> Fetched {
        let id = self.send(request);
        self.fetched(id)
    }

    /// Whether the slave has closed this connection.
    fn is_over(&mut self) -> bool {
        matches!(self.connection.receive(), Ok(None) | Err(_))
    }
}

fn alone() -> Cluster {
    Setup::new(1).without_master().start()
}

fn path(text: &str) -> RemotePath {
    RemotePath::try_from(text).unwrap()
}

fn digest(content: &[u8]) -> Digest {
    Digest(*blake3::hash(content).as_bytes())
}

fn retrieve(name: &str, offset: u64) -> Request {
    Request::Retrieve {
        path: path(name),
        offset,
        length: u64::MAX,
        expected: None,
        digest: true,
    }
}

fn store(name: &str, content: &[u8], resume: bool) -> Request {
    Request::Store {
        path: path(name),
        upload: UploadId([7; 32]),
        size: content.len() as u64,
        modified_ns: 1_000_000_000,
        mode: 0o640,
        condition: Condition::Any,
        resume,
        deferred: false,
    }
}

fn store_whole(name: &str, content: &[u8], deferred: bool) -> Request {
    Request::StoreWhole {
        path: path(name),
        modified_ns: 1_000_000_000,
        mode: 0o640,
        condition: Condition::Absent,
        digest: digest(content),
        deferred,
        content: Content::new(content.to_vec()).unwrap(),
    }
}

fn code_of(reply: &Reply) -> ErrorCode {
    match reply {
        Reply::Error { code, .. } => *code,
        other => panic!("an error was expected, not {other:?}"),
    }
}

#[test]
fn the_preface_says_who_listens() {
    let cluster = alone();
    let wire = Wire::open(cluster.address());
    assert_eq!((wire.preface.version, wire.preface.role), (1, Role::Slave));
    assert!(!wire.preface.login_required);
}

#[test]
fn pipelined_requests_are_answered_in_their_order() {
    let cluster = alone();
    let contents: Vec<_> = (0..200_u64)
        .map(|n| random_bytes(n, 5 + usize::try_from(n).unwrap() * 997))
        .collect();
    for (number, content) in contents.iter().enumerate() {
        cluster.write(format!("f{number}"), content);
    }
    let mut wire = Wire::open(cluster.address());
    let ids: Vec<_> = (0..contents.len())
        .map(|n| wire.send(&retrieve(&format!("/f{n}"), 0)))
        .collect();
    let missing = wire.send(&retrieve("/missing", 0));
    for (id, content) in ids.into_iter().zip(&contents) {
        let fetched = wire.fetched(id);
        assert!(fetched.content == *content);
        assert_eq!(
            fetched.end,
            Reply::ContentEnd {
                digest: Some(digest(content))
            }
        );
    }
    assert_eq!(code_of(&wire.answer(missing)), ErrorCode::NotFound);
}

#[test]
fn a_file_that_changes_while_its_request_waits_is_told_as_it_is_then() {
    let cluster = Setup::new(1)
        .observable()
        .without_master()
        .workers(1)
        .slave_options(["--limit-session-rate", "16K"])
        .start();
    let file = |number| random_bytes(number, 4096);
    for number in 0..21 {
        cluster.write(format!("f{number}"), &file(number));
    }
    // What has changed just now is not opened ahead.
    std::thread::sleep(Duration::from_millis(30));
    let mut wire = Wire::open(cluster.address());
    let ids: Vec<_> = (0..20)
        .map(|n| wire.send(&retrieve(&format!("/f{n}"), 0)))
        .collect();
    wire.connection.flush().unwrap();
    // The turn of the last ones comes after some seconds; they are opened at once.
    let worker = cluster.slaves[0].workers()[0];
    wait_until("the last file to be opened", PATIENCE, || {
        open_descriptors(worker).contains(&cluster.path("f19"))
    });
    let longer = random_bytes(100, 5000);
    std::fs::write(cluster.path("f17"), &longer).unwrap();
    std::fs::rename(cluster.path("f20"), cluster.path("f18")).unwrap();
    std::fs::remove_file(cluster.path("f19")).unwrap();
    let expected = (0..17).map(file).chain([longer, file(20)]);
    for (content, id) in expected.zip(&ids) {
        let fetched = wire.fetched(*id);
        assert!(fetched.content == content);
        let digest = Some(digest(&content));
        assert_eq!(fetched.end, Reply::ContentEnd { digest });
    }
    assert_eq!(code_of(&wire.answer(ids[19])), ErrorCode::NotFound);
}

#[test]
fn a_range_carries_the_digest_of_the_whole_and_refuses_another_version() {
    let cluster = alone();
    let content = random_bytes(1, 3_000_000);
    cluster.write("large", &content);
    let mut wire = Wire::open(cluster.address());
    let fetched = wire.fetch(&retrieve("/large", 2_999_990));
    assert!(fetched.content == content[2_999_990..]);
    assert_eq!(
        fetched.end,
        Reply::ContentEnd {
            digest: Some(digest(&content))
        }
    );
    let Reply::Content { version, .. } = fetched.announced else {
        panic!("no content")
    };
    cluster.write("large", &random_bytes(2, 3_000_001));
    let other = Request::Retrieve {
        path: path("/large"),
        offset: 0,
        length: 1,
        expected: Some(version),
        digest: false,
    };
    assert_eq!(code_of(&wire.ask(&other)), ErrorCode::Changed);
    assert_eq!(
        code_of(&wire.ask(&retrieve("/large", 3_000_002))),
        ErrorCode::Changed
    );
}

#[test]
fn block_digests_merge_into_the_digest_of_the_whole() {
    let cluster = alone();
    let content = random_bytes(3, 2 * usize::try_from(BLOCK).unwrap() + 5);
    cluster.write("blocks", &content);
    let mut wire = Wire::open(cluster.address());
    let Reply::Sum {
        digest: whole,
        version,
        ..
    } = wire.ask(&Request::Checksum {
        path: path("/blocks"),
        fresh: true,
    })
    else {
        panic!("no sum")
    };
    assert_eq!(whole, digest(&content));
    let request = Request::Blocks {
        path: path("/blocks"),
        expected: version,
        first: 1,
        count: 100,
    };
    let Reply::Blocks {
        first: 1,
        digests,
        more: false,
    } = wire.ask(&request)
    else {
        panic!("no blocks")
    };
    assert_eq!(digests.len(), 2);
}

#[test]
fn an_unknown_request_is_refused_and_the_connection_goes_on() {
    let cluster = alone();
    let mut wire = Wire::open(cluster.address());
    let header = protocol::frame::Header {
        length: 0,
        request: 9,
        kind: 0x0777,
    };
    wire.connection.send_raw(&header.encode(&[]));
    assert_eq!(code_of(&wire.answer(9)), ErrorCode::Unsupported);
    assert_eq!(
        wire.ask(&Request::MakeDirectory {
            path: path("/made"),
            parents: false
        }),
        Reply::Done {}
    );
}

#[test]
fn who_waits_for_others_under_a_limit_hears_that_the_slave_lives() {
    let cluster = Setup::new(1)
        .without_master()
        .slave_options(["--limit-rate", "5000", "--grace", "0"])
        .start();
    // The first one takes twelve seconds of the limit at once, which all the others wait for.
    cluster.write("small", &random_bytes(1, 60_000));
    cluster.write("large", &random_bytes(2, 100_000));
    let content = random_bytes(3, 10_000);
    let begin: [&dyn Fn(&mut Wire) -> u32; 4] = [
        &|wire| wire.send(&retrieve("/small", 0)),
        &|wire| wire.send(&retrieve("/large", 0)),
        &|wire| wire.send(&store_whole("/whole", &content, false)),
        &|wire| {
            let id = wire.send(&store("/stored", &content, false));
            wire.connection.send_data(id, &content);
            id
        },
    ];
    let mut wires = Vec::new();
    for begin in begin {
        let mut wire = Wire::open(cluster.address());
        let id = begin(&mut wire);
        wire.connection.flush().unwrap();
        let mut heard = std::iter::from_fn(|| wire.connection.receive().unwrap());
        let sign = heard.find(|header| header.kind == KEEP_ALIVE);
        assert_eq!(sign.map(|sign| sign.request), Some(id));
        wires.push(wire);
    }
}

#[test]
fn a_keep_alive_between_requests_is_no_request() {
    let cluster = alone();
    let mut wire = Wire::open(cluster.address());
    wire.connection.send_keep_alive(1);
    assert!(matches!(
        wire.ask(&Request::DiskFree {}),
        Reply::Space { .. }
    ));
}

#[test]
fn content_outside_an_upload_breaks_the_protocol() {
    let cluster = alone();
    let mut wire = Wire::open(cluster.address());
    wire.connection.send_data(3, b"content");
    assert_eq!(code_of(&wire.answer(0)), ErrorCode::Protocol);
    assert!(wire.is_over());
}

#[test]
fn a_read_only_slave_refuses_every_change() {
    let options = ["--anonymous", "read-only"];
    let cluster = Setup::new(1)
        .without_master()
        .slave_options(options)
        .start();
    cluster.write("kept", b"kept");
    let mut wire = Wire::open(cluster.address());
    let refused = [
        store_whole("/new", b"new", false),
        Request::MakeDirectory {
            path: path("/new"),
            parents: false,
        },
        Request::Remove {
            path: path("/kept"),
            recursive: false,
        },
        Request::RemoveDirectory {
            path: path("/kept"),
        },
        Request::Rename {
            from: path("/kept"),
            to: path("/new"),
            replace: false,
        },
        Request::SetTime {
            path: path("/kept"),
            modified_ns: 0,
            expected: None,
        },
        Request::Flush {},
    ];
    for request in &refused {
        assert_eq!(
            code_of(&wire.ask(request)),
            ErrorCode::NotPermitted,
            "{request:?}"
        );
    }
    let id = wire.send(&store("/new", &[1; 10], false));
    wire.connection.send_data(id, &[1; 10]);
    wire.connection.send(
        id,
        &Request::StoreEnd {
            digest: digest(&[1; 10]),
        },
    );
    assert_eq!(code_of(&wire.answer(id)), ErrorCode::NotPermitted);
    assert_eq!(wire.fetch(&retrieve("/kept", 0)).content, b"kept");
}

#[test]
fn questions_about_the_slave_take_no_place() {
    let cluster = Setup::new(1)
        .without_master()
        .workers(1)
        .sessions(1)
        .start();
    let mut holder = Wire::open(cluster.address());
    assert!(matches!(
        holder.ask(&Request::DiskFree {}),
        Reply::Space { .. }
    ));
    let mut curious = Wire::open_or_busy(cluster.address());
    assert!(curious.is_none(), "all is full");
    drop(holder);
    wait_until("the place to be free", PATIENCE, || {
        curious = Wire::open_or_busy(cluster.address());
        curious.is_some()
    });
    let mut curious = curious.unwrap();
    let worker = curious.preface.worker;
    assert!(matches!(
        curious.ask(&Request::Probe { worker }),
        Reply::Alive {
            silent_ms: 0..5000,
            sessions: 0,
            ..
        }
    ));
    assert!(matches!(
        curious.ask(&Request::Probe { worker: 900 }),
        Reply::Alive {
            silent_ms: u32::MAX,
            ..
        }
    ));
    let mut holder = Wire::open(cluster.address());
    assert!(matches!(
        holder.ask(&Request::DiskFree {}),
        Reply::Space { .. }
    ));
}

impl Wire {
    fn open_or_busy(address: SocketAddr) -> Option<Self> {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut connection = Connection::new(stream);
        let greeting = connection.read_line(512).unwrap();
        drop(connection);
        greeting.starts_with(b"220 ").then(|| Self::open(address))
    }
}

#[test]
fn reserved_names_exist_for_no_request() {
    let cluster = alone();
    let mut wire = Wire::open(cluster.address());
    for name in ["/.mini-ftp", "/.mini-ftp/storage-id", "/.mini-ftp.x"] {
        let refused = [
            Request::Stat {
                path: path(name),
                follow: false,
            },
            retrieve(name, 0),
            store_whole(name, b"x", false),
            Request::Remove {
                path: path(name),
                recursive: true,
            },
        ];
        for request in &refused {
            assert!(
                matches!(
                    code_of(&wire.ask(request)),
                    ErrorCode::BadName | ErrorCode::NotFound
                ),
                "{request:?}"
            );
        }
    }
    let Reply::Entries { entries, .. } = wire.ask(&Request::List {
        path: path("/"),
        recursive: true,
        facts: false,
    }) else {
        panic!("no listing")
    };
    assert_eq!(entries, []);
}

#[test]
fn what_comes_behind_a_refused_ticket_is_no_session_of_everybody() {
    let cluster = alone();
    let mut wire = Wire::open(cluster.address());
    let present = wire.send(&Request::Present {
        ticket: Ticket::new(&[1; 160]).unwrap(),
        secret: Secret([7; 32]),
    });
    let store = wire.send(&store_whole("/file", b"meant for another storage", false));
    assert_eq!(code_of(&wire.answer(present)), ErrorCode::LoginRefused);
    assert_eq!(code_of(&wire.answer(store)), ErrorCode::LoginRequired);
    assert!(wire.is_over() && !cluster.path("file").exists());
}
