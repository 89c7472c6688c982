//! Slaves from the command line, which are asked who they are.

use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use auth::tls::Acceptor;
use auth::{Identification, MasterKey};
use protocol::{
    Address, ClientPreface, Connection, ErrorCode, Nonce, Proof, Reply, Request, Role,
    ServerPreface, StorageId, VERSION,
};

use super::{Link, PATIENCE, STORAGE, World, id, some_key, until};
use crate::probe::Probes;
use crate::stream::DeadlineStream;

/// How a slave that is asked who it is proves it.
#[derive(Clone)]
pub(super) enum Proving {
    With(MasterKey),
    StandsAlone,
    /// Over TLS alone.
    Secured(Arc<Mutex<(Acceptor, Option<MasterKey>)>>),
    Busy,
}

/// A slave at a port of its own that answers probes.
pub(super) fn probed_slave(
    number: u8,
    storage: StorageId,
    proving: Proving,
) -> (u16, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let serve = move || {
        for socket in listener.incoming() {
            let mut link = Connection::new(DeadlineStream::new(socket.unwrap(), PATIENCE));
            if matches!(proving, Proving::Busy) {
                link.send_raw(b"421 busy\r\n");
                link.flush().unwrap();
                continue;
            }
            answer_probe(link, number, storage, &proving);
        }
    };
    (port, std::thread::Builder::new().spawn(serve).unwrap())
}

fn answer_probe(mut link: Link, number: u8, storage: StorageId, proving: &Proving) {
    let (is_refused, key) = greet(&mut link, proving);
    link.read_exact(&mut [0; ClientPreface::LENGTH]).unwrap();
    let header = link.receive_answer().unwrap();
    if is_refused {
        let reply = Reply::Error {
            code: ErrorCode::TlsRequired,
            detail: protocol::Text::default(),
        };
        link.send(0, &reply);
        link.flush().unwrap();
        return;
    }
    let channel = link.stream_ref().channel().unwrap();
    let Request::Identify { nonce: asked } = link.decode(&header).unwrap() else {
        panic!("not asked who it is");
    };
    let nonce = Nonce([9; 32]);
    let prove = |key: MasterKey| -> Proof {
        let identification = Identification {
            master_nonce: &asked,
            slave_nonce: &nonce,
            slave: &id(number),
            storage: &storage,
            channel: &channel,
        };
        identification.proof(&key.slave_key(&id(number), 0))
    };
    let identity = Reply::Identity {
        slave: id(number),
        storage,
        nonce,
        proof: key.map(prove),
        sessions: 0,
        places: 4,
        draining: false,
    };
    link.send(header.request, &identity);
    link.flush().unwrap();
}

/// Greeting, TLS where that is spoken, and preface. Whether the master should have spoken it, and the key of the slave.
fn greet(link: &mut Link, proving: &Proving) -> (bool, Option<MasterKey>) {
    link.send_raw(b"220 ready\r\n");
    let mut is_refused = false;
    let key = match proving {
        Proving::With(key) => Some(key.clone()),
        Proving::StandsAlone | Proving::Busy => None,
        Proving::Secured(now) => {
            let (acceptor, key) = now.lock().unwrap().clone();
            link.flush().unwrap();
            is_refused = !link.stream_ref().begins_tls().unwrap();
            if !is_refused {
                link.stream().secure(acceptor.start().unwrap()).unwrap();
            }
            key
        }
    };
    let preface = ServerPreface {
        version: VERSION,
        oldest: VERSION,
        newest: VERSION,
        role: Role::Slave,
        login_required: false,
        features: 0,
        worker: 0,
        window_requests: 1,
        window_answer_bytes: 1,
    };
    link.send_raw(&preface.encode());
    link.flush().unwrap();
    (is_refused, key)
}

#[test]
fn slaves_from_the_command_line_are_asked_who_they_are() {
    let world = World::new();
    let ours = Proving::With(world.master.key.clone());
    let (proved, _) = probed_slave(1, STORAGE, ours.clone());
    let (alone, _) = probed_slave(2, STORAGE, Proving::StandsAlone);
    let (foreign, _) = probed_slave(3, STORAGE, Proving::With(some_key()));
    let (busy, _) = probed_slave(5, STORAGE, Proving::Busy);
    let mut probes = Probes::new(Arc::clone(&world.master));
    let places = [proved, alone, foreign, busy, world.address.port()];
    probes
        .set(&places.map(|port| port.to_string().parse().unwrap()))
        .unwrap();
    let offers = until(|| world.locate().ok().filter(|offers| offers.len() == 2));
    let of = |number| offers.iter().find(|offer| offer.id == id(number)).unwrap();
    assert_eq!(of(1).addresses, [Address::SameHost { port: proved }]);
    assert!(!of(1).ticket.as_bytes().is_empty());
    assert!(
        of(2).ticket.as_bytes().is_empty(),
        "one that stands alone asks for no ticket"
    );
    // The one that registers, too, is the same slave.
    let _link = world.register(1).unwrap();
    let turns = world.turns();
    assert_eq!(turns.len(), 2, "{turns:?}");
    // What is no longer configured is no longer offered.
    probes.set(&[]).unwrap();
    assert_eq!(world.turns(), [id(1)]);
}

#[test]
fn a_probed_slave_of_another_storage_is_not_used() {
    let world = World::new();
    let _registered = world.register(1).unwrap();
    let (other, _) = probed_slave(2, StorageId([8; 16]), Proving::StandsAlone);
    let (same, _) = probed_slave(3, STORAGE, Proving::StandsAlone);
    let mut probes = Probes::new(Arc::clone(&world.master));
    probes
        .set(&[other, same].map(|port| port.to_string().parse().unwrap()))
        .unwrap();
    until(|| world.turns().contains(&id(3)).then_some(()));
    assert!(!world.turns().contains(&id(2)));
}
