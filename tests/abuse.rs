//! Those who would keep others from being served.

mod attack;
mod crowd;
mod limits;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::harness::{Cluster, Setup};

/// Of the user whom the others are to hold up.
const PASSWORD: &str = "right horse";

/// Where the good user is.
const GOOD: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);

/// A master and a slave that can be reached at every address of a network, and accounts for a good and a bad user.
fn everywhere() -> Setup {
    Setup::new(1)
        .at(Ipv4Addr::UNSPECIFIED)
        .account(["ada"], PASSWORD)
        .account(["mallory"], "let me in")
}

/// A server as it is reached at this address: the client then has it, too.
fn at(ip: impl Into<IpAddr>, server: SocketAddr) -> SocketAddr {
    SocketAddr::new(ip.into(), server.port())
}

/// What the servers have written to their logs.
fn logs(cluster: &mut Cluster) -> String {
    let slave = cluster.slaves[0].process.stderr();
    slave + "\n" + &cluster.master().process.stderr()
}
