//! The master as others see it: over loopback, with slaves and clients that say what the test wants them to say.

mod fleet;
mod probed;
mod tls;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use admission::{Limits, Reporter};
use auth::tls::Reception;
use auth::{
    ClientClaim, Introduction, MasterKey, RegistrationKey, StateDirectory, check, fresh_nonce,
};
use protocol::{
    Address, ClientPreface, Connection, DecodeError, ErrorCode, Fingerprint, MasterReply,
    MasterRequest, Message, Request, Rights, Role, ServerPreface, SlaveId, SlaveOffer, SlaveStatus,
    StorageId, VERSION,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::limits::ANSWER;
use crate::master::{Master, Settings, unix_now};
use crate::peer::{Answered, ask, dial_address, shake_hands};
use crate::rotation::Policy;
use crate::server::Server;
use crate::stream::DeadlineStream;

const STORAGE: StorageId = StorageId([7; 16]);
const FINGERPRINT: Fingerprint = Fingerprint([6; 32]);

/// A test that waits longer than this has failed.
const PATIENCE: Duration = Duration::from_secs(20);

type Link = Connection<DeadlineStream>;

fn id(number: u8) -> SlaveId {
    SlaveId([number; 16])
}

fn some_key() -> MasterKey {
    let folder = tempfile::tempdir().unwrap();
    let state = StateDirectory::open(Some(&folder.path().join("state"))).unwrap();
    state.master_key().unwrap()
}

pub(crate) fn until<T>(mut attempt: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(result) = attempt() {
            return result;
        }
        assert!(begun.elapsed() < PATIENCE, "nothing came of it");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A running master.
struct World {
    master: Arc<Master>,
    address: SocketAddr,
    wake: UnixStream,
    thread: Option<JoinHandle<()>>,
    state: StateDirectory,
    _folder: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        Self::with(Reception::default(), Limits::default())
    }

    fn with(reception: Reception, limits: Limits) -> Self {
        let limit = getrlimit(Resource::Nofile);
        let raised = Rlimit {
            current: limit.maximum,
            ..limit
        };
        setrlimit(Resource::Nofile, raised).unwrap();
        let settings = Settings {
            policy: Policy::RoundRobin,
            everybody: Some(Rights::READ_ONLY),
            accounts: None,
            reception,
        };
        let folder = tempfile::tempdir().unwrap();
        let state = StateDirectory::open(Some(&folder.path().join("state"))).unwrap();
        let master = Arc::new(Master::new(&state, settings, limits).unwrap());
        let server = Server::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = server.address().unwrap();
        let (wake, woken) = UnixStream::pair().unwrap();
        let shared = Arc::clone(&master);
        let thread = std::thread::Builder::new()
            .spawn(move || {
                server
                    .serve_until(&woken, &shared, &mut Reporter::default())
                    .unwrap();
            })
            .unwrap();
        Self {
            master,
            address,
            wake,
            thread: Some(thread),
            state,
            _folder: folder,
        }
    }

    fn connect(&self) -> Link {
        match shake_hands(dial_address(self.address).unwrap(), Role::Master, None).unwrap() {
            Answered::Ready(link) => link,
            Answered::Busy => panic!("busy"),
        }
    }

    fn ask(&self, request: &MasterRequest) -> MasterReply {
        ask(&mut self.connect(), request).unwrap()
    }

    fn locate(&self) -> Result<Vec<SlaveOffer>, ErrorCode> {
        let request = MasterRequest::Locate {
            tried: Vec::new(),
            renew: false,
        };
        match self.ask(&request) {
            MasterReply::Located { slaves, .. } => Ok(slaves),
            MasterReply::Error { code, .. } => Err(code),
            other => panic!("{other:?}"),
        }
    }

    fn turns(&self) -> Vec<SlaveId> {
        self.locate()
            .unwrap_or_default()
            .iter()
            .map(|offer| offer.id)
            .collect()
    }

    fn register(&self, number: u8) -> Result<Link, ErrorCode> {
        self.register_with(number, STORAGE, &self.key(number, 0))
    }

    fn key(&self, number: u8, generation: u32) -> RegistrationKey {
        self.master.key.registration_key(&id(number), generation)
    }

    /// Registers a slave that holds this key.
    fn register_with(
        &self,
        number: u8,
        storage: StorageId,
        key: &RegistrationKey,
    ) -> Result<Link, ErrorCode> {
        register_over(self.connect(), (number, storage), key, &[])
    }
}

/// Registers a slave that holds this key and takes the connection for the one with that channel.
fn register_over(
    mut link: Link,
    (number, storage): (u8, StorageId),
    key: &RegistrationKey,
    channel: &[u8],
) -> Result<Link, ErrorCode> {
    let addresses = vec![Address::SameHost {
        port: u16::from(number),
    }];
    let nonce = fresh_nonce().unwrap();
    let register = MasterRequest::Register {
        nonce,
        slave: id(number),
        storage,
        addresses: addresses.clone(),
        fingerprint: Some(FINGERPRINT),
    };
    let (master_nonce, proof) = match ask(&mut link, &register).unwrap() {
        MasterReply::Challenge { nonce, proof } => (nonce, proof),
        MasterReply::Error { code, .. } => return Err(code),
        other => panic!("{other:?}"),
    };
    let introduction = Introduction {
        slave_nonce: &nonce,
        master_nonce: &master_nonce,
        slave: &id(number),
        storage: &storage,
        channel,
        fingerprint: Some(&FINGERPRINT),
        addresses: &addresses,
    };
    let knows_master = introduction.check_master(key, &proof).is_ok();
    let prove = MasterRequest::Prove {
        proof: introduction.slave_proof(key),
    };
    match ask(&mut link, &prove).unwrap() {
        MasterReply::Registered { now } => {
            assert!(knows_master);
            assert!(now.abs_diff(unix_now()) <= 1);
            Ok(link)
        }
        MasterReply::Error { code, .. } => Err(code),
        other => panic!("{other:?}"),
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.wake.write_all(b"x").unwrap();
        let ended = self.thread.take().unwrap().join();
        assert!(ended.is_ok() || std::thread::panicking());
    }
}

fn heartbeat(link: &mut Link, draining: bool) -> MasterReply {
    let request = MasterRequest::Heartbeat {
        sessions: 3,
        places: 8,
        draining,
    };
    ask(link, &request).unwrap()
}

/// Everything the master says to a peer that sends these bytes, until it closes.
fn talk(world: &World, bytes: &[u8]) -> Vec<u8> {
    let mut socket = TcpStream::connect(world.address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.write_all(bytes).unwrap();
    let mut heard = Vec::new();
    socket.read_to_end(&mut heard).unwrap();
    heard
}

#[test]
fn clients_are_sent_to_registered_slaves_in_turn_with_tickets_that_count_there() {
    let world = World::new();
    let _slaves = [world.register(1).unwrap(), world.register(2).unwrap()];
    let offers = world.locate().unwrap();
    assert_eq!(offers[0].addresses, [Address::SameHost { port: 1 }]);
    let claim = ClientClaim {
        ticket: offers[0].ticket.as_bytes(),
        secret: &offers[0].secret,
    };
    assert_eq!(offers[0].fingerprint, Some(FINGERPRINT));
    let key = world.master.key.slave_key(&id(1), 0);
    let grant = check(&key, &id(1), claim, unix_now()).unwrap();
    assert_eq!((grant.user.as_str(), grant.rights), ("", Rights::READ_ONLY));
    assert_eq!(world.turns(), [id(2), id(1)]);
    assert_eq!(world.turns(), [id(1), id(2)]);
}

#[test]
fn a_slave_that_goes_is_left_out_at_once_and_one_that_drains_too() {
    let world = World::new();
    assert_eq!(world.locate().unwrap_err(), ErrorCode::NoSlave);
    let mut one = world.register(1).unwrap();
    let two = world.register(2).unwrap();
    drop(two);
    until(|| (world.turns() == [id(1)]).then_some(()));
    assert!(matches!(
        heartbeat(&mut one, false),
        MasterReply::Noted { .. }
    ));
    let offer = &world.locate().unwrap()[0];
    assert_eq!((offer.sessions, offer.places), (3, 8));
    heartbeat(&mut one, true);
    assert_eq!(world.locate().unwrap_err(), ErrorCode::NoSlave);
    let MasterReply::Slaves { slaves } = world.ask(&MasterRequest::ListSlaves {}) else {
        panic!("no list");
    };
    let statuses: Vec<SlaveStatus> = slaves.iter().map(|slave| slave.status).collect();
    assert_eq!(statuses, [SlaveStatus::Draining, SlaveStatus::Down]);
}

#[test]
fn nobody_is_sent_to_a_slave_without_the_key() {
    let world = World::new();
    let foreign = some_key().registration_key(&id(1), 0);
    let refusal = world.register_with(1, STORAGE, &foreign);
    assert_eq!(refusal.unwrap_err(), ErrorCode::LoginRefused);
    assert_eq!(world.locate().unwrap_err(), ErrorCode::NoSlave);
    // Nor to one that skips the proof.
    let reply = world.ask(&MasterRequest::Heartbeat {
        sessions: 0,
        places: 1,
        draining: false,
    });
    assert!(
        matches!(
            reply,
            MasterReply::Error {
                code: ErrorCode::Protocol,
                ..
            }
        ),
        "{reply:?}"
    );
    assert!(world.master.registry().states(Instant::now()).is_empty());
}

#[test]
fn slaves_of_another_storage_or_with_a_taken_identity_are_refused() {
    let world = World::new();
    let _one = world.register(1).unwrap();
    let other_storage = world.register_with(2, StorageId([8; 16]), &world.key(2, 0));
    assert_eq!(other_storage.unwrap_err(), ErrorCode::WrongStorage);
    assert_eq!(world.turns(), [id(1)]);
}

#[test]
fn a_slave_that_registers_again_supersedes_its_own_connection() {
    let world = World::new();
    let mut old = world.register(1).unwrap();
    let mut new = world.register(1).unwrap();
    let reply = heartbeat(&mut old, false);
    assert!(
        matches!(
            reply,
            MasterReply::Error {
                code: ErrorCode::DuplicateSlave,
                ..
            }
        ),
        "{reply:?}"
    );
    assert!(matches!(
        heartbeat(&mut new, false),
        MasterReply::Noted { .. }
    ));
    assert_eq!(world.turns(), [id(1)]);
}

#[test]
fn foreign_words_get_an_error_line_and_nothing_else() {
    let world = World::new();
    for words in [
        b"USER anonymous\r\n".as_slice(),
        b"GET / HTTP/1.1\r\n\r\n",
        &[0; 5000],
    ] {
        let heard = String::from_utf8(talk(&world, words)).unwrap();
        assert!(heard.starts_with("220 mini-ftp ready\r\n500 "), "{heard}");
        assert_eq!(heard.lines().count(), 2, "{heard}");
    }
}

#[test]
fn a_client_of_a_newer_version_hears_which_versions_there_are() {
    let world = World::new();
    let newer = ClientPreface {
        oldest: VERSION + 1,
        newest: VERSION + 9,
        features: u32::MAX,
    };
    let heard = talk(&world, &newer.encode());
    let preface = heard.split(|&byte| byte == b'\n').next().unwrap().len() + 1;
    let preface = ServerPreface::decode(&heard[preface..]).unwrap();
    assert_eq!(
        (preface.version, preface.newest, preface.role),
        (0, VERSION, Role::Master)
    );
}

#[test]
fn broken_frames_end_in_a_typed_error_and_leave_others_alone() {
    let world = World::new();
    let mut bystander = world.connect();
    let mut garbage = ClientPreface::ours().encode();
    garbage.extend([0xff; 64]);
    let heard = talk(&world, &garbage);
    let preface_ends = "220 mini-ftp ready\r\n".len() + ServerPreface::LENGTH;
    let mut rest = Connection::new(std::io::Cursor::new(heard[preface_ends..].to_vec()));
    let header = rest.receive().unwrap().unwrap();
    let reply: MasterReply = rest.decode(&header).unwrap();
    assert!(
        matches!(
            reply,
            MasterReply::Error {
                code: ErrorCode::Protocol,
                ..
            }
        ),
        "{reply:?}"
    );
    let reply: MasterReply = ask(&mut bystander, &MasterRequest::ListSlaves {}).unwrap();
    assert!(matches!(reply, MasterReply::Slaves { .. }));
}

#[test]
fn a_request_of_a_later_version_is_unsupported_and_the_connection_goes_on() {
    let world = World::new();
    let mut link = world.connect();
    let reply: MasterReply = ask(&mut link, &Request::Probe { worker: 1 }).unwrap();
    assert!(
        matches!(
            reply,
            MasterReply::Error {
                code: ErrorCode::Unsupported,
                ..
            }
        ),
        "{reply:?}"
    );
    let reply: MasterReply = ask(&mut link, &MasterRequest::ListSlaves {}).unwrap();
    assert!(matches!(reply, MasterReply::Slaves { .. }));
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let world = World::new();
    let _slave = world.register(1).unwrap();
    let mut link = world.connect();
    for request in 0..200 {
        let renew = MasterRequest::Locate {
            tried: Vec::new(),
            renew: true,
        };
        link.send(request, &renew);
    }
    link.flush().unwrap();
    for request in 0..200 {
        assert_eq!(link.receive_answer().unwrap().request, request);
    }
}

#[test]
fn whoever_finds_no_place_is_told_so() {
    const MOST: u32 = 300;
    let world = World::with(
        Reception::default(),
        Limits {
            connections: MOST,
            ..Limits::default()
        },
    );
    let knock = || shake_hands(dial_address(world.address).unwrap(), Role::Master, None).unwrap();
    let inside: Vec<Link> = std::iter::from_fn(|| match knock() {
        Answered::Ready(link) => Some(link),
        Answered::Busy => None,
    })
    .take(MOST as usize + 1)
    .collect();
    assert_eq!(inside.len(), MOST as usize);
    drop(inside);
    until(|| matches!(knock(), Answered::Ready(_)).then_some(()));
}

#[test]
fn whoever_takes_no_answer_is_told_from_who_rests() {
    let world = World::new();
    let mut link = world.connect();
    let list = MasterRequest::ListSlaves {};
    let end = Instant::now() + 3 * ANSWER;
    // Once the kernel's buffers are full it writes no more, and nor do we.
    while Instant::now() < end {
        for request in 0..1000 {
            link.send(request, &list);
        }
        if link.flush().is_err() {
            break;
        }
    }
    let counted = until(|| Reporter::default().news(world.master.gate.words()));
    assert!(counted.contains("stall 1"), "{counted}");
}

#[test]
fn a_reload_takes_away_no_connections_that_were_there_before() {
    let connections = |asked, at_start, now| {
        let asked = Limits {
            connections: asked,
            ..Limits::default()
        };
        crate::limits(asked, at_start, now).connections
    };
    assert_eq!(connections(20_000, 65_536, 65_536), 20_000);
    // The sandbox holds it to these, and 4,096 other descriptors.
    assert_eq!(connections(20_000, 65_536, 24_096), 20_000);
    assert_eq!(connections(30_000, 65_536, 24_096), 20_000);
    let few = connections(20_000, 10_000, 10_000);
    assert!(few < 10_000 && few > 5_904);
    let some = connections(20_000, 25_000, 25_000);
    assert_eq!(connections(20_000, 25_000, u64::from(some) + 4_096), some);
}

/// Something that nobody understands yet.
struct Later;

impl Message for Later {
    fn kind(&self) -> u16 {
        0x02ff
    }

    fn encode(&self, _payload: &mut Vec<u8>) {}

    fn decode(_kind: u16, _payload: &[u8]) -> Result<Self, DecodeError> {
        Ok(Self)
    }
}

#[test]
fn a_later_slave_may_say_more_and_nobody_else_what_slaves_say() {
    let world = World::new();
    let mut slave = world.register(1).unwrap();
    slave.send(9, &Later);
    slave.flush().unwrap();
    let header = slave.receive_answer().unwrap();
    let reply: MasterReply = slave.decode(&header).unwrap();
    assert!(matches!(
        reply,
        MasterReply::Error {
            code: ErrorCode::Unsupported,
            ..
        }
    ));
    assert!(matches!(
        heartbeat(&mut slave, false),
        MasterReply::Noted { .. }
    ));

    let mut stranger = world.connect();
    assert!(matches!(
        heartbeat(&mut stranger, false),
        MasterReply::Error {
            code: ErrorCode::Protocol,
            ..
        }
    ));
    assert!(stranger.receive_answer().is_err(), "it is over");
}

#[test]
fn what_only_begins_like_the_protocol_is_told_what_is_spoken_here() {
    let world = World::new();
    let mut socket = dial_address(world.address).unwrap();
    socket.write_all(b"\x89PNG\r\n\x1a\n0123456789ab").unwrap();
    let mut said = String::new();
    socket.read_to_string(&mut said).unwrap();
    let (greeting, rest) = said.split_once("\r\n").unwrap();
    assert!(
        greeting.starts_with("220 ") && rest.starts_with("500 "),
        "{said}"
    );
    // A damaged preface is answered with nothing.
    let mut damaged = ClientPreface::ours().encode();
    damaged[9] ^= 1;
    assert_eq!(talk(&world, &damaged), b"220 mini-ftp ready\r\n");
}
