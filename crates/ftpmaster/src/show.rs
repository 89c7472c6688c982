//! `ftpmaster slaves`: asks the running master what it knows.

use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result, bail};
use protocol::{Address, MasterReply, MasterRequest, Role, SlaveState};

use crate::peer::{Answered, ask, dial_address, shake_hands};

/// Prints a table of the slaves that the master at `address` knows.
///
/// # Errors
/// No master answers there.
pub(crate) fn slaves(address: SocketAddr) -> Result<()> {
    let states = fetch(address).with_context(|| format!("cannot ask the master at {address}"))?;
    let table = table(&states, address.ip());
    io::stdout()
        .write_all(table.as_bytes())
        .context("cannot write the table")
}

fn fetch(address: SocketAddr) -> Result<Vec<SlaveState>> {
    let mut connection = match shake_hands(dial_address(address)?, Role::Master)? {
        Answered::Ready(connection) => connection,
        Answered::Busy => bail!("it is busy"),
    };
    match ask(&mut connection, &MasterRequest::ListSlaves {})? {
        MasterReply::Slaves { slaves } => Ok(slaves),
        MasterReply::Error { code, .. } => bail!("{code}"),
        _ => bail!("it answers something else"),
    }
}

fn table(states: &[SlaveState], asked: IpAddr) -> String {
    let rows = states.iter().map(|state| {
        let address = state
            .addresses
            .first()
            .map_or_else(String::new, |address| shown(address, asked));
        let sessions = match (state.sessions, state.places) {
            (sessions, 0) => sessions.to_string(),
            (sessions, places) => format!("{sessions} of {places}"),
        };
        (address, state.status.word(), sessions)
    });
    let rows: Vec<(String, &str, String)> = rows.collect();
    let width = rows
        .iter()
        .map(|(address, ..)| address.chars().count())
        .chain([7])
        .max()
        .unwrap_or(7);
    let mut table = format!("{:width$}  {:8}  SESSIONS\n", "ADDRESS", "STATE");
    for (address, state, sessions) in rows {
        table.push_str(&format!("{address:width$}  {state:8}  {sessions}\n"));
    }
    table
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
    use protocol::{SlaveId, SlaveStatus, Text};

    use super::*;

    #[test]
    fn the_table_is_aligned_and_safe_to_show() {
        let state = |address, status, sessions, places| SlaveState {
            id: SlaveId([0; 16]),
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
            "ADDRESS         STATE     SESSIONS\n\
             127.0.0.1:2122  up        3 of 1024\n\
             \\x1b[2J:9       down      0\n"
        );
    }
}
