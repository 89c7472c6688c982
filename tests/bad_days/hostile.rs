//! Peers that speak nonsense, too much, another version, or do not listen. Others are served meanwhile.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use protocol::frame::{DATA, Header};
use protocol::limits::{MAX_CONTROL_PAYLOAD, MAX_DATA_PAYLOAD};
use protocol::{
    ClientPreface, Condition, ErrorCode, MasterReply, Message, RemotePath, Reply, Request, Rights,
    UploadId,
};

use super::MEBIBYTE;
use crate::harness::{
    Cluster, PATIENCE, Setup, Wire, offers, peers_of, random_bytes, resident_bytes, say_and_listen,
    wait_until,
};

/// A master with a slave that registered, and one that stands alone: every kind of port there is.
struct Site {
    cluster: Cluster,
    alone: Cluster,
}

impl Site {
    fn start() -> Self {
        Self {
            cluster: Cluster::start(1),
            alone: Setup::new(1).without_master().start(),
        }
    }

    fn ports(&self) -> [SocketAddr; 3] {
        [
            self.cluster.address(),
            self.cluster.slaves[0].address,
            self.alone.slaves[0].address,
        ]
    }

    /// Fails the test unless everybody is served, by the same workers as ever.
    fn assert_unharmed(&self, workers: &[u32]) {
        self.cluster.client().run(["ls"]).succeeded();
        self.alone.client().run(["ls"]).succeeded();
        assert_eq!(self.workers(), workers);
    }

    fn workers(&self) -> Vec<u32> {
        let slaves = [&self.cluster.slaves[0], &self.alone.slaves[0]];
        slaves.iter().flat_map(|slave| slave.workers()).collect()
    }
}

/// What a browser, a scanner, a TLS client or somebody's mistake would send.
fn garbage() -> Vec<Vec<u8>> {
    let preface = ClientPreface::ours().encode();
    let mut damaged = preface.clone();
    damaged[10] ^= 1;
    let mut garbage = vec![
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
        // A record of TLS with no words of TLS in it; one that is begun and not ended waits for its deadline.
        b"\x16\x03\x01\x00\x05hello".to_vec(),
        b"USER anonymous\r\n".to_vec(),
        vec![0; 100_000],
        vec![0x89; 1000],
        damaged,
        [preface.as_slice(), &[0xff; 4096]].concat(),
        [preface.as_slice(), &[0; 4096]].concat(),
    ];
    garbage.extend((0..8).map(|seed| random_bytes(seed, 5000)));
    garbage.extend((0..8).map(|seed| [preface.as_slice(), &random_bytes(seed, 5000)].concat()));
    garbage
}

#[test]
fn garbage_on_the_port_is_answered_with_a_closed_door_and_nobody_else_notices() {
    let site = Site::start();
    let workers = site.workers();
    for port in site.ports() {
        for bytes in garbage() {
            let (heard, lasted) = say_and_listen(port, &bytes);
            assert!(heard.is_empty() || heard.starts_with(b"220 "), "{heard:?}");
            assert!(
                lasted < Duration::from_secs(5),
                "{lasted:?} for {:?}",
                &bytes[..20.min(bytes.len())]
            );
        }
    }
    site.assert_unharmed(&workers);
    // The master's port has a connection that stays: the registered slave's.
    for address in &site.ports()[1..] {
        wait_until("all connections to be closed", PATIENCE, || {
            peers_of(*address).is_empty()
        });
    }
}

#[test]
fn a_peer_that_leaves_in_the_middle_of_its_first_words_takes_nothing_along() {
    let site = Site::start();
    let workers = site.workers();
    let preface = ClientPreface::ours().encode();
    for port in site.ports() {
        for length in 0..preface.len() {
            let mut stream = TcpStream::connect(port).unwrap();
            stream.write_all(&preface[..length]).unwrap();
            if length % 2 == 0 {
                stream.shutdown(Shutdown::Write).unwrap();
                let mut heard = Vec::new();
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                stream.read_to_end(&mut heard).unwrap();
            }
        }
    }
    site.assert_unharmed(&workers);
}

/// A header that is right in all but its length.
fn header(kind: u16, length: u32) -> Vec<u8> {
    Header {
        length,
        request: 1,
        kind,
    }
    .encode(&[])
    .to_vec()
}

#[test]
fn frames_that_are_too_long_are_refused_before_they_are_read() {
    let site = Site::start();
    let workers = site.workers();
    let memory = || -> u64 { workers.iter().map(|pid| resident_bytes(*pid)).sum() };
    let before = memory();
    let stat = Request::Stat {
        path: RemotePath::root(),
        follow: true,
    }
    .kind();
    for port in site.ports() {
        for bytes in [
            header(stat, MAX_CONTROL_PAYLOAD + 1),
            header(stat, u32::MAX),
            header(DATA, MAX_DATA_PAYLOAD + 1),
            header(DATA, u32::MAX),
        ] {
            let mut wire = Wire::open(port);
            wire.socket().write_all(&bytes).unwrap();
            let mut heard = Vec::new();
            wire.socket().read_to_end(&mut heard).unwrap();
            let (header, payload) = heard.split_at(Header::LENGTH);
            let header = Header::decode(header.try_into().unwrap()).unwrap();
            let code = match port == site.cluster.address() {
                true => match MasterReply::decode(header.kind, payload).unwrap() {
                    MasterReply::Error { code, .. } => code,
                    other => panic!("{other:?}"),
                },
                false => match Reply::decode(header.kind, payload).unwrap() {
                    Reply::Error { code, .. } => code,
                    other => panic!("{other:?}"),
                },
            };
            assert_eq!(code, ErrorCode::Protocol);
        }
    }
    assert!(memory() < before + 8 * MEBIBYTE as u64);
    site.assert_unharmed(&workers);
}

#[test]
fn a_newer_client_hears_which_versions_we_speak() {
    let site = Site::start();
    for port in site.ports() {
        let newer = ClientPreface {
            oldest: 2,
            newest: 9,
            features: 0,
        };
        let mut wire = Wire::introduce(port, newer);
        assert_eq!(
            (
                wire.preface.version,
                wire.preface.oldest,
                wire.preface.newest
            ),
            (0, 1, 1)
        );
        let mut rest = Vec::new();
        wire.socket().read_to_end(&mut rest).unwrap();
        assert!(rest.is_empty(), "closed behind the preface");

        let both = ClientPreface {
            oldest: 1,
            newest: 9,
            features: u32::MAX,
        };
        assert_eq!(Wire::introduce(port, both).preface.version, 1);
    }
}

/// A request that a later version may know: refused by itself, and the session goes on.
#[test]
fn an_unknown_request_is_refused_and_the_session_goes_on() {
    struct Later;
    impl Message for Later {
        fn kind(&self) -> u16 {
            0x01ff
        }
        fn encode(&self, payload: &mut Vec<u8>) {
            payload.extend_from_slice(b"whatever it holds");
        }
        fn decode(_: u16, _: &[u8]) -> Result<Self, protocol::DecodeError> {
            Ok(Self)
        }
    }
    let cluster = Setup::new(1).without_master().start();
    let mut wire = Wire::open(cluster.slaves[0].address);
    let refused: Reply = wire.ask(&Later);
    assert!(
        matches!(
            refused,
            Reply::Error {
                code: ErrorCode::Unsupported,
                ..
            }
        ),
        "{refused:?}"
    );
    let root = Request::Stat {
        path: RemotePath::root(),
        follow: true,
    };
    assert!(matches!(wire.ask(&root), Reply::Facts { .. }));
}

/// Takes half a minute of waiting, for that is the deadline; nothing else runs in it.
#[test]
fn peers_that_stop_reading_or_sending_in_the_middle_are_dropped() {
    let cluster = Setup::new(1).workers(1).sessions(2).start();
    let slave = cluster.slaves[0].address;
    cluster.write("a.bin", &random_bytes(1, 32 * MEBIBYTE));
    let path = |name: &[u8]| RemotePath::parse(name).unwrap();
    let enter = || {
        let mut wire = Wire::open(slave);
        let welcome = wire.present(&offers(cluster.address())[0]);
        assert!(
            matches!(
                welcome,
                Reply::Welcome {
                    rights: Rights::ALL,
                    ..
                }
            ),
            "{welcome:?}"
        );
        wire
    };
    let mut reader = enter();
    reader.send(&Request::Retrieve {
        path: path(b"/a.bin"),
        offset: 0,
        length: u64::MAX,
        expected: None,
        digest: true,
    });
    let mut sender = enter();
    sender.send(&Request::Store {
        path: path(b"/b.bin"),
        upload: UploadId([7; 32]),
        size: 1000,
        modified_ns: 0,
        mode: 0o644,
        condition: Condition::Any,
        resume: false,
        deferred: false,
    });
    let begun = Instant::now();
    cluster.client().run(["ls"]).failed(3, "busy");
    wait_until("both to be dropped", Duration::from_secs(45), || {
        peers_of(slave).is_empty()
    });
    let lasted = begun.elapsed();
    assert!(lasted > Duration::from_secs(25), "{lasted:?}");
    cluster.client().run(["ls"]).succeeded();
    assert!(!cluster.path("b.bin").exists());
}

/// Half a minute of waiting again. A byte now and then is no sign of good will: it does not move the deadline.
#[test]
fn peers_whose_first_words_drip_in_are_dropped() {
    let cluster = Setup::new(1).start();
    let slave = cluster.slaves[0].address;
    let preface = ClientPreface::ours().encode();
    let mut request = header(0x0103, 500);
    request.extend([0; 500]);
    let mut drips = [
        (TcpStream::connect(slave).unwrap(), preface.clone()),
        (TcpStream::connect(slave).unwrap(), request),
    ];
    drips[1].0.write_all(&preface).unwrap();
    let begun = Instant::now();
    let mut given = 0;
    wait_until("both to be dropped", Duration::from_secs(45), || {
        if begun.elapsed().as_secs() > 4 * given {
            for (stream, bytes) in &mut drips {
                let next = usize::try_from(given).unwrap();
                stream.write_all(&bytes[next..=next]).ok(); // closed, once it is dropped
            }
            given += 1;
        }
        given > 0 && peers_of(slave).is_empty()
    });
    let lasted = begun.elapsed();
    assert!(lasted > Duration::from_secs(25), "{lasted:?}");
    cluster.client().run(["ls"]).succeeded();
}
