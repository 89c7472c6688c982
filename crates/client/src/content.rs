//! The digest of a local file.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

use protocol::Digest;
use transfer::ContentHasher;

use crate::ClientError;
use crate::context::Context;
use crate::offload::{Offload, new_buffer};

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

/// The digest of all that `file` holds.
pub(crate) fn digest_of(file: &File, size: u64, context: &Context) -> Result<Digest, ClientError> {
    let mut file = file;
    let mut hashing = Offload::start(ContentHasher::new(), size)?;
    let mut buffer = new_buffer();
    loop {
        context.check()?;
        buffer.resize(buffer.capacity(), 0);
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
