//! What a client left behind to go on with a transfer: read again by the next one, whoever changed it meanwhile.

use std::fmt::Debug;

use client::formats::{Record, RecordedDigest, RecordedUpload, Trailer};

use crate::Target;

/// The end of a partial download, with the length of the file; or the record of an upload or of a digest. What would be no trailer for its
/// checksum alone gets the right one.
pub static RESUME: Target = Target {
    name: "resume",
    fixed: 16 * 1024,
    for_each_byte: crate::USUAL,
    prepare: crate::nothing,
    work: |input| {
        let Some((form, rest)) = input.split_first() else {
            return;
        };
        match (form, rest.split_first_chunk()) {
            (0, Some((length, tail))) => {
                trailer(tail, u64::from_be_bytes(*length));
            }
            (1, Some((length, content))) => {
                let tail = sealed(content);
                let count = u64::try_from(tail.len()).unwrap_or(0);
                trailer(&tail, u64::from_be_bytes(*length).saturating_add(count));
            }
            (0 | 1, None) => {}
            _ => {
                record::<RecordedUpload>(rest);
                record::<RecordedDigest>(rest);
            }
        }
    },
};

fn sealed(content: &[u8]) -> Vec<u8> {
    let count = u32::try_from(content.len() + 32).unwrap_or(0);
    let checksum = blake3::hash(content);
    [content, checksum.as_bytes(), &count.to_be_bytes()].concat()
}

fn trailer(tail: &[u8], length: u64) {
    if let Some(found) = Trailer::decode(tail, length) {
        let bytes = found.encode();
        assert!(tail.ends_with(&bytes));
        assert_eq!(u64::try_from(bytes.len()), Ok(length - found.size));
        assert_eq!(Trailer::decode(&bytes, length), Some(found));
    }
}

fn record<R: Record + Debug + PartialEq>(text: &[u8]) {
    if let Some(found) = R::parse(text) {
        let written = found.to_text();
        assert_eq!(R::parse(written.as_bytes()), Some(found));
    }
}
