//! A new connection: in clear or within TLS, and the first words on it, greeting line and prefaces.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use auth::tls::Connector;
use protocol::limits::MAX_GREETING;
use protocol::{
    ClientPreface, Connection, ErrorCode, FEATURE_TLS_REQUIRED, ServerPreface, VERSION,
};

use crate::aside::spawn;
use crate::context::{Context, GLANCE};
use crate::fault::{Attempt, Fault};
use crate::patient::Patient;
use crate::trust::{Encryption, Peer, check, is_encrypted};
use crate::{ClientError, ClientErrorKind, Result};

/// How long a connection may take to come about, and the server to say its first words.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);

/// A server that was met.
pub(crate) struct Met {
    pub(crate) connection: Connection<Patient>,
    pub(crate) preface: ServerPreface,
    /// Whether something was asked with the first words.
    pub(crate) is_asked: bool,
}

/// Connects to `address`, and finds out who is there, or that it is somebody else than `peer`. What `say` collects travels with
/// our preface, on a connection that is fit for it or not at all; given `true` it may ask something too, and says whether it
/// has. A server may say nothing before it has an answer: where that takes long it is met once more, and asked nothing.
pub(crate) fn meet(
    address: SocketAddr,
    peer: Peer<'_>,
    context: &Context,
    say: impl Fn(&mut Connection<Patient>, bool) -> Result<bool>,
) -> Attempt<Met> {
    let mut is_encrypted = is_encrypted(address, peer, context)?;
    let mut may_ask = true;
    loop {
        let mut patient = connect(address, context)?;
        if is_encrypted {
            encrypt(&mut patient, peer, context)?;
        }
        let mut connection = Connection::new(patient);
        connection.send_raw(&ClientPreface::ours().encode());
        let is_asked = say(&mut connection, may_ask)?;
        let said = Instant::now();
        let preface = match greet(&mut connection) {
            Err(Fault::Lost(_)) if is_asked && said.elapsed() >= CONNECT_LIMIT => {
                may_ask = false;
                continue;
            }
            preface => preface?,
        };
        if is_encrypted || preface.features & FEATURE_TLS_REQUIRED == 0 {
            return Ok(Met {
                connection,
                preface,
                is_asked,
            });
        }
        if context.options.tls == Encryption::Never {
            let sentence = ErrorCode::TlsRequired.sentence();
            return Err(ClientError::new(ClientErrorKind::NoConnection, sentence).into());
        }
        is_encrypted = true;
    }
}

fn connect(address: SocketAddr, context: &Context) -> Attempt<Patient> {
    context.check()?;
    let begun = Instant::now();
    let stream =
        transfer::connect(address, CONNECT_LIMIT).map_err(|error| Fault::from_socket(&error))?;
    let round_trip = begun.elapsed();
    let mut patient = Patient::new((stream, address), context.interrupt.clone(), CONNECT_LIMIT)
        .map_err(|error| Fault::from_socket(&error))?;
    patient.set_round_trip(round_trip);
    Ok(patient)
}

/// Speaks TLS with the peer and with nobody else. What the server says in clear before it is passed over, but for the
/// news that it is busy.
fn encrypt(patient: &mut Patient, peer: Peer<'_>, context: &Context) -> Attempt<()> {
    let host = match peer {
        Peer::Named(target) => target.host.clone(),
        Peer::Offered(_) => patient.peer().ip().to_string(),
    };
    // Any key will do for the handshake; whose it is, is found out behind it.
    let connector = Connector::new(auth::tls::Trust::Anyone);
    let tls = connector.and_then(|connector| connector.start(&host));
    let (greeting, done) = patient.encrypt(tls.map_err(|error| Fault::Lost(error.to_string()))?);
    if is_busy(&greeting) {
        return Err(Fault::Refused(ErrorCode::Busy));
    }
    done.map_err(|error| match Fault::from_socket(&error) {
        Fault::Lost(cause) => Fault::Lost(format!("no TLS with it: {cause}")),
        other => other,
    })?;
    let tls = patient.tls().ok_or_else(|| Fault::nonsense("no TLS"))?;
    Ok(check(peer, tls, context)?)
}

/// Sends what was collected, skips the greeting and reads the server's preface.
fn greet(connection: &mut Connection<Patient>) -> Attempt<ServerPreface> {
    connection
        .flush()
        .map_err(|error| Fault::from_socket(&error))?;
    // Within TLS the greeting has been passed over: it stands before.
    if connection.stream_ref().tls().is_none() && is_busy(&connection.read_line(MAX_GREETING)?) {
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

/// Whether a greeting says that no place is free.
pub(crate) fn is_busy(greeting: &[u8]) -> bool {
    greeting.starts_with(b"421")
}

/// The addresses that a name stands for. The system looks them up for as long as its name servers are silent, and no signal ends
/// that: only the wait for it ends.
pub(crate) fn resolve(host: &str, port: u16, context: &Context) -> Attempt<Vec<SocketAddr>> {
    if let Ok(ip) = host.parse() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    let host = host.to_owned();
    look_up(context, move || {
        let found = (host.as_str(), port).to_socket_addrs();
        found.map(Iterator::collect)
    })
}

fn look_up(
    context: &Context,
    ask: impl FnOnce() -> io::Result<Vec<SocketAddr>> + Send + 'static,
) -> Attempt<Vec<SocketAddr>> {
    let (answer, answered) = channel();
    spawn("lookup", move || {
        let told = answer.send(ask());
        tracing::trace!(?told, "lookup");
    })
    .map_err(ClientError::from)?;
    let found = loop {
        context.check()?;
        match answered.recv_timeout(GLANCE) {
            Ok(found) => break found,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Fault::Lost("its name was not looked up".to_owned()));
            }
        }
    };
    match found {
        Ok(addresses) if !addresses.is_empty() => Ok(addresses),
        Err(error) if is_temporary(&error) => {
            Err(Fault::Lost("its name cannot be looked up now".to_owned()))
        }
        Ok(_) | Err(_) => Err(Fault::Lost("no such host".to_owned())),
    }
}

/// Whether the name may exist all the same: no name server has answered, or something is short. Of the resolver's own codes the
/// standard library shows nothing but the words, which are those of glibc and of musl for `EAI_AGAIN`.
fn is_temporary(error: &io::Error) -> bool {
    let words = error.to_string();
    let again = ["Temporary failure in name resolution", "Try again"];
    error.raw_os_error().is_some() || again.iter().any(|text| words.ends_with(text))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::notice::Silent;
    use crate::{Interrupt, Options};

    fn context(interrupt: Interrupt) -> Context {
        Context::new(Options::default(), Arc::new(Silent), interrupt)
    }

    #[test]
    fn an_interrupt_ends_the_wait_for_a_resolver_that_is_silent() {
        let interrupt = Interrupt::default();
        let (asked, interrupted) = (interrupt.clone(), context(interrupt));
        let (release, silence) = channel::<()>();
        let ended = look_up(&interrupted, move || {
            asked.set();
            assert!(silence.recv().is_err(), "nobody answers");
            Ok(Vec::new())
        });
        drop(release);
        let kind = ended.map_err(|fault| fault.error_kind());
        assert_eq!(kind, Err(ClientErrorKind::Interrupted));
    }

    #[test]
    fn a_name_that_is_not_there_and_one_that_cannot_be_looked_up_are_told_apart() {
        for (words, cause) in [
            ("Name or service not known", "no such host"),
            ("No address associated with hostname", "no such host"),
            (
                "Temporary failure in name resolution",
                "its name cannot be looked up now",
            ),
            ("Try again", "its name cannot be looked up now"),
        ] {
            let words = format!("failed to lookup address information: {words}");
            let ended = look_up(&context(Interrupt::default()), || {
                Err(io::Error::other(words))
            });
            assert_eq!(ended.unwrap_err().cause(), cause);
        }
    }
}
