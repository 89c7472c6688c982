//! Whom an address belongs to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whom an address belongs to: with IPv6 a single customer has a whole /64.
#[must_use]
pub fn source_of(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) if !ip.is_loopback() => first_bits(ip, 64),
        ip => ip,
    }
}

/// The network in which whoever has one address has others: /24, and /48 with IPv6.
pub(crate) fn network_of(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(ip) => Ipv4Addr::from_bits(ip.to_bits() & 0xffff_ff00).into(),
        IpAddr::V6(ip) => first_bits(ip, 48),
    }
}

/// Whether an address is this machine's own: all its users share it, so it counts for the whole server only.
pub(crate) fn is_shared(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

fn first_bits(ip: Ipv6Addr, length: u32) -> IpAddr {
    Ipv6Addr::from_bits(ip.to_bits() & !(u128::MAX >> length)).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn sources_and_networks_are_what_one_customer_has() {
        for (address, source, network) in [
            ("10.1.2.3", "10.1.2.3", "10.1.2.0"),
            ("::ffff:10.1.2.3", "10.1.2.3", "10.1.2.0"),
            ("2001:db8:1:2:3::4", "2001:db8:1:2::", "2001:db8:1::"),
        ] {
            assert_eq!(source_of(ip(address)), ip(source));
            assert_eq!(network_of(ip(address)), ip(network));
        }
        assert_eq!(source_of(ip("::1")), ip("::1"));
        for (address, shared) in [
            ("127.0.0.9", true),
            ("::1", true),
            ("::ffff:127.0.0.1", true),
            ("10.0.0.1", false),
        ] {
            assert_eq!(is_shared(ip(address)), shared, "{address}");
        }
    }
}
