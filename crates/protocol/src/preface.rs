//! The first bytes of each side: who speaks which versions, and within which bounds.

use crate::DecodeError;
use crate::field::{Field, Fields};

/// First bytes of both prefaces. The first is no character of any text protocol; CR LF and SUB show transports that
/// rewrite line ends or stop at an end-of-file mark (as PNG's signature does, RFC 2083 section 3.1).
pub const MAGIC: [u8; 8] = *b"\x89MFT\r\n\x1a\n";

/// The newest version this build speaks.
pub const VERSION: u16 = 1;

/// The oldest version this build speaks.
pub const OLDEST_VERSION: u16 = 1;

/// Bit of [`ServerPreface::features`]: a slave that has accounts of its own and takes a Login. No other slave may be sent
/// a password.
pub const FEATURE_LOGIN: u32 = 1;

/// Bit of [`ServerPreface::features`]: the server talks to this peer over TLS alone, and not over this connection in clear.
pub const FEATURE_TLS_REQUIRED: u32 = 2;

/// What the client says first, before it has heard anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientPreface {
    /// Oldest version it speaks.
    pub oldest: u16,
    /// Newest version it speaks.
    pub newest: u16,
    /// Optional features it knows, a bit each; unknown bits are ignored. None is defined for clients in version 1.
    pub features: u32,
}

/// Which program the client reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// `ftpmaster`: answers with slaves.
    Master,
    /// `ftpslave`: serves files.
    Slave,
}

/// What the server answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerPreface {
    /// The version that both will speak; 0 when there is none, and then the server closes.
    pub version: u16,
    /// Oldest version the server speaks.
    pub oldest: u16,
    /// Newest version the server speaks.
    pub newest: u16,
    /// Which program this is.
    pub role: Role,
    /// Whether a ticket (slave) or a login (master) must come before anything else.
    pub login_required: bool,
    /// Optional features it knows, a bit each: [`FEATURE_LOGIN`], [`FEATURE_TLS_REQUIRED`]; unknown bits are ignored.
    pub features: u32,
    /// The worker process that serves this connection: the argument of a later `Probe`.
    pub worker: u32,
    /// Most requests the client may have outstanding.
    pub window_requests: u32,
    /// Most bytes of answers the server buffers before it stops reading.
    pub window_answer_bytes: u32,
}

impl ClientPreface {
    /// Bytes on the wire.
    pub const LENGTH: usize = 20;

    /// What this build says.
    #[must_use]
    pub const fn ours() -> Self {
        Self {
            oldest: OLDEST_VERSION,
            newest: VERSION,
            features: 0,
        }
    }

    /// The preface's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        self.oldest.encode(&mut bytes);
        self.newest.encode(&mut bytes);
        self.features.encode(&mut bytes);
        seal(bytes)
    }

    /// Reads the first [`Self::LENGTH`] bytes that a client sent.
    ///
    /// # Errors
    /// [`DecodeError::Magic`], [`DecodeError::Checksum`], [`DecodeError::Truncated`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut fields = open(bytes, Self::LENGTH)?;
        Ok(Self {
            oldest: Field::decode(&mut fields)?,
            newest: Field::decode(&mut fields)?,
            features: Field::decode(&mut fields)?,
        })
    }

    /// The version that this client and this build will speak; `None` when they share none.
    #[must_use]
    pub fn common_version(&self) -> Option<u16> {
        let newest = self.newest.min(VERSION);
        (newest >= self.oldest.max(OLDEST_VERSION)).then_some(newest)
    }
}

impl ServerPreface {
    /// Bytes on the wire.
    pub const LENGTH: usize = 36;

    /// The preface's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        self.version.encode(&mut bytes);
        self.oldest.encode(&mut bytes);
        self.newest.encode(&mut bytes);
        bytes.push(match self.role {
            Role::Master => 1,
            Role::Slave => 2,
        });
        self.login_required.encode(&mut bytes);
        self.features.encode(&mut bytes);
        self.worker.encode(&mut bytes);
        self.window_requests.encode(&mut bytes);
        self.window_answer_bytes.encode(&mut bytes);
        seal(bytes)
    }

    /// Reads the [`Self::LENGTH`] bytes that stand behind the greeting line.
    ///
    /// # Errors
    /// [`DecodeError::Magic`], [`DecodeError::Checksum`], [`DecodeError::Truncated`], [`DecodeError::Field`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut fields = open(bytes, Self::LENGTH)?;
        Ok(Self {
            version: Field::decode(&mut fields)?,
            oldest: Field::decode(&mut fields)?,
            newest: Field::decode(&mut fields)?,
            role: match u8::decode(&mut fields)? {
                1 => Role::Master,
                2 => Role::Slave,
                _ => return Err(DecodeError::Field("role")),
            },
            login_required: Field::decode(&mut fields)?,
            features: Field::decode(&mut fields)?,
            worker: Field::decode(&mut fields)?,
            window_requests: Field::decode(&mut fields)?,
            window_answer_bytes: Field::decode(&mut fields)?,
        })
    }
}

/// Closes a preface with the CRC-32 of all that stands before it.
fn seal(mut bytes: Vec<u8>) -> Vec<u8> {
    crc32fast::hash(&bytes).encode(&mut bytes);
    bytes
}

/// The fields between magic and checksum, once both are right.
fn open(bytes: &[u8], length: usize) -> Result<Fields<'_>, DecodeError> {
    let bytes = bytes.get(..length).ok_or(DecodeError::Truncated)?;
    let (content, checksum) = bytes
        .split_last_chunk::<4>()
        .ok_or(DecodeError::Truncated)?;
    let fields = content.strip_prefix(&MAGIC).ok_or(DecodeError::Magic)?;
    if crc32fast::hash(content) != u32::from_be_bytes(*checksum) {
        return Err(DecodeError::Checksum);
    }
    Ok(Fields::new(fields))
}
