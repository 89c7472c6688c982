//! How each type of field stands in a payload. Encoding cannot fail; decoding checks every bound before it allocates.

mod compound;

use byteorder::{BigEndian, ByteOrder, WriteBytesExt};

use crate::limits::{MAX_INLINE_CONTENT, MAX_PATH, MAX_TEXT, MAX_TICKET, MAX_VERSION_TOKEN};
use crate::{
    Content, DecodeError, Digest, EntryKind, ErrorCode, Fingerprint, Nonce, Proof, RemotePath,
    Rights, Secret, Secretive, SlaveId, SlaveStatus, StorageId, Text, Ticket, UploadId, Version,
};

/// Something that stands in a payload.
pub(crate) trait Field: Sized {
    /// Appends the field.
    fn encode(&self, payload: &mut Vec<u8>);

    /// Takes the field off the front.
    fn decode(fields: &mut Fields<'_>) -> Result<Self, DecodeError>;
}

/// The bytes of a payload that are not decoded yet.
#[derive(Debug)]
pub(crate) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    pub(crate) fn new(payload: &'a [u8]) -> Self {
        Self(payload)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self
            .0
            .split_at_checked(length)
            .ok_or(DecodeError::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        self.take(N)?.try_into().map_err(|_| DecodeError::Truncated)
    }

    /// Bytes led by their number as u16, of which there may be at most `limit`.
    fn bytes(&mut self, limit: usize, what: &'static str) -> Result<&'a [u8], DecodeError> {
        let length = usize::from(u16::decode(self)?);
        if length > limit {
            Err(DecodeError::Field(what))
        } else {
            self.take(length)
        }
    }

    /// Skips the optional fields that a later version may have put behind the known ones: tag u16, length u16, bytes.
    pub(crate) fn finish(mut self) -> Result<(), DecodeError> {
        while !self.0.is_empty() {
            let tag = u16::decode(&mut self).map_err(|_| DecodeError::TrailingBytes)?;
            if tag == 0 {
                return Err(DecodeError::TrailingBytes);
            }
            self.bytes(usize::from(u16::MAX), "optional field")
                .map_err(|_| DecodeError::TrailingBytes)?;
        }
        Ok(())
    }
}

/// Appends bytes led by their number as u16; the callers' types keep them below 64 KiB.
fn put_bytes(bytes: &[u8], payload: &mut Vec<u8>) {
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    length.encode(payload);
    payload.extend_from_slice(bytes.get(..usize::from(length)).unwrap_or(bytes));
}

impl Field for u8 {
    fn encode(&self, payload: &mut Vec<u8>) {
        payload.push(*self);
    }

    fn decode(fields: &mut Fields<'_>) -> Result<Self, DecodeError> {
        let [byte] = fields.array()?;
        Ok(byte)
    }
}

macro_rules! integers {
    ($($type:ident $read:ident $write:ident),*) => {$(
        impl Field for $type {
            fn encode(&self, payload: &mut Vec<u8>) {
                payload.$write::<BigEndian>(*self).unwrap_or_default(); // a Vec takes every byte
            }

            fn decode(fields: &mut Fields<'_>) -> Result<Self, DecodeError> {
                Ok(BigEndian::$read(fields.take(size_of::<Self>())?))
            }
        }
    )*};
}

integers! { u16 read_u16 write_u16, u32 read_u32 write_u32, u64 read_u64 write_u64, i64 read_i64 write_i64 }

impl Field for bool {
    fn encode(&self, payload: &mut Vec<u8>) {
        payload.push(u8::from(*self));
    }

    fn decode(fields: &mut Fields<'_>) -> Result<Self, DecodeError> {
        match u8::decode(fields)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(DecodeError::Field("flag")),
        }
    }
}

macro_rules! fixed_bytes {
    ($($type:ident),*) => {$(
        impl Field for $type {
            fn encode(&self, payload: &mut Vec<u8>) {
                payload.extend_from_slice(&self.0);
            }

            fn decode(fields: &mut Fields<'_>) -> Result<Self, DecodeError> {
                Ok(Self(fields.array()?))
            }
        }
    )*};
}

fixed_bytes! { Digest, SlaveId, StorageId, UploadId, Secret, Nonce, Proof, Fingerprint }

impl Field for RemotePath {
    fn encode(&self, payload: &mut Vec<u8>) {
        put_bytes(self.as_bytes(), payload);
    }

    fn decode(fields: &mut Fields<'_>) -> Result<Self, DecodeError> {
        Ok(Self::parse(fields.bytes(MAX_PATH, "path")?)?)
    }
}

impl Field for Version {
    fn encode(&self, payload: &mut Vec<u8>) {
        put_bytes(self.as_bytes(), payload);
    }

    fn decode(fields: &mut Fields<'_>) -> Result<Self, DecodeError> {
        Self::new(fields.bytes(MAX_VERSION_TOKEN, "version")?).ok_or(DecodeError::Field("version"))
    }
}

impl Field for Text {
    fn encode(&self, payload: &mut Vec<u8>) {
        put_bytes(self.as_str().as_bytes(), payload);
    }

    fn decode(fields: &mut Fields<'_>) -> Result<Self, DecodeError> {
        let bytes = fields.bytes(MAX_TEXT, "text")?;
        std::str::from_utf8(bytes)
            .map(Self::new)
            .map_err(|_| DecodeError::Field("text"))
    }
}

impl Field for Ticket {
    fn encode(&self, payload: &mut Vec<u8>) {
        put_bytes(self.as_bytes(), payload);
    }

    fn decode(fields: &mut Fields<'_>) -> Result<Self, DecodeError> {
        Self::new(fields.bytes(MAX_TICKET, "ticket")?).ok_or(DecodeError::Field("ticket"))
    }
}

impl Field for Secretive {
    fn encode(&self, payload: &mut Vec<u8>) {
        put_bytes(self.reveal(), payload);
    }

    fn decode(fields: &mut Fields<'_>) -> Result<Self, DecodeError> {
        Self::new(fields.bytes(MAX_TEXT, "secret")?).ok_or(DecodeError::Field("secret"))
    }
}

impl Field for Content {
    fn encode(&self, payload: &mut Vec<u8>) {
        put_bytes(self.as_bytes(), payload);
    }

    fn decode(fields: &mut Fields<'_>) -> Result<Self, DecodeError> {
        Self::new(fields.bytes(MAX_INLINE_CONTENT, "content")?.to_vec())
            .ok_or(DecodeError::Field("content"))
    }
}

impl Field for ErrorCode {
    fn encode(&self, payload: &mut Vec<u8>) {
        self.number().encode(payload);
    }

    fn decode(fields: &mut Fields<'_>) -> Result<Self, DecodeError> {
        u16::decode(fields).map(Self::from_number)
    }
}

impl Field for Rights {
    fn encode(&self, payload: &mut Vec<u8>) {
        self.bits().encode(payload);
    }

    fn decode(fields: &mut Fields<'_>) -> Result<Self, DecodeError> {
        Self::from_bits(u8::decode(fields)?).ok_or(DecodeError::Field("rights"))
    }
}

impl Field for EntryKind {
    fn encode(&self, payload: &mut Vec<u8>) {
        self.number().encode(payload);
    }

    fn decode(fields: &mut Fields<'_>) -> Result<Self, DecodeError> {
        Self::from_number(u8::decode(fields)?).ok_or(DecodeError::Field("entry kind"))
    }
}

impl Field for SlaveStatus {
    fn encode(&self, payload: &mut Vec<u8>) {
        self.number().encode(payload);
    }

    fn decode(fields: &mut Fields<'_>) -> Result<Self, DecodeError> {
        Self::from_number(u8::decode(fields)?).ok_or(DecodeError::Field("slave status"))
    }
}

impl<T: Field> Field for Option<T> {
    fn encode(&self, payload: &mut Vec<u8>) {
        self.is_some().encode(payload);
        if let Some(value) = self {
            value.encode(payload);
        }
    }

    fn decode(fields: &mut Fields<'_>) -> Result<Self, DecodeError> {
        if bool::decode(fields)? {
            T::decode(fields).map(Some)
        } else {
            Ok(None)
        }
    }
}

/// A list grows as its elements arrive, so a count alone allocates nothing.
impl<T: Field> Field for Vec<T> {
    fn encode(&self, payload: &mut Vec<u8>) {
        let count = u16::try_from(self.len()).unwrap_or(u16::MAX);
        count.encode(payload);
        self.iter()
            .take(usize::from(count))
            .for_each(|element| element.encode(payload));
    }

    fn decode(fields: &mut Fields<'_>) -> Result<Self, DecodeError> {
        (0..u16::decode(fields)?)
            .map(|_| T::decode(fields))
            .collect::<Result<_, _>>()
    }
}
