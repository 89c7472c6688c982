//! A master in memory: offers what it was given, and remembers what it was asked.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use protocol::{
    Address, Connection, ErrorCode, Fingerprint, MasterReply, MasterRequest, Role, Secret, SlaveId,
    SlaveOffer, Text, Ticket,
};

use crate::slave::{Slave, spawn};
use crate::talk::greet;

/// Who was tried in vain, and whether only tickets were to be renewed.
type Questions = Vec<(Vec<SlaveId>, bool)>;

/// A master that offers slaves in a fixed order, those that were tried last.
pub(crate) struct Master {
    pub(crate) address: SocketAddr,
    pub(crate) located: Arc<Mutex<Questions>>,
    pub(crate) offers: Arc<Mutex<Vec<Offered>>>,
}

/// What it says of a slave.
#[derive(Clone, Copy)]
pub(crate) struct Offered {
    pub(crate) id: SlaveId,
    pub(crate) address: SocketAddr,
    pub(crate) fingerprint: Option<Fingerprint>,
}

impl Offered {
    pub(crate) fn in_clear(slave: &Slave) -> Self {
        Self {
            id: slave.id,
            address: slave.address,
            fingerprint: None,
        }
    }
}

impl Master {
    pub(crate) fn start(slaves: &[Slave], life: u32) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let offers: Vec<_> = slaves.iter().map(Offered::in_clear).collect();
        let master = Self {
            address,
            located: Arc::default(),
            offers: Arc::new(Mutex::new(offers)),
        };
        let (located, offers) = (Arc::clone(&master.located), Arc::clone(&master.offers));
        spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                let (located, offers) = (Arc::clone(&located), Arc::clone(&offers));
                spawn(move || {
                    serve_master(stream, life, &located, &offers).unwrap_or_default();
                });
            }
        });
        master
    }
}

fn serve_master(
    stream: TcpStream,
    life: u32,
    located: &Mutex<Questions>,
    offers: &Mutex<Vec<Offered>>,
) -> Result<(), ()> {
    let mut connection = Connection::new(stream);
    greet(&mut connection, Role::Master).map_err(drop)?;
    while let Some(header) = connection.receive().map_err(drop)? {
        let reply = match connection.decode(&header).map_err(drop)? {
            MasterRequest::Locate { tried, renew } => {
                located.lock().unwrap().push((tried.clone(), renew));
                let mut slaves = offers.lock().unwrap().clone();
                slaves.sort_by_key(|slave| tried.contains(&slave.id));
                match slaves.is_empty() {
                    true => MasterReply::Error {
                        code: ErrorCode::NoSlave,
                        detail: Text::default(),
                    },
                    false => MasterReply::Located {
                        slaves: slaves.into_iter().map(offer).collect(),
                        expires: 0,
                        life,
                    },
                }
            }
            _ => MasterReply::Slaves { slaves: Vec::new() },
        };
        connection.send(header.request, &reply);
        connection.flush().map_err(drop)?;
    }
    Ok(())
}

pub(crate) fn offer(offered: Offered) -> SlaveOffer {
    SlaveOffer {
        id: offered.id,
        addresses: vec![Address::SameHost {
            port: offered.address.port(),
        }],
        ticket: Ticket::new(b"ticket").unwrap(),
        secret: Secret([7; 32]),
        sessions: 0,
        places: 9,
        fingerprint: offered.fingerprint,
    }
}
