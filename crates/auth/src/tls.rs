//! TLS for every connection of the suite: one configuration, no socket.
//!
//! A server is known by its key: [`Fingerprint`] of the [`Identity`] that an [`Acceptor`] shows. A client says with
//! [`Trust`] whom it takes for the server, and gets its sessions from a [`Connector`]. Either kind of session is a [`Tls`],
//! which is lent the stream it works over with each call, so that deadlines and interrupts stay the stream's.
//!
//! TLS 1.3, and 1.2 for clients of others, by rustls over aws-lc-rs and ring. Nothing is resumed: a handshake costs a fifth of a
//! millisecond, tickets would have to be shared between processes, and early data could be replayed.

mod ahead;
mod connector;
mod identity;
mod provider;
mod reception;
mod roots;
mod session;
#[cfg(test)]
mod tests;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use protocol::Fingerprint;
use rustls::pki_types::CertificateDer;
use rustls::server::{NoServerSessionStorage, ParsedCertificate};
use rustls::{CertificateError, OtherError, ServerConfig, ServerConnection};
use sha2::{Digest, Sha256};
use thiserror::Error;

pub use connector::{Connector, Trust};
pub use identity::Identity;
use provider::provider;
pub use reception::Reception;
pub use roots::Roots;
pub use session::Tls;

/// What is spoken inside (RFC 7301): nobody can be led to speak to a server of this suite what was meant for another one.
const ALPN: &[u8] = b"mini-ftp/1";

/// Why there is no TLS. Within a session it stands inside an [`io::Error`].
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read '{}'", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Others could read a private key.
    #[error("'{0}' holds a private key but is open to others; mend it with: chmod 600 '{0}'", path.display())]
    NotPrivate {
        /// The file.
        path: PathBuf,
    },
    /// A private key is another user's.
    #[error("'{}' belongs to another user", path.display())]
    ForeignFile {
        /// The file.
        path: PathBuf,
    },
    /// A file does not hold what it is named for.
    #[error("there is no {what} in '{}': it should hold PEM, as openssl writes it", path.display())]
    Nothing {
        /// What was looked for.
        what: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// Certificate and key cannot be used, together or at all.
    #[error("the certificate and the key cannot be used")]
    Unusable(#[source] rustls::Error),
    /// A certificate cannot be made.
    #[error("cannot make a certificate")]
    Generate(#[source] rcgen::Error),
    /// Bytes that should be a certificate and its key are something else.
    #[error("not a certificate and its key")]
    Malformed,
    /// No certificate authority is known.
    #[error("this machine has no list of certificate authorities; name one with --ca FILE")]
    NoRoots,
    /// The name of a host is none that a certificate can be for.
    #[error("'{host}' is no name that a certificate can be for")]
    Name {
        /// The name.
        host: String,
    },
    /// The server's key is another one than the one it is known by.
    #[error("the server shows the key {shown}, but is known by {known}")]
    WrongKey {
        /// The key that was expected.
        known: Fingerprint,
        /// The key that was shown, and proved to be the server's.
        shown: Fingerprint,
    },
    /// No authority vouches for the certificate, or it is another host's.
    #[error("the server's certificate is not trusted: {0}")]
    Untrusted(CertificateError),
    /// The server speaks TLS, but not this protocol inside it.
    #[error("the server does not speak this protocol over TLS")]
    OtherProtocol,
    /// The peer breaks the protocol, or the two sides have no version or method in common.
    #[error("TLS: {0}")]
    Session(#[source] rustls::Error),
}

impl From<TlsError> for io::Error {
    fn from(error: TlsError) -> Self {
        Self::new(io::ErrorKind::InvalidData, error)
    }
}

impl From<rustls::Error> for TlsError {
    fn from(error: rustls::Error) -> Self {
        match error {
            rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(cause))) => {
                match cause.downcast_ref() {
                    Some(WrongKey { known, shown }) => Self::WrongKey {
                        known: *known,
                        shown: *shown,
                    },
                    None => Self::Untrusted(CertificateError::Other(OtherError(cause))),
                }
            }
            rustls::Error::InvalidCertificate(error) => Self::Untrusted(error),
            error => Self::Session(error),
        }
    }
}

/// [`TlsError::WrongKey`] on its way through rustls.
#[derive(Clone, Copy, Debug, Error)]
#[error("another key")]
struct WrongKey {
    known: Fingerprint,
    shown: Fingerprint,
}

/// A server's configuration; clones share it.
#[derive(Clone, Debug)]
pub struct Acceptor(Arc<ServerConfig>);

impl Acceptor {
    /// Takes clients that offer our protocol or none (RFC 7301, section 3.2), and shows them `identity`.
    ///
    /// # Errors
    /// [`TlsError::Unusable`].
    pub fn new(identity: &Identity) -> Result<Self, TlsError> {
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Unusable)?
            .with_no_client_auth()
            .with_single_cert(identity.chain(), identity.private_key())
            .map_err(TlsError::Unusable)?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        // What binds a proof to the connection is unique to it only so (RFC 9266, section 4.2).
        config.require_ems = true;
        Ok(Self(Arc::new(config)))
    }

    /// A session with a client that has connected.
    ///
    /// # Errors
    /// [`TlsError::Session`].
    pub fn start(&self) -> Result<Tls, TlsError> {
        let connection = ServerConnection::new(Arc::clone(&self.0))?;
        Ok(Tls::new(connection.into()))
    }
}

/// By what the owner of a certificate is known.
fn fingerprint_of(certificate: &CertificateDer<'_>) -> Result<Fingerprint, rustls::Error> {
    let key = ParsedCertificate::try_from(certificate)?.subject_public_key_info();
    Ok(Fingerprint(Sha256::digest(key.as_ref()).into()))
}
