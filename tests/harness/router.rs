//! A router, and around it networks with a line of their own each.

use std::fs;
use std::net::Ipv4Addr;

use super::namespace::Place;

/// Forwards between the networks that have joined it. The line of number N is 10.98.N.0/24 and called `toN` here: what is cut,
/// lost or counted there, neither end hears of.
pub struct Router(Place);

impl Router {
    /// A router without lines; why not, where that is not allowed.
    pub fn new() -> Result<Self, String> {
        let place = Place::new()?;
        let set = || {
            let settings = "/proc/sys/net/ipv4";
            fs::write(format!("{settings}/ip_forward"), "1")?;
            // An answer may come by a way on which the question would be lost.
            fs::write(format!("{settings}/conf/all/rp_filter"), "0")?;
            fs::write(format!("{settings}/conf/default/rp_filter"), "0")
        };
        place
            .run(set)
            .map_err(|error| format!("/proc/sys: {error}"))?;
        Ok(Self(place))
    }

    /// A new network at the end of a line. There, the line's device is called `line`, and its address is [`Self::ip`].
    pub fn join(&self, number: u8) -> Result<Place, String> {
        let place = Place::new()?;
        let (line, far) = (Self::line(number), place.path());
        let far = far.display();
        let router = &self.0;
        router.ip(&format!(
            "link add name {line} type veth peer name line netns {far}"
        ))?;
        router.ip(&format!("addr add 10.98.{number}.1/24 dev {line}"))?;
        router.ip(&format!("link set {line} up"))?;
        place.ip(&format!("addr add {}/24 dev line", Self::ip(number)))?;
        place.ip("link set line up")?;
        place.ip(&format!("route add default via 10.98.{number}.1"))?;
        Ok(place)
    }

    /// The address at the far end of a line.
    pub fn ip(number: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 98, number, 2)
    }

    /// The router's own end of a line, as a device.
    pub fn line(number: u8) -> String {
        format!("to{number}")
    }

    /// The router's own network.
    pub fn place(&self) -> &Place {
        &self.0
    }
}
