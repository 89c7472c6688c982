//! The connection of one slave: it introduces itself, both sides prove that they hold the key, then it says every second
//! that it is alive. When the connection ends, the slave is down.

use std::time::Instant;

use auth::{Introduction, fresh_nonce};
use protocol::limits::MAX_ADDRESSES;
use protocol::{
    Address, Connection, ConnectionError, DecodeError, ErrorCode, Fingerprint, MasterReply,
    MasterRequest, Nonce, SlaveId, StorageId, Text,
};
use tracing::{info, warn};

use admission::Visit;

use crate::limits::{ANSWER, FORGOTTEN, PROOF};
use crate::master::{Master, unix_now};
use crate::registry::{Load, Newcomer};
use crate::show::shown;
use crate::stream::{DeadlineStream, Peer};

/// What a slave hears whose keys count no more.
const EVICTED: &str = "this master has shut the slave out: 'ftpmaster invite' makes an invitation with which it can join \
                       again";

/// What a slave said of itself, not proved yet.
#[derive(Debug)]
pub(crate) struct Hello {
    /// The request in which it did.
    pub(crate) request: u32,
    pub(crate) nonce: Nonce,
    pub(crate) slave: SlaveId,
    pub(crate) storage: StorageId,
    pub(crate) addresses: Vec<Address>,
    pub(crate) fingerprint: Option<Fingerprint>,
}

/// What a slave hears before its connection ends.
struct Refused {
    request: u32,
    code: ErrorCode,
    detail: String,
}

impl Refused {
    /// Whoever has no key could fill the log: only a slave of ours is worth a warning.
    fn log(&self, slave: SlaveId, peer: Peer) {
        let (from, detail) = (peer.ip, &self.detail);
        match self.code {
            ErrorCode::Protocol | ErrorCode::LoginRefused => {
                info!(%slave, %from, "not registered: {detail}");
            }
            _ => warn!(%slave, %from, "not registered: {detail}"),
        }
    }
}

type Link = Connection<DeadlineStream>;

/// Serves a slave until its connection ends. Its place among the clients is given back once it is registered.
pub(crate) fn serve(
    master: &Master,
    link: &mut Link,
    hello: &Hello,
    visit: &mut Visit,
) -> Result<(), ConnectionError> {
    let peer = link.stream().peer()?;
    let newcomer = match introduce(master, link, hello, peer)? {
        Ok(newcomer) => newcomer,
        Err(refused) => {
            refused.log(hello.slave, peer);
            let reply = MasterReply::Error {
                code: refused.code,
                detail: Text::new(&refused.detail),
            };
            return send(link, refused.request, &reply);
        }
    };
    visit.leave();
    let addresses = newcomer
        .addresses
        .iter()
        .map(|address| shown(address, peer.ip));
    let at = addresses.collect::<Vec<_>>().join(", ");
    info!(slave = %hello.slave, "registered at {at}");
    let ended = listen(master, link, &newcomer);
    master.registry().lost(newcomer.id, newcomer.connection);
    match &ended {
        Ok(()) => info!(slave = %hello.slave, "left"),
        Err(error) => warn!(slave = %hello.slave, "lost: {error}"),
    }
    ended
}

/// Until the slave is registered, or told why not.
fn introduce(
    master: &Master,
    link: &mut Link,
    hello: &Hello,
    peer: Peer,
) -> Result<Result<Newcomer, Refused>, ConnectionError> {
    let refuse = |request, code, detail: &str| {
        Ok(Err(Refused {
            request,
            code,
            detail: detail.to_owned(),
        }))
    };
    let addresses = seen_addresses(&hello.addresses, peer);
    if addresses.is_empty() {
        return refuse(
            hello.request,
            ErrorCode::Protocol,
            "it names no address that a client could reach",
        );
    }
    let Some(generation) = master.fleet.generation(&hello.slave) else {
        return refuse(hello.request, ErrorCode::LoginRefused, EVICTED);
    };
    let key = master.key.registration_key(&hello.slave, generation);
    let master_nonce = fresh_nonce()?;
    let channel = link.stream().channel()?;
    let introduction = Introduction {
        slave_nonce: &hello.nonce,
        master_nonce: &master_nonce,
        slave: &hello.slave,
        storage: &hello.storage,
        channel: &channel,
        fingerprint: hello.fingerprint.as_ref(),
        addresses: &hello.addresses,
    };
    let challenge = MasterReply::Challenge {
        nonce: master_nonce,
        proof: introduction.master_proof(&key),
    };
    send(link, hello.request, &challenge)?;
    link.stream().allow(PROOF);
    let header = link.receive_answer()?;
    let Ok(MasterRequest::Prove { proof }) = link.decode(&header) else {
        return refuse(
            header.request,
            ErrorCode::Protocol,
            "it answers the challenge with something else",
        );
    };
    if let Err(error) = introduction.check_slave(&key, &proof) {
        return refuse(header.request, ErrorCode::LoginRefused, &error.to_string());
    }
    let newcomer = Newcomer {
        id: hello.slave,
        storage: hello.storage,
        generation,
        fingerprint: hello.fingerprint,
        addresses,
        connection: master.connection_number(),
    };
    enter(master, link, header.request, newcomer)
}

/// Gives a slave that has proved itself its place, and tells it so.
fn enter(
    master: &Master,
    link: &mut Link,
    request: u32,
    newcomer: Newcomer,
) -> Result<Result<Newcomer, Refused>, ConnectionError> {
    let registered = master.admit(newcomer.storage, &newcomer.addresses, |registry| {
        registry.register(newcomer.clone(), Instant::now())
    });
    if let Err(refusal) = registered {
        return Ok(Err(Refused {
            request,
            code: refusal.code(),
            detail: refusal.to_string(),
        }));
    }
    let reply = MasterReply::Registered { now: unix_now() };
    if let Err(error) = send(link, request, &reply) {
        master.registry().lost(newcomer.id, newcomer.connection);
        return Err(error);
    }
    Ok(Ok(newcomer))
}

/// Hears heartbeats. A silent slave is down long before its connection is given up: when it was only stopped for a while,
/// it goes on where it was.
fn listen(master: &Master, link: &mut Link, slave: &Newcomer) -> Result<(), ConnectionError> {
    let mut told = 0;
    loop {
        link.rest();
        link.stream().allow(FORGOTTEN);
        let Some(header) = link.receive()? else {
            return Ok(());
        };
        let request = match link.decode(&header) {
            Err(DecodeError::UnknownKind(_)) => {
                // A later slave may say more than we know.
                refuse(link, header.request, ErrorCode::Unsupported, "")?;
                continue;
            }
            decoded => decoded?,
        };
        let MasterRequest::Heartbeat {
            sessions,
            places,
            draining,
        } = request
        else {
            return refuse(
                link,
                header.request,
                ErrorCode::Protocol,
                "a registered slave sends heartbeats only",
            );
        };
        let load = Load {
            sessions,
            places,
            draining,
        };
        if master.fleet.generation(&slave.id) != Some(slave.generation) {
            warn!(slave = %slave.id, "its keys count no more");
            return refuse(link, header.request, ErrorCode::LoginRefused, EVICTED);
        }
        let now = Instant::now();
        let speaks_for_it = master
            .registry()
            .heartbeat(slave.id, slave.connection, load, now);
        if !speaks_for_it {
            return refuse(
                link,
                header.request,
                ErrorCode::DuplicateSlave,
                "another connection registered this slave",
            );
        }
        let revoked = master.revoked_after(told);
        let latest = revoked.iter().map(|revocation| revocation.until).max();
        told = latest.unwrap_or(told);
        let reply = MasterReply::Noted {
            now: unix_now(),
            revoked,
        };
        send(link, header.request, &reply)?;
    }
}

fn refuse(
    link: &mut Link,
    request: u32,
    code: ErrorCode,
    detail: &str,
) -> Result<(), ConnectionError> {
    let detail = Text::new(detail);
    send(link, request, &MasterReply::Error { code, detail })
}

fn send(link: &mut Link, request: u32, reply: &MasterReply) -> Result<(), ConnectionError> {
    link.send(request, reply);
    link.stream().allow(ANSWER);
    Ok(link.flush()?)
}

/// The addresses a slave announced, as clients can use them: "this host" is the one from which it registers.
fn seen_addresses(announced: &[Address], peer: Peer) -> Vec<Address> {
    let mut seen: Vec<Address> = Vec::new();
    for address in announced {
        let address = match address {
            Address::SameHost { port } if peer.is_here => Address::SameHost { port: *port },
            Address::SameHost { port } => Address::Ip {
                ip: peer.ip,
                port: *port,
            },
            Address::Ip { ip, port } if ip.is_loopback() && peer.is_here => {
                Address::SameHost { port: *port }
            }
            Address::Ip { ip, .. } if ip.is_loopback() || ip.is_unspecified() => continue,
            Address::Name { host, .. } if !is_host_name(host.as_str()) => continue,
            other => other.clone(),
        };
        let (Address::SameHost { port } | Address::Ip { port, .. } | Address::Name { port, .. }) =
            &address;
        if *port != 0 && !seen.contains(&address) {
            seen.push(address);
        }
    }
    seen.truncate(MAX_ADDRESSES);
    seen
}

/// Whether a text could be a host's name (RFC 1123, section 2.1, and underscores).
fn is_host_name(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    (1..=253).contains(&text.len()) && text.bytes().all(is_allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_host_is_where_the_slave_registers_from() {
        let announced = [
            Address::Name {
                host: Text::new("nas.lan"),
                port: 2122,
            },
            Address::SameHost { port: 2122 },
        ];
        let here = Peer {
            ip: [127, 0, 0, 1].into(),
            port: 1,
            is_here: true,
        };
        let elsewhere = Peer {
            ip: [10, 0, 0, 7].into(),
            port: 1,
            is_here: false,
        };
        assert_eq!(seen_addresses(&announced, here), announced);
        assert_eq!(
            seen_addresses(&announced, elsewhere)[1],
            Address::Ip {
                ip: [10, 0, 0, 7].into(),
                port: 2122
            }
        );
    }

    #[test]
    fn what_no_client_could_reach_is_left_out() {
        let elsewhere = Peer {
            ip: [10, 0, 0, 7].into(),
            port: 1,
            is_here: false,
        };
        let ip = |ip: [u8; 4], port| Address::Ip {
            ip: ip.into(),
            port,
        };
        let name = |host: &str| Address::Name {
            host: Text::new(host),
            port: 1,
        };
        let announced = [
            ip([127, 0, 0, 1], 1),
            ip([0, 0, 0, 0], 1),
            ip([10, 0, 0, 7], 0),
            name(""),
            name("a b"),
            name("\u{1b}[2J"),
            Address::SameHost { port: 0 },
            ip([10, 0, 0, 8], 1),
            ip([10, 0, 0, 8], 1),
        ];
        assert_eq!(
            seen_addresses(&announced, elsewhere),
            [ip([10, 0, 0, 8], 1)]
        );
    }
}
