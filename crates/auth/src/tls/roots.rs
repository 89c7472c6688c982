//! The authorities that a client believes.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::{ServerName, UnixTime};
use rustls::{CertificateError, RootCertStore};

use super::identity::{parse_chain, read};
use super::{Tls, TlsError, provider};

/// Authorities whose word for a server's certificate counts; clones share them.
#[derive(Clone)]
pub struct Roots(pub(super) Arc<RootCertStore>);

impl Roots {
    /// Those of a file in PEM, and no others. A server's own certificate that vouches for itself may stand there too.
    ///
    /// # Errors
    /// The file cannot be read, or holds no certificate that can be used.
    pub fn read(path: &Path) -> Result<Self, TlsError> {
        let certificates = parse_chain(&read(path, false)?);
        let certificates = certificates.ok_or_else(|| TlsError::Nothing {
            what: "certificate",
            path: path.to_owned(),
        })?;
        let mut store = RootCertStore::empty();
        for certificate in certificates {
            store.add(certificate).map_err(TlsError::Unusable)?;
        }
        Ok(Self(Arc::new(store)))
    }

    /// Those of this machine. One that cannot be understood counts for nothing, and spoils no other.
    ///
    /// # Errors
    /// [`TlsError::NoRoots`].
    pub fn system() -> Result<Self, TlsError> {
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if store.is_empty() {
            return Err(TlsError::NoRoots);
        }
        Ok(Self(Arc::new(store)))
    }

    /// Whether one of them vouches for the server at the other end of a session, by the name `host` that it was dialled by.
    ///
    /// # Errors
    /// [`TlsError::Untrusted`]; [`TlsError::Name`].
    pub fn check(&self, tls: &Tls, host: &str) -> Result<(), TlsError> {
        let name = ServerName::try_from(host).map_err(|_| TlsError::Name {
            host: host.to_owned(),
        })?;
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::clone(&self.0), provider())
            .build()
            .map_err(|_| TlsError::NoRoots)?;
        let [certificate, chain @ ..] = tls.certificates() else {
            return Err(TlsError::Untrusted(CertificateError::BadEncoding));
        };
        verifier.verify_server_cert(certificate, chain, &name, &[], UnixTime::now())?;
        Ok(())
    }
}

impl fmt::Debug for Roots {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Roots({})", self.0.len())
    }
}
