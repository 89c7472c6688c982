//! What a server takes of those who connect.

use super::{Acceptor, Identity, TlsError};

/// The first byte of a client that speaks TLS: a record of the handshake (RFC 8446, section 5.1).
const HANDSHAKE: u8 = 0x16;

/// What a server takes of those who connect: TLS, words in the clear, or both. Clones share its configuration.
#[derive(Clone, Debug, Default)]
pub struct Reception {
    acceptor: Option<Acceptor>,
    is_strict: bool,
}

impl Reception {
    /// Takes TLS under this identity; in the clear only this machine is heard, and where it `is_strict` nobody. (The default one
    /// takes no TLS, and hears everybody in the clear.)
    ///
    /// # Errors
    /// [`TlsError::Unusable`].
    pub fn new(identity: &Identity, is_strict: bool) -> Result<Self, TlsError> {
        let acceptor = Some(Acceptor::new(identity)?);
        Ok(Self {
            acceptor,
            is_strict,
        })
    }

    /// Whether a client that begins with this byte speaks TLS.
    #[must_use]
    pub const fn is_tls(first: u8) -> bool {
        first == HANDSHAKE
    }

    /// For who speaks TLS; `None` where nobody may.
    #[must_use]
    pub const fn acceptor(&self) -> Option<&Acceptor> {
        self.acceptor.as_ref()
    }

    /// Whether a client may go on in the clear, by whether it is on this machine.
    #[must_use]
    pub const fn takes_clear(&self, is_here: bool) -> bool {
        self.acceptor.is_none() || (is_here && !self.is_strict)
    }
}
