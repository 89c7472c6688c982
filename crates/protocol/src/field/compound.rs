//! Fields that are made of others.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Field, Fields, put_bytes};
use crate::limits::MAX_PATH;
use crate::{
    Address, Condition, DecodeError, Entry, Revocation, SlaveOffer, SlaveState, Text, Unreadable,
    Version,
};

impl Field for Condition {
    fn encode(&self, payload: &mut Vec<u8>) {
        match self {
            Self::Any => 0_u8.encode(payload),
            Self::Absent => 1_u8.encode(payload),
            Self::Matches(version) => {
                2_u8.encode(payload);
                version.encode(payload);
            }
        }
    }

    fn decode(fields: &mut Fields<'_>) -> Result<Self, DecodeError> {
        match u8::decode(fields)? {
            0 => Ok(Self::Any),
            1 => Ok(Self::Absent),
            2 => Version::decode(fields).map(Self::Matches),
            _ => Err(DecodeError::Field("condition")),
        }
    }
}

impl Field for Address {
    fn encode(&self, payload: &mut Vec<u8>) {
        match self {
            Self::SameHost { port } => {
                0_u8.encode(payload);
                port.encode(payload);
            }
            Self::Ip {
                ip: IpAddr::V4(ip),
                port,
            } => {
                4_u8.encode(payload);
                payload.extend_from_slice(&ip.octets());
                port.encode(payload);
            }
            Self::Ip {
                ip: IpAddr::V6(ip),
                port,
            } => {
                6_u8.encode(payload);
                payload.extend_from_slice(&ip.octets());
                port.encode(payload);
            }
            Self::Name { host, port } => {
                1_u8.encode(payload);
                host.encode(payload);
                port.encode(payload);
            }
        }
    }

    fn decode(fields: &mut Fields<'_>) -> Result<Self, DecodeError> {
        Ok(match u8::decode(fields)? {
            0 => Self::SameHost {
                port: u16::decode(fields)?,
            },
            1 => Self::Name {
                host: Text::decode(fields)?,
                port: u16::decode(fields)?,
            },
            4 => Self::Ip {
                ip: Ipv4Addr::from(fields.array::<4>()?).into(),
                port: u16::decode(fields)?,
            },
            6 => Self::Ip {
                ip: Ipv6Addr::from(fields.array::<16>()?).into(),
                port: u16::decode(fields)?,
            },
            _ => return Err(DecodeError::Field("address")),
        })
    }
}

macro_rules! records {
    ($($type:ident { $($field:ident),* })*) => {$(
        impl Field for $type {
            fn encode(&self, payload: &mut Vec<u8>) {
                $(self.$field.encode(payload);)*
            }

            fn decode(fields: &mut Fields<'_>) -> Result<Self, DecodeError> {
                Ok(Self { $($field: Field::decode(fields)?,)* })
            }
        }
    )*};
}

records! {
    SlaveOffer { id, addresses, ticket, secret, sessions, places, fingerprint }
    Revocation { user, until }
    SlaveState { id, addresses, status, sessions, places }
}

impl Field for Entry {
    fn encode(&self, payload: &mut Vec<u8>) {
        put_bytes(&self.name, payload);
        self.kind.encode(payload);
        self.size.encode(payload);
        self.modified_ns.encode(payload);
        self.mode.encode(payload);
        self.version.encode(payload);
        self.digest.encode(payload);
    }

    fn decode(fields: &mut Fields<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            name: entry_name(fields)?,
            kind: Field::decode(fields)?,
            size: Field::decode(fields)?,
            modified_ns: Field::decode(fields)?,
            mode: Field::decode(fields)?,
            version: Field::decode(fields)?,
            digest: Field::decode(fields)?,
        })
    }
}

impl Field for Unreadable {
    fn encode(&self, payload: &mut Vec<u8>) {
        put_bytes(&self.name, payload);
        self.code.encode(payload);
    }

    fn decode(fields: &mut Fields<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            name: entry_name(fields)?,
            code: Field::decode(fields)?,
        })
    }
}

/// Empty, or components joined by `/`: a name from a listing can never lead out of the listed folder.
fn entry_name(fields: &mut Fields<'_>) -> Result<Vec<u8>, DecodeError> {
    let name = fields.bytes(MAX_PATH, "entry name")?;
    if !name.is_empty() {
        name.split(|&byte| byte == b'/')
            .try_for_each(crate::check_component)?;
    }
    Ok(name.to_vec())
}
