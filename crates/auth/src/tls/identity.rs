//! What a server shows: its certificate, and the key that proves it to be its own.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use protocol::Fingerprint;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use rustix::fs::{Mode, OFlags};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::{TlsError, fingerprint_of, provider};
use crate::state_file::is_ours;

/// Longest file that is read for a certificate or a key, bytes.
const LONGEST: u64 = 1024 * 1024;

/// A certificate with those that lead to its authority, and its private key.
#[derive(Clone)]
pub struct Identity {
    /// PEM, as it was read or made.
    pub(super) certificates: Vec<u8>,
    pub(super) key: Vec<u8>,
    parsed: Arc<Parsed>,
}

struct Parsed {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    fingerprint: Fingerprint,
}

impl Identity {
    /// A new key, with a certificate that vouches for itself and never ends: clients know the key, and no clock is trusted.
    /// `names` are those under which a client that has it for an authority finds the server.
    ///
    /// # Errors
    /// [`TlsError::Generate`], for a name that is none.
    pub fn generate(names: &[String]) -> Result<Self, TlsError> {
        let key = KeyPair::generate().map_err(TlsError::Generate)?;
        let mut parameters = CertificateParams::new(names).map_err(TlsError::Generate)?;
        let mut name = DistinguishedName::new();
        name.push(DnType::CommonName, "mini-ftp");
        parameters.distinguished_name = name;
        let certificate = parameters.self_signed(&key).map_err(TlsError::Generate)?;
        Self::parse(certificate.pem().into(), key.serialize_pem().into())
    }

    /// An operator's own, in PEM: the certificate with those that lead to its authority behind it, and its private key,
    /// which nobody else may be able to read.
    ///
    /// # Errors
    /// A file cannot be read, is open to others or not what it should be, or the two do not belong together.
    pub fn read(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let certificates = read(certificate, false)?;
        let private = read(key, true)?;
        if parse_chain(&certificates).is_none() {
            return Err(nothing("certificate", certificate));
        }
        if parse_key(&private).is_none() {
            return Err(nothing("private key", key));
        }
        Self::parse(certificates, private)
    }

    /// By what clients know the server.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.parsed.fingerprint
    }

    /// The identity with its key, for a supervisor to hand to its children; never for a log.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let length = u32::try_from(self.key.len()).unwrap_or(0);
        let parts = [&length.to_be_bytes()[..], &self.key, &self.certificates];
        parts.concat()
    }

    /// The identity that [`to_bytes`](Self::to_bytes) gave.
    ///
    /// # Errors
    /// [`TlsError::Malformed`], [`TlsError::Unusable`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, TlsError> {
        let (length, rest) = bytes.split_first_chunk().ok_or(TlsError::Malformed)?;
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        let (key, certificates) = rest.split_at_checked(length).ok_or(TlsError::Malformed)?;
        Self::parse(certificates.to_vec(), key.to_vec())
    }

    /// One text in PEM that holds both.
    pub(crate) fn from_pem(text: &[u8]) -> Result<Self, TlsError> {
        Self::parse(text.to_vec(), text.to_vec())
    }

    /// Certificates and key as PEM, the text that is read back (RFC 7468).
    #[must_use]
    pub fn to_pem(&self) -> Vec<u8> {
        [self.key.as_slice(), &self.certificates].concat()
    }

    pub(super) fn chain(&self) -> Vec<CertificateDer<'static>> {
        self.parsed.chain.clone()
    }

    pub(super) fn private_key(&self) -> PrivateKeyDer<'static> {
        self.parsed.key.clone_key()
    }

    /// Whatever comes out can be served: the key is the certificate's.
    fn parse(certificates: Vec<u8>, key: Vec<u8>) -> Result<Self, TlsError> {
        let chain = parse_chain(&certificates).ok_or(TlsError::Malformed)?;
        let private = parse_key(&key).ok_or(TlsError::Malformed)?;
        CertifiedKey::from_der(chain.clone(), private.clone_key(), &provider())
            .map_err(TlsError::Unusable)?;
        let first = chain.first().ok_or(TlsError::Malformed)?;
        let fingerprint = fingerprint_of(first).map_err(TlsError::Unusable)?;
        let parsed = Arc::new(Parsed {
            chain,
            key: private,
            fingerprint,
        });
        Ok(Self {
            certificates,
            key,
            parsed,
        })
    }
}

/// Shows by what it is known, and never the key.
impl fmt::Debug for Identity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Identity({})", self.fingerprint())
    }
}

/// All certificates of a text; `None` where there is none, or one is damaged.
pub(super) fn parse_chain(text: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    let chain = CertificateDer::pem_slice_iter(text).collect::<Result<Vec<_>, _>>();
    chain.ok().filter(|chain| !chain.is_empty())
}

fn parse_key(text: &[u8]) -> Option<PrivateKeyDer<'static>> {
    PrivateKeyDer::from_pem_slice(text).ok()
}

fn nothing(what: &'static str, path: &Path) -> TlsError {
    let path = path.to_owned();
    TlsError::Nothing { what, path }
}

/// A file that an operator named, behind links too, since that is how renewed certificates are put in place.
pub(super) fn read(path: &Path, is_secret: bool) -> Result<Vec<u8>, TlsError> {
    let failed = |source: io::Error| TlsError::Read {
        path: path.to_owned(),
        source,
    };
    // Non-blocking, lest a pipe put there hold the program up.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file =
        rustix::fs::open(path, flags, Mode::empty()).map_err(|error| failed(error.into()))?;
    let facts = rustix::fs::fstat(&file).map_err(|error| failed(error.into()))?;
    if is_secret && !is_ours(facts.st_uid) {
        return Err(TlsError::ForeignFile {
            path: path.to_owned(),
        });
    }
    if is_secret && facts.st_mode & 0o077 != 0 {
        return Err(TlsError::NotPrivate {
            path: path.to_owned(),
        });
    }
    let mut content = Vec::new();
    let mut limited = File::from(file).take(LONGEST);
    limited.read_to_end(&mut content).map_err(failed)?;
    Ok(content)
}
