//! Whom to connect to: `NAME`, `NAME:PORT`, `[v6]:PORT`, a bare port, or a list of these.

use std::fmt;

use thiserror::Error;

/// A master or standalone slave, as a person named it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// Name or numeric address, without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

/// A text that names no host.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("'{text}' is no host: expected NAME, NAME:PORT, [ADDRESS]:PORT or PORT")]
pub struct TargetError {
    text: String,
}

impl Target {
    /// The targets that `list` names, in order, separated by commas. One without a port gets `default_port`; a bare
    /// number is a port on this machine.
    ///
    /// # Errors
    /// [`TargetError`] names the first part that is no target.
    pub fn parse_list(list: &str, default_port: u16) -> Result<Vec<Self>, TargetError> {
        list.split(',')
            .map(|text| {
                Self::parse(text.trim(), default_port).ok_or_else(|| TargetError {
                    text: text.to_owned(),
                })
            })
            .collect()
    }

    fn parse(text: &str, default_port: u16) -> Option<Self> {
        let (host, port) = if text.bytes().all(|byte| byte.is_ascii_digit()) {
            ("localhost", Some(text))
        } else if let Some(rest) = text.strip_prefix('[') {
            let (host, rest) = rest.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            match rest.strip_prefix(':') {
                None if !rest.is_empty() => return None,
                port => (host, port),
            }
        } else if text.matches(':').count() > 1 {
            text.parse::<std::net::Ipv6Addr>().ok()?;
            (text, None)
        } else {
            match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            }
        };
        let port = match port {
            Some(port) => port.parse().ok().filter(|&port| port > 0)?,
            None => default_port,
        };
        let is_name = !host.is_empty() && !host.contains(|c: char| c.is_whitespace() || c == '/');
        is_name.then(|| Self {
            host: host.to_owned(),
            port,
        })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(formatter, "[{}]:{}", self.host, self.port)
        } else {
            write!(formatter, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_understood() {
        for (text, shown) in [
            ("a", "a:2121"),
            ("a:99", "a:99"),
            ("5106", "localhost:5106"),
            ("10.0.0.1:5", "10.0.0.1:5"),
            ("[::1]:5", "[::1]:5"),
            ("[::1]", "[::1]:2121"),
            ("::1", "[::1]:2121"),
        ] {
            let targets = Target::parse_list(text, 2121).unwrap();
            assert_eq!(targets[0].to_string(), shown, "{text}");
        }
        let list = Target::parse_list("a, b:99,[::1]:5", 1).unwrap();
        assert_eq!(
            list.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["a:1", "b:99", "[::1]:5"]
        );
    }

    #[test]
    fn what_is_no_host_is_named() {
        for text in [
            "", "a:", "a:0", "a:65536", "70000", ":5", "[::1", "[a]:5", "[::1]5", "a b", "a,,b",
        ] {
            assert!(Target::parse_list(text, 2121).is_err(), "{text}");
        }
    }
}
