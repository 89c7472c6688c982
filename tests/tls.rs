//! TLS at the servers' sockets, spoken by hand.

mod certificates;

use std::fs;
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use protocol::{
    Address, ClientPreface, Condition, Digest, ErrorCode, MAGIC, MasterReply, MasterRequest,
    RemotePath, Reply, Request, UploadId,
};

use crate::harness::{
    Cluster, PATIENCE, Place, Secured, Setup, Wire, digest_of, done_as_superuser, random_bytes,
    say_and_listen, secure, skipped, staged, wait_until,
};

/// Speaks TLS with whoever it is.
fn over_tls(server: SocketAddr) -> Wire<Secured> {
    Wire::over(secure(server, None).unwrap())
}

fn path(text: &str) -> RemotePath {
    RemotePath::parse(text.as_bytes()).unwrap()
}

fn retrieve(name: &str) -> Request {
    Request::Retrieve {
        path: path(name),
        offset: 0,
        length: u64::MAX,
        expected: None,
        digest: true,
    }
}

fn store(name: &str, size: usize) -> Request {
    Request::Store {
        path: path(name),
        upload: UploadId([7; 32]),
        size: size as u64,
        modified_ns: 0,
        mode: 0o644,
        condition: Condition::Any,
        resume: false,
        deferred: false,
    }
}

/// What others say when they connect.
const OPENINGS: [&[u8]; 6] = [
    b"GET /<script> HTTP/1.1\r\nHost: <script>\r\n\r\n",
    b"POST / HTTP/1.1\r\nContent-Length: 9999\r\n\r\n<script>\r\n<script>\r\n",
    b"EHLO <script>\r\nMAIL FROM:<script>\r\n",
    b"SSH-2.0-<script>\r\n",
    b"a1 LOGIN <script> <script>\r\n",
    b"USER <script>\r\nPASS <script>\r\n",
];

#[test]
fn openings_of_other_protocols_hear_two_lines_at_most_and_never_themselves() {
    let mut cluster = Cluster::start(1);
    for server in [cluster.master().address, cluster.slaves[0].address] {
        for words in OPENINGS {
            let (clear, took) = say_and_listen(server, words);
            let mut secured = secure(server, None).unwrap();
            secured.write_all(words).unwrap();
            let within = secured.read_all().unwrap();
            for (heard, most) in [(clear, 2), (within, 1)] {
                let heard = String::from_utf8(heard).unwrap();
                assert!(heard.lines().count() <= most, "{heard}");
                assert!(!heard.contains("script"), "{heard}");
            }
            assert!(took < Duration::from_secs(5));
        }
    }
}

#[test]
fn content_passes_whole_both_ways_and_only_what_is_whole_is_stored() {
    let cluster = Setup::new(1).without_master().start();
    let content = random_bytes(1, 5_000_003);
    cluster.write("a.bin", &content);
    let mut wire = over_tls(cluster.address());
    // The first time the digest is computed beside it, then it is known; between two requests the session rests.
    for _ in 0..2 {
        let reply: Reply = wire.ask(&retrieve("/a.bin"));
        assert!(matches!(reply, Reply::Content { .. }), "{reply:?}");
        let (received, end) = wire.content::<Reply>();
        assert!(received == content);
        let Reply::ContentEnd {
            digest: Some(digest),
        } = end
        else {
            panic!("{end:?}");
        };
        assert_eq!(digest.to_string(), digest_of(&content));
    }
    wire.send(&store("/b.bin", content.len()));
    wire.send_content(&content);
    let digest: Digest = digest_of(&content).parse().unwrap();
    wire.send_more(&Request::StoreEnd { digest });
    let (_, reply) = wire.hear::<Reply>().unwrap();
    assert!(matches!(reply, Reply::Stored { .. }), "{reply:?}");
    assert!(fs::read(cluster.path("b.bin")).unwrap() == content);
    // Cut off without a word, or ended by one: half an upload is none.
    for says_so in [false, true] {
        let mut cut = over_tls(cluster.address());
        cut.send(&store("/c.bin", content.len()));
        cut.send_content(&content[..2_000_000]);
        if says_so {
            cut.socket().close();
        }
        drop(cut);
        wait_until("the half to be set aside", PATIENCE, || {
            !staged(&cluster.root()).is_empty()
        });
        assert!(!cluster.path("c.bin").exists());
    }
}

#[test]
fn who_demands_tls_of_all_answers_nothing_else_to_a_preface_in_the_clear() {
    let always = ["--tls", "always"];
    let cluster = Setup::new(1).without_master().slave_options(always).start();
    let mut clear = Wire::open(cluster.address());
    let (request, reply) = clear.hear::<Reply>().unwrap();
    assert!(is_tls_required(&reply), "{reply:?}");
    assert_eq!(request, 0);
    assert!(clear.hear::<Reply>().is_none());
    let reply: Reply = over_tls(cluster.address()).ask(&Request::DiskFree {});
    assert!(matches!(reply, Reply::Space { .. }), "{reply:?}");
}

fn is_tls_required(reply: &Reply) -> bool {
    matches!(
        reply,
        Reply::Error {
            code: ErrorCode::TlsRequired,
            ..
        }
    )
}

#[test]
fn who_takes_no_tls_closes_when_it_begins() {
    let cluster = Setup::new(1)
        .without_master()
        .slave_options(["--tls", "never"])
        .start();
    let (heard, took) = say_and_listen(cluster.address(), b"\x16\x03\x01\x02\x00");
    assert_eq!(heard, b"220 mini-ftp ready\r\n");
    assert!(took < Duration::from_secs(5));
    assert!(!cluster.state().join("master.pem").exists());
}

#[test]
fn words_in_the_clear_before_or_behind_the_beginning_of_tls_are_never_carried_out() {
    let cluster = Setup::new(1).without_master().start();
    cluster.write("a.txt", b"a");
    let mut remove = Vec::new();
    let mut frames = protocol::Connection::new(std::io::Cursor::new(Vec::new()));
    frames.send_raw(&ClientPreface::ours().encode());
    frames.send(
        1,
        &Request::Remove {
            path: path("/a.txt"),
            recursive: false,
        },
    );
    frames.flush().unwrap();
    remove.append(frames.stream().get_mut());
    let hello = [
        b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03".as_slice(),
        &[0; 64],
    ]
    .concat();
    for words in [
        [hello.as_slice(), &remove].concat(),
        // The magic of a preface, and TLS in the middle of it.
        [&MAGIC[..4], &hello, &remove].concat(),
        [&ClientPreface::ours().encode()[..], &hello].concat(),
    ] {
        say_and_listen(cluster.address(), &words);
        assert!(cluster.path("a.txt").exists());
    }
    // In the clear and alone it counts.
    let request = Request::Remove {
        path: path("/a.txt"),
        recursive: false,
    };
    Wire::open(cluster.address()).ask::<Reply>(&request);
    assert!(!cluster.path("a.txt").exists());
}

#[test]
fn where_all_is_full_who_speaks_tls_hears_busy_and_may_ask_after_a_worker() {
    let cluster = Setup::new(1)
        .without_master()
        .workers(1)
        .sessions(1)
        .start();
    let mut first = over_tls(cluster.address());
    let reply: Reply = first.ask(&Request::DiskFree {});
    assert!(matches!(reply, Reply::Space { .. }), "{reply:?}");
    let mut second = over_tls(cluster.address());
    let worker = second.preface.worker;
    let reply: Reply = second.ask(&Request::Probe { worker });
    assert!(matches!(reply, Reply::Alive { .. }), "{reply:?}");
    let reply: Reply = second.ask(&Request::DiskFree {});
    assert!(
        matches!(
            reply,
            Reply::Error {
                code: ErrorCode::Busy,
                ..
            }
        ),
        "{reply:?}"
    );
}

#[test]
fn from_another_machine_nobody_is_heard_in_the_clear() {
    if done_as_superuser() {
        return;
    }
    let [servers, clients] = match Place::pair() {
        Ok(places) => places,
        Err(why) => {
            skipped(&why);
            return;
        }
    };
    let ip: std::net::Ipv4Addr = "10.97.0.1".parse().unwrap();
    let open = ["--anonymous", "read-only"];
    let mut cluster = servers.run(|| {
        // The slave serves whoever the master sends, and registers from this machine.
        Setup::new(1).at(ip).master_options(open).start()
    });
    cluster.write("a.txt", b"a");
    let (master, slave) = (cluster.master().address, cluster.slaves[0].address);
    clients.run(|| {
        let mut clear = Wire::open(slave);
        let (_, reply) = clear.hear::<Reply>().unwrap();
        assert!(is_tls_required(&reply), "{reply:?}");
        let mut clear = Wire::open(master);
        let (_, reply) = clear.hear::<MasterReply>().unwrap();
        let code = match reply {
            MasterReply::Error { code, .. } => code,
            other => panic!("{other:?}"),
        };
        assert_eq!(code, ErrorCode::TlsRequired);
        let locate = MasterRequest::Locate {
            tried: Vec::new(),
            renew: false,
        };
        let MasterReply::Located { slaves, .. } = over_tls(master).ask(&locate) else {
            panic!("no slaves");
        };
        assert!(
            slaves[0]
                .addresses
                .contains(&Address::SameHost { port: slave.port() })
                || slaves[0].addresses.contains(&Address::Ip {
                    ip: IpAddr::V4(ip),
                    port: slave.port()
                })
        );
        let mut wire = over_tls(slave);
        let reply = wire.present(&slaves[0]);
        assert!(matches!(reply, Reply::Welcome { .. }), "{reply:?}");
        let reply: Reply = wire.ask(&retrieve("/a.txt"));
        assert!(matches!(reply, Reply::Content { .. }), "{reply:?}");
    });
}
