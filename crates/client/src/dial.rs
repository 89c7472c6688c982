//! The first words on a new connection: greeting line and prefaces.

use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use protocol::limits::MAX_GREETING;
use protocol::{ClientPreface, Connection, ErrorCode, ServerPreface, VERSION};

use crate::context::Context;
use crate::fault::{Attempt, Fault};
use crate::patient::Patient;
use crate::{ClientError, ClientErrorKind};

/// How long a connection may take to come about, and the server to say its first words.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);

/// Connects to `address`, once. Our preface is collected, to be sent with whatever the caller adds to it.
pub(crate) fn dial(address: SocketAddr, context: &Context) -> Attempt<Connection<Patient>> {
    context.check()?;
    let begun = Instant::now();
    let stream = TcpStream::connect_timeout(&address, CONNECT_LIMIT)
        .map_err(|error| Fault::from_socket(&error))?;
    let round_trip = begun.elapsed();
    if transfer::is_same_machine(&stream, address) {
        transfer::send_unpaced(&stream);
    }
    let mut patient = Patient::new(stream, context.interrupt.clone(), CONNECT_LIMIT)
        .map_err(|error| Fault::from_socket(&error))?;
    patient.set_round_trip(round_trip);
    let mut connection = Connection::new(patient);
    connection.send_raw(&ClientPreface::ours().encode());
    Ok(connection)
}

/// Sends what was collected, skips the greeting and reads the server's preface.
pub(crate) fn greet(connection: &mut Connection<Patient>) -> Attempt<ServerPreface> {
    connection
        .flush()
        .map_err(|error| Fault::from_socket(&error))?;
    let greeting = connection.read_line(MAX_GREETING)?;
    if greeting.starts_with(b"421") {
        return Err(Fault::Refused(ErrorCode::Busy));
    }
    let mut bytes = [0; ServerPreface::LENGTH];
    connection.read_exact(&mut bytes)?;
    let preface = ServerPreface::decode(&bytes)?;
    if preface.version == 0 || preface.version > VERSION {
        let sentence = format!(
            "the server speaks versions {} to {} of the protocol, this client {VERSION}",
            preface.oldest, preface.newest
        );
        return Err(ClientError::new(ClientErrorKind::NoConnection, sentence).into());
    }
    Ok(preface)
}

/// The addresses that a name stands for.
pub(crate) fn resolve(host: &str, port: u16) -> Attempt<Vec<SocketAddr>> {
    let addresses: Vec<_> = (host, port)
        .to_socket_addrs()
        .map(Iterator::collect)
        .unwrap_or_default();
    if addresses.is_empty() {
        return Err(Fault::Lost("no such host".to_owned()));
    }
    Ok(addresses)
}
