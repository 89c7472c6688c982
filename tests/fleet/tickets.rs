//! Tickets that are not what they should be: refused by the slave, and told by the client in words and status.

use std::net::{SocketAddr, TcpListener};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use auth::{Grant, StateDirectory, issue};
use protocol::{
    Connection, ErrorCode, MasterReply, MasterRequest, RemotePath, Reply, Rights, Role, Secret,
    ServerPreface, SlaveOffer, Ticket,
};

use crate::harness::{Client, Cluster, Wire, offers, port_of};

/// A master that offers everybody the same, which may be anything.
fn master_that_offers(offer: SlaveOffer) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serve = move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut connection = Connection::new(stream);
            connection.send_raw(b"220 mini-ftp ready\r\n");
            let preface = ServerPreface {
                version: 1,
                oldest: 1,
                newest: 1,
                role: Role::Master,
                login_required: false,
                features: 0,
                worker: 0,
                window_requests: 256,
                window_answer_bytes: 1 << 20,
            };
            connection.send_raw(&preface.encode());
            connection.flush().ok();
            connection.read_exact(&mut [0; 20]).ok();
            while let Ok(Some(header)) = connection.receive() {
                let request = connection.decode::<MasterRequest>(&header);
                assert!(matches!(request, Ok(MasterRequest::Locate { .. })));
                let located = MasterReply::Located {
                    slaves: vec![offer.clone()],
                    expires: 0,
                    life: 600,
                };
                connection.send(header.request, &located);
                connection.flush().ok();
            }
        }
    };
    thread::Builder::new().spawn(serve).unwrap();
    address
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap().as_secs()
}

/// The offer with a ticket that ended a minute ago.
fn expired(cluster: &Cluster, offer: &SlaveOffer) -> SlaveOffer {
    let state = StateDirectory::open(Some(&cluster.state())).unwrap();
    let key = state.master_key().unwrap().slave_key(&offer.id, 0);
    let grant = Grant {
        user: String::new(),
        rights: Rights::ALL,
        home: RemotePath::root(),
        slave: offer.id,
        issued: (now() - 660) * 1000,
        expires: now() - 60,
        quota: None,
    };
    let ticket = issue(&key, &grant, &offer.secret).unwrap();
    SlaveOffer {
        ticket: Ticket::new(&ticket).unwrap(),
        ..offer.clone()
    }
}

#[test]
fn a_forged_expired_stolen_or_other_slave_s_ticket_opens_nothing_and_the_client_says_why() {
    let cluster = Cluster::start(2);
    let mut two = offers(cluster.address());
    two.sort_by_key(port_of);
    let [one, other] = two.as_slice() else {
        panic!("{two:?}");
    };
    let mut forged = one.ticket.as_bytes().to_vec();
    forged[70] ^= 1; // its end
    let refused = ErrorCode::LoginRefused;
    for (name, offer, code) in [
        (
            "forged",
            SlaveOffer {
                ticket: Ticket::new(&forged).unwrap(),
                ..one.clone()
            },
            refused,
        ),
        (
            "stolen",
            SlaveOffer {
                secret: Secret([7; 32]),
                ..one.clone()
            },
            refused,
        ),
        (
            "another slave's",
            SlaveOffer {
                addresses: one.addresses.clone(),
                ..other.clone()
            },
            refused,
        ),
        ("expired", expired(&cluster, one), ErrorCode::TicketExpired),
    ] {
        let slave = SocketAddr::new(cluster.address().ip(), port_of(one));
        let reply = Wire::open(slave).present(&offer);
        assert!(
            matches!(reply, Reply::Error { code: found, .. } if found == code),
            "{name}: {reply:?}"
        );
        let mut offer = offer;
        let [ip] = [slave.ip()];
        offer.addresses = vec![protocol::Address::Ip {
            ip,
            port: slave.port(),
        }];
        let client = Client::new(master_that_offers(offer).to_string());
        let told = client.run(["ls"]);
        told.failed(4, code.sentence());
    }
    let good = SocketAddr::new(cluster.address().ip(), port_of(one));
    assert!(matches!(
        Wire::open(good).present(one),
        Reply::Welcome { .. }
    ));
}
