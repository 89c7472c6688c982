//! A slave as it is written on the command line: `PORT` or `HOST:PORT`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use protocol::{Address, Text};
use thiserror::Error;

/// Longest host name, bytes (RFC 1035, section 2.3.4).
const MAX_HOST: usize = 253;

/// Where a slave is looked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    /// Name or numeric address, without brackets.
    pub(crate) host: String,
    /// TCP port.
    pub(crate) port: u16,
}

/// A text that names no place.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "{problem}: a slave is PORT (on this machine) or HOST:PORT, such as 2122, nas:2122 or [::1]:2122"
)]
pub(crate) struct PlaceError {
    problem: &'static str,
}

impl FromStr for Place {
    type Err = PlaceError;

    fn from_str(text: &str) -> Result<Self, PlaceError> {
        let failed = |problem| PlaceError { problem };
        let local = Ipv4Addr::LOCALHOST.to_string();
        let (host, port) = match text.rsplit_once(':') {
            None => (local, text),
            Some((host, port)) => (unbracketed(host).ok_or_else(|| failed("bad host"))?, port),
        };
        match port.parse() {
            Ok(0) | Err(_) => Err(failed("bad port")),
            Ok(port) => Ok(Self { host, port }),
        }
    }
}

/// The host without the brackets that an IPv6 address needs before a port.
fn unbracketed(host: &str) -> Option<String> {
    if let Some(inner) = host.strip_prefix('[') {
        let inner = inner.strip_suffix(']')?;
        return inner.parse::<IpAddr>().ok().map(|ip| ip.to_string());
    }
    let is_host = (1..=MAX_HOST).contains(&host.len())
        && !host.contains(|c: char| c == ':' || c.is_whitespace() || c.is_control());
    is_host.then(|| host.to_owned())
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(formatter, "[{}]:{}", self.host, self.port)
        } else {
            write!(formatter, "{}:{}", self.host, self.port)
        }
    }
}

impl Place {
    /// Where clients may reach it, as far as the words alone say.
    pub(crate) fn address(&self) -> Address {
        let port = self.port;
        match self.host.parse::<IpAddr>() {
            Ok(ip) if ip.is_loopback() => Address::SameHost { port },
            Ok(ip) => Address::Ip { ip, port },
            Err(_) if self.host.eq_ignore_ascii_case("localhost") => Address::SameHost { port },
            Err(_) => Address::Name {
                host: Text::new(&self.host),
                port,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_and_hosts_are_understood() {
        for (text, shown, address) in [
            ("2122", "127.0.0.1:2122", Address::SameHost { port: 2122 }),
            ("localhost:1", "localhost:1", Address::SameHost { port: 1 }),
            ("[::1]:2", "[::1]:2", Address::SameHost { port: 2 }),
            (
                "10.0.0.1:3",
                "10.0.0.1:3",
                Address::Ip {
                    ip: [10, 0, 0, 1].into(),
                    port: 3,
                },
            ),
            (
                "nas.lan:4",
                "nas.lan:4",
                Address::Name {
                    host: Text::new("nas.lan"),
                    port: 4,
                },
            ),
        ] {
            let place: Place = text.parse().unwrap();
            assert_eq!(place.to_string(), shown);
            assert_eq!(place.address(), address);
        }
    }

    #[test]
    fn anything_else_is_refused_with_an_example() {
        let long = format!("{}:1", "x".repeat(254));
        for text in [
            "", "x", "0", "65536", "-1", ":1", "h:", "h:0", "::1", "::1:1", "[::1:1", "[x]:1",
            "a b:1", "h:1:2", &long,
        ] {
            let refusal = text.parse::<Place>().unwrap_err().to_string();
            assert!(refusal.contains("nas:2122"), "{text}: {refusal}");
        }
    }
}
