//! Servers behind a line of their own each, and one client: a network for each, joined by shaped devices.

use std::net::Ipv4Addr;

use crate::harness::Place;

/// The client's network and the servers', until dropped.
pub struct Star {
    /// Where the client is.
    pub hub: Place,
    /// Where the servers are, in the order of their rates.
    pub servers: Vec<Place>,
}

impl Star {
    /// A server for each of `rates`, in Mbit/s.
    pub fn new(rates: &[u64]) -> Result<Self, String> {
        let hub = Place::new()?;
        let mut servers = Vec::new();
        for (number, rate) in rates.iter().enumerate() {
            let place = Place::new()?;
            let far = place.path();
            hub.ip(&format!(
                "link add line{number} type veth peer name line netns {}",
                far.display()
            ))?;
            hub.ip(&format!(
                "addr add {}/24 dev line{number}",
                Self::hub_address(number)
            ))?;
            hub.ip(&format!("link set line{number} up"))?;
            place.ip(&format!("addr add {}/24 dev line", Self::address(number)))?;
            place.ip("link set line up")?;
            let shape = format!("rate {rate}mbit burst 256kb latency 20ms");
            place.tool("tc", &format!("qdisc add dev line root tbf {shape}"))?;
            servers.push(place);
        }
        Ok(Self { hub, servers })
    }

    /// Where a server is reached.
    pub fn address(number: usize) -> Ipv4Addr {
        Ipv4Addr::new(10, 98, number as u8, 1)
    }

    /// Where a server reaches the client's network.
    pub fn hub_address(number: usize) -> Ipv4Addr {
        Ipv4Addr::new(10, 98, number as u8, 2)
    }
}
