//! The frame's header: length, request id, kind, flags, checksum.

use byteorder::{BigEndian, ByteOrder};

use crate::DecodeError;
use crate::limits::{MAX_CONTROL_PAYLOAD, MAX_DATA_PAYLOAD};

/// Kind of the frames that carry content; their payload is covered by the content's digest, not by the header's checksum.
pub const DATA: u16 = 0x0001;

/// Kind of the frames that say "alive, but busy": no payload, between any two frames of an answer.
pub const KEEP_ALIVE: u16 = 0x0002;

/// What stands before every payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Bytes of payload.
    pub length: u32,
    /// Which request this belongs to: chosen by the client, repeated in every answer to it.
    pub request: u32,
    /// Which message the payload is.
    pub kind: u16,
}

impl Header {
    /// Bytes on the wire.
    pub const LENGTH: usize = 16;

    /// The header of a data frame of `length` bytes.
    #[must_use]
    pub fn data(request: u32, length: u32) -> [u8; Self::LENGTH] {
        Self {
            length,
            request,
            kind: DATA,
        }
        .encode(&[])
    }

    /// The header's bytes before `payload`, which for a data frame is left out.
    #[must_use]
    pub fn encode(&self, payload: &[u8]) -> [u8; Self::LENGTH] {
        let mut bytes = [0; Self::LENGTH];
        let (fields, checksum) = bytes.split_at_mut(12);
        let (length, rest) = fields.split_at_mut(4);
        let (request, rest) = rest.split_at_mut(4);
        let (kind, _flags) = rest.split_at_mut(2); // no flag is defined in version 1: zero
        BigEndian::write_u32(length, self.length);
        BigEndian::write_u32(request, self.request);
        BigEndian::write_u16(kind, self.kind);
        BigEndian::write_u32(checksum, checksum_of(fields, payload));
        bytes
    }

    /// Reads a header; bounds the length before anyone allocates for it.
    ///
    /// # Errors
    /// [`DecodeError::FrameTooLong`]; for data and keep-alive frames [`DecodeError::Checksum`] too, while other kinds
    /// are checked with their payload by [`Self::verify`].
    pub fn decode(bytes: &[u8; Self::LENGTH]) -> Result<Self, DecodeError> {
        let mut fields = crate::field::Fields::new(bytes);
        let header = Self {
            length: crate::field::Field::decode(&mut fields)?,
            request: crate::field::Field::decode(&mut fields)?,
            kind: crate::field::Field::decode(&mut fields)?,
        };
        let limit = match header.kind {
            DATA => MAX_DATA_PAYLOAD,
            KEEP_ALIVE => 0,
            _ => MAX_CONTROL_PAYLOAD,
        };
        if header.length > limit {
            return Err(DecodeError::FrameTooLong {
                length: header.length,
                limit,
            });
        }
        if header.kind == DATA {
            header.verify(bytes, &[])?;
        }
        Ok(header)
    }

    /// Checks the encoded header `bytes` and its control `payload` against the header's checksum.
    ///
    /// # Errors
    /// [`DecodeError::Checksum`].
    pub fn verify(&self, bytes: &[u8; Self::LENGTH], payload: &[u8]) -> Result<(), DecodeError> {
        let (fields, checksum) = bytes.split_at(12);
        if checksum_of(fields, payload) == BigEndian::read_u32(checksum) {
            Ok(())
        } else {
            Err(DecodeError::Checksum)
        }
    }
}

fn checksum_of(fields: &[u8], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(fields);
    hasher.update(payload);
    hasher.finalize()
}
