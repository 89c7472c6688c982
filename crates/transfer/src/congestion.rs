//! The congestion control of a connection: between two ends on one machine nothing is ever congested, and one that paces its
//! segments (BBR, the default of some machines) halves what passes.
//!
//! It is chosen before a socket is connected where that can be: once one that paces has begun, its timers stay with the
//! socket whatever is chosen later (Linux 6.18, `sk_pacing_status`).

use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use rustix::net::sockopt::{set_tcp_congestion, tcp_congestion};
use socket2::{Domain, Protocol, Socket, Type};

/// Where the machine's default stands, for the network namespace of whoever opens it.
const DEFAULT: &str = "/proc/sys/net/ipv4/tcp_congestion_control";

/// Longer than any name, `TCP_CA_NAME_MAX`.
const LONGEST_NAME: usize = 32;

/// Those that send as fast as their window allows, the best one first.
const UNPACED: [&str; 2] = ["cubic", "reno"];

/// Whether both ends of a connection, with `peer` at the other one, are on one machine, by whichever of its addresses.
#[must_use]
pub fn is_same_machine(socket: &TcpStream, peer: SocketAddr) -> bool {
    let theirs = peer.ip().to_canonical();
    let is_ours = |ours: SocketAddr| ours.ip().to_canonical() == theirs;
    theirs.is_loopback() || socket.local_addr().is_ok_and(is_ours)
}

/// Connects within `limit`, as [`TcpStream::connect_timeout`], and unpaced where the peer is on this machine.
///
/// # Errors
/// What socket(2) and connect(2) say, and [`io::ErrorKind::TimedOut`].
pub fn connect(address: SocketAddr, limit: Duration) -> io::Result<TcpStream> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    let is_loopback = address.ip().to_canonical().is_loopback();
    if is_loopback {
        choose_unpaced(&socket);
    }
    socket.connect_timeout(&address.into(), limit)?;
    let stream = TcpStream::from(socket);
    // By another of this machine's addresses: only the connection itself shows it.
    if !is_loopback && is_same_machine(&stream, address) {
        choose_unpaced(&stream);
    }
    Ok(stream)
}

/// What a server's connections begin with, and which of them go on with what the machine prescribes.
///
/// The listening socket is made unpaced, and what it accepts inherits that; connections to other machines are then given the
/// default, which is read each time: it may change while a server runs. Where it cannot be read, the listening socket stays
/// as it is and those within this machine are made unpaced one by one.
#[derive(Debug)]
pub struct Congestion {
    default: Option<File>,
}

impl Congestion {
    /// Opens what tells the default; nothing is opened later on.
    #[must_use]
    pub fn of_this_machine() -> Self {
        Self {
            default: File::open(DEFAULT).ok(),
        }
    }

    /// Makes a listening socket ready; whatever it accepts must be [settled](Self::settle).
    pub fn prepare(&self, listener: impl AsFd) {
        if self.default.is_some() {
            choose_unpaced(listener);
        }
    }

    /// Decides about an accepted connection, to this machine itself or to another one. What a route prescribes (`congctl`,
    /// ip-route(8)) stays, unless it is one that is unpaced and not locked.
    pub fn settle(&self, accepted: &TcpStream, is_same_machine: bool) {
        match &self.default {
            None if is_same_machine => choose_unpaced(accepted),
            Some(default) if !is_same_machine && is_unpaced(accepted) => {
                let mut name = [0; LONGEST_NAME];
                let length = default.read_at(&mut name, 0).unwrap_or_default();
                if let Some(Ok(name)) = name.get(..length).map(str::from_utf8) {
                    // Everybody may choose the default; where the route's is locked, that stays.
                    let _is_default = set_tcp_congestion(accepted, name.trim_end());
                }
            }
            None | Some(_) => {}
        }
    }
}

/// Which ones may be chosen without privileges is the machine's to say; where none may, the default stays.
fn choose_unpaced(socket: impl AsFd) {
    let _is_chosen = UNPACED
        .iter()
        .any(|control| set_tcp_congestion(&socket, control).is_ok());
}

fn is_unpaced(socket: &TcpStream) -> bool {
    tcp_congestion(socket).is_ok_and(|control| UNPACED.contains(&control.as_str()))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    /// Whether the machine lets us choose: with neither privileges nor its leave, all have its default.
    fn may_choose() -> bool {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        UNPACED
            .iter()
            .any(|control| set_tcp_congestion(&socket, control).is_ok())
    }

    fn default() -> String {
        tcp_congestion(TcpListener::bind("127.0.0.1:0").unwrap()).unwrap()
    }

    /// Both ends, the accepted one not yet settled.
    fn pair(congestion: &Congestion) -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        congestion.prepare(&listener);
        let address = listener.local_addr().unwrap();
        let connected = connect(address, LIMIT).unwrap();
        assert!(is_same_machine(&connected, address));
        (connected, listener.accept().unwrap().0)
    }

    #[test]
    fn between_ends_on_one_machine_nothing_is_paced() {
        let unreadable = Congestion { default: None };
        for congestion in [Congestion::of_this_machine(), unreadable] {
            let (connected, accepted) = pair(&congestion);
            congestion.settle(&accepted, true);
            assert!(is_unpaced(&connected) || !may_choose());
            assert!(is_unpaced(&accepted) || !may_choose());
        }
    }

    #[test]
    fn what_is_accepted_is_unpaced_from_its_first_moment() {
        let (_connected, accepted) = pair(&Congestion::of_this_machine());
        assert!(is_unpaced(&accepted) || !may_choose());
    }

    #[test]
    fn another_machine_is_sent_to_as_this_one_prescribes() {
        for congestion in [Congestion::of_this_machine(), Congestion { default: None }] {
            let (_connected, accepted) = pair(&congestion);
            congestion.settle(&accepted, false);
            assert_eq!(tcp_congestion(&accepted).unwrap(), default());
        }
    }

    #[test]
    fn nobody_there_is_an_error_and_not_a_wait() {
        let closed = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = closed.local_addr().unwrap();
        drop(closed);
        let error = connect(address, LIMIT).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }
}
