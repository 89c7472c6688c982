//! Slaves from the command line do not speak up by themselves: each is asked, once a second, who it is.

use std::collections::HashMap;
use std::io;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, anyhow, bail};
use auth::tls::{Connector, Tls, Trust};
use auth::{Identification, fresh_nonce};
use protocol::{Address, ErrorCode, Fingerprint, Nonce, Reply, Request, Role};
use tracing::{info, warn};

use crate::limits::{PROBE_INTERVAL, STACK};
use crate::master::Master;
use crate::peer::{Answered, ask, dial, shake_hands};
use crate::place::Place;
use crate::registry::{Found, Load};
use crate::stream::Peer;

/// The threads that ask, one for each place; they end when this is dropped.
#[derive(Debug)]
pub(crate) struct Probes {
    master: Arc<Master>,
    running: HashMap<Place, Sender<()>>,
}

impl Probes {
    /// Nobody is asked yet.
    pub(crate) fn new(master: Arc<Master>) -> Self {
        Self {
            master,
            running: HashMap::new(),
        }
    }

    /// From now on these places are asked, and no others.
    ///
    /// # Errors
    /// There is no room for another thread.
    pub(crate) fn set(&mut self, places: &[Place]) -> io::Result<()> {
        self.master.registry().set_places(places);
        self.running.retain(|place, _| places.contains(place));
        for place in places {
            if !self.running.contains_key(place) {
                let (stop, stopped) = channel();
                let (master, probed) = (Arc::clone(&self.master), place.clone());
                thread::Builder::new()
                    .name(format!("probe {place}"))
                    .stack_size(STACK)
                    .spawn(move || keep_asking(&master, &probed, &stopped))?;
                self.running.insert(place.clone(), stop);
            }
        }
        Ok(())
    }
}

/// Asks until the other end of `stopped` is dropped. Only changes are worth a line in the log.
fn keep_asking(master: &Master, place: &Place, stopped: &Receiver<()>) {
    let mut last = None;
    let mut known = None;
    loop {
        let state = match ask_once(master, place, &mut known) {
            Ok(()) => None,
            Err(error) => {
                master.registry().unreachable(place);
                Some(cli::one_line(&error))
            }
        };
        if last.as_ref() != Some(&state) {
            match &state {
                None => info!("the slave at {place} is up"),
                Some(reason) => warn!("the slave at {place} is not used: {reason}"),
            }
            last = Some(state);
        }
        match stopped.recv_timeout(PROBE_INTERVAL) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// Asks, and takes over what is answered. By `known` the slave was known when it answered last.
fn ask_once(master: &Master, place: &Place, known: &mut Option<Fingerprint>) -> Result<()> {
    let found = identify(master, place, *known)?;
    if let Some(found) = &found {
        *known = found.fingerprint.or(*known);
    }
    match found {
        Some(found) if !found.keyed && master.settings().accounts.is_some() => {
            bail!(
                "it asks nobody who they are, and this master has accounts: start it without --standalone, with the \
                 master.key of this master's --state"
            );
        }
        Some(found) => {
            let (storage, addresses) = (found.storage, found.addresses.clone());
            master.admit(storage, &addresses, |registry| {
                registry.found(place, found, Instant::now())
            })?;
        }
        None => master.registry().busy(place, Instant::now()),
    }
    Ok(())
}

/// Who answers at the place; `None` when it has no time for us. Over TLS if it is on another machine, or speaks no other
/// way, unless this master speaks none.
fn identify(master: &Master, place: &Place, known: Option<Fingerprint>) -> Result<Option<Found>> {
    let speaks_tls = master.settings().reception.acceptor().is_some();
    let socket = dial(&place.host, place.port).context("cannot connect")?;
    let is_near = socket.peer_addr()?.ip().to_canonical().is_loopback();
    let over_tls = speaks_tls && (!is_near || known.is_some());
    match question(master, (place, socket), (over_tls, known)) {
        Err(error) if speaks_tls && !over_tls && error.is::<TlsDemanded>() => {
            let socket = dial(&place.host, place.port).context("cannot connect")?;
            question(master, (place, socket), (true, known))
        }
        result => result,
    }
}

/// The slave speaks TLS alone.
#[derive(Debug, thiserror::Error)]
#[error("it demands TLS, and this master was told not to speak it")]
struct TlsDemanded;

/// A question that was put to the slave at a place, and what its connection says of who answers.
struct Question {
    nonce: Nonce,
    channel: Vec<u8>,
    shown: Option<Fingerprint>,
    addresses: Vec<Address>,
}

fn question(
    master: &Master,
    (place, socket): (&Place, TcpStream),
    (over_tls, known): (bool, Option<Fingerprint>),
) -> Result<Option<Found>> {
    let tls = match over_tls {
        true => Some(Connector::new(Trust::Anyone)?.start(&place.host)?),
        false => None,
    };
    let mut connection = match shake_hands(socket, Role::Slave, tls)? {
        Answered::Ready(connection) => connection,
        Answered::Busy => return Ok(None),
    };
    let stream = connection.stream();
    let question = Question {
        nonce: fresh_nonce()?,
        channel: stream.channel()?,
        shown: stream.tls().and_then(Tls::peer),
        addresses: addresses(place, stream.peer()?),
    };
    let nonce = question.nonce;
    match ask(&mut connection, &Request::Identify { nonce })? {
        Reply::Error {
            code: ErrorCode::TlsRequired,
            ..
        } => bail!(TlsDemanded),
        Reply::Error { code, .. } => bail!("it does not say who it is: {code}"),
        reply => judge(master, question, &reply, known).map(Some),
    }
}

/// What the answer is worth, from a slave that was `known` so before.
fn judge(
    master: &Master,
    question: Question,
    reply: &Reply,
    known: Option<Fingerprint>,
) -> Result<Found> {
    let &Reply::Identity {
        slave,
        storage,
        nonce,
        proof,
        sessions,
        places,
        draining,
    } = reply
    else {
        bail!("it answers something else than who it is");
    };
    let Some(generation) = master.fleet.generation(&slave) else {
        bail!(
            "it was shut out: 'ftpmaster invite' makes an invitation with which it can join again"
        );
    };
    if let Some(proof) = &proof {
        let identification = Identification {
            master_nonce: &question.nonce,
            slave_nonce: &nonce,
            slave: &slave,
            storage: &storage,
            channel: &question.channel,
        };
        let key = master.key.slave_key(&slave, generation);
        let verdict = identification.check(&key, proof);
        verdict.map_err(|_| {
            anyhow!("it belongs to another master: give both the same --state, or start it with --standalone")
        })?;
    } else if let (Some(known), Some(shown)) = (known, question.shown)
        && known != shown
    {
        // Who proves itself over this very connection may have a new key; anybody else is who it was by its key alone.
        bail!(
            "it shows the key {shown}, but was known by {known}: if that is right, start the master again"
        );
    }
    Ok(Found {
        id: slave,
        storage,
        keyed: proof.is_some(),
        generation,
        fingerprint: question.shown,
        addresses: question.addresses,
        load: Load {
            sessions,
            places,
            draining,
        },
    })
}

/// Where clients may reach the slave that answered us as `peer`.
fn addresses(place: &Place, peer: Peer) -> Vec<Address> {
    let port = place.port;
    if peer.ip.is_loopback() {
        return vec![Address::SameHost { port }];
    }
    let seen = Address::Ip { ip: peer.ip, port };
    if peer.is_here {
        // It may listen at that address alone.
        return vec![seen, Address::SameHost { port }];
    }
    match place.address() {
        name @ Address::Name { .. } => vec![seen, name],
        Address::SameHost { .. } | Address::Ip { .. } => vec![seen],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slave_of_this_machine_is_offered_where_it_was_reached() {
        let offered = |place: &str, ip: &str, is_here| {
            let peer = Peer {
                ip: ip.parse().unwrap(),
                port: 2122,
                is_here,
            };
            addresses(&place.parse().unwrap(), peer)
        };
        let same_host = Address::SameHost { port: 2122 };
        let seen = |ip: &str| Address::Ip {
            ip: ip.parse().unwrap(),
            port: 2122,
        };
        let local = offered("2122", "127.0.0.1", true);
        assert!(local == [Address::SameHost { port: 2122 }]);
        // It may listen there alone.
        let bound = offered("10.0.0.1:2122", "10.0.0.1", true);
        assert_eq!(bound, [seen("10.0.0.1"), same_host]);
        let elsewhere = offered("10.0.0.2:2122", "10.0.0.2", false);
        assert_eq!(elsewhere, [seen("10.0.0.2")]);
    }
}
