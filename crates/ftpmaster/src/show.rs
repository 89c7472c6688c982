//! `ftpmaster slaves`: asks the running master what it knows.

use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result, bail};
use auth::tls::{Connector, Tls, Trust};
use protocol::{Address, ErrorCode, MasterReply, MasterRequest, Role, SlaveId, SlaveState};
use serde::Serialize;

use crate::peer::{Answered, ask, dial_address, shake_hands};

/// Prints the slaves that the master at `address` knows, as a table or for a program to read. Where the master demands TLS
/// also here, it is known by what `trust` says.
///
/// # Errors
/// No master answers there.
pub(crate) fn slaves(
    address: SocketAddr,
    trust: impl FnOnce() -> Result<Trust>,
    as_json: bool,
) -> Result<()> {
    let states = fetch(address, trust)?;
    let text = match as_json {
        true => lines(&states, address.ip())?,
        false => table(&states, address.ip()),
    };
    io::stdout()
        .write_all(text.as_bytes())
        .context("cannot write the slaves")
}

/// Which slave stands at which address, as [`slaves`] shows it.
///
/// # Errors
/// As of [`slaves`].
pub(crate) fn identities(
    address: SocketAddr,
    trust: impl FnOnce() -> Result<Trust>,
) -> Result<Vec<(String, SlaveId)>> {
    let states = fetch(address, trust)?;
    let place = |state: &SlaveState| (first_address(state, address.ip()), state.id);
    Ok(states.iter().map(place).collect())
}

fn fetch(address: SocketAddr, trust: impl FnOnce() -> Result<Trust>) -> Result<Vec<SlaveState>> {
    let fetched = ask_there(address, None).and_then(|slaves| match slaves {
        Some(slaves) => Ok(slaves),
        None => {
            let tls = Connector::new(trust()?)?.start(&address.ip().to_string())?;
            let slaves = ask_there(address, Some(tls))?;
            slaves.context("it demands TLS over TLS")
        }
    });
    fetched.with_context(|| format!("cannot ask the master at {address}"))
}

/// `None`: it wants to be asked over TLS.
fn ask_there(address: SocketAddr, tls: Option<Tls>) -> Result<Option<Vec<SlaveState>>> {
    let mut connection = match shake_hands(dial_address(address)?, Role::Master, tls)? {
        Answered::Ready(connection) => connection,
        Answered::Busy => bail!("it is busy"),
    };
    match ask(&mut connection, &MasterRequest::ListSlaves {})? {
        MasterReply::Slaves { slaves } => Ok(Some(slaves)),
        MasterReply::Error {
            code: ErrorCode::TlsRequired,
            ..
        } => Ok(None),
        MasterReply::Error { code, .. } => bail!("{code}"),
        _ => bail!("it answers something else"),
    }
}

fn table(states: &[SlaveState], asked: IpAddr) -> String {
    let rows = states.iter().map(|state| {
        let address = first_address(state, asked);
        let sessions = match (state.sessions, state.places) {
            (sessions, 0) => sessions.to_string(),
            (sessions, places) => format!("{sessions} of {places}"),
        };
        (address, state.status.word(), sessions, state.id)
    });
    let rows: Vec<(String, &str, String, SlaveId)> = rows.collect();
    let width = rows
        .iter()
        .map(|(address, ..)| address.chars().count())
        .chain([7])
        .max()
        .unwrap_or(7);
    let mut table = format!(
        "{:width$}  {:8}  {:12}  IDENTITY\n",
        "ADDRESS", "STATE", "SESSIONS"
    );
    for (address, state, sessions, id) in rows {
        table.push_str(&format!(
            "{address:width$}  {state:8}  {sessions:12}  {id}\n"
        ));
    }
    table
}

/// The form of `ftpclient --json HOST slaves`, and the identity.
#[derive(Serialize)]
struct Record {
    address: String,
    state: &'static str,
    sessions: u32,
    places: u32,
    identity: String,
}

fn lines(states: &[SlaveState], asked: IpAddr) -> Result<String> {
    let mut lines = String::new();
    for state in states {
        let record = Record {
            address: first_address(state, asked),
            state: state.status.word(),
            sessions: state.sessions,
            places: state.places,
            identity: state.id.to_string(),
        };
        lines.push_str(&serde_json::to_string(&record)?);
        lines.push('\n');
    }
    Ok(lines)
}

fn first_address(state: &SlaveState, asked: IpAddr) -> String {
    let first = state.addresses.first();
    first.map_or_else(String::new, |address| shown(address, asked))
}

/// The address as one who reaches this host at `asked` would write it.
pub(crate) fn shown(address: &Address, asked: IpAddr) -> String {
    match address {
        Address::SameHost { port } => SocketAddr::new(asked, *port).to_string(),
        Address::Ip { ip, port } => SocketAddr::new(*ip, *port).to_string(),
        Address::Name { host, port } => format!("{}:{port}", cli::name(host.as_str())),
    }
}

#[cfg(test)]
mod tests {
    use protocol::{SlaveStatus, Text};

    use super::*;

    #[test]
    fn the_table_is_aligned_and_safe_to_show() {
        let state = |address, status, sessions, places| SlaveState {
            id: SlaveId([7; 16]),
            addresses: vec![address],
            status,
            sessions,
            places,
        };
        let hostile = Address::Name {
            host: Text::new("\u{1b}[2J"),
            port: 9,
        };
        let states = [
            state(Address::SameHost { port: 2122 }, SlaveStatus::Up, 3, 1024),
            state(hostile, SlaveStatus::Down, 0, 0),
        ];
        assert_eq!(
            table(&states, [127, 0, 0, 1].into()),
            "ADDRESS         STATE     SESSIONS      IDENTITY\n\
             127.0.0.1:2122  up        3 of 1024     07070707070707070707070707070707\n\
             \\x1b[2J:9       down      0             07070707070707070707070707070707\n"
        );
        let lines = lines(&states, [127, 0, 0, 1].into()).unwrap();
        assert_eq!(
            lines.lines().next().unwrap(),
            r#"{"address":"127.0.0.1:2122","state":"up","sessions":3,"places":1024,"identity":"07070707070707070707070707070707"}"#
        );
        assert!(lines.is_ascii() && !lines.contains('\u{1b}'));
    }
}
