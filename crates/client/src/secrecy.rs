//! How secrets leave this program, and the only way: on a connection that nobody else can read.
//!
//! A [`Confidential`] connection is one within TLS, to a peer that was [checked](crate::trust::check), or one that does not
//! leave this machine. A password is never anywhere but here; a ticket and its secret can be seen by nobody else either.

use protocol::{
    Connection, Fingerprint, MasterRequest, Request, Secret, SlaveId, SlaveOffer, Text, Ticket,
};

use crate::context::Context;
use crate::login::Credentials;
use crate::patient::Patient;
use crate::trust::{Encryption, is_loopback};
use crate::{ClientError, ClientErrorKind, Result, Target};

/// What opens a slave: a ticket, and the secret that it was made for.
#[derive(Clone, Debug)]
pub(crate) struct Pass {
    pub(crate) id: SlaveId,
    /// By what the slave is known.
    pub(crate) fingerprint: Option<Fingerprint>,
    ticket: Ticket,
    secret: Secret,
}

impl Pass {
    /// What came with an offer.
    pub(crate) fn new(offer: &SlaveOffer) -> Self {
        Self {
            id: offer.id,
            fingerprint: offer.fingerprint,
            ticket: offer.ticket.clone(),
            secret: offer.secret,
        }
    }

    /// Whether the slave asks for none.
    pub(crate) fn is_empty(&self) -> bool {
        self.ticket.as_bytes().is_empty()
    }
}

/// A connection on which secrets may be said.
#[derive(Debug)]
pub(crate) struct Confidential<'c>(&'c mut Connection<Patient>);

impl<'c> Confidential<'c> {
    /// A connection to say a password on.
    ///
    /// # Errors
    /// It would leave this machine in the clear.
    pub(crate) fn for_password(connection: &'c mut Connection<Patient>) -> Result<Self> {
        if is_private(connection.stream_ref()) {
            return Ok(Self(connection));
        }
        let sentence = "a password is not sent in the clear to another machine";
        Err(ClientError::new(ClientErrorKind::Insecure, sentence))
    }

    /// A connection to show a ticket on. Where nobody has logged in there is nothing to gain by it that is not everybody's, so
    /// that with `--tls never` it may leave this machine in the clear.
    ///
    /// # Errors
    /// It followed from a login, and would leave this machine in the clear.
    pub(crate) fn for_ticket(
        connection: &'c mut Connection<Patient>,
        context: &Context,
    ) -> Result<Self> {
        let is_everybodys =
            context.options.tls == Encryption::Never && context.options.login.is_none();
        if is_everybodys || is_private(connection.stream_ref()) {
            return Ok(Self(connection));
        }
        let sentence = "a ticket is not sent in the clear to another machine";
        Err(ClientError::new(ClientErrorKind::Insecure, sentence))
    }

    /// Collects the request `number`, which shows a ticket to a slave.
    pub(crate) fn present(self, number: u32, pass: &Pass) {
        let request = Request::Present {
            ticket: pass.ticket.clone(),
            secret: pass.secret,
        };
        self.0.send(number, &request);
    }

    /// Collects the request `number`, by which the user logs in at a master.
    ///
    /// # Errors
    /// What the credentials say.
    pub(crate) fn log_in_at_master(
        self,
        number: u32,
        login: &dyn Credentials,
        target: &Target,
    ) -> Result<()> {
        let request = MasterRequest::Login {
            user: Text::new(login.user()),
            password: login.password(target)?,
        };
        self.0.send(number, &request);
        Ok(())
    }

    /// Collects the request `number`, by which the user logs in at a slave that stands alone.
    ///
    /// # Errors
    /// What the credentials say.
    pub(crate) fn log_in_at_slave(
        self,
        number: u32,
        login: &dyn Credentials,
        target: &Target,
    ) -> Result<()> {
        let request = Request::Login {
            user: Text::new(login.user()),
            password: login.password(target)?,
        };
        self.0.send(number, &request);
        Ok(())
    }
}

/// Whether nobody but the peer can read what is written.
fn is_private(patient: &Patient) -> bool {
    patient.tls().is_some() || is_loopback(patient.peer())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::net::{SocketAddr, TcpListener, TcpStream};
    use std::path::Path;
    use std::sync::Arc;
    use std::time::Duration;

    use protocol::Secretive;

    use super::*;
    use crate::{Interrupt, Options, Silent};

    #[derive(Debug)]
    struct Ada;

    impl Credentials for Ada {
        fn user(&self) -> &'static str {
            "ada"
        }

        fn password(&self, _: &Target) -> Result<Secretive> {
            Ok(Secretive::new(b"secret").unwrap())
        }
    }

    /// A connection in clear to whom was dialled by that address; where it leads is of no matter here.
    fn dialled(address: &str) -> Connection<Patient> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let address: SocketAddr = address.parse().unwrap();
        let limit = Duration::from_secs(1);
        Connection::new(Patient::new((stream, address), Interrupt::default(), limit).unwrap())
    }

    fn context(tls: Encryption, login: Option<Arc<dyn Credentials>>) -> Context {
        let options = Options {
            tls,
            login,
            ..Options::default()
        };
        Context::new(options, Arc::new(Silent), Interrupt::default())
    }

    const HERE: [&str; 4] = [
        "127.0.0.1:1",
        "127.9.9.9:1",
        "[::1]:1",
        "[::ffff:127.0.0.1]:1",
    ];

    const ELSEWHERE: [&str; 5] = [
        "0.0.0.0:1",
        "10.0.0.1:1",
        "[::]:1",
        "[2001:db8::1]:1",
        "[::ffff:10.0.0.1]:1",
    ];

    #[test]
    fn in_clear_a_password_stays_on_this_machine() {
        for address in HERE {
            assert!(
                Confidential::for_password(&mut dialled(address)).is_ok(),
                "{address}"
            );
        }
        for address in ELSEWHERE {
            let mut connection = dialled(address);
            let error = Confidential::for_password(&mut connection).unwrap_err();
            assert_eq!(error.kind(), ClientErrorKind::Insecure, "{address}");
        }
    }

    #[test]
    fn in_clear_a_ticket_leaves_this_machine_only_if_that_is_asked_for_and_nobody_has_logged_in() {
        for address in HERE.iter().chain(&ELSEWHERE) {
            for tls in [Encryption::Always, Encryption::Auto, Encryption::Never] {
                for login in [None, Some(Arc::new(Ada) as Arc<dyn Credentials>)] {
                    let may =
                        HERE.contains(address) || (tls == Encryption::Never && login.is_none());
                    let context = context(tls, login);
                    let mut connection = dialled(address);
                    let result = Confidential::for_ticket(&mut connection, &context);
                    assert_eq!(result.is_ok(), may, "{address} {:?}", context.options);
                }
            }
        }
    }

    /// What holds for this file holds for the library only as long as no other one does the same by itself.
    #[test]
    fn no_other_file_writes_a_secret() {
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut looked_at = 0;
        let mut folders = vec![sources.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path != sources.join("secrecy.rs") {
                    let text = fs::read_to_string(&path).unwrap();
                    for word in ["::Login {", "::Present {", ".password(", ".reveal("] {
                        assert!(!text.contains(word), "{word} in {}", path.display());
                    }
                    looked_at += 1;
                }
            }
        }
        assert!(looked_at > 50);
    }
}
