//! The digest of a local file.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

use protocol::Digest;
use transfer::ContentHasher;
use transfer::block_tree::BLOCK_LENGTH;

use crate::ClientError;
use crate::context::Context;
use crate::offload::Offload;

/// Reads until `buffer` is full or the file ends; how much that was.
pub(crate) fn read_full(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(room) = buffer.get_mut(filled..).filter(|room| !room.is_empty()) {
        let position = offset + u64::try_from(filled).unwrap_or(u64::MAX);
        match file.read_at(room, position) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// The digest of all that `file` holds; `size` is what it is expected to hold.
pub(crate) fn digest_of(file: &File, size: u64, context: &Context) -> Result<Digest, ClientError> {
    let mut file = file;
    let mut hashing = Offload::start(ContentHasher::new(), size)?;
    // A small file needs a small buffer; the byte more is for one that has grown.
    let length = usize::try_from(size).map_or(BLOCK_LENGTH, |size| BLOCK_LENGTH.min(size + 1));
    let mut buffer = vec![0; length];
    loop {
        context.check()?;
        buffer.resize(length, 0);
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => {
                buffer.truncate(read);
                buffer = hashing.give(buffer);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(hashing.finish()?.finalize())
}
