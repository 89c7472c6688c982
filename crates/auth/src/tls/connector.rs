//! The client's side: whom to take for the server.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use protocol::Fingerprint;
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, OtherError,
    SignatureScheme,
};

use super::{ALPN, Roots, Tls, TlsError, WrongKey, fingerprint_of, provider};

/// Whom a client takes for the server it means.
#[derive(Clone, Debug)]
pub enum Trust {
    /// Whoever proves to own this key, whatever its certificate says.
    Known(Fingerprint),
    /// Whoever one of these authorities calls by the name that was dialled.
    Roots(Roots),
    /// Whoever proves to own any key: the caller looks at [`Tls::peer`] and decides.
    Anyone,
}

/// A client's configuration for one kind of trust; clones share it.
#[derive(Clone, Debug)]
pub struct Connector {
    config: Arc<ClientConfig>,
    /// Whether it matters by which name the server is called.
    by_name: bool,
}

impl Connector {
    /// Connects to servers of this trust.
    ///
    /// # Errors
    /// [`TlsError::Session`].
    pub fn new(trust: Trust) -> Result<Self, TlsError> {
        let provider = provider();
        let algorithms = provider.signature_verification_algorithms;
        let builder =
            ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let by_key = |known| Arc::new(ByKey { known, algorithms });
        let by_name = matches!(trust, Trust::Roots(_));
        let builder = match trust {
            Trust::Roots(roots) => builder.with_root_certificates(roots.0),
            Trust::Known(key) => builder
                .dangerous()
                .with_custom_certificate_verifier(by_key(Some(key))),
            Trust::Anyone => builder
                .dangerous()
                .with_custom_certificate_verifier(by_key(None)),
        };
        let mut config = builder.with_no_client_auth();
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.resumption = Resumption::disabled();
        config.require_ems = true;
        // Only where it decides something does the name travel, in the clear.
        config.enable_sni = by_name;
        let config = Arc::new(config);
        Ok(Self { config, by_name })
    }

    /// A session with the server that was dialled as `host`, a name or an address.
    ///
    /// # Errors
    /// [`TlsError::Name`], where the trust goes by names; [`TlsError::Session`].
    pub fn start(&self, host: &str) -> Result<Tls, TlsError> {
        // The interface of an address on the link (RFC 4007, section 11) is no part of it for others.
        let address = host.split_once('%').map_or(host, |(address, _)| address);
        let name = match ServerName::try_from(address) {
            Ok(name) => name.to_owned(),
            Err(_) if self.by_name => {
                return Err(TlsError::Name {
                    host: host.to_owned(),
                });
            }
            Err(_) => ServerName::from(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        };
        let connection = ClientConnection::new(Arc::clone(&self.config), name)?;
        Ok(Tls::new(connection.into()))
    }

    #[cfg(test)]
    pub(super) fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.config)
    }
}

/// Looks at the key alone. That the server owns it, it proves with its signature under the handshake.
#[derive(Debug)]
struct ByKey {
    /// `None`: any.
    known: Option<Fingerprint>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for ByKey {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let shown = fingerprint_of(end_entity)?;
        match self.known {
            Some(known) if known != shown => {
                let cause = OtherError(Arc::new(WrongKey { known, shown }));
                Err(CertificateError::Other(cause).into())
            }
            _ => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
