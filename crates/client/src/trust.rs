//! Whether a connection is encrypted, and whom to take for the server: decided here, before anything is said to it.

use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use auth::tls::{Roots, Tls, TlsError};
use auth::{Pin, PinError, PinFile, Remembered};
use protocol::Fingerprint;

use crate::context::Context;
use crate::notice::{Notice, shown as escaped};
use crate::{ClientError, ClientErrorKind, Result, Target};

/// Whether connections are encrypted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encryption {
    /// All of them.
    Always,
    /// Those that leave this machine, those to servers whose key is remembered, and those to servers that demand it.
    #[default]
    Auto,
    /// None: passwords stay on this machine then, and so do tickets that followed from one.
    Never,
}

/// By what the servers are known that the user names; slaves are known by what their master says of them.
///
/// What is remembered of a server counts before all else. Of whom nothing is, an authority can vouch; and where none was
/// named with [`authorities`](Self::authorities), a server is taken for what it says it is when it is met for the first
/// time, remembered, and told by [`Notice::NewServer`].
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// What is remembered; without it nobody is met for the first time, and only authorities count.
    pub pins: Option<Arc<PinFile>>,
    /// Who vouches for servers of whom nothing is remembered; `None`: the authorities of this machine do.
    pub authorities: Option<Roots>,
}

/// Who is expected at an address.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Peer<'t> {
    /// The server that the user named.
    Named(&'t Target),
    /// A slave that a master offered, and by what it said to be known.
    Offered(Option<Fingerprint>),
}

/// Whether a connection to `address` is to be encrypted.
///
/// # Errors
/// It has to be, and there is nothing by which the peer could be known.
pub(crate) fn is_encrypted(address: SocketAddr, peer: Peer<'_>, context: &Context) -> Result<bool> {
    let is_local = is_loopback(address);
    match (context.options.tls, peer) {
        (Encryption::Never, _) => Ok(false),
        (_, Peer::Offered(None)) if !is_local => {
            let sentence = "the slave speaks in the clear alone, and it is on another machine";
            Err(ClientError::new(ClientErrorKind::Insecure, sentence))
        }
        (Encryption::Always, _) => Ok(true),
        (Encryption::Auto, Peer::Named(target)) if is_local => {
            Ok(context.options.trust.remembered(target)?.is_some())
        }
        (Encryption::Auto, _) => Ok(!is_local),
    }
}

/// Whether that is this machine itself.
pub(crate) fn is_loopback(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

/// Finds out whether the other side of a session is the expected peer, and remembers one that is met for the first time.
///
/// # Errors
/// It is another, it cannot be known, or what is remembered cannot be read or written: then nothing may be said to it.
pub(crate) fn check(peer: Peer<'_>, tls: &Tls, context: &Context) -> Result<()> {
    let shown = tls
        .peer()
        .ok_or_else(|| stranger("the server shows no key"))?;
    match peer {
        Peer::Named(target) => context.options.trust.check(target, (tls, shown), context),
        Peer::Offered(Some(known)) if known != shown => Err(stranger(format!(
            "the slave shows the key {shown}, but its master knows it by {known}: somebody may be in between"
        ))),
        // On this machine, where it could as well have been in clear.
        Peer::Offered(_) => Ok(()),
    }
}

fn stranger(sentence: impl Into<String>) -> ClientError {
    ClientError::new(ClientErrorKind::Identity, sentence)
}

impl Trust {
    fn remembered(&self, target: &Target) -> Result<Option<Remembered>> {
        let Some(pins) = &self.pins else {
            return Ok(None);
        };
        Ok(pins.find(&target.to_string())?)
    }

    fn check(&self, target: &Target, shown: (&Tls, Fingerprint), context: &Context) -> Result<()> {
        match self.remembered(target)? {
            Some(remembered) => self.compare(remembered, target, shown),
            None => self.meet(target, shown, context),
        }
    }

    /// Whether a server is the one that is remembered.
    fn compare(
        &self,
        remembered: Remembered,
        target: &Target,
        (tls, shown): (&Tls, Fingerprint),
    ) -> Result<()> {
        let cause = match remembered.pin {
            Pin::Key(known) if known == shown => return Ok(()),
            Pin::Key(known) => format!("the server's key is {shown}, and was {known}"),
            Pin::Certified => match self.vouch(tls, target) {
                Ok(()) => return Ok(()),
                Err(error) => {
                    format!("the server had a certificate that is trusted, but now {error}")
                }
            },
        };
        let file = self.pins.as_deref().map(PinFile::path);
        let file = file.unwrap_or(Path::new("")).as_os_str().as_bytes();
        Err(stranger(format!(
            "{cause}: somebody may be in between; if not, remove line {} of '{}'",
            remembered.line,
            escaped(file)
        )))
    }

    /// Decides on a server of which nothing is remembered.
    fn meet(&self, target: &Target, shown: (&Tls, Fingerprint), context: &Context) -> Result<()> {
        let vouched = self.vouch(shown.0, target);
        if self.authorities.is_some() {
            return vouched.map_err(|error| stranger(error.to_string()));
        }
        let pin = match &vouched {
            Ok(()) => Pin::Certified,
            Err(_) => Pin::Key(shown.1),
        };
        let Some(pins) = &self.pins else {
            let sentence = "the server is not known, and there is no file to remember it in";
            return vouched.map_err(|_| stranger(sentence));
        };
        let remembered = pins.add(&target.to_string(), pin)?;
        // Another program may have met the server at the same time.
        self.compare(remembered, target, shown)?;
        if pin != Pin::Certified {
            context.notice(&Notice::NewServer {
                server: target.to_string(),
                key: shown.1,
                file: pins.path().to_owned(),
            });
        }
        Ok(())
    }

    /// Whether an authority calls the server by the name that the user did.
    fn vouch(&self, tls: &Tls, target: &Target) -> std::result::Result<(), TlsError> {
        match &self.authorities {
            Some(roots) => roots.check(tls, &target.host),
            None => Roots::system()?.check(tls, &target.host),
        }
    }
}

/// What is remembered cannot be used: then nobody is known.
impl From<PinError> for ClientError {
    fn from(error: PinError) -> Self {
        stranger(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Interrupt, Options, Silent};

    const HERE: &str = "127.0.0.1:1";
    const ELSEWHERE: &str = "10.0.0.1:1";
    const KEY: Fingerprint = Fingerprint([1; 32]);

    fn target(host: &str) -> Target {
        Target {
            host: host.to_owned(),
            port: 1,
        }
    }

    #[test]
    fn what_leaves_this_machine_is_encrypted_unless_nothing_is() {
        let place = tempfile::tempdir().unwrap();
        let pins = Arc::new(PinFile::at(place.path().join("pins")));
        pins.add("known:1", Pin::Key(KEY)).unwrap();
        let (known, unknown) = (target("known"), target("unknown"));
        let asked = |address: &str, peer, tls| {
            let mut options = Options {
                tls,
                ..Options::default()
            };
            options.trust.pins = Some(Arc::clone(&pins));
            let context = Context::new(options, Arc::new(Silent), Interrupt::default());
            let asked = is_encrypted(address.parse().unwrap(), peer, &context);
            asked.map_err(|error| error.kind())
        };
        let (no, yes, nothing) = (Ok(false), Ok(true), Err(ClientErrorKind::Insecure));
        for (address, peer, [always, auto, never]) in [
            (HERE, Peer::Named(&unknown), [yes, no, no]),
            (HERE, Peer::Named(&known), [yes, yes, no]),
            (HERE, Peer::Offered(Some(KEY)), [yes, no, no]),
            (HERE, Peer::Offered(None), [yes, no, no]),
            (ELSEWHERE, Peer::Named(&unknown), [yes, yes, no]),
            (ELSEWHERE, Peer::Offered(Some(KEY)), [yes, yes, no]),
            (ELSEWHERE, Peer::Offered(None), [nothing, nothing, no]),
        ] {
            for (tls, expected) in [
                (Encryption::Always, always),
                (Encryption::Auto, auto),
                (Encryption::Never, never),
            ] {
                let found = asked(address, peer, tls);
                assert_eq!(found, expected, "{address} {peer:?} {tls:?}");
            }
        }
    }
}
